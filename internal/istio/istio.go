// Package istio computes the objects of an Istio installation: values in, objects out, and no client in sight.
//
// The charts and profiles are those that istio.io/istio embeds, or those of another folder that package charts has
// read, rendered by the library that istioctl itself renders with, so that what istioctl can install, this can. The same document gives the same objects, in the
// same order. Rendered objects are changed in these ways only, each of which a test pins:
//
//   - Fields that somebody else keeps are not owned: the failurePolicy of Istio's validating webhooks, which the
//     charts set to Ignore and istiod turns to Fail; spec.replicas of a Deployment that a HorizontalPodAutoscaler
//     scales; entries that are null. (The charts leave out the webhooks' caBundle, which istiod fills in.)
//   - The webhook that validates objects of no revision is there from the start, and with a revision its tag
//     "default", which makes it the one that istio-injection=enabled means. istioctl install makes both afterwards.
//   - The east-west gateway may not read Secrets. The chart grants every gateway that in its namespace, which
//     here is istio-system with the key of the intermediate and the remote secrets. This gateway passes mutual
//     TLS through and needs no certificate of its own.
//   - Everything bears the labels of package label.
//
// Nothing is set beside what the document says, but what makes a mesh of several clusters: global.meshID,
// global.multiCluster.clusterName, global.network and meshConfig.trustDomain; with a revision its tag; and in a mesh of
// primaries and remotes what says who serves whom, see roleValues.
package istio

import (
	"cmp"
	"fmt"
	"slices"

	"isthmus.dev/isthmus/internal/label"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

const (
	// Namespace is where Istio is installed.
	Namespace = object.IstioNamespace
	// LabelNetwork says which network a namespace's endpoints, or those behind a gateway, are in (Istio's own).
	LabelNetwork = "topology.istio.io/network"
	// annotationControlPlanes names the clusters whose istiod serves this one (Istio's own): one of them writes the
	// mesh's root into every namespace and its CA into the injection webhook.
	annotationControlPlanes = "topology.istio.io/controlPlaneClusters"
	// EastWestGateway is the name of the east-west gateway's Deployment and Service.
	EastWestGateway = "istio-eastwestgateway"

	// chartsVersion is the release line of the embedded charts: the file VERSION in istio.io/istio. The charts
	// say nothing of it themselves, but hold a profile for compatibility with every line before it; a test
	// compares.
	chartsVersion = "1.31"
	// DefaultHub is where the images are when the document does not say: Istio's own release of
	// that line, as istioctl has them built in.
	DefaultHub = mesh.DefaultHub
	// DefaultTag is the release that they are of.
	DefaultTag = mesh.Release
)

// Version is the release line of the embedded charts: "1.31".
func Version() string { return chartsVersion }

// Objects is that of a Renderer that keeps nothing.
func Objects(m mesh.Mesh) (object.Objects, error) { return Renderer{}.Objects(m) }

// A Renderer renders meshes.
type Renderer struct {
	// Kept are renderings of before; nil: everything is rendered anew.
	Kept Kept
}

// Objects returns what an Istio installation consists of, for every cluster of a mesh, sorted by part and then
// by name. Clusters are rendered side by side, and like ones once. An error names the cluster and the field of the document.
func (r Renderer) Objects(m mesh.Mesh) (object.Objects, error) {
	var like, unlike []mesh.Cluster
	for _, c := range m.Clusters {
		if err := check(c); err != nil {
			return nil, err
		}
		if c.IsExternal() || len(m.Hosted(c)) > 0 { // what it gets depends on others
			unlike = append(unlike, c)
			continue
		}
		like = append(like, c)
	}
	render := func(c mesh.Cluster) ([]object.Object, error) { return r.ofCluster(m, c) }
	rendered, err := together(like, render)
	if err != nil {
		return nil, err
	}
	others, err := alone(unlike, render)
	if err != nil {
		return nil, err
	}
	out := object.Objects{}
	for i, c := range slices.Concat(like, unlike) {
		out.Add(c.Name, slices.Concat(rendered, others)[i]...)
	}
	return out, nil
}

// ofCluster returns the objects of one cluster.
func (r Renderer) ofCluster(m mesh.Mesh, c mesh.Cluster) ([]object.Object, error) {
	all, err := r.controlPlane(m, c)
	if err != nil {
		return nil, err
	}
	external, err := r.externalIstiods(m, c)
	if err != nil {
		return nil, err
	}
	all = append(all, external...)
	if m.HasGateway(c) {
		gateway, err := r.eastWest(m, c)
		if err != nil {
			return nil, err
		}
		all = append(all, gateway...)
	}
	all = append(all, namespaces(m, c)...)
	for _, o := range all {
		label.Own(m.Name, o)
	}
	slices.SortFunc(all, byPart)
	return all, nil
}

// namespaces are Istio's and Isthmus's own. istiod reads a cluster's network from the label of the former.
func namespaces(m mesh.Mesh, c mesh.Cluster) []object.Object {
	own := object.Object{
		Part: object.PartFoundation, Reason: fmt.Sprintf("holds Istio; says that %s is in network %s", c.Name, c.Network),
		Body: namespaceBody(c.IstioNamespace(), map[string]any{LabelNetwork: c.Network}),
	}
	if c.IsRemote() {
		own.Reason += ", and that the istiod of " + c.RemoteOf + " serves it"
		own.Body.SetAnnotations(map[string]string{annotationControlPlanes: c.RemoteOf})
	}
	out := []object.Object{own, {
		Part: object.PartFoundation, Reason: "holds what Isthmus keeps in " + c.Name + " for mesh " + m.Name,
		Body: namespaceBody(object.SystemNamespace, map[string]any{}),
	}}
	if c.IsExternal() {
		out = append(out, networkNote(c))
	}
	return out
}

var partOrder = []object.Part{object.PartFoundation, object.PartControlPlane, object.PartGateway}

func byPart(a, b object.Object) int {
	return cmp.Or(cmp.Compare(slices.Index(partOrder, a.Part), slices.Index(partOrder, b.Part)), a.Ref().Compare(b.Ref()))
}
