// Package object is the value that everything passes around: one Kubernetes object that should exist in one
// cluster, why, and which part of the mesh it belongs to. It knows no client and no document.
package object

import (
	"cmp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Labels, annotations and names that Isthmus puts on what it owns, and two of Istio's that all of it goes by.
const (
	// LabelMesh names the mesh document that owns an object.
	LabelMesh = "isthmus.dev/mesh"
	// LabelPart names the Part of an object, with "-" for spaces.
	LabelPart = "isthmus.dev/part"
	// AnnotationApplied is the digest of the object as it was last applied, see Digest.
	AnnotationApplied = "isthmus.dev/applied"
	// AnnotationIssued is when a remote secret's token was issued, RFC 3339; with the token's end it gives its life.
	AnnotationIssued = "isthmus.dev/issued"
	// Manager is Isthmus's field manager in server-side apply.
	Manager = "isthmus"
	// IstioNamespace is where Istio is installed, and its root namespace.
	IstioNamespace = "istio-system"
	// LabelRemoteSecret marks, with "true", the Secrets that istiod reads kubeconfigs of other clusters from (Istio:
	// pkg/kube/multicluster).
	LabelRemoteSecret = "istio/multiCluster" //nolint:gosec // G101: a label, not a credential
	// SystemNamespace holds what Isthmus keeps in a cluster: its inventory, and in the first cluster the root.
	SystemNamespace = "isthmus-system"
)

// A Part groups objects as people speak of them.
type Part string

// The parts of a mesh, in the order in which they are made.
const (
	PartFoundation   Part = "foundation" // namespaces and the inventory
	PartTrust        Part = "trust"
	PartControlPlane Part = "control plane"
	PartDiscovery    Part = "discovery"
	PartPolicy       Part = "policy"
	PartTraffic      Part = "traffic"
	PartResources    Part = "resources" // the files of spec.resources
	PartGateway      Part = "east-west gateway"
	PartProbes       Part = "probes" // what verify brings and takes away again
)

// parts are all, for PartOf.
var parts = []Part{PartFoundation, PartTrust, PartControlPlane, PartDiscovery, PartPolicy, PartTraffic, PartResources, PartGateway, PartProbes}

// Label is how a part is written as the value of LabelPart, which may hold no space.
func (p Part) Label() string { return strings.ReplaceAll(string(p), " ", "-") }

// PartOf is the part that a label names; the label as it is where no part is written like that, as another version of
// this program may have it.
func PartOf(label string) Part {
	for _, p := range parts {
		if p.Label() == label {
			return p
		}
	}
	return Part(label)
}

// A Ref names an object without saying at which API version.
type Ref struct {
	Group     string `json:"group,omitempty"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

// String is how people read it: "Deployment istio-system/istiod".
func (r Ref) String() string {
	if r.Namespace == "" {
		return r.Kind + " " + r.Name
	}
	return r.Kind + " " + r.Namespace + "/" + r.Name
}

// Compare orders refs by kind, namespace, name, group.
func (r Ref) Compare(o Ref) int {
	return cmp.Or(strings.Compare(r.Kind, o.Kind), strings.Compare(r.Namespace, o.Namespace),
		strings.Compare(r.Name, o.Name), strings.Compare(r.Group, o.Group))
}

// RefOf names a live or wanted object.
func RefOf(u *unstructured.Unstructured) Ref {
	version, _ := u.Object["apiVersion"].(string)
	kind, _ := u.Object["kind"].(string)
	metadata, ok := u.Object["metadata"].(map[string]any)
	if group, _, found := strings.Cut(version, "/"); ok && strings.Count(version, "/") < 2 { // a plan asks millions of times
		if !found {
			group = ""
		}
		name, _ := metadata["name"].(string)
		namespace, _ := metadata["namespace"].(string)
		return Ref{Group: group, Kind: kind, Namespace: namespace, Name: name}
	}
	gvk := u.GroupVersionKind()
	return Ref{Group: gvk.Group, Kind: gvk.Kind, Namespace: u.GetNamespace(), Name: u.GetName()}
}

// A SealKind says which secret content an object gets at the moment it is applied.
type SealKind string

// The kinds of sealed content.
const (
	SealRoot         SealKind = "root"          // the mesh's self-signed root, made once
	SealIntermediate SealKind = "intermediate"  // a cluster's intermediate, signed by the root
	SealRemoteSecret SealKind = "remote-secret" // a kubeconfig for another cluster, with a token that ends
	SealPullSecret   SealKind = "pull-secret"   // a copy of the Secret of the same name in istio-system
	// SealConfigCluster is an external istiod's kubeconfig for the cluster that it serves, with a token that ends.
	SealConfigCluster SealKind = "config-cluster"
)

// Irreplaceable tells content that cannot be made again: with it goes the trust of everything that it signed. No plan
// replaces it, and none deletes it but where it is elsewhere too, or where the whole mesh goes.
func (k SealKind) Irreplaceable() bool { return k == SealRoot }

// Sealed marks an object whose secret content is made only when it is applied, so that no plan can hold it.
type Sealed struct {
	Kind SealKind `json:"kind"`
	// About is the cluster that the content is about: whose intermediate, whose API server.
	About string `json:"about,omitempty"`
	// From is the cluster where the content is now, when it moves; empty when it is made anew.
	From string `json:"from,omitempty"`
	// Account is the ServiceAccount there, in isthmus-system, whose token the content holds.
	Account string `json:"account,omitempty"`
}

// An Object should exist in a cluster.
type Object struct {
	Part   Part
	Reason string // why it exists, for people: "west's API server becomes known to east"
	// Body may be that of the same object in other clusters too: whoever changes it changes a copy.
	Body   *unstructured.Unstructured
	Sealed *Sealed // nil for all but secrets
	// Source is where a person wrote it, "istio/routes.yaml:12"; "" for what Isthmus makes.
	Source string
	// IfNamespace makes it only where its namespace exists already: where there is none there is nothing that it would
	// be about. Without it a namespace that is missing is in the way.
	IfNamespace bool
	// For is the cluster whose istiod this belongs to, where that runs in another than its own: it is made with that one.
	For string
}

// Ref names the object.
func (o Object) Ref() Ref { return RefOf(o.Body) }

// Objects are what should exist: cluster name → objects.
type Objects map[string][]Object

// Add appends to a cluster's objects.
func (o Objects) Add(cluster string, more ...Object) { o[cluster] = append(o[cluster], more...) }

// Refs lists what should exist in a cluster, in order and once each.
func (o Objects) Refs(cluster string) []Ref {
	refs := make([]Ref, 0, len(o[cluster]))
	for _, x := range o[cluster] {
		refs = append(refs, x.Ref())
	}
	slices.SortFunc(refs, Ref.Compare)
	return slices.Compact(refs)
}
