package verify

import (
	"fmt"
	"slices"
	"strings"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
)

// An end of a call: a cluster, what was seen there, and which of verify's pods matters there.
type end struct {
	mesh.Cluster
	site SiteEvidence
	role Role
}

// ends of the call, the caller's first.
func (c Case) ends() []end {
	caller := Client
	switch c.Kind {
	case "", ForgedToken:
	case NotAllowed:
		caller = Server
	default:
		caller = Stranger
	}
	return []end{{c.From, c.from(), caller}, {c.To, c.to(), Server}}
}

// clusterAway: without its API server nothing can be placed in a cluster and nobody can be asked to call from it.
// Its pods may serve all the same.
func clusterAway(c Case) (Reason, bool) {
	for _, x := range c.ends() {
		if x.site.Away != "" {
			return Reason{
				Text: fmt.Sprintf("%s's API server does not answer, so verify can place nothing there and make no call from there "+
					"(what runs there may still serve): %s", x.Name, x.site.Away),
				Next:   kubectl(x.Cluster, "get --raw /readyz"),
				Proven: true,
			}, true
		}
	}
	return Reason{}, false
}

func notPlaced(c Case) (Reason, bool) {
	for _, x := range c.ends() {
		if x.site.Unplaced != "" {
			return Reason{
				Text:   fmt.Sprintf("verify's workloads could not be placed in %s: %s", x.Name, x.site.Unplaced),
				Next:   kubectl(x.Cluster, "get events -n "+c.Mesh.Verify.Namespace),
				Proven: true,
			}, true
		}
	}
	return Reason{}, false
}

// podNotReady: the pods at either end must be there before a call means anything.
func podNotReady(c Case) (Reason, bool) {
	for _, x := range c.ends() {
		if p, known := x.site.Pods[x.role]; known && !p.Ready {
			return Reason{
				Text: fmt.Sprintf("verify's %s in %s is not ready: %s", x.role, x.Name, p.Problem),
				Next: kubectl(x.Cluster, fmt.Sprintf("describe pods -n %s -l app=%s", c.Mesh.Verify.Namespace, x.role)),
				// It has been waited for already.
				Proven: true,
			}, true
		}
	}
	return Reason{}, false
}

// notAsked: the pod is there, and running a program in it does not work.
func notAsked(c Case) (Reason, bool) {
	x := c.ends()[0]
	why := x.site.Unasked[x.role]
	if why == "" {
		return Reason{}, false
	}
	return Reason{
		Text: fmt.Sprintf("verify's %s in %s could not be told to make calls: %s", x.role, x.Name, why),
		Next: kubectl(x.Cluster, fmt.Sprintf("exec -n %s deploy/%s -c %s -- /isthmus probe call --help",
			c.Mesh.Verify.Namespace, x.role, Container)),
	}, true
}

// noSidecar: a pod without one is not of the mesh, whatever its namespace's labels say.
func noSidecar(c Case) (Reason, bool) {
	for _, x := range c.ends() {
		p, known := x.site.Pods[x.role]
		if !known || !p.Ready || p.Sidecar || x.role == Stranger {
			continue
		}
		why := "none was injected, whatever the labels of namespace " + c.Mesh.Verify.Namespace + " say"
		if f, ok := c.Evidence.facts(x.Name); ok && !injects(f) {
			why = "there is no injection webhook"
		}
		return Reason{
			Text:   fmt.Sprintf("pods in %s get no sidecar, so they are not of the mesh: %s", x.Name, why),
			Next:   "isthmus apply",
			Proven: true,
		}, true
	}
	return Reason{}, false
}

// injects tells whether there is a webhook that changes pods.
func injects(f *facts.Cluster) bool {
	return slices.ContainsFunc(f.Webhooks, func(w facts.Webhook) bool { return w.Kind == "MutatingWebhookConfiguration" })
}

// controlPlaneNotReady: without istiod new pods get no certificate and proxies learn nothing new.
func controlPlaneNotReady(c Case) (Reason, bool) {
	for _, x := range c.ends() {
		host, served := c.Mesh.Host(x.Cluster), ""
		if host.Name != x.Name {
			served = ", which serves " + x.Name + ","
		}
		f, ok := c.Evidence.facts(host.Name)
		if !ok {
			continue
		}
		istiods := slices.DeleteFunc(slices.Clone(f.Istiods), func(i facts.Istiod) bool {
			return host.Name != x.Name && i.Namespace != c.Mesh.Primary(x.Cluster).IstioNamespace()
		})
		if len(istiods) == 0 {
			return Reason{
				Text: fmt.Sprintf("%s has no control plane%s", host.Name, strings.TrimSuffix(served, ",")), Next: "isthmus apply", Proven: true,
			}, true
		}
		var ready, wanted int32
		for _, i := range istiods {
			ready, wanted = ready+i.Ready, wanted+i.Wanted
		}
		if ready == 0 {
			return Reason{
				Text: fmt.Sprintf("%s's control plane%s has no ready pod (Deployment %s/%s, 0/%d)",
					host.Name, served, istiods[0].Namespace, istiods[0].Name, wanted),
				Next:   mendScale(host, istiods[0].Namespace, "istiod", wanted),
				Proven: wanted == 0,
			}, true
		}
	}
	return Reason{}, false
}

// mendScale: apply puts back a number of replicas that somebody changed; a pod that should be there and is not
// needs a look.
func mendScale(c mesh.Cluster, namespace, app string, wanted int32) string {
	if wanted == 0 {
		return "isthmus apply"
	}
	return kubectl(c, fmt.Sprintf("describe pods -n %s -l app=%s", namespace, app))
}
