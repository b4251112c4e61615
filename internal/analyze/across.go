package analyze

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// shared are the kinds that say how the mesh behaves, and so should say the same in every primary. What describes
// one cluster's own machines is not among them.
var shared = []string{
	networking + "/VirtualService", networking + "/DestinationRule", networking + "/ServiceEntry", networking + "/Gateway",
	networking + "/Sidecar", networking + "/ProxyConfig", security + "/AuthorizationPolicy", security + "/PeerAuthentication",
	security + "/RequestAuthentication", telemetry + "/Telemetry", gatewayAPI + "/HTTPRoute", gatewayAPI + "/GRPCRoute",
}

// twin pairs an object with the one of the same name in the first cluster that has it.
func (w *World) twins(kind string, do func(first *member, a *Object, m *member, b *Object)) {
	type seen struct {
		m *member
		o *Object
	}
	group, name, _ := strings.Cut(kind, "/")
	first := map[string]seen{}
	w.each(group, name, func(m *member, o *Object) {
		key := o.Namespace + "/" + o.Name
		s, have := first[key]
		switch {
		case !have:
			first[key] = seen{m, o}
		case s.m != m && s.o != o:
			do(s.m, s.o, m, o)
		}
	})
}

// differs finds configuration that has one name and two contents.
func differs(w *World) []Finding {
	var all []Finding
	for _, kind := range shared {
		w.twins(kind, func(first *member, a *Object, m *member, b *Object) {
			path, va, vb, same := compare(a.Spec(), b.Spec(), "spec")
			if same {
				return
			}
			f := b.find(m.Name, vb)
			f.Clusters = []string{first.Name, m.Name}
			f.Seen = fmt.Sprintf("%s is not the same in %s and %s: %s is %s in %s and %s in %s", b.Ref, first.Name, m.Name, path, brief(va), first.Name, brief(vb), m.Name)
			f.Evidence = where(a, va)
			f.Do = "keep one file for both clusters; if the difference is meant, say so: annotation galley.istio.io/analyze-suppress: ANA040"
			all = append(all, f)
		})
	}
	return all
}

// compare finds the first place where two values differ, in the order of the first.
func compare(a, b Value, path string) (at string, va, vb Value, same bool) {
	if reflect.DeepEqual(a.Plain(), b.Plain()) {
		return "", a, b, true
	}
	fa, fb := a.Fields(), b.Fields()
	if len(fa) > 0 && len(fb) > 0 {
		for _, f := range fa {
			other := b.Get(f.Key)
			if p, x, y, same := compare(f.Value, other, path+"."+f.Key); !same {
				if !other.Exists() {
					return p, x, Value{node: b.node, key: b.key}, false
				}
				return p, x, y, false
			}
		}
		for _, f := range fb {
			if !a.Get(f.Key).Exists() {
				return path + "." + f.Key, Value{}, f.Value, false
			}
		}
	}
	ia, ib := a.Items(), b.Items()
	for i := range min(len(ia), len(ib)) {
		if p, x, y, same := compare(ia[i], ib[i], fmt.Sprintf("%s[%d]", path, i)); !same {
			return p, x, y, false
		}
	}
	return path, a, b, false
}

func brief(v Value) string {
	switch x := v.Plain().(type) {
	case nil:
		return "not there"
	case map[string]any:
		return "another map"
	case []any:
		return fmt.Sprintf("a list of %d", len(x))
	default:
		return fmt.Sprint(x)
	}
}

// localService tells a Service that every cluster has for itself.
func localService(s *service) bool {
	return s.isEntry() || systemSpace(s.Namespace) || s.Namespace == "default" && s.Name == "kubernetes"
}

// serviceDiffers finds Services that are one to the mesh, having one name, and differ where callers notice.
func serviceDiffers(w *World) []Finding {
	var all []Finding
	for _, host := range w.hosts() {
		list := slices.DeleteFunc(slices.Clone(w.services[host]), localService)
		for _, s := range list[min(1, len(list)):] {
			first := list[0]
			if s.Object == first.Object || s.cluster == first.cluster {
				continue
			}
			all = append(all, first.against(s)...)
		}
	}
	return all
}

func (s *service) against(o *service) []Finding {
	var all []Finding
	say := func(severity Severity, v Value, seen, do string) {
		f := o.find(o.cluster, v)
		f.Clusters = []string{s.cluster, o.cluster}
		f.Severity, f.Seen, f.Do = severity, seen, do
		f.Evidence = where(s.Object, s.Spec())
		all = append(all, f)
	}
	if a, b := portsText(s.ports), portsText(o.ports); a != b {
		say(Error, o.Spec("ports"), fmt.Sprintf("%s has the ports %s in %s and %s in %s: the mesh takes both for one service", s.host, a, s.cluster, b, o.cluster), "give both the same ports, with the same names")
	}
	headless := func(x *service) bool { return x.Spec("clusterIP").Str() == "None" }
	if headless(s) != headless(o) {
		say(Error, o.Spec("clusterIP"), fmt.Sprintf("%s is headless in one of %s and %s and not in the other", s.host, s.cluster, o.cluster), "make both the same")
	} else if (s.Spec("type").Str() == "ExternalName") != (o.Spec("type").Str() == "ExternalName") {
		say(Error, o.Spec("type"), fmt.Sprintf("%s is an ExternalName in one of %s and %s and not in the other", s.host, s.cluster, o.cluster), "make both the same")
	}
	if len(s.selector) > 0 && len(o.selector) > 0 && !maps.Equal(s.selector, o.selector) {
		say(Warning, o.Spec("selector").First(), fmt.Sprintf("%s chooses %s in %s and %s in %s: are these the same workloads?", s.host, selectorText(s.selector), s.cluster, selectorText(o.selector), o.cluster), "give both the same selector, or the services different names")
	}
	return all
}

func portsText(ports []port) string {
	parts := make([]string, len(ports))
	for i, p := range ports {
		parts[i] = fmt.Sprintf("%d %s", p.number, p.name)
		if p.proto != "" && p.proto != protocolOf(p.name, "") {
			parts[i] += " (" + p.proto + ")"
		}
		if udp := p.Get("protocol").Str(); udp != "" && udp != "TCP" {
			parts[i] += " " + udp
		}
		parts[i] = strings.TrimSpace(parts[i])
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// injectionDiffers finds namespaces whose pods are in the mesh in some clusters only.
func injectionDiffers(w *World) []Finding {
	var all []Finding
	with, without := map[string]*member{}, map[string][]*member{}
	w.each("", "Namespace", func(m *member, o *Object) {
		if systemSpace(o.Name) {
			return
		}
		if meshed(o) == hasProxy {
			if with[o.Name] == nil {
				with[o.Name] = m
			}
		} else {
			without[o.Name] = append(without[o.Name], m)
		}
	})
	for _, name := range slices.Sorted(maps.Keys(without)) {
		in := with[name]
		if in == nil {
			continue
		}
		for _, m := range without[name] {
			o := m.namespace(name)
			f := o.find(m.Name, o.Root.Get("metadata", "name"))
			f.Clusters = []string{in.Name, m.Name}
			f.Seen = fmt.Sprintf("namespace %s is in the mesh in %s and not in %s: there its pods have no identity, and calls from and to them are plain text", name, in.Name, m.Name)
			f.Evidence = where(in.namespace(name), in.namespace(name).Root.Get("metadata", "labels"))
			f.Do = "label it in " + m.Name + " too: " + injectionLabel(in.namespace(name))
			all = append(all, f)
		}
	}
	return all
}

func injectionLabel(ns *Object) string {
	l := ns.Labels()
	for _, k := range []string{"istio-injection", "istio.io/rev", "istio.io/dataplane-mode"} {
		if l[k] != "" {
			return k + ": " + l[k]
		}
	}
	return "istio-injection: enabled"
}

// noLocalName finds services that a workload of another cluster calls by a name which that cluster's DNS has not.
func noLocalName(w *World) []Finding {
	var all []Finding
	for _, m := range w.members {
		if m.dnsCapture() || !w.knowsCluster(m) {
			continue
		}
		done := map[string]bool{}
		for _, i := range w.intents(m) {
			if !i.certain || done[i.host] || w.runsIn(i.host, m.Name) {
				continue
			}
			s := w.services[i.host][0]
			if s.isEntry() {
				continue
			}
			done[i.host] = true
			all = append(all, w.nxdomain(m, s, s.Root.Get("metadata", "name"), fmt.Sprintf("%s in %s", i.sign, m.Name)))
		}
		w.each(multiGroup, "ServiceExport", func(from *member, o *Object) {
			host := hostOf(o.Name, o.Namespace)
			if from == m || done[host] || len(w.services[host]) == 0 || w.runsIn(host, m.Name) || m.imports(o) {
				return
			}
			done[host] = true
			all = append(all, w.nxdomain(m, &service{Object: o, cluster: from.Name, host: host}, o.Root.Get("metadata", "name"), "it is exported by "+from.Name))
		})
	}
	return all
}

// imports tells whether a cluster has a ServiceImport for an export.
func (m *member) imports(o *Object) bool {
	return slices.ContainsFunc(m.all(multiGroup, "ServiceImport"), func(i *Object) bool { return i.Name == o.Name && i.Namespace == o.Namespace })
}

// knowsCluster tells whether the input shows what namespaces and Services a cluster has.
func (w *World) knowsCluster(m *member) bool {
	return m.Whole || len(m.all("", "Namespace")) > 0 || len(m.all("", "Service")) > 0
}

func (w *World) nxdomain(m *member, s *service, v Value, evidence string) Finding {
	f := s.find(s.cluster, v)
	f.Clusters = []string{m.Name}
	missing := "Service"
	if m.namespace(s.Namespace) == nil {
		missing = "namespace " + s.Namespace + " and Service"
	}
	f.Seen = fmt.Sprintf("%s has no %s %s: its DNS answers NXDOMAIN for %s, and callers there never reach their proxy", m.Name, missing, s.Name, s.host)
	f.Evidence = evidence
	if m.Whole {
		f.Severity = Error
	}
	f.Do = fmt.Sprintf("create the namespace and the Service in %s too (without pods), or let proxies answer DNS: ISTIO_META_DNS_CAPTURE", m.Name)
	return f
}

// policyMissing finds policies that protect workloads in one cluster while the same workloads run in another
// without them.
func policyMissing(w *World) []Finding {
	var all []Finding
	for _, kind := range []string{"AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication"} {
		w.each(security, kind, func(m *member, o *Object) {
			selector := o.Spec("selector", "matchLabels").Map()
			if o.Namespace == rootNamespace || len(selector) == 0 {
				return
			}
			for _, other := range w.members {
				if other == m || slices.ContainsFunc(other.all(security, kind), func(x *Object) bool { return x.Namespace == o.Namespace }) {
					continue
				}
				pods := slices.DeleteFunc(w.selected(o.Namespace, selector), func(x *workload) bool { return x.cluster != other.Name })
				if len(pods) == 0 || len(other.all(security, kind)) == 0 && !other.Whole && !w.anyConfig(other) {
					continue
				}
				f := o.find(m.Name, o.Root.Get("metadata", "name"))
				f.Clusters = []string{m.Name, other.Name}
				f.Seen = fmt.Sprintf("%s protects %s in %s, and %s runs it too without any %s", o.Ref, selectorText(selector), m.Name, other.Name, kind)
				f.Evidence = where(pods[0].Object, pods[0].meta.Get("labels"))
				f.Do = "apply it in " + other.Name + " too"
				all = append(all, f)
			}
		})
	}
	return all
}

// anyConfig tells whether any configuration of the mesh was read of a cluster: if none was, it may live elsewhere.
func (w *World) anyConfig(m *member) bool { return slices.ContainsFunc(m.Objects, IsConfig) }
