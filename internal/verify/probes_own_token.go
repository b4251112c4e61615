package verify

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/probe"
)

// A TokenCall is what a call showed where a token is asked for: with a person's own, or without any.
type TokenCall struct {
	From   string `json:"from"`
	To     string `json:"to"`
	Issuer string `json:"issuer"`
	// Rule is the rule of spec.access that asks for the token; "" where any of the issuer will do.
	Rule string `json:"rule,omitempty"`
	// Brought tells that the call has the token, LetIn that it should be let in by what that claims.
	Brought bool          `json:"brought"`
	LetIn   bool          `json:"letIn"`
	OK      bool          `json:"ok"`
	Wrong   string        `json:"wrong,omitempty"`
	Tries   int           `json:"tries"`
	Result  *probe.Result `json:"result,omitempty"`
	Reasons []Reason      `json:"reasons,omitempty"`
}

// subject names it in a few words.
func (c TokenCall) subject() string {
	words := "with the token"
	if !c.Brought {
		words = "without a token"
	}
	if c.Rule != "" {
		words += ", rule " + c.Rule
	}
	return fmt.Sprintf("%s → %s (%s)", c.From, c.To, words)
}

// A tokenAsk is what is special about a call where a token is asked for.
type tokenAsk struct {
	rule           string
	brought, letIn bool
}

// tokenErrands are a call without a token, one with it, and one for each rule that asks for one of its issuer: the
// document's own words say which of these should be let in.
func (r *proving) tokenErrands(from, to mesh.Cluster) []errand {
	if r.Token == nil {
		return nil
	}
	asks := []tokenAsk{{}, {brought: true, letIn: true}}
	for _, rule := range asking(r.Mesh, r.issuer.Name) {
		asks = append(asks, tokenAsk{rule: rule.Name, brought: true, letIn: r.Token.passes(*rule.Token)})
	}
	var list []errand
	for _, ask := range asks {
		e := errand{from: from, to: to, role: Client, issuer: r.issuer.Name, ask: &ask}
		path := tokenPath
		if ask.rule != "" {
			path += "/" + ask.rule
		}
		e.call = probe.Call{
			ID: fmt.Sprintf("%s%s?%t", to.Name, path, ask.brought), To: fmt.Sprintf("%s://%s:%d%s", probe.HTTP, ServiceName(to.Name), servicePorts[0].port, path),
		}
		list = append(list, e)
	}
	return list
}

// brings tells whether the call has the person's token.
func (e errand) brings() bool { return e.ask != nil && e.ask.brought }

// withTokens adds what there is to ask with the token.
func (r *proving) withTokens() {
	for _, from := range r.Mesh.Clusters {
		for _, to := range r.Mesh.Clusters {
			for _, e := range r.tokenErrands(from, to) {
				if !r.spared(from, to) {
					r.attempts = append(r.attempts, &attempt{errand: e})
				}
			}
		}
	}
}

// workloads are Workloads, and what asks for tokens where somebody brings one.
func (r *proving) workloads() object.Objects {
	objects := Workloads(r.Mesh)
	if r.Token != nil {
		for _, c := range r.Mesh.Governors() {
			objects.Add(c.Name, TokenGate(r.Mesh, r.issuer))
		}
	}
	return objects
}

// judge tells whether a call ended as its token says.
func (k tokenAsk) judge(to mesh.Cluster, r probe.Result) bool {
	if k.letIn {
		return r.OK && r.Clusters[to.Name] > 0
	}
	return r.Class == probe.Status && r.Code == http.StatusForbidden && r.Flag == "RBAC"
}

func (r *proving) tokenCalls() []TokenCall {
	var all []TokenCall
	for _, a := range r.attempts {
		if a.ask == nil {
			continue
		}
		c := TokenCall{From: a.from.Name, To: a.to.Name, Issuer: a.issuer, Rule: a.ask.rule, Brought: a.ask.brought, LetIn: a.ask.letIn, OK: a.passed, Tries: a.tries}
		if a.tries > 0 {
			result := a.result
			c.Result = &result
		}
		if !a.passed {
			c.Reasons = r.reasons(a)
			c.Wrong = briefly(c.Reasons)
			if c.Result != nil {
				c.Wrong = Describe(*c.Result)
			}
		}
		all = append(all, c)
	}
	return all
}

// tokenReasons says why a call with a token, or without, did not end as it should.
func (r *proving) tokenReasons(a *attempt) []Reason {
	c := r.caseOf(errand{from: a.from, to: a.to})
	if reason, ok := only(c, "cluster-away", "control-plane-away", "control-plane-not-ready", "control-plane-unreachable", "not-placed",
		"pod-not-ready", "no-sidecar", "not-asked"); ok {
		return []Reason{reason}
	}
	if a.tries == 0 {
		return []Reason{c.asSeen()}
	}
	at := r.Mesh.Primary(a.to)
	rule, _ := tokenRuleOf(r.Mesh, a.to, r.issuer) // Judge has seen that it has one
	object := rule.namespace + "/" + rule.name
	seen := r.sites[at.Name]
	missing := seen.TokenRulesKnown && !slices.Contains(seen.TokenRules, object)
	refused := a.result.Class == probe.Status && (a.result.Code == http.StatusUnauthorized || a.result.Code == http.StatusForbidden)
	reason := Reason{Next: kubectl(at, fmt.Sprintf("get requestauthentication -n %s %s -o yaml", rule.namespace, rule.name))}
	switch {
	case a.ask.letIn && refused && missing:
		reason.Code, reason.Next, reason.Proven = "issuer-unknown", "isthmus apply", true
		reason.Text = fmt.Sprintf("%s does not let the token in: RequestAuthentication %s is missing in %s", a.to.Name, object, at.Name)
	case a.ask.letIn && a.result.Code == http.StatusUnauthorized && refused:
		reason.Code = "token-refused"
		reason.Text = fmt.Sprintf("%s refuses the token of issuer %s: %s (its istiod reads the keys from %s)", a.to.Name, a.issuer, Describe(a.result),
			cmp.Or(r.issuer.JWKSURI, "the document, or what the issuer says of itself"))
		reason.Next = kubectl(r.Mesh.Host(a.to), fmt.Sprintf("logs -n %s -l app=istiod --tail=50", at.IstioNamespace()))
	case a.ask.letIn && refused:
		reason.Code = "token-not-enough"
		reason.Text = fmt.Sprintf("%s refuses a call with the token of issuer %s, which says what %s asks for: %s", a.to.Name, a.issuer, a.ask.what(), Describe(a.result))
	case !a.ask.letIn && a.result.OK:
		reason.Code = "token-not-asked"
		reason.Text = fmt.Sprintf("%s serves a call that %s, though AuthorizationPolicy %s/%s refuses it", a.to.Name, a.ask.lacks(), r.Mesh.Verify.Namespace, tokenGate)
		reason.Next = kubectl(at, "get authorizationpolicies -A")
	default:
		for _, other := range r.attempts {
			if other.delivers() && !other.passed && other.from.Name == a.from.Name && other.to.Name == a.to.Name {
				return Judge(r.caseOf(other.errand))
			}
		}
		reason.Code, reason.Next = unknown, "isthmus status"
		reason.Text = fmt.Sprintf("what a token of issuer %s is good for in %s is not proved: the call from %s ends with: %s", a.issuer, a.to.Name, a.from.Name, Describe(a.result))
	}
	return []Reason{reason}
}

// what asks for a token.
func (k tokenAsk) what() string {
	if k.rule != "" {
		return "rule " + k.rule
	}
	return "spec.identity.jwt"
}

// lacks is what a call has not that should be refused.
func (k tokenAsk) lacks() string {
	if !k.brought {
		return "brings no token"
	}
	return strings.TrimSpace("brings a token without the claims of " + k.what())
}
