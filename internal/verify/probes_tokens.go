package verify

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"isthmus.dev/isthmus/api/v1alpha1"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/probe"
)

// An issuer's rule, as it should hold for verify's server of a cluster.
type tokenRule struct {
	v1alpha1.JWTIssuer
	// namespace and name are the RequestAuthentication's.
	namespace, name string
}

// believed is the first issuer of the document whose rule holds for a cluster's server. One is enough: what is asked is
// whether such rules are in effect there.
func believed(m mesh.Mesh, to mesh.Cluster) (tokenRule, bool) {
	for _, issuer := range m.JWT {
		if r, ok := tokenRuleOf(m, to, issuer); ok {
			return r, true
		}
	}
	return tokenRule{}, false
}

// tokenRuleOf is an issuer's rule that holds for a cluster's server, if one does.
func tokenRuleOf(m mesh.Mesh, to mesh.Cluster, issuer v1alpha1.JWTIssuer) (tokenRule, bool) {
	r := tokenRule{issuer, m.Primary(to).IstioNamespace(), "isthmus-jwt-" + issuer.Name}
	if len(issuer.To) == 0 {
		return r, true
	}
	seen := 0 // each rule about a namespace but the first has its number in its name
	for _, w := range issuer.To {
		if w.Namespace != m.Verify.Namespace {
			continue
		}
		if seen++; !selects(w.Selector, serverLabels(to)) {
			continue
		}
		if r.namespace = w.Namespace; seen > 1 {
			r.name = fmt.Sprintf("%s-%d", r.name, seen)
		}
		return r, true
	}
	return tokenRule{}, false
}

func selects(selector, labels map[string]string) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return true
}

// forgedTokens is a call by somebody who is let in, with a token that is right in everything but its signature.
func forgedTokens(m mesh.Mesh, from, to mesh.Cluster) []errand {
	rule, ok := believed(m, to)
	if !ok {
		return nil
	}
	e := errand{from: from, to: to, role: Client, kind: ForgedToken, door: ServiceName(to.Name), issuer: rule.Name}
	token := probe.Token{Issuer: rule.Issuer}
	if len(rule.Audiences) > 0 {
		token.Audience = rule.Audiences[0]
	}
	if len(rule.FromHeaders) > 0 {
		token.Header, token.Prefix = rule.FromHeaders[0].Name, rule.FromHeaders[0].Prefix
	}
	e.call = probe.Call{ID: e.id(), To: fmt.Sprintf("%s://%s:%d", probe.HTTP, e.door, servicePorts[0].port), Token: &token}
	return []errand{e}
}

// unknownIssuer is what Envoy says where rules of other issuers are in effect and this one's is not (jwt_verify_lib:
// getStatusString). It is a 401 too.
const unknownIssuer = "Jwt issuer is not configured"

// refusedToken tells whether a proxy looked at the token and refused it. It says so in its answer; a 401 of anybody
// else proves nothing.
func refusedToken(r probe.Result) bool {
	return r.Class == probe.Status && r.Code == http.StatusUnauthorized && !strings.Contains(r.Body, unknownIssuer) &&
		(strings.HasPrefix(r.Body, "Jwt ") || strings.HasPrefix(r.Body, "Jwks "))
}

// tokenVerdict is what a call with a forged token shows.
func tokenVerdict(r probe.Result) probe.Verdict {
	switch {
	case refusedToken(r):
		return probe.TurnedAway
	case r.OK:
		return probe.Accepted
	default:
		return probe.Unclear
	}
}

// tokenServed: the issuer's rule is not in effect at the called server.
func tokenServed(c Case) (Reason, bool) {
	rule, ok := believed(c.Mesh, c.To)
	if !ok || c.Kind != ForgedToken || c.Insider == nil || !c.Insider.OK && !strings.Contains(c.Insider.Body, unknownIssuer) {
		return Reason{}, false
	}
	at := c.Mesh.Primary(c.To) // where rules are read from
	object := rule.namespace + "/" + rule.name
	reason := Reason{Next: "isthmus apply"}
	what := "is not in effect there"
	site := c.Evidence.Sites[at.Name]
	switch {
	case !site.TokenRulesKnown:
	case slices.Contains(site.TokenRules, object):
		reason.Next = kubectl(at, fmt.Sprintf("get requestauthentication -n %s %s -o yaml", rule.namespace, rule.name))
	default:
		what, reason.Proven = "is missing in "+at.Name, true
		if len(rule.To) > 0 { // and the namespace goes with every proof
			what += ", which has it only if namespace " + rule.namespace + " is there when apply runs"
			reason.Next = "isthmus verify --keep, then: isthmus apply"
		}
	}
	did := "serves callers with a forged token of issuer " + rule.Name
	if !c.Insider.OK {
		did = "does not know issuer " + rule.Name
	}
	reason.Text = fmt.Sprintf("%s %s: RequestAuthentication %s %s", c.To.Name, did, object, what)
	return reason, true
}
