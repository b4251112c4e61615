package plan

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"isthmus.dev/isthmus/internal/facts"
)

// impact says what a change of an object that exists disturbs, beyond the object itself.
func (d *decider) impact(c *Change, live *unstructured.Unstructured) []string {
	switch c.Object.Kind {
	case "Deployment", "StatefulSet", "DaemonSet":
		return d.impactOfWorkload(c, live)
	case "Service":
		return impactOfService(c, live)
	case "ConfigMap":
		return d.impactOfConfig(c, live)
	case "MutatingWebhookConfiguration":
		if c.Action == Delete && live.GetLabels()["app"] == "sidecar-injector" {
			return d.later("new pods get no proxy there", "%s lose their proxy when they restart", revisionOf(live))
		}
	case "Namespace":
		if c.Action == Delete {
			return []string{fmt.Sprintf("deletes everything in namespace %s", c.Object.Name)}
		}
		return impactOfNetwork(c)
	}
	return nil
}

// impactOfNetwork tells of a cluster's move to another network.
func impactOfNetwork(c *Change) []string {
	for _, f := range c.Fields {
		if f.Path == "metadata.labels.topology.istio.io/network" && f.From != "" {
			return []string{fmt.Sprintf("moves %s from network %s to %s: calls to its endpoints take another way at once, and fail until every cluster knows; running sidecars there keep %s until they are restarted", c.Cluster, f.From, shown(f.To), f.From)}
		}
	}
	return nil
}

func (d *decider) impactOfWorkload(c *Change, live *unstructured.Unstructured) []string {
	name, pods := c.Object.Name, podsOf(live)
	var said string
	switch {
	case c.Action == Delete:
		said = fmt.Sprintf("stops %s (%s)", name, pods)
	case c.Action == Replace:
		said = fmt.Sprintf("stops %s (%s) and starts it anew", name, pods)
	case slices.ContainsFunc(c.Fields, func(f FieldDiff) bool { return strings.HasPrefix(f.Path, "spec.template") }):
		said = fmt.Sprintf("restarts %s (%s)", name, pods)
	default:
		return nil
	}
	switch n := d.proxies(revisionOf(live)); {
	case live.GetLabels()["app"] != "istiod":
	case d.now.MeshedErr != "":
		said += "; how many proxies are connected to it is not known: " + d.now.MeshedErr
	case n > 0:
		after := "that are connected to it connect anew"
		if c.Action == Delete {
			after = "get no news and no new certificates from it any more"
		}
		said += fmt.Sprintf("; %s%s %s", d.atLeast(), counted(n, "proxy", "proxies"), after)
	}
	return []string{said}
}

// impactOfService tells of addresses that go: callers know them.
func impactOfService(c *Change, live *unstructured.Unstructured) []string {
	name, had := c.Object.Name, Addresses(live)
	address := ""
	if len(had) > 0 {
		address = " (" + strings.Join(had, ", ") + ")"
	}
	wanted := ""
	if c.Want != nil {
		wanted = serviceType(c.Want.Body)
	}
	switch balanced := serviceType(live) == "LoadBalancer"; {
	case c.Action == Delete && balanced:
		return []string{fmt.Sprintf("gives up the address of %s%s", name, address)}
	case c.Action == Replace && balanced:
		return []string{fmt.Sprintf("%s may get another address than it has%s", name, address)}
	case c.Action == Replace:
		return []string{fmt.Sprintf("%s gets another cluster IP", name)}
	case c.Action == Configure && balanced && wanted != "" && wanted != "LoadBalancer":
		return []string{fmt.Sprintf("%s loses the address that it has%s", name, address)}
	}
	return nil
}

// impactOfConfig tells of what proxies read only when they start: what the injector puts into pods, and the mesh's
// default for proxies (istio: mesh.defaultConfig). The rest of the mesh configuration reaches them at once.
func (d *decider) impactOfConfig(c *Change, live *unstructured.Unstructured) []string {
	name := c.Object.Name
	switch {
	case c.Action != Configure || c.Want == nil || c.Object.Namespace != "istio-system":
	case strings.HasPrefix(name, "istio-sidecar-injector") && anyUnder(c.Fields, "data"):
		return d.later("", "%s keep the old proxy until they restart", strings.TrimPrefix(strings.TrimPrefix(name, "istio-sidecar-injector"), "-"))
	case (name == "istio" || strings.HasPrefix(name, "istio-")) && anyUnder(c.Fields, "data.mesh") && !reflect.DeepEqual(proxyDefaults(live), proxyDefaults(c.Want.Body)):
		return d.later("", "%s keep the old proxy settings (defaultConfig) until they restart", strings.TrimPrefix(strings.TrimPrefix(name, "istio"), "-"))
	}
	return nil
}

func anyUnder(fields []FieldDiff, path string) bool {
	return slices.ContainsFunc(fields, func(f FieldDiff) bool { return strings.HasPrefix(f.Path, path) })
}

func proxyDefaults(u *unstructured.Unstructured) any {
	text, _, _ := unstructured.NestedString(u.Object, "data", "mesh") // not a string is nothing
	var config struct {
		DefaultConfig any `json:"defaultConfig"`
	}
	_ = yaml.Unmarshal([]byte(text), &config) // what is no YAML says nothing, and istiod refuses it
	return config.DefaultConfig
}

// later says what happens to workloads of a revision ("": the default one) when they restart: what names them.
func (d *decider) later(alone, words, revision string) []string {
	var in []facts.Meshed
	for _, m := range d.now.Meshed {
		if m.Revision == cmp.Or(revision, "default") {
			in = append(in, m)
		}
	}
	if d.now.MeshedErr != "" {
		return []string{"which workloads that touches is not known: " + d.now.MeshedErr}
	}
	if len(in) == 0 {
		if alone == "" {
			return nil
		}
		return []string{alone}
	}
	return []string{fmt.Sprintf(words, d.atLeast()+workloadsIn(in))}
}

// atLeast owns up to not having counted everything.
func (d *decider) atLeast() string {
	if d.now.MeshedMore {
		return "at least "
	}
	return ""
}

// namespacesNamed is how many namespaces are named; the rest are counted.
const namespacesNamed = 3

// workloadsIn is "12 workloads in shop, 3 in cart".
func workloadsIn(in []facts.Meshed) string {
	in = slices.Clone(in)
	slices.SortStableFunc(in, func(a, b facts.Meshed) int { return cmp.Compare(b.Workloads, a.Workloads) })
	var words []string
	rest := 0
	for i, m := range in {
		switch {
		case i == 0:
			words = append(words, fmt.Sprintf("%s in %s", counted(m.Workloads, "workload", "workloads"), m.Namespace))
		case i < namespacesNamed:
			words = append(words, fmt.Sprintf("%d in %s", m.Workloads, m.Namespace))
		default:
			rest += m.Workloads
		}
	}
	if n := len(in) - namespacesNamed; n > 0 {
		words = append(words, fmt.Sprintf("%d in %s", rest, counted(n, "other namespace", "other namespaces")))
	}
	return strings.Join(words, ", ")
}

// proxies counts the pods with a sidecar of a revision.
func (d *decider) proxies(revision string) int {
	n := 0
	for _, m := range d.now.Meshed {
		if m.Revision == cmp.Or(revision, "default") {
			n += m.Pods
		}
	}
	return n
}

func revisionOf(live *unstructured.Unstructured) string { return live.GetLabels()["istio.io/rev"] }

func podsOf(live *unstructured.Unstructured) string {
	n, ok, _ := unstructured.NestedInt64(live.Object, "spec", "replicas") // absent is the default, one
	if live.GetKind() == "DaemonSet" {
		n, ok, _ = unstructured.NestedInt64(live.Object, "status", "desiredNumberScheduled") // absent is not known
	}
	if !ok {
		n = 1
	}
	return counted(int(n), "pod", "pods")
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
