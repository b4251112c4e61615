package mesh

import "slices"

// Who serves whom. A primary has an istiod of its own; a remote is served by a primary's; an external cluster has one
// of its own that runs elsewhere. Load has seen to it that a remote names a primary, and an external cluster too.

// IsPrimary tells whether a cluster's own istiod runs in it.
func (c Cluster) IsPrimary() bool { return c.RemoteOf == "" && c.ExternalAt == "" }

// IsRemote tells whether a cluster has no istiod of its own.
func (c Cluster) IsRemote() bool { return c.RemoteOf != "" }

// IsExternal tells whether a cluster's own istiod runs in another cluster.
func (c Cluster) IsExternal() bool { return c.ExternalAt != "" }

// Elsewhere is c's name if its own istiod runs in another cluster, as objects of that istiod say whose they are.
func (c Cluster) Elsewhere() string {
	if c.IsExternal() {
		return c.Name
	}
	return ""
}

// IstioNamespace is where Istio lives in a cluster, and where its own istiod runs, wherever that is. An external
// istiod has one namespace in both clusters (Istio: "Install Istio with an External Control Plane"), which cannot be
// istio-system, where the istiod of the cluster that it runs in is.
func (c Cluster) IstioNamespace() string {
	if c.IsExternal() {
		return "external-istiod-" + c.Name
	}
	return istioNamespace
}

// Primary returns the cluster whose istiod serves c, and from which it reads configuration: c itself, or the primary
// that a remote names.
func (m Mesh) Primary(c Cluster) Cluster {
	if c.RemoteOf == "" {
		return c
	}
	p, _ := m.Cluster(c.RemoteOf)
	return p
}

// Host returns the cluster in which the istiod that serves c runs.
func (m Mesh) Host(c Cluster) Cluster {
	c = m.Primary(c)
	if c.ExternalAt == "" {
		return c
	}
	h, _ := m.Cluster(c.ExternalAt)
	return h
}

// Governors are the clusters with an istiod of their own, wherever it runs, in document order.
func (m Mesh) Governors() []Cluster {
	return slices.DeleteFunc(slices.Clone(m.Clusters), Cluster.IsRemote)
}

// Hosted are the clusters whose istiod runs in c and that are not c, in document order: they reach it through c's
// east-west gateway.
func (m Mesh) Hosted(c Cluster) []Cluster {
	return slices.DeleteFunc(slices.Clone(m.Clusters), func(x Cluster) bool {
		return x.RemoteOf != c.Name && x.ExternalAt != c.Name
	})
}

// HasGateway tells whether a cluster has an east-west gateway: for other networks, or for those that its istiods serve.
func (m Mesh) HasGateway(c Cluster) bool { return m.MultiNetwork() || len(m.Hosted(c)) > 0 }

// Watchers are the clusters other than c whose istiods read c's API server, in document order.
func (m Mesh) Watchers(c Cluster) []Cluster {
	return slices.DeleteFunc(m.Governors(), func(g Cluster) bool { return g.Name == c.Name })
}

// Home is the cluster that keeps the self-signed root: the first primary of the document.
func (m Mesh) Home() Cluster {
	return m.Clusters[max(0, slices.IndexFunc(m.Clusters, Cluster.IsPrimary))]
}
