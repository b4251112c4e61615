// Package v1alpha1 is the vocabulary of a mesh document: one Go type for the file that people write and
// for the custom resource. It imports apimachinery only, holds no behaviour, and gives every field the
// name that Istio or Kubernetes gives it.
//
// What a document must obey stands beside the fields, as markers from which controller-gen writes CRD: defaults
// that never change, enumerations, and rules in CEL. An API server and internal/mesh run the same ones. Defaults
// that depend on other fields or on the program's release are filled in by internal/mesh.
//
// +groupName=isthmus.dev
package v1alpha1

import (
	_ "embed"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

//go:generate go tool -modfile=generate/go.mod controller-gen crd paths=. output:crd:dir=.

// CRD is the CustomResourceDefinition of Mesh as YAML, made by go generate from the types of this package.
//
//go:embed isthmus.dev_meshes.yaml
var CRD []byte

// APIVersion and Kind identify a mesh document.
const (
	APIVersion = "isthmus.dev/v1alpha1"
	Kind       = "Mesh"
)

// A Mesh says which clusters are one Istio mesh and how. Everything but the clusters has a safe default.
//
// +kubebuilder:resource:scope=Cluster
// +kubebuilder:storageversion
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63 && !self.metadata.name.contains('.')",message="a mesh's name is a label value and a part of object names: lower-case letters, digits and \"-\", at most 63"
type Mesh struct {
	metav1.TypeMeta `json:",inline"`
	// Metadata holds the mesh's name, which is also Istio's meshID.
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// Spec is what a person wants to be true.
	Spec MeshSpec `json:"spec"`
}

// MeshSpec is what a person wants to be true.
type MeshSpec struct {
	// Clusters are the members, in the order in which they are changed. One is a mesh too: it can grow later.
	//
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4096
	Clusters []Cluster `json:"clusters"`
	// Former are clusters that were members and are to be cleaned, and how they are reached: nobody takes that from what
	// a cluster's record says. One whose record does not say that it was a member of this mesh is left alone. An entry
	// may go once its cluster is clean.
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=4096
	Former []FormerCluster `json:"former,omitempty"`
	// Istio is what runs on every cluster.
	//
	// +optional
	// +kubebuilder:default={}
	Istio Istio `json:"istio,omitzero"`
	// Trust is the mesh's identity domain and where its certificates come from.
	//
	// +optional
	// +kubebuilder:default={}
	Trust Trust `json:"trust,omitzero"`
	// Discovery is how clusters learn of each other's services.
	//
	// +optional
	// +kubebuilder:default={}
	Discovery Discovery `json:"discovery,omitzero"`
	// Gateways are the proxies at the edge of a network.
	//
	// +optional
	// +kubebuilder:default={}
	Gateways Gateways `json:"gateways,omitzero"`
	// Security is what every workload must obey.
	//
	// +optional
	// +kubebuilder:default={}
	Security Security `json:"security,omitzero"`
	// Traffic is how calls find their way among clusters.
	//
	// +optional
	// +kubebuilder:default={}
	Traffic Traffic `json:"traffic,omitzero"`
	// Resources are files and folders of Istio's and the Gateway API's configuration that belong to the mesh, kept the
	// same in every cluster.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	Resources []Resource `json:"resources,omitempty"`
	// Access is who may call what.
	//
	// +optional
	// +kubebuilder:default={}
	Access Authorization `json:"access,omitzero"`
	// Identity is whom the mesh believes beside its own certificates.
	//
	// +optional
	Identity Identity `json:"identity,omitzero"`
	// Rollout is how many clusters are changed together.
	//
	// +optional
	Rollout Rollout `json:"rollout,omitzero"`
	// Verify is how proofs are made.
	//
	// +optional
	// +kubebuilder:default={}
	Verify Verify `json:"verify,omitzero"`
}

// Istio is an installation, in istioctl's own words: whatever istioctl can install, this can. What is set later
// wins: the profile, then values and meshConfig, then set.
type Istio struct {
	// Version is Istio's release, "1.31" or "1.31.1", and must be of the charts' minor release. It chooses the images
	// where tag is not set, and of charts in a registry the release. Default: the charts' own release.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^1[.][0-9]+([.][0-9]+)?$')",message="a release of Istio is written 1.31 or 1.31.1"
	Version string `json:"version,omitempty"`
	// Profile is one of Istio's. The default is minimal, which is Istio's own default without the ingress gateway:
	// a mesh needs none to be one, and the east-west gateways do not come from the profile.
	//
	// +optional
	// +kubebuilder:default=minimal
	// +kubebuilder:validation:Enum=ambient;default;demo;empty;minimal;openshift;openshift-ambient;preview;remote;stable
	Profile string `json:"profile,omitempty"`
	// Hub is the registry and folder that images come from. Default: docker.io/istio.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z0-9][-a-zA-Z0-9._:/]*[a-zA-Z0-9]$') && !self.contains('://')",message="a hub is HOST/PATH, without a scheme and without a \"/\" at its end"
	Hub string `json:"hub,omitempty"`
	// Tag is the tag of the images. Default: the version.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z0-9_][-a-zA-Z0-9._]*$')",message="an image tag is letters, digits, \"_\", \".\" and \"-\", and begins with none of the last two"
	Tag string `json:"tag,omitempty"`
	// Revision is the control plane's: it is in the names of istiod and its webhooks, and namespaces follow it by
	// istio.io/rev. It becomes the default one too, as with the first istioctl install --revision of a cluster, so
	// that istio-injection=enabled means it. Default: none, which Istio calls "default".
	//
	// +optional
	// +kubebuilder:validation:MaxLength=48
	// +kubebuilder:validation:XValidation:rule="self == '' || !format.dns1123Label().validate(self).hasValue()",message="a revision is a DNS label, such as 1-31-1 or canary: lower-case letters, digits and \"-\""
	Revision string `json:"revision,omitempty"`
	// Charts are where Istio's charts and profiles come from: the manifests folder of a release, a release archive
	// (.tar.gz), or a folder of charts in a registry (oci://HOST/PATH, which holds base, istiod, cni and ztunnel).
	// Files are named from the document's folder. Default: those that this program carries.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="!self.contains('://') || self.startsWith('oci://')",message="charts are a folder, a release archive (.tar.gz) or oci://HOST/PATH"
	Charts string `json:"charts,omitempty"`
	// ChartDigests pin the charts: what has another digest is refused, wherever it came from and whatever its tag says.
	// For charts that need none, "isthmus lock" keeps digests in a file beside the document.
	//
	// +optional
	ChartDigests ChartDigests `json:"chartDigests,omitzero"`
	// ImagePullSecrets name Secrets in istio-system with which images are pulled from a private registry
	// (global.imagePullSecrets). Verify copies them beside its workloads for as long as these run.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:MinLength=1
	ImagePullSecrets []string `json:"imagePullSecrets,omitempty"`
	// Values are Helm values, passed through untouched.
	//
	// +optional
	// +kubebuilder:pruning:PreserveUnknownFields
	Values *runtime.RawExtension `json:"values,omitempty"`
	// MeshConfig is Istio's MeshConfig, passed through untouched.
	//
	// +optional
	// +kubebuilder:pruning:PreserveUnknownFields
	MeshConfig *runtime.RawExtension `json:"meshConfig,omitempty"`
	// Set is a list of "path=value", as istioctl install --set takes: for what neither values nor meshConfig can
	// say, such as components.pilot.k8s.
	//
	// +optional
	// +listType=atomic
	Set []string `json:"set,omitempty"`
}

// ClusterIstio is merged over the mesh's Istio: maps by key, everything else replaced; set is appended.
type ClusterIstio struct {
	// Version is Istio's release in this cluster, so that clusters can move to another one after the other.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^1[.][0-9]+([.][0-9]+)?$')",message="a release of Istio is written 1.31 or 1.31.1"
	Version string `json:"version,omitempty"`
	// Profile of this cluster.
	//
	// +optional
	// +kubebuilder:validation:Enum=ambient;default;demo;empty;minimal;openshift;openshift-ambient;preview;remote;stable
	Profile string `json:"profile,omitempty"`
	// Hub that this cluster's images come from.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z0-9][-a-zA-Z0-9._:/]*[a-zA-Z0-9]$') && !self.contains('://')",message="a hub is HOST/PATH, without a scheme and without a \"/\" at its end"
	Hub string `json:"hub,omitempty"`
	// Tag of this cluster's images. Default: this cluster's version, if it has one, then the mesh's tag.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z0-9_][-a-zA-Z0-9._]*$')",message="an image tag is letters, digits, \"_\", \".\" and \"-\", and begins with none of the last two"
	Tag string `json:"tag,omitempty"`
	// Revision of this cluster's control plane; "default" is none.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=48
	// +kubebuilder:validation:XValidation:rule="self == '' || !format.dns1123Label().validate(self).hasValue()",message="a revision is a DNS label, such as 1-31-1 or canary: lower-case letters, digits and \"-\""
	Revision string `json:"revision,omitempty"`
	// Charts of this cluster.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="!self.contains('://') || self.startsWith('oci://')",message="charts are a folder, a release archive (.tar.gz) or oci://HOST/PATH"
	Charts string `json:"charts,omitempty"`
	// ChartDigests of this cluster, instead of the mesh's.
	//
	// +optional
	ChartDigests ChartDigests `json:"chartDigests,omitzero"`
	// ImagePullSecrets of this cluster, instead of the mesh's.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:MinLength=1
	ImagePullSecrets []string `json:"imagePullSecrets,omitempty"`
	// Values are Helm values for this cluster.
	//
	// +optional
	// +kubebuilder:pruning:PreserveUnknownFields
	Values *runtime.RawExtension `json:"values,omitempty"`
	// MeshConfig is Istio's MeshConfig for this cluster.
	//
	// +optional
	// +kubebuilder:pruning:PreserveUnknownFields
	MeshConfig *runtime.RawExtension `json:"meshConfig,omitempty"`
	// Set is a list of "path=value", after the mesh's.
	//
	// +optional
	// +listType=atomic
	Set []string `json:"set,omitempty"`
}

// ChartDigests pin charts: those in a registry each by the digest of its manifest, a release archive as a whole.
type ChartDigests struct {
	// Archive is the SHA-256 of a release archive: "sha256:" and 64 hexadecimal digits, as for all of these.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=71
	// +kubebuilder:validation:XValidation:rule="self.matches('^sha256:[0-9a-f]{64}$')",message="a digest is written sha256: and 64 hexadecimal digits in lower case"
	Archive string `json:"archive,omitempty"`
	// Base is the digest of the manifest of the chart base in a registry, as helm pull and crane digest say it.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=71
	// +kubebuilder:validation:XValidation:rule="self.matches('^sha256:[0-9a-f]{64}$')",message="a digest is written sha256: and 64 hexadecimal digits in lower case"
	Base string `json:"base,omitempty"`
	// Istiod is that of the chart istiod.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=71
	// +kubebuilder:validation:XValidation:rule="self.matches('^sha256:[0-9a-f]{64}$')",message="a digest is written sha256: and 64 hexadecimal digits in lower case"
	Istiod string `json:"istiod,omitempty"`
	// CNI is that of the chart cni. A chart of a registry that is not named here beside others is not used.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=71
	// +kubebuilder:validation:XValidation:rule="self.matches('^sha256:[0-9a-f]{64}$')",message="a digest is written sha256: and 64 hexadecimal digits in lower case"
	CNI string `json:"cni,omitempty"`
	// Ztunnel is that of the chart ztunnel.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=71
	// +kubebuilder:validation:XValidation:rule="self.matches('^sha256:[0-9a-f]{64}$')",message="a digest is written sha256: and 64 hexadecimal digits in lower case"
	Ztunnel string `json:"ztunnel,omitempty"`
}

// Discovery is how clusters learn of each other's services.
type Discovery struct {
	// Registry is where clusters learn of each other's services. With "kubernetes" every control plane watches
	// every API server.
	//
	// +optional
	// +kubebuilder:default=kubernetes
	// +kubebuilder:validation:Enum=kubernetes
	Registry string `json:"registry,omitempty"`
	// CredentialTTL is how long a remote secret's token is valid; apply renews it once a third of it is left. It is
	// at least 10m, as TokenRequest demands (BoundServiceAccountToken), and an API server may give less than is
	// asked (its --service-account-max-token-expiration).
	//
	// +optional
	// +kubebuilder:default="2160h"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('10m')",message="Kubernetes gives no token for less than 10m"
	CredentialTTL Duration `json:"credentialTTL,omitempty"`
}

// A Duration is a span of time in Go's own words, whole hours, minutes and seconds in this order: 2160h, 1h30m. There
// are no days. The most that fits, 999999h, is 114 years.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=32
// +kubebuilder:validation:Pattern=`^([0-9]{1,6}h)?([0-9]{1,7}m)?([0-9]{1,9}s)?$`
type Duration string

// Gateways are the proxies at the edge of a network.
type Gateways struct {
	// EastWest carries calls between networks.
	//
	// +optional
	// +kubebuilder:default={}
	EastWest EastWestGateway `json:"eastWest,omitzero"`
}

// EastWestGateway carries calls between networks, and other clusters' proxies to the istiods that serve them. It is
// made where the mesh has more than one network, and in clusters whose istiod others use.
type EastWestGateway struct {
	// Replicas is how many pods the gateway has in each cluster.
	//
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	Replicas *int32 `json:"replicas,omitempty"`
	// ServiceType is the type of the gateway's Service.
	//
	// +optional
	// +kubebuilder:default=LoadBalancer
	// +kubebuilder:validation:Enum=LoadBalancer;NodePort;ClusterIP
	ServiceType string `json:"serviceType,omitempty"`
	// Annotations of the Service, for cloud load balancers.
	//
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Security is what every workload must obey.
type Security struct {
	// MTLS is the mode of the mesh-wide PeerAuthentication.
	//
	// +optional
	// +kubebuilder:default=STRICT
	// +kubebuilder:validation:Enum=STRICT;PERMISSIVE
	MTLS string `json:"mtls,omitempty"`
}
