package v1alpha1

// A Cluster is one member of the mesh.
//
// +kubebuilder:validation:XValidation:rule="!has(self.controlPlane) || !has(self.controlPlane.remoteOf) || self.controlPlane.remoteOf != self.name",fieldPath=".controlPlane.remoteOf",message="a cluster is no remote of itself: without controlPlane it is a primary"
// +kubebuilder:validation:XValidation:rule="!has(self.controlPlane) || !has(self.controlPlane.externalAt) || self.controlPlane.externalAt != self.name",fieldPath=".controlPlane.externalAt",message="a control plane in the cluster that it serves is not external: without controlPlane it is a primary"
type Cluster struct {
	// Name is what Istio calls clusterName, unique in the mesh. It is a DNS label of at most 43 characters, so
	// that the Secret istio-remote-secret-NAME, which Istio's tools name after it, fits a label value (63).
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=43
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Label().validate(self).hasValue()",message="a cluster's name is a DNS label: lower-case letters, digits and \"-\", a letter or digit at both ends"
	Name string `json:"name"`
	// Access says how to reach the API server.
	//
	// +optional
	Access Access `json:"access,omitzero"`
	// Network names the set of endpoints that reach each other directly (topology.istio.io/network): a label value.
	// Default: a network of its own, named after the cluster.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="!format.labelValue().validate(self).hasValue()",message="a network's name is a label value: letters, digits, \"-\", \"_\" and \".\", a letter or digit at both ends"
	Network string `json:"network,omitempty"`
	// Server is the address of the API server that other clusters' control planes use, where it differs
	// from the one in the kubeconfig: https://HOST[:PORT].
	//
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() == 'https' && url(self).getHostname() != ''",message="an API server's address is https://HOST or https://HOST:PORT"
	Server string `json:"server,omitempty"`
	// ControlPlane says whose istiod serves the cluster. Default: its own, which makes it a primary.
	//
	// +optional
	ControlPlane ControlPlane `json:"controlPlane,omitzero"`
	// Istio is merged over spec.istio for this cluster.
	//
	// +optional
	Istio ClusterIstio `json:"istio,omitzero"`
}

// A FormerCluster was a member of the mesh.
type FormerCluster struct {
	// Name is the name that it had in spec.clusters.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=43
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Label().validate(self).hasValue()",message="a cluster's name is a DNS label: lower-case letters, digits and \"-\", a letter or digit at both ends"
	Name string `json:"name"`
	// Access says how to reach the API server.
	//
	// +optional
	Access Access `json:"access,omitzero"`
}

// ControlPlane says that a cluster's istiod is not in the cluster itself: at most one of its fields is set.
//
// +kubebuilder:validation:XValidation:rule="!has(self.remoteOf) || !has(self.externalAt)",message="a cluster is served by another's istiod (remoteOf) or by one of its own elsewhere (externalAt), not by both"
type ControlPlane struct {
	// RemoteOf names the primary whose istiod serves this cluster too. Configuration is read from the primary, and
	// the istiod is reached through the primary's east-west gateway.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=43
	RemoteOf string `json:"remoteOf,omitempty"`
	// ExternalAt names the primary beside whose istiod runs one more, for this cluster alone. Configuration is read
	// from this cluster, and the istiod is reached through that primary's east-west gateway.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=43
	ExternalAt string `json:"externalAt,omitempty"`
}

// Access is one way to reach an API server.
type Access struct {
	// Context is the name of a kubeconfig context. Default: the cluster's name.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	Context string `json:"context,omitempty"`
	// Kubeconfig is a file; a relative path is taken from the document's folder. Default: what kubectl would
	// use (KUBECONFIG, ~/.kube/config).
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	Kubeconfig string `json:"kubeconfig,omitempty"`
}
