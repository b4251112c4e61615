package explain

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// route: which table, virtual host and route take the call, and where do they lead?
func (j *judge) route() (Hop, bool) {
	s := j.from()
	if s.Err != "" || s.Caller == nil || !s.Caller.Sidecar || s.CallerProxy == nil || s.CallerProxy.Err != "" {
		return Hop{}, false
	}
	h := hop("route", s.Cluster, "")
	service := s.service(j.Call.Host)
	protocol := "detected"
	if service != nil && service.port(j.Call.Port) != nil {
		protocol = protocolOf(*service.port(j.Call.Port))
	}
	if !speaksHTTP(protocol) {
		return j.tcpRoute(h, s, protocol), true
	}
	vh, table := s.CallerProxy.virtualHost(j.Call.Host, j.Call.Port)
	if vh == nil {
		return j.hidden(h, s, service), true
	}
	h = h.with("route table %s, virtual host %s", table, vh.Name)
	r, ok := pick(vh.Routes, j.Call)
	if !ok {
		virtual := "VirtualService"
		for _, r := range vh.Routes {
			if r.Config != "" {
				virtual = "VirtualService " + r.Config
			}
		}
		h.Seen = "no route takes the call"
		return h.broken("no-route", "add a route without match as the last one of "+virtual, "%s in %s has no route that takes %s %s: its proxy answers 404",
			virtual, s.Cluster, j.Call.Method, j.Call.Path), true
	}
	return j.follow(h, s, r), true
}

// follow goes where a route leads.
func (j *judge) follow(h Hop, s *Site, r Route) Hop {
	by := "VirtualService none"
	if r.Config != "" {
		j.virtual = r.Config
		by = "VirtualService " + r.Config
		if r.Name != "" {
			by += fmt.Sprintf(" (route %s)", r.Name)
		}
	}
	h = h.with("%s", by)
	if r.Abort != nil && r.Abort.Percent >= 100 {
		h.Seen = fmt.Sprintf("answers %d on purpose", r.Abort.Status)
		return h.broken("fault-injected", "take fault.abort out of VirtualService "+r.Config, "VirtualService %s in %s answers every such call with %d (fault.abort)",
			r.Config, s.Cluster, r.Abort.Status)
	}
	if r.Direct != 0 {
		h.Seen = fmt.Sprintf("answers %d itself", r.Direct)
		j.decided = false
		return h.broken("fault-injected", "change the route in VirtualService "+r.Config, "VirtualService %s in %s answers %d itself (redirect or directResponse)", r.Config, s.Cluster, r.Direct)
	}
	if len(r.To) == 0 {
		return h.unknown("the route leads to a cluster that the call's headers name")
	}
	best := slices.MaxFunc(r.To, func(a, b Weight) int { return a.Percent - b.Percent })
	for _, w := range r.To {
		h = h.with("%d %% → %s", w.Percent, w.Cluster)
	}
	// A destination that does not exist fails its share of calls, so it is named before the one that does.
	for _, w := range r.To {
		if !s.CallerProxy.knows(w.Cluster) && w.Percent > 0 {
			best = w
		}
	}
	h.Seen = best.Cluster
	return j.settle(h, s, best.Cluster)
}

// settle checks that the proxy has the cluster that a route leads to, and says why it does not.
func (j *judge) settle(h Hop, s *Site, cluster string) Hop {
	if s.CallerProxy.knows(cluster) {
		j.target, j.decided = cluster, true
		if rule := s.CallerProxy.Clusters[cluster].Rule; rule != "" {
			h = h.with("DestinationRule %s", rule)
		}
		return h
	}
	u, ok := parseUpstream(cluster)
	if !ok {
		return h.broken("route-host-missing", "correct the destination in VirtualService "+j.virtual, "VirtualService %s in %s leads to %s, which its proxy does not have", j.virtual, s.Cluster, cluster)
	}
	virtual := "VirtualService " + j.virtual
	base := u.base().String()
	switch {
	case u.subset != "" && s.CallerProxy.knows(base):
		mend := fmt.Sprintf("define subset %s in a DestinationRule for %s in %s, or correct it in %s", u.subset, u.host, s.Cluster, virtual)
		return h.broken("subset-missing", mend, "%s in %s leads to subset %s of %s, which no DestinationRule there defines%s", virtual, s.Cluster, u.subset, u.host, j.subsets(s, u.host))
	case j.hostKnown(s, u.host):
		return h.broken("route-port-missing", "correct the port in "+virtual, "%s in %s leads to port %d of %s, which has no such port", virtual, s.Cluster, u.port, u.host)
	}
	return h.broken("route-host-missing", "correct the destination's host in "+virtual, "%s in %s leads to %s, and no cluster has a Service or ServiceEntry of that name", virtual, s.Cluster, u.host)
}

// hostKnown tells whether a proxy knows a host on any port.
func (j *judge) hostKnown(s *Site, host string) bool {
	for name := range s.CallerProxy.Clusters {
		if u, ok := parseUpstream(name); ok && u.direction == "outbound" && u.host == host {
			return true
		}
	}
	return false
}

// subsets are the subsets that are defined, as a hint.
func (j *judge) subsets(s *Site, host string) string {
	var have []string
	for name := range s.CallerProxy.Clusters {
		if u, ok := parseUpstream(name); ok && u.host == host && u.subset != "" {
			have = append(have, u.subset)
		}
	}
	slices.Sort(have)
	if have = slices.Compact(have); len(have) == 0 {
		return ""
	}
	return " (there are: " + strings.Join(have, ", ") + ")"
}

func (j *judge) tcpRoute(h Hop, s *Site, protocol string) Hop {
	cluster, listener := s.CallerProxy.tcp(j.Call.Host, j.Call.Port)
	if cluster == "" {
		return j.hidden(h, s, s.service(j.Call.Host))
	}
	h.Seen = cluster
	h = h.with("port %d speaks %s: listener %s; methods, paths and headers do not count", j.Call.Port, protocol, listener)
	return j.settle(h, s, cluster)
}

// hidden says why a proxy has no route to a host.
func (j *judge) hidden(h Hop, s *Site, service *Service) Hop {
	h.Seen = "the proxy knows no such host"
	caller := s.Caller
	if u := sidecarOf(s, caller); u != nil && !egressHas(u, j.To.Namespace, j.Call.Host, caller.Namespace) {
		mend := fmt.Sprintf("add \"%s/%s\" to spec.egress[].hosts of Sidecar %s", j.To.Namespace, j.Call.Host, name(u))
		return h.with("Sidecar %s", name(u)).broken("sidecar-hides-host", mend, "Sidecar %s in %s leaves %s out of its egress hosts: the call passes round the mesh",
			name(u), s.Cluster, j.Call.Host)
	}
	if service != nil && service.ExportTo != "" && !exported(service.ExportTo, service.Namespace, caller.Namespace) {
		return h.broken("export-hides-host", s.kubectl("annotate service -n %s %s networking.istio.io/exportTo-", service.Namespace, service.Name),
			"Service %s/%s in %s is exported to %q alone, and the caller is in %s", service.Namespace, service.Name, s.Cluster, service.ExportTo, caller.Namespace)
	}
	return h.broken("proxy-unaware", "isthmus status", "the caller's proxy in %s has no route to %s on port %d", s.Cluster, j.Call.Host, j.Call.Port)
}

// sidecarOf is the Sidecar that narrows what a pod's proxy knows: one that selects it, its namespace's, the mesh's.
func sidecarOf(s *Site, p *Pod) *unstructured.Unstructured {
	var space, mesh *unstructured.Unstructured
	for _, u := range s.kind("Sidecar") {
		selector, _, _ := unstructured.NestedStringMap(u.Object, "spec", "workloadSelector", "labels") // of another type: none
		switch {
		case u.GetNamespace() == p.Namespace && len(selector) > 0:
			if selects(u, p.Labels, "spec", "workloadSelector", "labels") {
				return u
			}
		case u.GetNamespace() == p.Namespace:
			space = u
		case u.GetNamespace() == rootNamespace && len(selector) == 0:
			mesh = u
		}
	}
	if space != nil {
		return space
	}
	return mesh
}

// egressHas tells whether a Sidecar's egress has a host: "namespace/host", each with wildcards, "." for its own.
func egressHas(u *unstructured.Unstructured, namespace, host, own string) bool {
	egress := list(u, "spec", "egress")
	if len(egress) == 0 {
		return true
	}
	for _, e := range egress {
		m, _ := e.(map[string]any)
		for _, h := range words(m, "hosts") {
			ns, pattern, ok := strings.Cut(h, "/")
			if !ok {
				continue
			}
			if (ns == "*" || ns == namespace || ns == "." && own == namespace) && domainMatches(pattern, host) {
				return true
			}
		}
	}
	return false
}

func domainMatches(pattern, host string) bool {
	if rest, ok := strings.CutPrefix(pattern, "*"); ok {
		return strings.HasSuffix(host, rest)
	}
	return pattern == host
}

// exported reads a list as networking.istio.io/exportTo has it.
func exported(to, own, caller string) bool {
	for part := range strings.SplitSeq(to, ",") {
		switch part = strings.TrimSpace(part); {
		case part == "*", part == caller, part == "." && own == caller:
			return true
		}
	}
	return false
}

// pick is the first route that takes a call, as a proxy picks.
func pick(routes []Route, c Call) (Route, bool) {
	i := slices.IndexFunc(routes, func(r Route) bool { return r.Match.takes(c) })
	if i < 0 {
		return Route{}, false
	}
	return routes[i], true
}

// takes tells whether a match fits a call. Query parameters are part of the path that was given.
func (m Match) takes(c Call) bool {
	path, query, _ := strings.Cut(c.Path, "?")
	switch {
	case m.Query && query == "",
		m.Exact != "" && path != m.Exact,
		m.Prefix != "" && !strings.HasPrefix(path, m.Prefix),
		m.Regex != "" && !fully(m.Regex, path):
		return false
	}
	return !slices.ContainsFunc(m.Headers, func(h HeaderMatch) bool { return h.takes(c) == h.Invert })
}

func (h HeaderMatch) takes(c Call) bool {
	var value string
	have := true
	switch h.Name {
	case ":method":
		value = c.Method
	case ":path":
		value = c.Path
	case ":authority":
		value = c.Host
	case ":scheme":
		value = "http"
	default:
		value, have = c.Headers[h.Name]
	}
	switch {
	case h.Present != nil:
		return have == *h.Present
	case !have:
		return false
	case h.Exact != "":
		return value == h.Exact
	case h.Prefix != "":
		return strings.HasPrefix(value, h.Prefix)
	case h.Suffix != "":
		return strings.HasSuffix(value, h.Suffix)
	case h.Contains != "":
		return strings.Contains(value, h.Contains)
	case h.Regexp != "":
		return fully(h.Regexp, value)
	}
	return value == ""
}

// fully tells whether an expression fits the whole of a text, as Envoy takes it.
func fully(expression, text string) bool {
	re, err := regexp.Compile("^(?:" + expression + ")$")
	return err == nil && re.MatchString(text)
}
