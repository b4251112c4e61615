package verify

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/api/v1alpha1"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/probe"
)

// A Token is a person's own JWT. Whatever prints it prints no byte of it: it leaves this value only for the input of the
// program that makes a call.
type Token struct {
	text   string
	claims map[string]any
}

// NewToken makes one of its text and what its second part says.
func NewToken(text string, claims map[string]any) *Token { return &Token{text, claims} }

const hiddenToken = "(the token)"

// Format prints that there is a token, in every form.
func (Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hiddenToken) }

// MarshalJSON writes that there is a token.
func (Token) MarshalJSON() ([]byte, error) { return json.Marshal(hiddenToken) }

// scrub takes a token out of what came back of a call, whole or in parts: whoever answers may repeat what it was sent.
func (t *Token) scrub(text string) string {
	if t == nil {
		return text
	}
	const least = 8 // what is shorter is found in other words
	for _, part := range append([]string{t.text}, strings.Split(t.text, ".")...) {
		if len(part) >= least {
			text = strings.ReplaceAll(text, part, hiddenToken)
		}
	}
	return text
}

func (t *Token) scrubbed(r probe.Result) probe.Result {
	if t == nil {
		return r
	}
	r.Error, r.Body = t.scrub(r.Error), t.scrub(r.Body)
	if r.Reply != nil {
		reply := *r.Reply
		reply.Headers, reply.Echo = maps.Clone(reply.Headers), t.scrub(reply.Echo)
		for name, value := range reply.Headers {
			reply.Headers[name] = t.scrub(value)
		}
		r.Reply = &reply
	}
	return r
}

// Judge finds the issuer of the document that a token is of, and says what keeps it from being let in anywhere: nobody
// the document believes, the time, whom it is for. Errors repeat no more of a token than those claims.
func (t *Token) Judge(m mesh.Mesh, now time.Time) (v1alpha1.JWTIssuer, error) {
	iss, _ := t.claims["iss"].(string)
	i := slices.IndexFunc(m.JWT, func(x v1alpha1.JWTIssuer) bool { return x.Issuer == iss })
	if i < 0 {
		var known []string
		for _, x := range m.JWT {
			known = append(known, fmt.Sprintf("%s (%s)", x.Name, x.Issuer))
		}
		return v1alpha1.JWTIssuer{}, fmt.Errorf("the token is of issuer %q, and the document believes %s: spec.identity.jwt", iss, cmp.Or(strings.Join(known, ", "), "none"))
	}
	issuer := m.JWT[i]
	refuse := func(format string, args ...any) (v1alpha1.JWTIssuer, error) {
		return issuer, fmt.Errorf("the token of issuer "+issuer.Name+" "+format, args...)
	}
	if end, has := t.time("exp"); has && !end.After(now) {
		return refuse("ended at %s, %s ago: get a new one", end.UTC().Format("2006-01-02 15:04:05 MST"), now.Sub(end).Round(time.Second))
	}
	if begin, has := t.time("nbf"); has && begin.After(now) {
		return refuse("is valid from %s on, in %s", begin.UTC().Format("2006-01-02 15:04:05 MST"), begin.Sub(now).Round(time.Second))
	}
	if for_ := t.texts("aud"); len(issuer.Audiences) > 0 && !slices.ContainsFunc(for_, func(a string) bool { return slices.Contains(issuer.Audiences, a) }) {
		return refuse("is for audience %s, and the document wants one of %s", cmp.Or(strings.Join(for_, ", "), "none"), strings.Join(issuer.Audiences, ", "))
	}
	if len(t.texts("sub")) == 0 {
		return refuse("has no sub: Istio knows no request principal without one, so no rule lets it in")
	}
	for _, c := range m.Clusters {
		if _, ok := tokenRuleOf(m, c, issuer); !ok {
			return refuse("cannot be tried: it is believed by some workloads alone (spec.identity.jwt[].to), and verify's server is none of them")
		}
	}
	return issuer, nil
}

// time is a claim that is a time.
func (t *Token) time(claim string) (time.Time, bool) {
	n, ok := t.claims[claim].(float64)
	return time.Unix(int64(n), 0), ok
}

// texts are the values of a claim, which may be inside others ("a.b"): a text, or each of a list.
func (t *Token) texts(claim string) []string {
	var at any = t.claims
	for key := range strings.SplitSeq(claim, ".") {
		inside, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = inside[key]
	}
	var out []string
	switch v := at.(type) {
	case string:
		out = append(out, v)
	case []any:
		for _, x := range v {
			if s, ok := x.(string); ok {
				out = append(out, s)
			}
		}
	}
	return slices.DeleteFunc(out, func(s string) bool { return s == "" })
}

// passes tells whether a token says what a rule asks of one: each claim has one of the values, which may begin or end
// with "*" (istio.io: Authorization Policy Conditions).
func (t *Token) passes(asked v1alpha1.Token) bool {
	for claim, values := range asked.Claims {
		if !slices.ContainsFunc(t.texts(claim), func(have string) bool {
			return slices.ContainsFunc(values, func(want string) bool { return matchesValue(want, have) })
		}) {
			return false
		}
	}
	return true
}

func matchesValue(want, have string) bool {
	if rest, ok := strings.CutPrefix(want, "*"); ok {
		return have != "" && strings.HasSuffix(have, rest)
	}
	if rest, ok := strings.CutSuffix(want, "*"); ok {
		return strings.HasPrefix(have, rest)
	}
	return want == have
}

// on is a call with the token, where its issuer's tokens are looked for.
func (t *Token) on(call probe.Call, issuer v1alpha1.JWTIssuer) probe.Call {
	header, value := "Authorization", "Bearer "+t.text
	if len(issuer.FromHeaders) > 0 {
		header, value = issuer.FromHeaders[0].Name, issuer.FromHeaders[0].Prefix+t.text
	}
	call.Headers = maps.Clone(call.Headers)
	if call.Headers == nil {
		call.Headers = map[string]string{}
	}
	call.Headers[header] = value
	return call
}

// tokenPath begins the paths at which verify's servers ask for a token: for any of the issuer there, and under it for one
// that a rule of the document lets in.
const tokenPath = "/token"

// asking are the rules of the document that ask for a token of an issuer, and what they ask.
func asking(m mesh.Mesh, issuer string) []v1alpha1.AuthorizationRule {
	return slices.DeleteFunc(slices.Clone(m.Access.Rules), func(r v1alpha1.AuthorizationRule) bool { return r.Token == nil || r.Token.Issuer != issuer })
}

// TokenGate has verify's servers ask for a token of an issuer at some paths, as the document's rules ask for one elsewhere:
// who brings none, or one that does not say what the rule wants, is refused. It names ports, since of a policy that
// denies a port without HTTP would keep the rest.
func TokenGate(m mesh.Mesh, issuer v1alpha1.JWTIssuer) object.Object {
	principal := []any{issuer.Issuer + "/*"} // as policy.source says it
	var rules []any
	deny := func(path string, more map[string]any) {
		rule := map[string]any{"to": []any{map[string]any{"operation": map[string]any{"paths": []any{path}, "ports": []any{fmt.Sprint(probe.PortHTTP)}}}}}
		maps.Copy(rule, more)
		rules = append(rules, rule)
	}
	stranger := map[string]any{"from": []any{map[string]any{"source": map[string]any{"notRequestPrincipals": principal}}}}
	deny(tokenPath, stranger)
	for _, r := range asking(m, issuer.Name) {
		path := tokenPath + "/" + r.Name
		deny(path, stranger)
		for _, claim := range slices.Sorted(maps.Keys(r.Token.Claims)) {
			values := []any{}
			for _, v := range r.Token.Claims[claim] {
				values = append(values, v)
			}
			deny(path, map[string]any{"when": []any{map[string]any{
				"key": "request.auth.claims[" + strings.ReplaceAll(claim, ".", "][") + "]", "notValues": values,
			}}})
		}
	}
	return object.Object{
		Part: object.PartProbes, Reason: "asks for tokens of issuer " + issuer.Name + " at paths of their own",
		Body: &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
			"metadata": map[string]any{"name": tokenGate, "namespace": m.Verify.Namespace},
			"spec": map[string]any{
				"selector": map[string]any{"matchLabels": map[string]any{"app": string(Server)}}, "action": "DENY", "rules": rules,
			},
		}},
	}
}

// tokenGate is the name of TokenGate's policy.
const tokenGate = "token"
