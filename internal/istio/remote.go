package istio

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"istio.io/istio/operator/pkg/values"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// How a cluster without an istiod finds the one that serves it. Its Service istiod leads to the east-west gateway of
// the cluster where that one runs, which passes the connection on by the name that it asks for. The address of the
// gateway is known once its cluster has given it one: until then the cluster waits (Resolve).

// notKnownYet stands in rendered objects for the address of a gateway, from which Resolve takes it out again.
const notKnownYet = "0.0.0.0"

// roleValues are the values that make a cluster a primary which serves others, or a remote. They lie over the
// document's, which may not speak of them.
func roleValues(m mesh.Mesh, c mesh.Cluster) map[string]any {
	switch {
	case c.IsRemote():
		return map[string]any{
			"global": map[string]any{"remotePilotAddress": givenAddress(c, notKnownYet)},
			// Gateways here read their mesh configuration from it, and istiods elsewhere the trust domain.
			"pilot":        map[string]any{"configMap": true},
			"istiodRemote": map[string]any{"injectionPath": "/inject/cluster/" + c.Name + "/net/" + c.Network},
		}
	case c.IsExternal():
		return configCluster(c)
	case slices.ContainsFunc(m.Hosted(c), mesh.Cluster.IsRemote):
		return map[string]any{"global": map[string]any{"externalIstiod": true}}
	}
	return nil
}

// givenAddress is the address of istiod that a document gives itself, such as a name in DNS; otherwise another.
func givenAddress(c mesh.Cluster, otherwise string) string {
	for _, set := range c.Istio.Set {
		if v, ok := strings.CutPrefix(strings.TrimSpace(set), "values.global.remotePilotAddress="); ok {
			return v
		}
	}
	global, _ := c.Istio.Values["global"].(map[string]any)
	if v, _ := global["remotePilotAddress"].(string); v != "" {
		return v
	}
	return otherwise
}

// exposeIstiods lets clusters whose istiod runs here reach it through the east-west gateway, as expose-istiod.yaml of
// Istio's samples does; but by the names of those istiods alone, where the sample passes on whatever is asked for.
func exposeIstiods(m mesh.Mesh, c mesh.Cluster, merged values.Map) []object.Object {
	domain := merged.GetPathString("spec.values.global.proxy.clusterDomain")
	if domain == "" {
		domain = "cluster.local"
	}
	var hosts, routes []any
	for _, of := range served(m, c) {
		name := suffixed("istiod", of.Istio.Revision)
		host := name + "." + of.IstioNamespace() + ".svc"
		hosts = append(hosts, host)
		for _, port := range [][2]int64{{15012, 15012}, {15017, 443}} {
			routes = append(routes, map[string]any{
				"match": []any{map[string]any{"port": port[0], "sniHosts": []any{host}}},
				"route": []any{map[string]any{"destination": map[string]any{
					"host": host + "." + domain, "port": map[string]any{"number": port[1]},
				}}},
			})
		}
	}
	server := func(name string, number int64) map[string]any {
		return map[string]any{
			"port":  map[string]any{"number": number, "name": name, "protocol": "TLS"},
			"tls":   map[string]any{"mode": "PASSTHROUGH"},
			"hosts": hosts,
		}
	}
	resource := func(kind string, spec map[string]any) object.Object {
		return object.Object{
			Part: object.PartGateway, Reason: "lets " + namesOf(m.Hosted(c)) + " reach the istiod that serves " + them(m.Hosted(c)),
			Body: &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "networking.istio.io/v1", "kind": kind,
				"metadata": map[string]any{"name": "istiod-gateway", "namespace": Namespace},
				"spec":     spec,
			}},
		}
	}
	return []object.Object{
		resource("Gateway", map[string]any{
			"selector": map[string]any{"istio": "eastwestgateway"},
			"servers":  []any{server("tls-istiod", 15012), server("tls-istiodwebhook", 15017)},
		}),
		resource("VirtualService", map[string]any{"hosts": hosts, "gateways": []any{"istiod-gateway"}, "tls": routes}),
	}
}

// served are the clusters whose own istiod runs in c and is used from elsewhere: c, if it has remotes, and those that
// have an external one here.
func served(m mesh.Mesh, c mesh.Cluster) []mesh.Cluster {
	var out []mesh.Cluster
	for _, x := range m.Hosted(c) {
		if of := m.Primary(x); !slices.ContainsFunc(out, func(o mesh.Cluster) bool { return o.Name == of.Name }) {
			out = append(out, of)
		}
	}
	return out
}

func namesOf(clusters []mesh.Cluster) string {
	all := make([]string, 0, len(clusters))
	for _, c := range clusters {
		all = append(all, c.Name)
	}
	return strings.Join(all, ", ")
}

func them(clusters []mesh.Cluster) string {
	if len(clusters) == 1 {
		return "it"
	}
	return "them"
}

// Resolve puts the addresses of gateways, which only facts know, into the objects of clusters that wait for them, and
// says of each cluster whose gateway has none yet why it waits. Want is not changed.
func Resolve(m mesh.Mesh, want object.Objects, now facts.Snapshot) (resolved object.Objects, waiting map[string]string) {
	resolved, waiting = maps.Clone(want), map[string]string{}
	for _, c := range m.Clusters {
		host := m.Host(c)
		if host.Name == c.Name || len(want[c.Name]) == 0 || givenAddress(c, "") != "" {
			continue
		}
		address := gatewayAddress(now.Clusters[host.Name])
		if address == "" {
			waiting[c.Name] = fmt.Sprintf("it is served through %s's east-west gateway, whose address is not known yet", host.Name)
			continue
		}
		resolved[c.Name] = addressed(want[c.Name], address)
	}
	return resolved, waiting
}

// gatewayAddress is where others reach a cluster's east-west gateway; the first of several, in the order of its
// status. "" where there is none to be seen.
func gatewayAddress(f *facts.Cluster) string {
	if !f.Answered() {
		return ""
	}
	for _, g := range f.Gateways {
		if g.Namespace == Namespace && g.Name == EastWestGateway && len(g.Addresses) > 0 {
			return g.Addresses[0]
		}
	}
	return ""
}

// addressed is a list of objects with an address in the place of the one that is not known. An address that is a name
// makes the Service an alias of it and needs no EndpointSlice, as the chart has it.
func addressed(list []object.Object, address string) []object.Object {
	ip, err := netip.ParseAddr(address)
	out := make([]object.Object, 0, len(list))
	for _, o := range list {
		slice, service := leadsToIstiod(o)
		switch {
		case slice && err != nil:
			continue
		case slice:
			o.Body = o.Body.DeepCopy()
			o.Body.Object["endpoints"] = []any{map[string]any{"addresses": []any{address}}}
			o.Body.Object["addressType"] = "IPv4"
			if ip.Is6() {
				o.Body.Object["addressType"] = "IPv6"
			}
		case service && err != nil:
			o.Body = o.Body.DeepCopy()
			spec := o.Body.Object["spec"].(map[string]any)
			spec["type"], spec["externalName"] = "ExternalName", address
		}
		out = append(out, o)
	}
	return out
}

// leadsToIstiod tells the EndpointSlice that holds the unknown address, and the Service that it is of: the one that
// the chart renders without a selector.
func leadsToIstiod(o object.Object) (slice, service bool) {
	switch o.Body.GetKind() {
	case "EndpointSlice":
		return true, false
	case "Service":
		_, selects, err := unstructured.NestedMap(o.Body.Object, "spec", "selector")
		return false, err == nil && !selects
	}
	return false, false
}
