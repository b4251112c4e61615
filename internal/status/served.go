package status

import (
	"fmt"
	"strings"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
)

// servedBy is the cluster in which the istiod that serves c runs, where that is another.
func servedBy(m mesh.Mesh, c mesh.Cluster) string {
	if host := m.Host(c).Name; host != c.Name {
		return host
	}
	return ""
}

// unserved says why no istiod serves a cluster whose istiod runs elsewhere; "" where one may.
func unserved(m mesh.Mesh, c mesh.Cluster, seen facts.Snapshot) string {
	host := m.Host(c)
	f, here := seen.Clusters[host.Name], seen.Clusters[c.Name]
	switch {
	case !f.Answered():
		return fmt.Sprintf("%s, whose istiod serves it, does not answer: running proxies go on with what they know, new pods get no sidecar", host.Name)
	case len(here.Webhooks) == 0:
		return fmt.Sprintf("not joined to %s, whose istiod is to serve it, yet: isthmus apply", host.Name)
	}
	ready := int32(0)
	for _, i := range f.Istiods {
		if i.Namespace == m.Primary(c).IstioNamespace() {
			ready += i.Ready
		}
	}
	if ready == 0 {
		return fmt.Sprintf("the istiod in %s that serves it is not ready: new pods get no sidecar", host.Name)
	}
	return ""
}

// withoutGateway says who cannot reach what where a cluster lacks its east-west gateway.
func withoutGateway(m mesh.Mesh, c mesh.Cluster) string {
	var all []string
	if m.MultiNetwork() {
		all = append(all, "other networks cannot call it")
	}
	for _, x := range m.Hosted(c) {
		all = append(all, x.Name+" cannot reach its istiod")
	}
	return strings.Join(all, ", ")
}
