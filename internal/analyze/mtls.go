package analyze

import (
	"cmp"
	"fmt"
	"slices"
)

// A mode is what a PeerAuthentication demands of callers of a workload, and which object says so.
type mode struct {
	mode string // STRICT, PERMISSIVE, DISABLE; "" where nothing says
	o    *Object
	v    Value
}

// modeOf is the mode that holds for a workload's port: the workload's own policy first, then the namespace's, then
// the mesh's (PeerAuthentication's reference). With x nil it is the mode of workloads of ns that were not read; known
// is false if a policy for single workloads there may say something else.
func (w *World) modeOf(m *member, ns string, x *workload, port string) (found mode, known bool) {
	levels := [3]mode{}
	known = true
	for _, o := range m.all(security, "PeerAuthentication") {
		selector := o.Spec("selector", "matchLabels").Map()
		level := -1
		switch {
		case len(selector) > 0 && o.Namespace == ns && x == nil:
			known = false
		case len(selector) > 0 && o.Namespace == ns && matches(selector, x.labels):
			level = 2
		case len(selector) == 0 && o.Namespace == ns && ns != rootNamespace:
			level = 1
		case len(selector) == 0 && o.Namespace == rootNamespace:
			level = 0
		}
		if level < 0 {
			continue
		}
		v := o.Spec("mtls", "mode")
		if p := o.Spec("portLevelMtls", port, "mode"); p.Str() != "" {
			v = p
		}
		if v.Str() != "" && v.Str() != "UNSET" {
			levels[level] = mode{v.Str(), o, v} //nolint:gosec // G602: level is an index of levels or was skipped
		}
	}
	for _, l := range slices.Backward(levels[:]) {
		if l.mode != "" {
			return l, known
		}
	}
	return mode{}, known
}

// A clientTLS is what a DestinationRule makes callers speak, and to which port; port 0 is all.
type clientTLS struct {
	Value
	port int
}

func clientModes(o *Object) []clientTLS {
	var all []clientTLS
	policies := []Value{o.Spec("trafficPolicy")}
	for _, s := range o.Spec("subsets").Items() {
		policies = append(policies, s.Get("trafficPolicy"))
	}
	for _, p := range policies {
		if v := p.Get("tls", "mode"); v.Str() != "" {
			all = append(all, clientTLS{v, 0})
		}
		for _, l := range p.Get("portLevelSettings").Items() {
			n, _ := l.Get("port", "number").Int()
			if v := l.Get("tls", "mode"); v.Str() != "" {
				all = append(all, clientTLS{v, n})
			}
		}
	}
	return all
}

// tlsContradiction finds DestinationRules that make callers speak what the callee, by its PeerAuthentication in
// whichever cluster it runs, does not take.
func tlsContradiction(w *World) []Finding {
	var all []Finding
	for _, m := range w.members {
		for _, r := range m.rules {
			for _, c := range clientModes(r.Object) {
				for _, server := range w.members {
					if f, found := w.contradicts(m, r, c, server); found {
						all = append(all, f)
						break
					}
				}
			}
		}
	}
	return all
}

func (w *World) contradicts(m *member, r rule, c clientTLS, server *member) (Finding, bool) {
	_, ns, ok := split(r.host)
	if !ok || r.host == hostOf("kubernetes", "default") || systemSpace(ns) {
		return Finding{}, false
	}
	everywhere := w.workloadsOf(r.host)
	pods := slices.DeleteFunc(slices.Clone(everywhere), func(x *workload) bool { return x.cluster != server.Name })
	inMesh := slices.DeleteFunc(slices.Clone(pods), func(x *workload) bool { return w.proxy(x) == noProxy })
	if len(everywhere) > 0 && len(inMesh) == 0 {
		return Finding{}, false // it does not run there, or has no proxy there: plain text is what it takes
	}
	var x *workload
	if len(inMesh) > 0 {
		x = inMesh[0]
	}
	if x == nil && server != m && len(server.all(security, "PeerAuthentication")) > 0 && len(w.lookup(r.host)) > 0 && !w.runsIn(r.host, server.Name) {
		return Finding{}, false // that cluster has no such service
	}
	demand, known := w.modeOf(server, ns, x, w.targetPort(r.host, c.port))
	if !known {
		return Finding{}, false
	}
	f := r.find(m.Name, c.Value)
	switch mode := c.Str(); {
	case demand.mode == "STRICT" && (mode == "DISABLE" || mode == "SIMPLE"):
		f.Seen = fmt.Sprintf("callers of %s are made to speak %s, and it takes mutual TLS alone: every call is refused", r.Spec("host").Str(), map[string]string{"DISABLE": "plain text", "SIMPLE": "TLS without a certificate of their own"}[mode])
		f.Do = "take tls out, so that callers use mutual TLS by themselves, or write ISTIO_MUTUAL"
		f.Fix = r.replace(c.Value, "ISTIO_MUTUAL", x == nil)
	case demand.mode == "DISABLE" && (mode == "ISTIO_MUTUAL" || mode == "MUTUAL"):
		f.Seen = fmt.Sprintf("callers of %s are made to use mutual TLS, and it takes plain text alone: every call fails", r.Spec("host").Str())
		f.Do = "write mode DISABLE here, or PERMISSIVE there"
	default:
		return Finding{}, false
	}
	f.Evidence = where(demand.o, demand.v) + " says " + demand.mode
	if server.Name != m.Name {
		f.Evidence += " in " + server.Name
	}
	if x == nil {
		f.Severity = Warning
		f.Evidence += "; no workload of that host was read"
	}
	return f, true
}

// runsIn tells whether a host has a Service in a cluster.
func (w *World) runsIn(host, cluster string) bool {
	return slices.ContainsFunc(w.lookup(host), func(s *service) bool { return s.cluster == cluster })
}

// targetPort is the workload's port behind a service's port, as text; PeerAuthentication names that one.
func (w *World) targetPort(host string, number int) string {
	for _, s := range w.lookup(host) {
		for _, p := range s.ports {
			if p.number == number || number == 0 && len(s.ports) == 1 {
				return cmp.Or(p.Get("targetPort").Str(), fmt.Sprint(p.number))
			}
		}
	}
	return fmt.Sprint(number)
}
