package analyze

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A call is a place in configuration that names a host which must exist.
type call struct {
	*member
	o    *Object
	v    Value
	fqdn string
	// rule is the route that it stands in, whose paths may name what was meant.
	rule Value
	// bare says that the place holds a name alone, the namespace standing elsewhere.
	bare bool
	// loose says that the host may be one that no Service has, and is doubted only if one is near.
	loose bool
}

// calls are the hosts that a cluster's configuration names: destinations, hosts of DestinationRules, and the hosts
// whose calls a VirtualService routes for sidecars.
func (w *World) calls(m *member) []call {
	var all []call
	for _, t := range m.targets {
		all = append(all, call{member: m, o: t.o, v: t.host, fqdn: t.fqdn, rule: t.rule, bare: t.o.Group == gatewayAPI})
	}
	for _, o := range m.all(networking, "DestinationRule") {
		h := o.Spec("host")
		all = append(all, call{member: m, o: o, v: h, fqdn: expand(h.Str(), o.Namespace)})
	}
	for _, o := range m.all(networking, "VirtualService") {
		if _, mesh := gatewaysOf(o); !mesh {
			continue
		}
		for _, h := range o.Spec("hosts").Items() {
			all = append(all, call{member: m, o: o, v: h, fqdn: expand(h.Str(), o.Namespace), loose: true})
		}
	}
	return all
}

// missingHost finds hosts that exist in no cluster.
func missingHost(w *World) []Finding {
	var all []Finding
	for _, m := range w.members {
		words := w.mentions(m)
		for _, c := range w.calls(m) {
			if c.fqdn == "" || strings.Contains(c.fqdn, "*") || len(w.lookup(c.fqdn)) > 0 || c.v.IsNull() {
				continue
			}
			if f, found := w.absent(c, words); found && (!c.loose || f.Fix != nil && !f.Fix.Guess) {
				all = append(all, f)
			}
		}
	}
	return all
}

// absent says what is known of a host that is not in the input.
func (w *World) absent(c call, words []mention) (Finding, bool) {
	f := c.o.find(c.Name, c.v)
	written := c.v.Str()
	name, ns, isService := split(c.fqdn)
	if !isService {
		return w.absentName(c, f)
	}
	if systemSpace(ns) && !w.whole() {
		return f, false
	}
	f.Seen = fmt.Sprintf("the host %s exists in no cluster", written)
	if w.knowsServices(ns) {
		names := map[string]*service{}
		for _, s := range w.inspace[ns] {
			names[s.Name] = s
		}
		f.Evidence = fmt.Sprintf("the Services of namespace %s that were read: %s", ns, strings.Join(few(slices.Sorted(maps.Keys(names)), 6), ", "))
		f.Do = "create the Service, or correct the name"
		if right, ok := near(name, slices.Collect(maps.Keys(names))); ok {
			f.Do = fmt.Sprintf("write %s: that is %s", c.rename(name, right), where(names[right].Object, names[right].Root.Get("metadata", "name")))
			f.Fix = c.o.replace(c.v, c.rename(name, right), false)
		} else if s := w.elsewhere(name, ns); s != nil && !c.bare {
			f.Do = fmt.Sprintf("there is one in namespace %s: write %s", s.Namespace, s.host)
			f.Fix = c.o.replace(c.v, s.host, true)
		} else if !w.whole() {
			f.Severity = Warning
		}
		return f, true
	}
	if s := w.elsewhere(name, ns); s != nil && !c.bare && len(nearest(ns, []string{s.Namespace})) > 0 {
		f.Evidence = "nothing of namespace " + ns + " was read"
		f.Do = fmt.Sprintf("write %s: that is %s", s.host, where(s.Object, s.Root.Get("metadata", "name")))
		f.Fix = c.o.replace(c.v, s.host, false)
		return f, true
	}
	return w.misspelt(c, f, words)
}

// rename writes the host as it is written, with another name at its beginning.
func (c call) rename(old, with string) string {
	return with + strings.TrimPrefix(c.v.Str(), old)
}

// systemSpace tells namespaces whose Services no files hold.
func systemSpace(ns string) bool {
	return ns == rootNamespace || strings.HasPrefix(ns, "kube-") || ns == "istio-ingress"
}

// elsewhere finds the one Service of a name in another namespace.
func (w *World) elsewhere(name, ns string) *service {
	var found *service
	for _, host := range w.hosts() {
		for _, s := range w.services[host] {
			if s.isEntry() || s.Name != name || s.Namespace == ns {
				continue
			}
			if found != nil && found.Namespace != s.Namespace {
				return nil
			}
			found = s
		}
	}
	return found
}

// absentName judges a host that is written with dots and is no full name of a Service.
func (w *World) absentName(c call, f Finding) (Finding, bool) {
	written := c.v.Str()
	name, rest, _ := strings.Cut(written, ".")
	ns := strings.TrimSuffix(rest, ".svc")
	if s := w.services[hostOf(name, ns)]; len(s) > 0 {
		f.Seen = fmt.Sprintf("the host %s exists in no cluster: Istio takes a name with a dot as it stands", written)
		f.Evidence = where(s[0].Object, s[0].Root.Get("metadata", "name"))
		f.Do = "write " + s[0].host
		f.Fix = c.o.replace(c.v, s[0].host, false)
		return f, true
	}
	var entries []string
	for _, host := range w.hosts() {
		if w.services[host][0].isEntry() || strings.HasSuffix(written, clusterDomain) {
			entries = append(entries, host)
		}
	}
	if right, ok := near(written, entries); ok {
		s := w.services[right][0]
		f.Seen = fmt.Sprintf("the host %s exists in no cluster", written)
		f.Evidence = where(s.Object, Value{})
		f.Do = "write " + right
		f.Fix = c.o.replace(c.v, right, false)
		return f, true
	}
	if !w.whole() {
		return f, false
	}
	f.Seen = fmt.Sprintf("no Service and no ServiceEntry of any cluster has the host %s", written)
	f.Do = "add a ServiceEntry for it"
	return f, true
}

// A mention is a name that somebody uses for a workload or service: evidence where no Service was read.
type mention struct {
	name, ns string
	o        *Object
	where    string
	// weak is a host that is called: two hosts with nearly one name are more often two than one.
	weak bool
}

// nameLabels are labels whose value is, by habit, the name of the service too.
var nameLabels = []string{"app", "app.kubernetes.io/name", "app.kubernetes.io/instance", "k8s-app", "service"}

// mentions are the names in a cluster's selectors and labels, and the hosts of its VirtualServices and
// DestinationRules.
func (w *World) mentions(m *member) []mention {
	var all []mention
	add := func(o *Object, v Value, labels Value) {
		for _, l := range nameLabels {
			if x := labels.Get(l); x.Str() != "" {
				all = append(all, mention{x.Str(), o.Namespace, o, fmt.Sprintf("%s has %s: %s", where(o, x), l, x.Str()), false})
			}
		}
	}
	for _, o := range m.Objects {
		for _, path := range [][]string{{"selector", "matchLabels"}, {"workloadSelector", "labels"}, {"selector"}, {"labels"}} {
			add(o, o.Spec(path...), o.Spec(path...))
		}
	}
	for _, ns := range slices.Sorted(maps.Keys(w.workloads)) {
		for _, x := range w.workloads[ns] {
			if x.cluster == m.Name && x.meta.Exists() {
				add(x.Object, x.meta.Get("labels"), x.meta.Get("labels"))
			}
		}
	}
	for _, c := range w.calls(m) {
		if name, ns, ok := split(c.fqdn); ok {
			all = append(all, mention{name, ns, c.o, where(c.o, c.v) + " names the host " + c.v.Str(), true})
		}
	}
	return all
}

// minMisspelt is the shortest name that is doubted on the ground of other names alone.
const minMisspelt = 6

// misspelt judges a host where no Service of its namespace was read, by the names that the same configuration uses
// elsewhere: one of them that is nearly the same, while this one occurs nowhere else, is likely what was meant.
func (w *World) misspelt(c call, f Finding, words []mention) (Finding, bool) {
	name, ns, _ := split(c.fqdn)
	if len(name) < minMisspelt {
		return f, false
	}
	evidence, strong := map[string][]string{}, []string{}
	say := func(n, why string) {
		if !slices.Contains(evidence[n], why) {
			evidence[n] = append(evidence[n], why)
		}
	}
	for _, x := range words {
		if x.ns != ns || x.o == c.o && x.name == name {
			continue
		}
		if x.name == name {
			return f, false
		}
		say(x.name, x.where)
		if !x.weak {
			strong = append(strong, x.name)
		}
	}
	for _, match := range c.rule.Get("match").Items() {
		for _, how := range []string{"exact", "prefix"} {
			uri := match.Get("uri", how)
			segment, _, _ := strings.Cut(strings.TrimPrefix(uri.Str(), "/"), "/")
			if segment == name {
				return f, false
			}
			if segment != "" {
				strong = append(strong, segment)
				say(segment, fmt.Sprintf("the same route takes the path %s", uri.Str()))
			}
		}
	}
	right, ok := near(name, strong)
	if !ok {
		return f, false
	}
	f.Severity = Warning
	if len(evidence[right]) > 1 {
		f.Severity = Error
	}
	f.Seen = fmt.Sprintf("the host %s occurs nowhere else; %s does", c.v.Str(), right)
	f.Evidence = strings.Join(few(evidence[right], 3), "; ") + "; no Service of namespace " + ns + " was read"
	f.Do = "write " + c.rename(name, right)
	f.Fix = c.o.replace(c.v, c.rename(name, right), len(evidence[right]) < 2)
	return f, true
}
