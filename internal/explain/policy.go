package explain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// policy: do the callee's AuthorizationPolicies and RequestAuthentications let this caller make this call?
func (j *judge) policy() (Hop, bool) {
	s, pod := j.to(), j.calleePod()
	if s.Err != "" || pod == nil || !pod.Sidecar {
		return Hop{}, false
	}
	h := hop("policy", s.Cluster, "nothing refuses the call")
	if why := cmp.Or(s.Unread["AuthorizationPolicy"], s.Unread["RequestAuthentication"]); why != "" {
		return h.unknown("policies could not be read: %s", why), true
	}
	if j.calleeRejects() != "" {
		return h.unknown("the callee's proxy rejects its configuration: what policies say may not hold there"), true
	}
	h, refused := j.tokens(h, pod)
	if refused {
		return h, true
	}
	var deny, allow []*unstructured.Unstructured
	for _, u := range s.kind("AuthorizationPolicy") {
		if !j.concerns(u, pod) || u.GetAnnotations()["istio.io/dry-run"] == "true" {
			continue
		}
		switch strings.ToUpper(cmp.Or(text(u, "spec", "action"), "ALLOW")) {
		case "DENY":
			deny = append(deny, u)
		case "ALLOW":
			allow = append(allow, u)
		default:
			h = h.with("AuthorizationPolicy %s: %s, not judged", name(u), text(u, "spec", "action"))
		}
	}
	call := j.rbac()
	for _, u := range deny {
		switch i, fits := call.matches(u); fits {
		case yes:
			return h.broken("policy-denies", s.kubectl("edit authorizationpolicy -n %s %s", u.GetNamespace(), u.GetName()), "rule %d of AuthorizationPolicy %s in %s (DENY) refuses %s %s %s",
				i, name(u), s.Cluster, cmp.Or(call.principal, "a caller without identity"), call.Method, call.Path), true
		case perhaps:
			h = h.with("AuthorizationPolicy %s (DENY) may refuse it: its addresses or values are not known here", name(u))
		case no:
			h = h.with("AuthorizationPolicy %s (DENY) does not fit", name(u))
		}
	}
	return j.allowed(h, allow, call), true
}

// concerns tells whether a policy holds for a pod.
func (j *judge) concerns(u *unstructured.Unstructured, pod *Pod) bool {
	if len(list(u, "spec", "targetRefs")) > 0 {
		return false // for gateways and waypoints
	}
	return (u.GetNamespace() == pod.Namespace || u.GetNamespace() == rootNamespace) && selects(u, pod.Labels, "spec", "selector", "matchLabels")
}

// allowed: with a policy that allows, what none allows is refused.
func (j *judge) allowed(h Hop, policies []*unstructured.Unstructured, call rbacCall) Hop {
	s := j.to()
	if len(policies) == 0 {
		return h
	}
	maybe := false
	for _, u := range policies {
		switch i, fits := call.matches(u); fits {
		case yes:
			h.Seen = fmt.Sprintf("rule %d of AuthorizationPolicy %s allows it", i, name(u))
			return h
		case perhaps:
			maybe = true
			h = h.with("AuthorizationPolicy %s may allow it: its addresses or values are not known here", name(u))
		case no:
			h = h.with("AuthorizationPolicy %s does not allow it", name(u))
		}
	}
	if maybe {
		h.State, h.Seen = Unknown, "whether a policy allows the call is not known"
		return h
	}
	h.Seen = "refused: 403"
	first := policies[0]
	for _, u := range policies {
		if bad := noIdentity(u); bad != "" {
			mend := fmt.Sprintf("principals: [\"%s\"] in AuthorizationPolicy %s", cmp.Or(call.principal, "cluster.local/ns/NAMESPACE/sa/SERVICE-ACCOUNT"), name(u))
			return h.broken("principal-no-identity", mend, "AuthorizationPolicy %s in %s allows only %q, which is no SPIFFE identity: it matches nobody, so everyone is refused", name(u), s.Cluster, bad)
		}
	}
	mend := s.kubectl("edit authorizationpolicy -n %s %s", first.GetNamespace(), first.GetName())
	return h.broken("policy-allows-others", mend, "AuthorizationPolicy %s in %s allows others, and not %s with %s %s: %s", name(first), s.Cluster,
		cmp.Or(call.principal, "a caller without identity"), call.Method, call.Path, call.why(first))
}

// noIdentity is a principal of a policy that no caller can have; only where the policy allows nobody else.
func noIdentity(u *unstructured.Unstructured) string {
	bad, good := "", false
	for _, r := range list(u, "spec", "rules") {
		rule, _ := r.(map[string]any)
		from, _ := rule["from"].([]any)
		for _, f := range from {
			m, _ := f.(map[string]any)
			source, _ := m["source"].(map[string]any)
			for _, p := range words(source, "principals") {
				if isIdentity(p) {
					good = true
				} else {
					bad = cmp.Or(bad, p)
				}
			}
		}
	}
	if good {
		return ""
	}
	return bad
}

// isIdentity tells whether a principal could be a caller's: a pattern, or TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT.
func isIdentity(p string) bool {
	if strings.HasPrefix(p, "*") || strings.HasSuffix(p, "*") {
		return true
	}
	parts := strings.Split(p, "/")
	return len(parts) == 5 && parts[1] == "ns" && parts[3] == "sa"
}

// tokens: a token that no RequestAuthentication takes is refused; none at all passes.
func (j *judge) tokens(h Hop, pod *Pod) (Hop, bool) {
	if j.Call.Claims == nil {
		return h, false
	}
	s := j.to()
	issuer, _ := j.Call.Claims["iss"].(string)
	var takes, all []string
	for _, u := range s.kind("RequestAuthentication") {
		if !j.concerns(u, pod) {
			continue
		}
		for _, r := range list(u, "spec", "jwtRules") {
			rule, _ := r.(map[string]any)
			iss, _ := rule["issuer"].(string)
			all = append(all, iss)
			if iss == issuer && audienceFits(words(rule, "audiences"), j.Call.Claims["aud"]) {
				takes = append(takes, name(u))
			}
		}
	}
	switch {
	case len(all) == 0:
		return h.with("no RequestAuthentication reads the token"), false
	case len(takes) == 0:
		h.Seen = "the token is refused: 401"
		return h.broken("token-refused", "call with a token of "+strings.Join(all, " or "), "no RequestAuthentication in %s takes a token of issuer %q for audience %v; they take %s", s.Cluster, issuer, j.Call.Claims["aud"], strings.Join(all, ", ")), true
	}
	if exp, ok := j.Call.Claims["exp"].(float64); ok && !time.Unix(int64(exp), 0).After(j.Taken) {
		h.Seen = "the token is refused: 401"
		return h.broken("token-refused", "call with a new token", "the token ended at %s", time.Unix(int64(exp), 0).UTC().Format(time.RFC3339)), true
	}
	return h.with("RequestAuthentication %s takes the token's issuer and audience; its signature is not judged", takes[0]), false
}

func audienceFits(wanted []string, have any) bool {
	if len(wanted) == 0 {
		return true
	}
	switch a := have.(type) {
	case string:
		return slices.Contains(wanted, a)
	case []any:
		return slices.ContainsFunc(a, func(x any) bool { s, ok := x.(string); return ok && slices.Contains(wanted, s) })
	}
	return false
}
