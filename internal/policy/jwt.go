package policy

import (
	"fmt"

	"isthmus.dev/isthmus/api/v1alpha1"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// issuers are spec.identity.jwt's objects in one cluster: one RequestAuthentication for each issuer and set of
// workloads. Istio puts together those that are about the same workload.
func issuers(m mesh.Mesh, _ mesh.Cluster) []object.Object {
	var list []object.Object
	for _, issuer := range m.JWT {
		name := "isthmus-jwt-" + issuer.Name
		if len(issuer.To) == 0 {
			o := istioObject("RequestAuthentication", rootNamespace, name, map[string]any{"jwtRules": []any{jwtRule(issuer)}})
			o.Reason = fmt.Sprintf("tokens of %s are believed in the whole mesh", issuer.Issuer)
			list = append(list, o)
		}
		seen := map[string]int{}
		for _, to := range issuer.To {
			n := name
			if seen[to.Namespace]++; seen[to.Namespace] > 1 {
				n = fmt.Sprintf("%s-%d", name, seen[to.Namespace])
			}
			o := istioObject("RequestAuthentication", to.Namespace, n, selecting(to.Selector, map[string]any{"jwtRules": []any{jwtRule(issuer)}}))
			o.Reason = fmt.Sprintf("tokens of %s are believed by %s", issuer.Issuer, callee(v1alpha1.Callee{Namespace: to.Namespace, Selector: to.Selector}))
			o.IfNamespace = true
			o.Source = "spec.identity, issuer " + issuer.Name
			list = append(list, o)
		}
	}
	return list
}

func jwtRule(issuer v1alpha1.JWTIssuer) map[string]any {
	rule := map[string]any{"issuer": issuer.Issuer}
	for _, x := range []struct{ field, value string }{{"jwksUri", issuer.JWKSURI}, {"jwks", issuer.JWKS}} {
		if x.value != "" {
			rule[x.field] = x.value
		}
	}
	if len(issuer.Audiences) > 0 {
		rule["audiences"] = texts(issuer.Audiences)
	}
	var from, to []any
	for _, h := range issuer.FromHeaders {
		header := map[string]any{"name": h.Name}
		if h.Prefix != "" {
			header["prefix"] = h.Prefix
		}
		from = append(from, header)
	}
	for _, h := range issuer.OutputClaimToHeaders {
		to = append(to, map[string]any{"header": h.Header, "claim": h.Claim})
	}
	if len(from) > 0 {
		rule["fromHeaders"] = from
	}
	if len(to) > 0 {
		rule["outputClaimToHeaders"] = to
	}
	if issuer.ForwardOriginalToken != nil && *issuer.ForwardOriginalToken {
		rule["forwardOriginalToken"] = true
	}
	return rule
}
