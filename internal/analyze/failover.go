package analyze

import (
	"fmt"
	"slices"
	"strings"
)

// replacedFailover finds rules of somebody's own that take the place of the mesh's DestinationRule for failover (package
// traffic: host *.local in Istio's root namespace), and have no outlierDetection. Istio takes one DestinationRule for a
// host, the whole of it: of the caller's namespace, else the service's, else the root namespace, in each the most
// specific one (pilot/pkg/model/push_context.go, destinationRule). A rule that names subsets alone does the same. It says
// nothing of how calls are made, and many are like it, so that is a note.
func replacedFailover(w *World) []Finding {
	said := w.failsOver()
	if said == "" {
		return nil
	}
	var all []Finding
	for _, m := range w.members {
		for _, r := range m.rules {
			if m.replaces(w, r) {
				all = append(all, r.withoutDetection(m, said)...)
			}
		}
	}
	return all
}

// failsOver is what says that the mesh has failover; "" where nothing does.
func (w *World) failsOver() string {
	if w.Failover {
		return "the mesh document has spec.traffic.failover (on unless it says enabled: false)"
	}
	for _, m := range w.members {
		for _, o := range m.all("isthmus.dev", "Mesh") {
			enabled := o.Spec("traffic", "failover", "enabled")
			if enabled.Str() != "false" {
				return where(o, enabled) + " has spec.traffic.failover (on unless it says enabled: false)"
			}
		}
	}
	return ""
}

// replaces tells whether a rule is taken instead of the mesh's own for some service of the mesh.
func (m *member) replaces(w *World, r rule) bool {
	if r.host != "*" && !strings.HasSuffix(r.host, ".local") {
		return false // no Service of Kubernetes'
	}
	if r.Namespace == rootNamespace && (r.host == "*" || r.host == "*.local") {
		return false // the mesh's own is as specific, or more
	}
	if w.whole() && !strings.HasPrefix(r.host, "*") && len(w.lookup(r.host)) == 0 {
		return false // nobody's
	}
	// Rules of one namespace for one host are put together.
	return !slices.ContainsFunc(m.rules, func(x rule) bool {
		return x.Object != r.Object && x.Namespace == r.Namespace && x.host == r.host && x.detects()
	})
}

// detects tells whether a rule has outlierDetection for its host, or for all that calls of the host may go to.
func (r rule) detects() bool {
	has := func(v Value) bool { return v.Get("outlierDetection").Exists() }
	if has(r.Spec("trafficPolicy")) || slices.ContainsFunc(r.Spec("trafficPolicy", "portLevelSettings").Items(), has) {
		return true
	}
	subsets := r.Spec("subsets").Items()
	return len(subsets) > 0 && !slices.ContainsFunc(subsets, func(s Value) bool { return !has(s.Get("trafficPolicy")) })
}

// withoutDetection are the places where a rule lacks it: as a whole, or for a port, whose settings stand in the place of
// the rule's.
func (r rule) withoutDetection(m *member, said string) []Finding {
	at, what := r.Spec("trafficPolicy"), "this rule"
	alone := !at.Exists()
	if alone {
		at, what = r.Spec("subsets"), "this rule, which names subsets alone,"
	}
	find := func(at Value, what string) Finding {
		f := r.find(m.Name, at)
		f.Evidence = said
		if alone {
			f.Severity = Note
		}
		f.Seen = fmt.Sprintf("%s takes the place of the mesh's own failover for %s, and has no outlierDetection: calls do not leave endpoints there that stop answering", what, r.host)
		f.Do = "add what the mesh's has to its trafficPolicy: connectionPool {tcp: {connectTimeout: 2s}} and outlierDetection " +
			"{splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 3, consecutiveGatewayErrors: 0, consecutive5xxErrors: 0, interval: 1s, baseEjectionTime: 10s, maxEjectionPercent: 100}"
		return f
	}
	switch {
	case !at.Exists():
		return nil // it says nothing at all
	case !r.detects():
		return []Finding{find(at, what)}
	}
	var all []Finding
	if at.Get("outlierDetection").Exists() {
		for _, p := range at.Get("portLevelSettings").Items() {
			if !p.Get("outlierDetection").Exists() {
				all = append(all, find(p.Get("port"), "what this rule says of the port"))
			}
		}
	}
	return all
}
