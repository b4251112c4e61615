package verify

import (
	"fmt"
	"net"
	"slices"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/probe"
)

// An IngressCall is what a call showed that came in from outside through the ingress gateway of one cluster, for the
// server of another.
type IngressCall struct {
	// Via is the cluster whose gateway is called, To the one whose server is to answer. From is the cluster in which the
	// caller is: the pod without a proxy there, which is not of the mesh. It is never Via.
	Via  string `json:"via"`
	To   string `json:"to"`
	From string `json:"from"`
	// Door is the gateway's address; empty if it has none.
	Door string `json:"door,omitempty"`
	OK   bool   `json:"ok"`
	// Skipped says why nobody was asked: the gateway is not meant to be called from outside over HTTP.
	Skipped string        `json:"skipped,omitempty"`
	Wrong   string        `json:"wrong,omitempty"`
	Tries   int           `json:"tries"`
	Result  *probe.Result `json:"result,omitempty"`
	Reasons []Reason      `json:"reasons,omitempty"`
}

// subject names it in a few words.
func (c IngressCall) subject() string { return fmt.Sprintf("outside → %s → %s", c.Via, c.To) }

// ingressPort is where Istio's ingress gateways serve plain HTTP.
const ingressPort = 80

// ingressName is the name of the objects by which ingress gateways lead to verify's servers.
const ingressName = "ingress"

// IngressHost is the name by which verify's servers are called from outside. Nobody else's host can be the same, nor
// can one be looked up in DNS (RFC 2606, 2).
func IngressHost(m mesh.Mesh) string { return m.Verify.Namespace + ".isthmus.invalid" }

// ingressOf is the ingress gateway of a cluster: of several the first that serves plain HTTP.
func ingressOf(f *facts.Cluster) (facts.Ingress, bool) {
	if !f.Answered() || len(f.Ingresses) == 0 {
		return facts.Ingress{}, false
	}
	i := slices.IndexFunc(f.Ingresses, func(g facts.Ingress) bool { return slices.Contains(g.Ports, ingressPort) })
	return f.Ingresses[max(0, i)], true
}

// closed says why an ingress gateway is not called from outside, and is not meant to be; "" where it is.
func closed(g facts.Ingress) string {
	switch {
	case !slices.Contains(g.Ports, ingressPort):
		return fmt.Sprintf("Service %s/%s has no port %d", g.Namespace, g.Name, ingressPort)
	case g.Type != "LoadBalancer" && len(g.Addresses) == 0:
		return fmt.Sprintf("Service %s/%s is of type %s, and has no address of its own outside", g.Namespace, g.Name, g.Type)
	}
	return ""
}

// ingressErrand is a call by the pod without a proxy in the called server's cluster, so that it comes in at the other
// cluster's gateway as one from anywhere would. Only there the path chooses the server.
func ingressErrand(m mesh.Mesh, via, to mesh.Cluster, door string) errand {
	e := errand{from: to, to: to, via: via, role: Stranger, ingress: true, door: door}
	e.call = probe.Call{
		ID: "ingress/" + via.Name, To: fmt.Sprintf("%s://%s/%s", probe.HTTP, door, to.Name), TimeoutMillis: 2000,
		Headers: map[string]string{"host": IngressHost(m)},
	}
	return e
}

// ingressDoor is where a cluster's ingress gateway is called; "" as long as it has no address.
func (r *proving) ingressDoor(via mesh.Cluster) string {
	g, has := ingressOf(r.now.Clusters[via.Name])
	if !has || len(g.Addresses) == 0 {
		return ""
	}
	return net.JoinHostPort(g.Addresses[0], strconv.Itoa(ingressPort))
}

// entering adds the calls that come in through ingress gateways, and to the objects that are to be placed those which
// lead such calls to verify's servers. Where no cluster has such a gateway it adds nothing.
func (r *proving) entering(change map[string][]object.Object) {
	asked := false
	for _, via := range r.Mesh.Clusters {
		if g, has := ingressOf(r.now.Clusters[via.Name]); !has || closed(g) != "" {
			continue
		}
		for _, to := range r.rescuers(via) {
			asked = true
			e := ingressErrand(r.Mesh, via, to, r.ingressDoor(via))
			r.attempts = append(r.attempts, &attempt{errand: e, givenUp: !present(r.sites[to.Name])}) // nobody is there to call
		}
	}
	if !asked {
		return
	}
	workloads := r.workloads()
	for _, c := range r.Mesh.Governors() {
		if change[c.Name] == nil {
			change[c.Name] = workloads[c.Name]
		}
		change[c.Name] = append(slices.Clone(change[c.Name]), leadingIn(r.Mesh, c, r.ingressAccounts())...)
	}
}

// ingressAccounts are the identities of all ingress gateways, as principals.
func (r *proving) ingressAccounts() []any {
	var all []any
	for _, c := range r.Mesh.Clusters {
		g, has := ingressOf(r.now.Clusters[c.Name])
		if who := fmt.Sprintf("%s/ns/%s/sa/%s", r.Mesh.Trust.Domain, g.Namespace, g.Account); has && !slices.Contains(all, any(who)) {
			all = append(all, who)
		}
	}
	return all
}

// leadingIn are the objects of one control plane that lead calls for verify's own host, and no others, from ingress
// gateways to the servers of all clusters, and let them in there. The Gateway shares its port with those of others: each
// is for its own hosts.
func leadingIn(m mesh.Mesh, c mesh.Cluster, principals []any) []object.Object {
	ns, host := m.Verify.Namespace, IngressHost(m)
	var routes []any
	for _, to := range m.Clusters {
		routes = append(routes, map[string]any{
			"match": []any{map[string]any{"uri": map[string]any{"exact": "/" + to.Name}}},
			"route": []any{map[string]any{"destination": map[string]any{
				"host": fmt.Sprintf("%s.%s.svc.%s", ServiceName(to.Name), ns, clusterDomain(c)), "port": map[string]any{"number": int64(servicePorts[0].port)},
			}}},
		})
	}
	list := []object.Object{}
	add := func(apiVersion, kind, reason string, spec map[string]any) {
		list = append(list, object.Object{Part: object.PartProbes, Reason: reason, Body: &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"name": ingressName, "namespace": ns}, "spec": spec,
		}}})
	}
	add("networking.istio.io/v1", "Gateway", "has ingress gateways take calls for "+host, map[string]any{
		"selector": map[string]any{"istio": "ingressgateway"},
		"servers": []any{map[string]any{
			"port": map[string]any{"number": int64(ingressPort), "name": "http", "protocol": "HTTP"}, "hosts": []any{ns + "/" + host},
		}},
	})
	add("networking.istio.io/v1", "VirtualService", "leads calls for "+host+" to the server of the cluster that their path names", map[string]any{
		"hosts": []any{host}, "gateways": []any{ns + "/" + ingressName}, "http": routes,
	})
	add("security.istio.io/v1", "AuthorizationPolicy", "lets calls for "+host+" in from ingress gateways", map[string]any{
		"selector": map[string]any{"matchLabels": map[string]any{"app": string(Server)}},
		"rules": []any{map[string]any{
			"from": []any{map[string]any{"source": map[string]any{"principals": principals}}},
			"to":   []any{map[string]any{"operation": map[string]any{"hosts": []any{host}}}},
		}},
	})
	return list
}

// ingressCalls are what was seen, in document order.
func (r *proving) ingressCalls() []IngressCall {
	var all []IngressCall
	for _, via := range r.Mesh.Clusters {
		g, has := ingressOf(r.now.Clusters[via.Name])
		for _, to := range r.rescuers(via) {
			i := slices.IndexFunc(r.attempts, func(a *attempt) bool { return a.ingress && a.via.Name == via.Name && a.to.Name == to.Name })
			switch {
			case i >= 0:
				all = append(all, r.ingressCall(r.attempts[i]))
			case has && closed(g) != "":
				all = append(all, IngressCall{Via: via.Name, To: to.Name, From: to.Name, OK: true, Skipped: closed(g)})
			}
		}
	}
	return all
}

func (r *proving) ingressCall(a *attempt) IngressCall {
	c := IngressCall{Via: a.via.Name, To: a.to.Name, From: a.from.Name, Door: a.door, OK: a.passed, Tries: a.tries}
	if a.tries > 0 {
		result := a.result
		c.Result = &result
	}
	if a.passed {
		return c
	}
	c.Reasons = r.reasons(a)
	c.Wrong = ingressBriefly(c)
	return c
}
