// Package v1alpha1 is the vocabulary of a mesh document: one Go type for the file that people write and
// for the custom resource. It imports apimachinery only, holds no behaviour, and gives every field the
// name that Istio or Kubernetes gives it.
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// APIVersion and Kind identify a mesh document.
const (
	APIVersion = "isthmus.dev/v1alpha1"
	Kind       = "Mesh"
)

// A Mesh says which clusters are one Istio mesh and how. Everything but the clusters has a safe default.
type Mesh struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec MeshSpec `json:"spec"`
}

// MeshSpec is what a person wants to be true.
type MeshSpec struct {
	// Clusters are the members, in the order in which they are changed.
	Clusters []Cluster `json:"clusters"`
	// Istio is what runs on every cluster.
	Istio Istio `json:"istio,omitempty"`
	// Trust is the mesh's identity domain and where its certificates come from.
	Trust Trust `json:"trust,omitempty"`
	// Discovery is how clusters learn of each other's services.
	Discovery Discovery `json:"discovery,omitempty"`
	// Gateways are the proxies at the edge of a network.
	Gateways Gateways `json:"gateways,omitempty"`
	// Security is what every workload must obey.
	Security Security `json:"security,omitempty"`
	// Rollout is how many clusters are changed together.
	Rollout Rollout `json:"rollout,omitempty"`
	// Verify is how proofs are made.
	Verify Verify `json:"verify,omitempty"`
}

// A Cluster is one member of the mesh.
type Cluster struct {
	// Name is what Istio calls clusterName: a DNS label, unique in the mesh.
	Name string `json:"name"`
	// Access says how to reach the API server.
	Access Access `json:"access,omitempty"`
	// Network names the set of endpoints that reach each other directly (topology.istio.io/network).
	// Default: a network of its own, named after the cluster.
	Network string `json:"network,omitempty"`
	// Server is the address of the API server that other clusters' control planes use, where it differs
	// from the one in the kubeconfig.
	Server string `json:"server,omitempty"`
	// Istio is merged over spec.istio for this cluster.
	Istio ClusterIstio `json:"istio,omitempty"`
}

// Access is one way to reach an API server.
type Access struct {
	// Context is the name of a kubeconfig context. Default: the cluster's name.
	Context string `json:"context,omitempty"`
	// Kubeconfig is a file; default: what kubectl would use (KUBECONFIG, ~/.kube/config).
	Kubeconfig string `json:"kubeconfig,omitempty"`
}

// Istio is an installation, in istioctl's own words: whatever istioctl can install, this can.
type Istio struct {
	// Version is Istio's release. Default: the one whose charts are embedded.
	Version string `json:"version,omitempty"`
	// Profile is one of Istio's: default, demo, minimal, empty, preview, stable, remote... Default: "default"
	// without an ingress gateway ("minimal"), because a mesh needs none to be one.
	Profile string `json:"profile,omitempty"`
	// Hub and Tag are where the images come from.
	Hub string `json:"hub,omitempty"`
	Tag string `json:"tag,omitempty"`
	// Values are Helm values, passed through untouched.
	Values *runtime.RawExtension `json:"values,omitempty"`
	// MeshConfig is Istio's MeshConfig, passed through untouched.
	MeshConfig *runtime.RawExtension `json:"meshConfig,omitempty"`
	// Set is a list of "path=value", as istioctl install --set takes.
	Set []string `json:"set,omitempty"`
}

// ClusterIstio is merged over the mesh's Istio: maps by key, everything else replaced.
type ClusterIstio struct {
	Values     *runtime.RawExtension `json:"values,omitempty"`
	MeshConfig *runtime.RawExtension `json:"meshConfig,omitempty"`
	Set        []string              `json:"set,omitempty"`
}

// Trust is the mesh's identity domain and its certificates.
type Trust struct {
	// Domain is the SPIFFE trust domain. Default: cluster.local.
	Domain string `json:"domain,omitempty"`
	// Root is where the root certificate comes from. Default: selfSigned.
	Root Root `json:"root,omitempty"`
	// IntermediateTTL is how long a cluster's intermediate is valid. Default: 8760h.
	IntermediateTTL *metav1.Duration `json:"intermediateTTL,omitempty"`
}

// Root says where the root certificate comes from: exactly one field is set.
type Root struct {
	// SelfSigned makes a root once and keeps it in the first cluster.
	SelfSigned *SelfSignedRoot `json:"selfSigned,omitempty"`
}

// SelfSignedRoot is a root that Isthmus makes.
type SelfSignedRoot struct {
	// TTL is how long the root is valid. Default: 87600h.
	TTL *metav1.Duration `json:"ttl,omitempty"`
}

// Discovery is how clusters learn of each other's services.
type Discovery struct {
	// Registry is "kubernetes": every control plane watches every API server. Default: kubernetes.
	Registry string `json:"registry,omitempty"`
	// CredentialTTL is how long a remote secret's token is valid; renewed by apply once a third of it is left.
	// Default: 2160h. An API server may give less (its --service-account-max-token-expiration).
	CredentialTTL *metav1.Duration `json:"credentialTTL,omitempty"`
}

// Gateways are the proxies at the edge of a network.
type Gateways struct {
	// EastWest carries calls between networks.
	EastWest EastWestGateway `json:"eastWest,omitempty"`
}

// EastWestGateway carries calls between networks. It is only made where the mesh has more than one network.
type EastWestGateway struct {
	// Replicas default: 1.
	Replicas *int32 `json:"replicas,omitempty"`
	// ServiceType default: LoadBalancer.
	ServiceType string `json:"serviceType,omitempty"`
	// Annotations of the Service, for cloud load balancers.
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Security is what every workload must obey.
type Security struct {
	// MTLS is the mesh-wide PeerAuthentication mode: STRICT or PERMISSIVE. Default: STRICT.
	MTLS string `json:"mtls,omitempty"`
}

// Rollout is how many clusters are changed together.
type Rollout struct {
	// Waves names clusters that change together, in order. Default: one cluster a wave, except that clusters
	// which have no control plane yet, and so carry no traffic, are one wave together.
	Waves [][]string `json:"waves,omitempty"`
}

// Verify is how proofs are made.
type Verify struct {
	// Image is the image of the isthmus program that client and server pods run (see: isthmus image).
	Image string `json:"image,omitempty"`
	// Namespace is made for the proof and removed after it. Default: isthmus-verify.
	Namespace string `json:"namespace,omitempty"`
	// ImagePullSecrets are names of Secrets in that namespace.
	ImagePullPolicy string `json:"imagePullPolicy,omitempty"`
}
