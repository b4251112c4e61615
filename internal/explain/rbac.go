package explain

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// An answer is whether a rule fits a call; perhaps is for what the evidence does not say.
type answer int

const (
	no answer = iota
	perhaps
	yes
)

func is(b bool) answer {
	if b {
		return yes
	}
	return no
}

// An rbacCall is a call as an AuthorizationPolicy sees it.
type rbacCall struct {
	Call
	principal, namespace string // "" without mutual TLS
	trustDomain          string
	source               string // its address, where it is known
	port                 int    // of the callee's pod
	tcp                  bool   // the callee's port does not speak HTTP
}

func (j *judge) rbac() rbacCall {
	c := rbacCall{Call: j.Call, trustDomain: j.TrustDomain, port: j.calleePort()}
	if caller := j.from().Caller; caller != nil && caller.Sidecar && !j.plain {
		c.principal, c.namespace = j.principal(caller), caller.Namespace
		if p := j.from().CallerProxy; p != nil && p.Identity != "" {
			c.principal = strings.TrimPrefix(p.Identity, "spiffe://")
		}
	}
	if ip, known := j.source(); known {
		c.source = ip
	}
	if s := j.to().service(j.Call.Host); s != nil && s.port(j.Call.Port) != nil {
		c.tcp = !speaksHTTP(protocolOf(*s.port(j.Call.Port)))
	}
	return c
}

// matches is the first rule of a policy that fits. A policy without rules fits nothing.
func (c rbacCall) matches(u *unstructured.Unstructured) (int, answer) {
	best, at := no, 0
	for i, r := range list(u, "spec", "rules") {
		rule, _ := r.(map[string]any)
		if a := c.rule(rule); a > best {
			best, at = a, i
		}
		if best == yes {
			break
		}
	}
	return at, best
}

// rule: any source, and any operation, and every condition.
func (c rbacCall) rule(rule map[string]any) answer {
	from := anyOf(rule["from"], func(m map[string]any) answer { s, _ := m["source"].(map[string]any); return c.from(s) })
	to := anyOf(rule["to"], func(m map[string]any) answer { o, _ := m["operation"].(map[string]any); return c.to(o) })
	out := min(from, to)
	when, _ := rule["when"].([]any)
	for _, x := range when {
		m, _ := x.(map[string]any)
		out = min(out, c.condition(m))
	}
	return out
}

func anyOf(v any, fits func(map[string]any) answer) answer {
	items, _ := v.([]any)
	if len(items) == 0 {
		return yes
	}
	best := no
	for _, x := range items {
		m, _ := x.(map[string]any)
		best = max(best, fits(m))
	}
	return best
}

// both joins a list and its "not" twin.
func both(m map[string]any, key, not string, fits func(string) answer) answer {
	out := yes
	if want := words(m, key); len(want) > 0 {
		out = no
		for _, w := range want {
			out = max(out, fits(w))
		}
	}
	for _, w := range words(m, not) {
		out = min(out, yes-fits(w))
	}
	return out
}

func (c rbacCall) from(s map[string]any) answer {
	address := func(block string) answer {
		if c.source == "" {
			return perhaps
		}
		return is(inBlock(c.source, block))
	}
	account := func(w string) answer {
		ns, sa, ok := strings.Cut(w, "/")
		if !ok {
			ns, sa = c.namespace, w
		}
		return is(c.principal != "" && strings.HasSuffix(c.principal, "/ns/"+ns+"/sa/"+sa))
	}
	return min(
		both(s, "principals", "notPrincipals", c.isPrincipal),
		both(s, "namespaces", "notNamespaces", func(w string) answer { return is(c.namespace != "" && wildcard(w, c.namespace)) }),
		both(s, "serviceAccounts", "notServiceAccounts", account),
		both(s, "requestPrincipals", "notRequestPrincipals", func(w string) answer { p := c.requestPrincipal(); return is(p != "" && wildcard(w, p)) }),
		both(s, "ipBlocks", "notIpBlocks", address),
		both(s, "remoteIpBlocks", "notRemoteIpBlocks", address),
	)
}

// isPrincipal: cluster.local in a policy stands for the mesh's own trust domain.
func (c rbacCall) isPrincipal(w string) answer {
	if c.principal == "" {
		return no
	}
	if rest, ok := strings.CutPrefix(w, "cluster.local/"); ok {
		w = c.trustDomain + "/" + rest
	}
	return is(wildcard(w, c.principal))
}

func (c rbacCall) requestPrincipal() string {
	iss, _ := c.Claims["iss"].(string)
	sub, _ := c.Claims["sub"].(string)
	if iss == "" || sub == "" {
		return ""
	}
	return iss + "/" + sub
}

func (c rbacCall) to(o map[string]any) answer {
	path, _, _ := strings.Cut(c.Path, "?")
	http := func(fits func(string) bool) func(string) answer {
		return func(w string) answer { return is(!c.tcp && fits(w)) }
	}
	return min(
		both(o, "methods", "notMethods", http(func(w string) bool { return wildcard(w, c.Method) })),
		both(o, "paths", "notPaths", http(func(w string) bool { return pathFits(w, path) })),
		both(o, "hosts", "notHosts", http(func(w string) bool {
			return slices.ContainsFunc(c.hosts(), func(h string) bool { return wildcard(strings.ToLower(w), h) })
		})),
		both(o, "ports", "notPorts", func(w string) answer { return is(w == fmt.Sprint(c.port)) }),
	)
}

// hosts are the forms of the name that callers write.
func (c rbacCall) hosts() []string {
	parts := strings.Split(c.Host, ".")
	all := []string{c.Host, fmt.Sprintf("%s:%d", c.Host, c.Port)}
	if len(parts) > 1 {
		all = append(all, parts[0]+"."+parts[1])
	}
	return all
}

func (c rbacCall) condition(m map[string]any) answer {
	key, _ := m["key"].(string)
	value, known := c.attribute(key)
	if !known {
		return perhaps
	}
	return both(m, "values", "notValues", func(w string) answer {
		return is(slices.ContainsFunc(value, func(v string) bool { return wildcard(w, v) }))
	})
}

// attribute is what a condition's key stands for; known is false for what the evidence does not say.
func (c rbacCall) attribute(key string) (values []string, known bool) {
	one := func(s string) []string {
		if s == "" {
			return nil
		}
		return []string{s}
	}
	inner := func(prefix string) string { return strings.TrimSuffix(strings.TrimPrefix(key, prefix+"["), "]") }
	switch {
	case key == "source.principal":
		return one(c.principal), true
	case key == "source.namespace":
		return one(c.namespace), true
	case key == "request.auth.principal":
		return one(c.requestPrincipal()), true
	case key == "request.auth.audiences":
		return texts(c.Claims["aud"]), true
	case key == "destination.port":
		return []string{fmt.Sprint(c.port)}, true
	case strings.HasPrefix(key, "request.headers["):
		return one(c.Headers[strings.ToLower(inner("request.headers"))]), true
	case strings.HasPrefix(key, "request.auth.claims["):
		var v any = c.Claims
		for part := range strings.SplitSeq(strings.ReplaceAll(inner("request.auth.claims"), "][", "\x00"), "\x00") {
			m, _ := v.(map[string]any)
			v = m[part]
		}
		return texts(v), true
	}
	return nil, false
}

func texts(v any) []string {
	switch x := v.(type) {
	case nil:
		return nil
	case []any:
		var out []string
		for _, i := range x {
			out = append(out, fmt.Sprint(i))
		}
		return out
	default:
		return []string{fmt.Sprint(x)}
	}
}

// wildcard: "*", "*end", "begin*", or the very text.
func wildcard(pattern, text string) bool {
	switch {
	case pattern == "*":
		return text != ""
	case strings.HasPrefix(pattern, "*"):
		return strings.HasSuffix(text, pattern[1:])
	case strings.HasSuffix(pattern, "*"):
		return strings.HasPrefix(text, pattern[:len(pattern)-1])
	}
	return pattern == text
}

// pathFits knows the path templates {*} and {**} too.
func pathFits(pattern, path string) bool {
	if !strings.Contains(pattern, "{") {
		return wildcard(pattern, path)
	}
	a, b := strings.Split(pattern, "/"), strings.Split(path, "/")
	for i, part := range a {
		switch {
		case part == "{**}" && i == len(a)-1:
			return len(b) >= i
		case i >= len(b), part != "{*}" && part != b[i]:
			return false
		}
	}
	return len(a) == len(b)
}

func inBlock(ip, block string) bool {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return false
	}
	if p, err := netip.ParsePrefix(block); err == nil {
		return p.Contains(a)
	}
	b, err := netip.ParseAddr(block)
	return err == nil && a == b
}

// why says what of a policy's rules does not fit: the first part of the rule that comes nearest.
func (c rbacCall) why(u *unstructured.Unstructured) string {
	rules := list(u, "spec", "rules")
	if len(rules) == 0 {
		return "it has no rules, so it allows nothing"
	}
	for i, r := range rules {
		rule, _ := r.(map[string]any)
		from := anyOf(rule["from"], func(m map[string]any) answer { s, _ := m["source"].(map[string]any); return c.from(s) })
		to := anyOf(rule["to"], func(m map[string]any) answer { o, _ := m["operation"].(map[string]any); return c.to(o) })
		switch {
		case from != no && to == no:
			return fmt.Sprintf("rule %d allows the caller, and not this method, path, host or port", i)
		case from != no:
			return fmt.Sprintf("rule %d allows the caller, and its conditions (when) do not hold", i)
		}
	}
	return "no rule names the caller"
}
