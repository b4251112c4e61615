package verify

import (
	"fmt"
	"slices"

	"isthmus.dev/isthmus/internal/facts"
)

// What can be wrong between a cluster and the istiod elsewhere that serves it.

// controlPlaneAway: the cluster in which an end's istiod runs does not answer. Running proxies go on with what they
// know; new pods wait for a sidecar in vain if that istiod is gone too.
func controlPlaneAway(c Case) (Reason, bool) {
	for _, x := range c.ends() {
		host := c.Mesh.Host(x.Cluster)
		away := c.Evidence.Sites[host.Name].Away
		if host.Name == x.Name || away == "" || x.site.Pods[x.role].Ready {
			continue
		}
		return Reason{
			Text: fmt.Sprintf("%s is served by the istiod in %s, whose API server does not answer: %s", x.Name, host.Name, away),
			Next: kubectl(host, "get --raw /readyz"), Proven: true,
		}, true
	}
	return Reason{}, false
}

// controlPlaneUnreachable: the gateway through which an end reaches its istiod is missing, not ready or has no address.
func controlPlaneUnreachable(c Case) (Reason, bool) {
	for _, x := range c.ends() {
		host := c.Mesh.Host(x.Cluster)
		f, known := c.Evidence.facts(host.Name)
		if host.Name == x.Name || !known || x.site.Pods[x.role].Ready {
			continue
		}
		if slices.ContainsFunc(f.Gateways, func(g facts.Gateway) bool { return g.Ready > 0 && len(g.Addresses) > 0 }) {
			continue
		}
		if len(f.Gateways) == 0 && !c.Evidence.may(host.Name, "services") {
			continue
		}
		what := "it has none"
		if len(f.Gateways) > 0 {
			g := f.Gateways[0]
			what = fmt.Sprintf("Deployment %s/%s, %d/%d, %s", g.Namespace, g.Name, g.Ready, g.Wanted, plural(len(g.Addresses), "address"))
		}
		return Reason{
			Text: fmt.Sprintf("%s reaches its istiod through %s's east-west gateway, which is not there for it (%s)", x.Name, host.Name, what),
			Next: "isthmus apply", Proven: len(f.Gateways) == 0,
		}, true
	}
	return Reason{}, false
}
