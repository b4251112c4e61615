// Package mesh loads, defaults and validates a mesh document and answers questions about its topology.
// A Mesh is a value: nothing in it changes after Load, and every default is filled in.
//
// What a document must obey is the CRD's to say (package v1alpha1); Load runs the code of an API server over it, so
// that a file and a custom resource are judged alike. Written in Go here are only the places and words of problems,
// the nearest names, and what CEL cannot see or could not afford in a mesh of thousands of clusters.
package mesh

import (
	"slices"
	"time"

	"isthmus.dev/isthmus/api/v1alpha1"
)

// A Mesh is a validated document with every default filled in.
type Mesh struct {
	Name     string
	Clusters []Cluster
	// Former are clusters that were members, as far as it is said how they are reached; only Name, Context and Kubeconfig
	// are set.
	Former []Cluster
	Istio  Istio
	Trust  Trust
	// CredentialTTL is how long a remote secret's token is asked to be valid.
	CredentialTTL time.Duration
	EastWest      v1alpha1.EastWestGateway
	MTLS          string // STRICT or PERMISSIVE
	// Failover is how soon calls leave what does not answer any more; nil: Istio's own behaviour.
	Failover *Failover
	// Resources are the document's, with paths as seen from the current folder.
	Resources []v1alpha1.Resource
	// Access is who may call what, JWT whose tokens are believed.
	Access v1alpha1.Authorization
	JWT    []v1alpha1.JWTIssuer
	// Waves names every cluster once, in the order of change; nil: made by themselves (see v1alpha1.Rollout).
	Waves [][]string
	// Verify has a namespace and a pull policy; its image may be empty.
	Verify v1alpha1.Verify
	// Source is the document's file, for messages; "-" for standard input.
	Source string
}

// A Cluster is a member with its defaults filled in.
type Cluster struct {
	Name       string
	Context    string // kubeconfig context
	Kubeconfig string // file, as seen from the current folder; empty: what kubectl would use
	Network    string
	Server     string // API server address for other clusters' control planes; empty: as in the kubeconfig
	RemoteOf   string // the primary whose istiod serves it; empty: one of its own does
	ExternalAt string // the primary in which its own istiod runs; empty: in itself
	Istio      Istio  // the mesh's Istio with this cluster's own merged over it
}

// Istio is an installation with its defaults filled in; Values and MeshConfig are plain JSON maps, with whole numbers
// as int64, and nil where the document has none. Set is what istioctl install --set would take, over the values.
type Istio struct {
	Version, Profile, Hub, Tag string
	// Revision is "" for the one that Istio calls "default".
	Revision string
	// Charts are the embedded ones where their zero value is here.
	Charts Charts
	// ImagePullSecrets name Secrets of istio-system.
	ImagePullSecrets   []string
	Values, MeshConfig map[string]any
	Set                []string
}

// Charts say where an Istio's charts and profiles come from. The zero value is those that the program carries. Other
// ones are read by a step of its own (package charts), which fills in Dir and Release; until then Version and Tag of
// the Istio are empty where the document leaves them to the charts.
type Charts struct {
	// From is a folder, a release archive or an oci:// reference.
	From string
	// Digests are those that the document pins, by the chart's name, or Archive; nil where it pins none.
	Digests map[string]string
	// Read are those that were read, from a registry or an archive.
	Read []Chart
	// Dir is a folder in the layout of a release's manifests.
	Dir string
	// Release is what they are of, "1.31.1"; "1.31" where they do not say the patch.
	Release string
}

// A Chart is one that was read, and what vouches for it.
type Chart struct {
	// Reference is oci://HOST/PATH:TAG, or the archive's file.
	Reference string `json:"reference"`
	// Digest is the manifest's in the registry, or the archive's.
	Digest string `json:"digest"`
	// By is who says that this is the digest; "" where only the registry does, which may say another one tomorrow.
	By Voucher `json:"by,omitempty"`
	// Unasked tells that the registry could not be asked whether the tag still leads to this digest.
	Unasked bool `json:"unasked,omitempty"`
}

// A Voucher says that a digest is the right one.
type Voucher string

// The vouchers: the document's own pins, and the lock beside it.
const (
	ByDocument Voucher = "document"
	ByLock     Voucher = "lock"
)

// Value is what the values say at a path of keys: "pilot", "resources". nil where they say nothing.
func (i Istio) Value(keys ...string) any { return at(i.Values, keys...) }

// Trust is the mesh's identity domain and its certificates.
type Trust struct {
	Domain string
	// ExistingRoot tells that the clusters' certificate authorities are somebody else's to make; RootTTL is then zero.
	ExistingRoot bool
	RootTTL      time.Duration
	// RootFingerprint is the root that is meant: 64 hexadecimal digits; "" where the document does not say.
	RootFingerprint string
	IntermediateTTL time.Duration
}

// Failover is v1alpha1.Failover with its durations read.
type Failover struct {
	ConnectTimeout, DeadAfter, EjectionTime time.Duration
	ConsecutiveFailures                     int64
}

// A Pair is an ordered pair of different clusters: calls go From, To.
type Pair struct{ From, To Cluster }

// Pairs returns every ordered pair of different clusters, in document order.
func (m Mesh) Pairs() []Pair {
	var pairs []Pair
	for _, a := range m.Clusters {
		for _, b := range m.Clusters {
			if a.Name != b.Name {
				pairs = append(pairs, Pair{a, b})
			}
		}
	}
	return pairs
}

// Cluster finds a member by name.
func (m Mesh) Cluster(name string) (Cluster, bool) {
	for i := range m.Clusters {
		if m.Clusters[i].Name == name {
			return m.Clusters[i], true
		}
	}
	return Cluster{}, false
}

// Names lists the members in document order.
func (m Mesh) Names() []string {
	names := make([]string, 0, len(m.Clusters))
	for _, c := range m.Clusters {
		names = append(names, c.Name)
	}
	return names
}

// Networks lists the networks in document order, once each.
func (m Mesh) Networks() []string {
	var networks []string
	for _, c := range m.Clusters {
		if !slices.Contains(networks, c.Network) {
			networks = append(networks, c.Network)
		}
	}
	return networks
}

// MultiNetwork tells whether calls need east-west gateways.
func (m Mesh) MultiNetwork() bool { return len(m.Networks()) > 1 }
