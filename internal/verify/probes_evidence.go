package verify

import (
	"slices"
	"time"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// Evidence is what is looked at when a proof fails, to name the broken link. Whatever could not be seen is
// missing in it, and no reason is built on what is missing.
type Evidence struct {
	// Now is a snapshot of the clusters taken after the failure. Its zero value: none was taken.
	Now facts.Snapshot
	// Sites is what was seen in each cluster beside the facts.
	Sites map[string]SiteEvidence
	// Shown are the fingerprints of the roots that servers showed to strangers, by cluster.
	Shown map[string]string
}

// SiteEvidence is what was seen in one cluster.
type SiteEvidence struct {
	// Away says why the API server does not answer; "" when it does. If it is away nothing else is known.
	Away string
	// Unplaced says why the workloads could not be placed, though the API server answers.
	Unplaced string
	// Pods are verify's own.
	Pods map[Role]Pod
	// Unasked says why a pod that is ready could not be told to make calls, by role.
	Unasked map[Role]string
	// Remotes are the clusters that the istiods here watch; nil where no istiod could be asked.
	Remotes []Remote
	// Endpoints are what the client's proxy knows of the HTTP server of other clusters, by cluster; nil where
	// the proxy could not be asked.
	Endpoints map[string][]Endpoint
	// Peer are the PeerAuthentications that concern verify's server; PeerKnown tells that they were read.
	Peer      []PeerAuthentication
	PeerKnown bool
	// Policies are AuthorizationPolicies that concern verify's server, "namespace/name".
	Policies []string
	// TokenRules are RequestAuthentications, and Routes DestinationRules, of the namespaces that matter, each
	// "namespace/name"; Known tells that they were read.
	TokenRules, Routes           []string
	TokenRulesKnown, RoutesKnown bool
}

// A Pod is one of verify's.
type Pod struct {
	Name, IP string
	// Ready: every container is.
	Ready bool
	// Sidecar: it has a proxy.
	Sidecar bool
	// Problem is why it is not ready, or not there at all; Stuck, that this is more than a start taking its time.
	Problem string
	Stuck   bool
	// NoImage: the problem is that the node cannot get the image.
	NoImage bool
}

// A Remote is what an istiod says of a cluster that it watches (its /debug/clusterz).
type Remote struct {
	ID     string `json:"id"`
	Secret string `json:"secretName"`
	Status string `json:"syncStatus"` // synced, syncing, timeout, closed
}

// An Endpoint is what a proxy knows of one (its admin interface's /clusters).
type Endpoint struct {
	Address string
	Healthy bool
}

// A PeerAuthentication as far as it decides about plain text.
type PeerAuthentication struct {
	Namespace, Name string
	Mode            string // STRICT, PERMISSIVE, DISABLE; "" for one that inherits
}

// effective is the PeerAuthentication that decides for a pod in namespace: its namespace's, else the mesh's.
// Istio's rule: the narrower one wins, and one without a mode inherits.
func effective(all []PeerAuthentication, istio, namespace string) (PeerAuthentication, bool) {
	for _, ns := range []string{namespace, istio} {
		i := slices.IndexFunc(all, func(p PeerAuthentication) bool { return p.Namespace == ns && p.Mode != "" })
		if i >= 0 {
			return all[i], true
		}
	}
	return PeerAuthentication{}, false
}

// facts of a cluster, if it answered when they were taken.
func (e Evidence) facts(cluster string) (*facts.Cluster, bool) {
	f := e.Now.Clusters[cluster]
	return f, f.Answered()
}

// kubeconfig is what a cluster's own control plane knows of other's API server: the remote secret's.
func (e Evidence) kubeconfig(m mesh.Mesh, cluster mesh.Cluster, other string) (k facts.Kubeconfig, secret string, found bool) {
	f, ok := e.facts(m.Host(cluster).Name)
	if !ok {
		return facts.Kubeconfig{}, "", false
	}
	for _, s := range f.Secrets {
		if s.Namespace != cluster.IstioNamespace() || s.Labels[object.LabelRemoteSecret] != "true" {
			continue
		}
		if k, has := s.Kubeconfigs[other]; has {
			return k, s.Name, true
		}
	}
	return facts.Kubeconfig{}, "", false
}

// may tells whether the caller was allowed to read a resource in a cluster: what may not be read looks as if it
// were not there.
func (e Evidence) may(cluster, resource string) bool {
	f, ok := e.facts(cluster)
	return ok && !slices.ContainsFunc(f.Denied, func(r facts.Right) bool {
		return r.Resource == resource && (r.Verb == "get" || r.Verb == "list")
	})
}

// roots are the fingerprints of the root certificates in the cacerts of the istiod that serves a cluster; none if it
// made its own root.
func (e Evidence) roots(m mesh.Mesh, cluster mesh.Cluster) []string {
	f, ok := e.facts(m.Host(cluster).Name)
	secret := m.Primary(cluster).IstioNamespace() + "/" + facts.CACerts
	if !ok || f.Secrets[secret] == nil {
		return nil
	}
	var roots []string
	for _, c := range f.Secrets[secret].Certificates[facts.RootFile] {
		roots = append(roots, c.Fingerprint)
	}
	return roots
}

// gateways are the east-west gateways of a network, wherever they run.
func (e Evidence) gateways(network string, clusters []string) []facts.Gateway {
	var all []facts.Gateway
	for _, name := range clusters {
		f, ok := e.facts(name)
		if !ok {
			continue
		}
		for _, g := range f.Gateways {
			if g.Network == "" || g.Network == network {
				all = append(all, g)
			}
		}
	}
	return all
}

// ended tells whether a credential's time is over; zero is never.
func ended(at, now time.Time) bool { return !at.IsZero() && !at.After(now) }
