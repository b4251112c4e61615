package analyze

import (
	"fmt"
	"slices"
)

// silentFailover finds failover and locality preferences without outlier detection: Istio accepts and ignores them
// (istio.io: locality load balancing; pilot/pkg/networking/core/loadbalancer).
func silentFailover(w *World) []Finding {
	var all []Finding
	w.each(networking, "DestinationRule", func(m *member, o *Object) {
		top := o.Spec("trafficPolicy")
		all = append(all, judgePolicy(m, o, top, Value{})...)
		for _, s := range o.Spec("subsets").Items() {
			all = append(all, judgePolicy(m, o, s.Get("trafficPolicy"), top)...)
		}
	})
	return all
}

func judgePolicy(m *member, o *Object, policy, above Value) []Finding {
	var all []Finding
	judge := func(level Value, detects bool) {
		setting := level.Get("loadBalancer", "localityLbSetting")
		wants := Value{}
		for _, name := range []string{"failover", "failoverPriority"} {
			if v := setting.Get(name); len(v.Items()) > 0 {
				wants = v
			}
		}
		if !wants.Exists() && setting.Get("enabled").Str() == "true" && len(setting.Get("distribute").Items()) == 0 {
			wants = setting
		}
		if !wants.Exists() || setting.Get("enabled").Str() == "false" || detects {
			return
		}
		f := o.find(m.Name, Value{node: wants.key})
		f.Seen = fmt.Sprintf("%s without outlierDetection: Istio knows no endpoint as bad and never fails over", wants.key.Value)
		f.Do = "add outlierDetection beside it, such as {consecutive5xxErrors: 3, interval: 5s, baseEjectionTime: 30s}"
		all = append(all, f)
	}
	top := policy.Get("outlierDetection").Exists() || above.Get("outlierDetection").Exists()
	judge(policy, top)
	for _, p := range policy.Get("portLevelSettings").Items() {
		judge(p, p.Get("outlierDetection").Exists())
	}
	return all
}

// hiddenHost finds hosts that a caller calls and may not see.
func hiddenHost(w *World) []Finding {
	var all []Finding
	for _, m := range w.members {
		all = append(all, w.notExported(m)...)
		all = append(all, w.outsideSidecar(m)...)
	}
	return all
}

// viewers are the namespaces whose proxies run a route: its own for sidecars, those of the gateways that were read
// for gateways.
func (w *World) viewers(m *member, o *Object) []string {
	if o.Group == gatewayAPI {
		return nil
	}
	var spaces []string
	names, mesh := gatewaysOf(o)
	if mesh {
		spaces = append(spaces, o.Namespace)
	}
	for _, v := range names {
		for _, g := range m.gatewayNamed(o, v.Str()) {
			for _, x := range w.gatewayPods(m.Name, g) {
				spaces = append(spaces, x.Namespace)
			}
		}
	}
	slices.Sort(spaces)
	return slices.Compact(spaces)
}

// notExported finds routes to services, and uses of subsets, that are not exported to where the route runs.
func (w *World) notExported(m *member) []Finding {
	var all []Finding
	for _, t := range m.targets {
		found := w.lookup(t.fqdn)
		for _, from := range w.viewers(m, t.o) {
			if len(found) > 0 && !slices.ContainsFunc(found, func(s *service) bool { return visible(s.exportTo, s.Namespace, from) }) {
				f := t.o.find(m.Name, t.host)
				f.Seen = fmt.Sprintf("%s is not exported to namespace %s, whose proxies run this route: they do not know the host", t.host.Str(), from)
				at := found[0].Spec("exportTo")
				if !found[0].isEntry() {
					at = found[0].Root.Get("metadata", "annotations", "networking.istio.io/exportTo")
				}
				f.Evidence = where(found[0].Object, at)
				f.Do = fmt.Sprintf("add %s to exportTo there", from)
				all = append(all, f)
				break
			}
			if f, hidden := w.hiddenSubset(m, t, from); hidden {
				all = append(all, f)
				break
			}
		}
	}
	return all
}

func (w *World) hiddenSubset(m *member, t target, from string) (Finding, bool) {
	subset := t.subset.Str()
	if subset == "" {
		return Finding{}, false
	}
	var hides *Object
	for _, r := range m.rules {
		if !r.of(t.fqdn) || !slices.Contains(r.subsets(), subset) {
			continue
		}
		if visible(r.Spec("exportTo").Strings(), r.Namespace, from) {
			return Finding{}, false
		}
		hides = r.Object
	}
	if hides == nil {
		return Finding{}, false
	}
	f := t.o.find(m.Name, t.subset)
	f.Seen = fmt.Sprintf("the subset %s is not exported to namespace %s, whose proxies run this route: every call to it is answered with 503", subset, from)
	f.Evidence = where(hides, hides.Spec("exportTo"))
	f.Do = fmt.Sprintf("add %s to exportTo there", from)
	return f, true
}
