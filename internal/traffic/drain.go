package traffic

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"isthmus.dev/isthmus/internal/discovery"
	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/label"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// A drained cluster gets no calls of the others, because their istiods lose sight of it: the remote secrets that open
// it go, and its endpoints with them; proxies let running requests end (Envoy drains the connections of hosts that
// discovery takes away). Its own callers prefer another cluster, its stand-in, by Istio's failover priority; where that
// has no endpoint of a service, the drained cluster's own are used, since nothing better is known.
//
// A cluster that is served by another's istiod stays known to that one, which its proxies hang on; the callers that
// this istiod serves prefer the stand-in too.

// clusterLabel is on every endpoint (istio: pilot/pkg/serviceregistry/util/label).
const clusterLabel = "topology.istio.io/cluster"

// drainPrefix begins the names of rules for services that the stand-in does not have.
const drainPrefix = "isthmus-drain-"

// Said is what a person says of keeping calls from clusters now, and who that is.
type Said struct {
	Drain, Undrain []string
	By             string
}

// Drains is what is said of every member once drain and undrain are done: what is believed of records, and those. A
// stand-in is kept as long as it can stand in, so that the same cluster does not get another at every look.
func Drains(m mesh.Mesh, now facts.Snapshot, said Said) map[string]facts.Drain {
	out := map[string]facts.Drain{}
	for name, d := range facts.Drains(now) {
		if _, member := m.Cluster(name); member {
			out[name] = d
		}
	}
	for _, name := range said.Undrain {
		if out[name].On || doubted(now, name) {
			out[name] = facts.Drain{Since: after(now, name), By: said.By}
		}
	}
	for _, name := range said.Drain {
		if !out[name].On {
			out[name] = facts.Drain{On: true, Since: after(now, name), By: said.By}
		}
	}
	for _, c := range m.Clusters {
		d := out[c.Name]
		if _, member := m.Cluster(d.To); d.On && (!member || out[d.To].On) {
			d.To = standIn(m, now, c, out)
			out[c.Name] = d
		}
	}
	return out
}

// doubted tells whether some record says of a cluster what is not believed: undraining it writes over that.
func doubted(now facts.Snapshot, name string) bool {
	return slices.ContainsFunc(facts.DoubtedDrains(now), func(d facts.DoubtedDrain) bool { return d.Cluster == name })
}

// after is the time of what is said now of a cluster: it is later than all that is believed, whatever the clocks were of
// those who wrote it.
func after(now facts.Snapshot, name string) time.Time {
	if before := facts.Drains(now)[name].Since; !now.Taken.After(before) {
		return before.Add(time.Second)
	}
	return now.Taken
}

// Hidden tells whether the callers in a cluster do not know another one, since that is drained: all but those whose
// istiod serves it.
func Hidden(m mesh.Mesh, drains map[string]facts.Drain, from, to mesh.Cluster) bool {
	return drains[to.Name].On && m.Primary(from).Name != m.Primary(to).Name
}

// standIn is the cluster that has most of the services that a cluster's mesh has; of several the first of the document
// that is in its region. "" if all others are drained or do not answer.
func standIn(m mesh.Mesh, now facts.Snapshot, c mesh.Cluster, drains map[string]facts.Drain) string {
	own := services(now.Clusters[c.Name])
	best, most := "", -1
	for _, x := range m.Clusters {
		f := now.Clusters[x.Name]
		if x.Name == c.Name || drains[x.Name].On || !f.Answered() {
			continue
		}
		score := 0
		for s := range services(f) {
			if own[s] {
				score += 2
			}
		}
		if near := region(f); near != "" && near == region(now.Clusters[c.Name]) {
			score++
		}
		if score > most {
			best, most = x.Name, score
		}
	}
	return best
}

// services are those of namespaces whose workloads are in the mesh: "name.namespace".
func services(f *facts.Cluster) map[string]bool {
	out := map[string]bool{}
	if f == nil {
		return out
	}
	for _, s := range f.Services {
		if Meshed(f, s.Namespace) {
			out[s.Name+"."+s.Namespace] = true
		}
	}
	return out
}

// Meshed tells whether workloads of a namespace have a proxy.
func Meshed(f *facts.Cluster, namespace string) bool {
	return slices.ContainsFunc(f.Meshed, func(m facts.Meshed) bool { return m.Namespace == namespace })
}

func region(f *facts.Cluster) string {
	if f == nil || len(f.Nodes) == 0 {
		return ""
	}
	return f.Nodes[0].Region
}

// Drain is what is wanted while clusters are drained: want without what would bring calls to them, and with what keeps
// their own callers away. dropped says of each object that goes why. Want is not changed.
func Drain(m mesh.Mesh, want object.Objects, now facts.Snapshot, drains map[string]facts.Drain) (object.Objects, map[string]map[object.Ref]string, error) {
	out, dropped := maps.Clone(want), map[string]map[object.Ref]string{}
	for _, c := range m.Clusters {
		d := drains[c.Name]
		if !d.On || len(want[c.Name]) == 0 { // with nothing wanted the mesh goes
			continue
		}
		blind(m, c, drains, out, dropped)
		if d.To == "" {
			continue
		}
		if err := prefer(m, c, d.To, now, drains, out); err != nil {
			return nil, nil, fmt.Errorf("cluster %s: drain: %w", c.Name, err)
		}
	}
	return out, dropped, nil
}

// blind takes away the remote secrets of a cluster beside all istiods but the one that serves it.
func blind(m mesh.Mesh, c mesh.Cluster, drains map[string]facts.Drain, out object.Objects, dropped map[string]map[object.Ref]string) {
	for _, g := range m.Governors() {
		if !Hidden(m, drains, g, c) {
			continue
		}
		host := m.Host(g).Name
		secret := object.Ref{Kind: "Secret", Namespace: g.IstioNamespace(), Name: discovery.RemoteSecret(c.Name)}
		out[host] = slices.DeleteFunc(slices.Clone(out[host]), func(o object.Object) bool { return o.Ref() == secret })
		if dropped[host] == nil {
			dropped[host] = map[object.Ref]string{}
		}
		dropped[host][secret] = c.Name + " is drained"
	}
}

// prefer has the callers of a cluster's istiod prefer its stand-in, and for services that this does not have another
// cluster that has them.
func prefer(m mesh.Mesh, c mesh.Cluster, to string, now facts.Snapshot, drains map[string]facts.Drain, out object.Objects) error {
	governor := m.Primary(c)
	list := slices.Clone(out[governor.Name])
	config := object.Ref{Kind: "ConfigMap", Namespace: governor.IstioNamespace(), Name: discovery.MeshConfig(governor)}
	i := slices.IndexFunc(list, func(o object.Object) bool { return o.Ref() == config })
	if i < 0 {
		return fmt.Errorf("%s has no %s", governor.Name, config)
	}
	body, err := preferring(list[i].Body, to)
	if err != nil {
		return err
	}
	list[i].Body = body
	list[i].Reason = fmt.Sprintf("calls of %s go to %s, since %s is drained", governor.Name, to, c.Name)
	var settings mesh.Failover
	if m.Failover != nil {
		settings = *m.Failover
	} else { // preference needs outlier detection
		settings = defaults
		for _, o := range failover(governor, settings) {
			list = with(list, label.Own(m.Name, o))
		}
	}
	have := map[string]map[string]bool{}
	for _, x := range m.Clusters {
		have[x.Name] = services(now.Clusters[x.Name])
	}
	for _, s := range slices.Sorted(maps.Keys(have[c.Name])) {
		if other := elsewhere(m, c, to, s, have, drains); other != "" {
			list = with(list, label.Own(m.Name, preferringRule(governor, settings, s, other)))
		}
	}
	out[governor.Name] = list
	return nil
}

// with is a list with one more object, in the place of one of the same name: two drained clusters may share an istiod.
func with(list []object.Object, o object.Object) []object.Object {
	if i := slices.IndexFunc(list, func(x object.Object) bool { return x.Ref() == o.Ref() }); i >= 0 {
		list[i] = o
		return list
	}
	return append(list, o)
}

// defaults are those of v1alpha1.Failover, for a mesh that has it off while a cluster is drained.
var defaults = mesh.Failover{ConnectTimeout: 2 * time.Second, DeadAfter: 3 * time.Second, EjectionTime: 10 * time.Second, ConsecutiveFailures: 3}

// preferring is a mesh configuration with another preference among localities.
func preferring(config *unstructured.Unstructured, to string) (*unstructured.Unstructured, error) {
	text, _, err := unstructured.NestedString(config.Object, "data", "mesh")
	if err != nil {
		return nil, fmt.Errorf("read mesh configuration: %w", err)
	}
	settings := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &settings); err != nil {
		return nil, fmt.Errorf("read mesh configuration: %w", err)
	}
	settings["localityLbSetting"] = preference(to)
	delete(settings, "zoneAwareLbSetting") // it would win (istio: loadbalancer.GetEffectiveLbSetting)
	raw, err := yaml.Marshal(settings)
	if err != nil {
		return nil, fmt.Errorf("write mesh configuration: %w", err)
	}
	body := config.DeepCopy()
	return body, unstructured.SetNestedField(body.Object, string(raw), "data", "mesh")
}

func preference(to string) map[string]any {
	return map[string]any{"enabled": true, "failoverPriority": []any{clusterLabel + "=" + to}}
}

// elsewhere is the first cluster that has a service which a drained cluster's stand-in does not have; "" if that has
// it, or nobody has.
func elsewhere(m mesh.Mesh, c mesh.Cluster, to, service string, have map[string]map[string]bool, drains map[string]facts.Drain) string {
	if have[to][service] {
		return ""
	}
	for _, x := range m.Clusters {
		if x.Name != c.Name && !drains[x.Name].On && have[x.Name][service] {
			return x.Name
		}
	}
	return ""
}

// preferringRule prefers a cluster for one service.
func preferringRule(governor mesh.Cluster, f mesh.Failover, service, to string) object.Object {
	domain, _ := governor.Istio.Value("global", "proxy", "clusterDomain").(string)
	spec := policy(f)
	spec["loadBalancer"] = map[string]any{"localityLbSetting": preference(to)}
	return object.Object{
		Part: object.PartTraffic, Reason: fmt.Sprintf("calls of %s to %s go to %s while it is drained", governor.Name, service, to),
		Body: &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "networking.istio.io/v1",
			"kind":       "DestinationRule",
			"metadata":   map[string]any{"name": drainPrefix + service, "namespace": governor.IstioNamespace()},
			"spec": map[string]any{
				"host":          service + ".svc." + cmp.Or(domain, "cluster.local"),
				"trafficPolicy": spec,
			},
		}},
	}
}
