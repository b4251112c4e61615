package analyze

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// An intent is a sign that a workload calls a host.
type intent struct {
	from *workload
	host string
	// sign is what shows it; certain where the workload itself says so, and not only a policy that would let it in.
	sign    string
	certain bool
}

// address finds host names in settings: in URLs, before a port, and full names of Services.
var address = regexp.MustCompile(`(?:[a-z][a-z0-9+.-]*://)(?:[^/@\s]*@)?([a-z0-9][-a-z0-9.]*)|(?:^|[\s=,;])([a-z0-9][-a-z0-9.]*):[0-9]+\b|\b([a-z0-9][-a-z0-9]*\.[a-z0-9][-a-z0-9]*\.svc(?:\.cluster\.local)?)\b`)

// intents are the calls that a cluster's workloads are known to make: hosts in their environment, arguments and
// commands, and callers that an ALLOW policy of any cluster names.
func (w *World) intents(m *member) []intent {
	if w.known == nil {
		w.known = w.allIntents()
	}
	return w.known[m.Name]
}

func (w *World) allIntents() map[string][]intent {
	var all []intent
	callers := map[string][]*workload{}
	for _, x := range w.anyOf("") {
		if x.pod.Exists() {
			all = append(all, w.settings(x)...)
			callers[x.Namespace+"/"+x.account] = append(callers[x.Namespace+"/"+x.account], x)
		}
	}
	w.each(security, "AuthorizationPolicy", func(_ *member, o *Object) {
		if action := o.Spec("action").Str(); action == "" || action == "ALLOW" {
			all = append(all, w.allowed(o, callers)...)
		}
	})
	slices.SortStableFunc(all, func(a, b intent) int {
		return cmp.Or(strings.Compare(a.host, b.host), strings.Compare(a.sign, b.sign), a.from.Ref.Compare(b.from.Ref))
	})
	by := map[string][]intent{}
	for _, i := range all {
		by[i.from.cluster] = append(by[i.from.cluster], i)
	}
	return by
}

// settings are the hosts in a workload's own settings.
func (w *World) settings(x *workload) []intent {
	var all []intent
	look := func(v Value) {
		for _, found := range address.FindAllStringSubmatch(v.Str(), -1) {
			host := found[1] + found[2] + found[3]
			for _, full := range []string{expand(host, x.Namespace), host + "." + clusterDomain, strings.TrimSuffix(host, ".svc") + "." + clusterDomain} {
				if len(w.services[full]) > 0 {
					all = append(all, intent{x, full, where(x.Object, v) + " has " + v.Str(), true})
					break
				}
			}
		}
	}
	containers := append(x.pod.Get("containers").Items(), x.pod.Get("initContainers").Items()...)
	for _, c := range containers {
		for _, e := range c.Get("env").Items() {
			look(e.Get("value"))
		}
		for _, v := range append(c.Get("args").Items(), c.Get("command").Items()...) {
			look(v)
		}
	}
	return all
}

// allowed are the callers that an ALLOW policy names, with the services of the workloads that it protects.
func (w *World) allowed(o *Object, callers map[string][]*workload) []intent {
	selector := o.Spec("selector", "matchLabels").Map()
	if len(selector) == 0 {
		return nil
	}
	var hosts []string
	protected := w.selected(o.Namespace, selector)
	for _, s := range w.inspace[o.Namespace] {
		if len(s.selector) > 0 && slices.ContainsFunc(protected, func(x *workload) bool { return matches(s.selector, x.labels) }) {
			hosts = append(hosts, s.host)
		}
	}
	slices.Sort(hosts)
	var all []intent
	for _, host := range slices.Compact(hosts) {
		for _, r := range o.Spec("rules").Items() {
			for _, from := range r.Get("from").Items() {
				for _, v := range from.Get("source", "principals").Items() {
					i, ok := readIdentity(v.Str())
					if !ok || i.ns == "" || i.account == "" {
						continue
					}
					for _, x := range callers[i.ns+"/"+i.account] {
						all = append(all, intent{x, host, where(o, v) + " lets it in", false})
					}
				}
			}
		}
	}
	return all
}

// sidecarOf is the Sidecar that holds for a workload: one that selects it, else its namespace's, else the mesh's
// (Sidecar's reference).
func (m *member) sidecarOf(x *workload) *Object {
	var found *Object
	best := 0
	for _, o := range m.all(networking, "Sidecar") {
		selector := o.Spec("workloadSelector", "labels").Map()
		rank := 0
		switch {
		case o.Namespace == x.Namespace && len(selector) > 0 && matches(selector, x.labels):
			rank = 3
		case o.Namespace == x.Namespace && len(selector) == 0:
			rank = 2
		case o.Namespace == rootNamespace && len(selector) == 0:
			rank = 1
		}
		if rank > best {
			found, best = o, rank
		}
	}
	return found
}

// shows tells whether a Sidecar lets its workloads see a host. One without egress shows everything.
func shows(sidecar *Object, own, host string) bool {
	egress := sidecar.Spec("egress").Items()
	if len(egress) == 0 {
		return true
	}
	_, ns, isService := split(host)
	for _, e := range egress {
		for _, h := range e.Get("hosts").Strings() {
			space, name, ok := strings.Cut(h, "/")
			if !ok {
				continue
			}
			if space == "." {
				space = own
			}
			if (space == "*" || space == ns || !isService) && space != "~" && (name == host || name == "*" || under(host, name)) {
				return true
			}
		}
	}
	return false
}

// outsideSidecar finds hosts that a workload calls and its Sidecar does not show.
func (w *World) outsideSidecar(m *member) []Finding {
	if len(m.all(networking, "Sidecar")) == 0 {
		return nil
	}
	var all []Finding
	done := map[string]bool{}
	for _, i := range w.intents(m) {
		o := m.sidecarOf(i.from)
		if o == nil || shows(o, i.from.Namespace, i.host) || w.routed(m, o, i) {
			continue
		}
		key := o.Ref.String() + i.from.Ref.String() + i.host
		if done[key] {
			continue
		}
		done[key] = true
		f := o.find(m.Name, o.Spec("egress"))
		_, ns, _ := split(i.host)
		f.Seen = fmt.Sprintf("%s calls %s, and this Sidecar hides it: its proxy does not know the host, so the call goes out without mutual TLS or not at all", i.from.Ref, i.host)
		f.Evidence = i.sign
		f.Do = fmt.Sprintf("add %s/%s to hosts", ns, i.host)
		if !i.certain {
			f.Severity = Warning
		}
		all = append(all, f)
	}
	return all
}

// routed tells whether a VirtualService that the Sidecar shows sends calls on to the host: Istio then makes the
// host known (pilot/pkg/model/sidecar.go, destinations of virtual services).
func (w *World) routed(m *member, sidecar *Object, i intent) bool {
	for _, t := range m.targets {
		if t.fqdn != i.host || t.o.Kind != "VirtualService" {
			continue
		}
		for _, h := range t.o.Spec("hosts").Strings() {
			if host := expand(h, t.o.Namespace); host != i.host && shows(sidecar, i.from.Namespace, host) {
				return true
			}
		}
	}
	return false
}
