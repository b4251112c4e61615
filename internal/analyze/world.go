package analyze

import (
	"maps"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"isthmus.dev/isthmus/internal/object"
)

// API groups.
const (
	networking = "networking.istio.io"
	security   = "security.istio.io"
	telemetry  = "telemetry.istio.io"
	extensions = "extensions.istio.io"
	gatewayAPI = "gateway.networking.k8s.io"
	multiGroup = "multicluster.x-k8s.io"
)

// rootNamespace is where Istio's mesh-wide configuration lives (meshConfig.rootNamespace's default).
const rootNamespace = object.IstioNamespace

// A World is an input with what follows from it looked up once: services, workloads, identities. Analysers ask it
// and do not change it.
type World struct {
	Input
	members   []*member
	services  map[string][]*service  // host → one for each cluster that has it
	inspace   map[string][]*service  // namespace → Kubernetes Services
	wild      []*service             // ServiceEntries for *.domain
	workloads map[string][]*workload // namespace →
	labelled  map[labelled][]*workload
	trust     trust
	known     map[string][]intent // by the caller's cluster; see intents
}

// labelled is a label in a namespace; "" is every namespace.
type labelled struct{ ns, key, value string }

// A member is a cluster with its objects by group and kind.
type member struct {
	*Cluster
	kinds   map[string][]*Object
	rules   []rule   // its DestinationRules
	targets []target // where its routes end
}

// all are a cluster's objects of one kind.
func (m *member) all(group, kind string) []*Object { return m.kinds[group+"/"+kind] }

// namespace finds a Namespace object; nil where the input holds none of that name.
func (m *member) namespace(name string) *Object {
	for _, o := range m.all("", "Namespace") {
		if o.Name == name {
			return o
		}
	}
	return nil
}

func newWorld(in Input) *World {
	w := &World{Input: in, services: map[string][]*service{}, inspace: map[string][]*service{}, workloads: map[string][]*workload{}, labelled: map[labelled][]*workload{}}
	for i := range in.Clusters {
		m := &member{Cluster: &in.Clusters[i], kinds: map[string][]*Object{}}
		for _, o := range m.Objects {
			k := o.Group + "/" + o.Kind
			m.kinds[k] = append(m.kinds[k], o)
		}
		w.members = append(w.members, m)
	}
	for _, m := range w.members {
		w.addServices(m)
		w.addWorkloads(m)
		m.rules, m.targets = rulesOf(m), targetsOf(m)
	}
	w.trust = w.trustOf()
	return w
}

// A trust is what is known of the mesh's identity domain.
type trust struct {
	domain  string // the mesh's, or cluster.local where nothing says
	known   bool
	aliases []string
	source  string // what says so
}

// has tells whether identities of a domain are the mesh's. Istio takes cluster.local in a policy for the mesh's own
// domain, whatever that is (pilot/pkg/security/trustdomain).
func (t trust) has(domain string) bool {
	return domain == t.domain || domain == defaultTrust || slices.Contains(t.aliases, domain)
}

const defaultTrust = "cluster.local"

func (w *World) trustOf() trust {
	if w.TrustDomain != "" {
		return trust{domain: w.TrustDomain, known: true, source: "--trust-domain"}
	}
	for _, m := range w.members {
		for _, o := range m.all("isthmus.dev", "Mesh") {
			domain := o.Spec("trust", "domain").Str()
			if domain == "" {
				domain = defaultTrust
			}
			return trust{domain: domain, known: true, source: o.Ref.String()}
		}
		for _, c := range m.meshConfigs() {
			if domain := c.Get("trustDomain").Str(); domain != "" {
				return trust{domain: domain, known: true, aliases: c.Get("trustDomainAliases").Strings(), source: "the mesh configuration"}
			}
		}
	}
	return trust{domain: defaultTrust}
}

// meshConfigs are Istio's mesh configurations in a cluster's objects: of an IstioOperator, of the ConfigMap istio, of
// a Mesh document.
func (m *member) meshConfigs() []Value {
	var all []Value
	for _, o := range m.all("install.istio.io", "IstioOperator") {
		all = append(all, o.Spec("meshConfig"))
	}
	for _, o := range m.all("isthmus.dev", "Mesh") {
		all = append(all, o.Spec("istio", "meshConfig"))
	}
	for _, o := range m.all("", "ConfigMap") {
		if o.Name != "istio" || o.Namespace != rootNamespace {
			continue
		}
		var n yaml.Node
		if yaml.Unmarshal([]byte(o.Root.Get("data", "mesh").Str()), &n) == nil && len(n.Content) == 1 {
			all = append(all, Value{node: n.Content[0]})
		}
	}
	return all
}

// dnsCapture tells whether proxies answer DNS questions for names that the cluster's own DNS does not have.
func (m *member) dnsCapture() bool {
	return slices.ContainsFunc(m.meshConfigs(), func(c Value) bool {
		return c.Get("defaultConfig", "proxyMetadata", "ISTIO_META_DNS_CAPTURE").Str() == "true"
	})
}

// whole tells whether nothing of any cluster is missing from the input.
func (w *World) whole() bool {
	return len(w.members) > 0 && !slices.ContainsFunc(w.members, func(m *member) bool { return !m.Whole })
}

// each calls do for every object of a kind in every cluster.
func (w *World) each(group, kind string, do func(*member, *Object)) {
	for _, m := range w.members {
		for _, o := range m.all(group, kind) {
			do(m, o)
		}
	}
}

// knowsServices tells whether a Service that is not in the input may be called missing in a namespace: because
// other Services of that namespace are there, in whichever cluster, or because the input is all there is.
func (w *World) knowsServices(ns string) bool { return len(w.inspace[ns]) > 0 || w.whole() }

// A workload is a set of pods with one template, or a virtual machine.
type workload struct {
	*Object
	cluster string
	labels  map[string]string
	account string
	pod     Value // the pod's spec; empty for what is no pod
	meta    Value // the pod's metadata
}

func (w *World) addWorkload(m *member, x *workload) {
	x.cluster = m.Name
	if x.account == "" {
		x.account = "default"
	}
	w.workloads[x.Namespace] = append(w.workloads[x.Namespace], x)
	for k, v := range x.labels {
		for _, ns := range []string{"", x.Namespace} {
			l := labelled{ns, k, v}
			w.labelled[l] = append(w.labelled[l], x)
		}
	}
}

func (w *World) addWorkloads(m *member) {
	for _, k := range []string{"apps/Deployment", "apps/StatefulSet", "apps/DaemonSet", "apps/ReplicaSet", "batch/Job", "batch/CronJob"} {
		for _, o := range m.kinds[k] {
			template := o.Spec("template")
			if o.Kind == "CronJob" {
				template = o.Spec("jobTemplate", "spec", "template")
			}
			if owned(o) {
				continue
			}
			w.addWorkload(m, podLike(o, template.Get("metadata"), template.Get("spec")))
		}
	}
	for _, o := range m.all("", "Pod") {
		if !owned(o) {
			w.addWorkload(m, podLike(o, o.Root.Get("metadata"), o.Spec()))
		}
	}
	for _, o := range m.all(networking, "WorkloadEntry") {
		w.addWorkload(m, &workload{Object: o, labels: o.Spec("labels").Map(), account: o.Spec("serviceAccount").Str()})
	}
	for _, o := range m.all(networking, "WorkloadGroup") {
		w.addWorkload(m, &workload{Object: o, labels: o.Spec("metadata", "labels").Map(), account: o.Spec("template", "serviceAccount").Str()})
	}
	for _, o := range m.all(gatewayAPI, "Gateway") {
		// Istio makes the gateway's Deployment with these labels (architecture/networking, gateway.istio.io/managed).
		labels := o.Labels()
		maps.Copy(labels, map[string]string{"gateway.networking.k8s.io/gateway-name": o.Name, "istio.io/gateway-name": o.Name})
		w.addWorkload(m, &workload{Object: o, labels: labels, account: o.Name + "-istio"})
	}
	for _, labels := range m.installed() {
		w.addWorkload(m, labels)
	}
}

func podLike(o *Object, meta, spec Value) *workload {
	return &workload{Object: o, labels: meta.Get("labels").Map(), account: spec.Get("serviceAccountName").Str(), pod: spec, meta: meta}
}

// owned tells that another object makes this one, and is the one to look at.
func owned(o *Object) bool { return len(o.Root.Get("metadata", "ownerReferences").Items()) > 0 }

// installed are the ingress gateways that an installation in the input will make: an IstioOperator's, or those of a
// Mesh document, by Istio's profiles (manifests/profiles).
func (m *member) installed() []*workload {
	var all []*workload
	ingress := func(o *Object, name string, labels map[string]string) {
		x := *o
		x.Namespace = rootNamespace
		base := map[string]string{"app": name, "istio": strings.TrimPrefix(name, "istio-")}
		maps.Copy(base, labels)
		all = append(all, &workload{Object: &x, labels: base, account: name + "-service-account"})
	}
	withIngress := []string{"default", "demo", "preview", "openshift", "stable"}
	for _, o := range m.all("install.istio.io", "IstioOperator") {
		profile := o.Spec("profile").Str()
		listed := o.Spec("components", "ingressGateways").Items()
		for _, g := range listed {
			if g.Get("enabled").Str() == "true" {
				ingress(o, g.Get("name").Str(), g.Get("label").Map())
			}
		}
		if len(listed) == 0 && (profile == "" || slices.Contains(withIngress, profile)) {
			ingress(o, "istio-ingressgateway", nil)
		}
	}
	for _, o := range m.all("isthmus.dev", "Mesh") {
		if slices.Contains(withIngress, o.Spec("istio", "profile").Str()) {
			ingress(o, "istio-ingressgateway", nil)
		}
	}
	return all
}

// matches tells whether labels have everything that a selector asks for.
func matches(selector, labels map[string]string) bool {
	for k, v := range selector {
		if have, ok := labels[k]; !ok || have != v {
			return false
		}
	}
	return true
}

// A proxied says whether a workload has a proxy of Istio's.
type proxied int

const (
	unknownProxy proxied = iota
	noProxy
	hasProxy
)

// proxy tells whether a workload is in the mesh, as Istio's injector decides it: the pod's own word first, then the
// namespace's. Without the Namespace object it is not known.
func (w *World) proxy(x *workload) proxied {
	own := x.meta.Get("labels", "sidecar.istio.io/inject").Str()
	if own == "" {
		own = x.meta.Get("annotations", "sidecar.istio.io/inject").Str()
	}
	switch own {
	case "false":
		return noProxy
	case "true":
		return hasProxy
	}
	for _, m := range w.members {
		if m.Name == x.cluster {
			return meshed(m.namespace(x.Namespace))
		}
	}
	return unknownProxy
}

// meshed tells whether a namespace's pods get a proxy, sidecar or ambient.
func meshed(ns *Object) proxied {
	if ns == nil {
		return unknownProxy
	}
	l := ns.Labels()
	switch {
	case l["istio-injection"] == "enabled", l["istio.io/rev"] != "" && l["istio-injection"] == "", l["istio.io/dataplane-mode"] == "ambient":
		return hasProxy
	}
	return noProxy
}

// selected are the workloads that labels choose, in one namespace, or in every one if ns is empty.
func (w *World) selected(ns string, selector map[string]string) []*workload {
	if len(selector) == 0 {
		return w.anyOf(ns)
	}
	first := true
	var fewest []*workload
	for k, v := range selector {
		if list := w.labelled[labelled{ns, k, v}]; first || len(list) < len(fewest) {
			fewest, first = list, false
		}
	}
	var found []*workload
	for _, x := range fewest {
		if matches(selector, x.labels) {
			found = append(found, x)
		}
	}
	return found
}

// anyOf are all workloads of a namespace, or of every one if ns is empty.
func (w *World) anyOf(ns string) []*workload {
	if ns != "" {
		return w.workloads[ns]
	}
	var all []*workload
	for _, space := range slices.Sorted(maps.Keys(w.workloads)) {
		all = append(all, w.workloads[space]...)
	}
	return all
}
