package v1alpha1

// Trust is the mesh's identity domain and its certificates.
//
// +kubebuilder:validation:XValidation:rule="!has(self.intermediateTTL) || !has(self.root) || !has(self.root.selfSigned) || !has(self.root.selfSigned.ttl) || duration(self.intermediateTTL) <= duration(self.root.selfSigned.ttl)",fieldPath=".intermediateTTL",message="an intermediate cannot be valid for longer than the root that signs it"
type Trust struct {
	// Domain is the SPIFFE trust domain: lower-case letters, digits, ".", "-" and "_" (SPIFFE-ID, section 2.1).
	//
	// +optional
	// +kubebuilder:default=cluster.local
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9._]*[a-z0-9])?$')",message="a trust domain is a name such as cluster.local: lower-case letters, digits, \".\", \"-\" and \"_\""
	Domain string `json:"domain,omitempty"`
	// Root is where the root certificate comes from.
	//
	// +optional
	// +kubebuilder:default={selfSigned: {}}
	Root Root `json:"root,omitzero"`
	// IntermediateTTL is how long a cluster's intermediate is valid: at least an hour, and no longer than the root.
	//
	// +optional
	// +kubebuilder:default="8760h"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1h')",message="an intermediate that is valid for less than 1h ends before it can be replaced"
	IntermediateTTL Duration `json:"intermediateTTL,omitempty"`
}

// Root says where the root certificate comes from: exactly one field is set.
//
// +kubebuilder:validation:XValidation:rule="(has(self.selfSigned) ? 1 : 0) + (has(self.existing) ? 1 : 0) == 1",message="a mesh has one root: set exactly one of selfSigned and existing"
type Root struct {
	// SelfSigned makes a root once and keeps it in the first primary.
	//
	// +optional
	SelfSigned *SelfSignedRoot `json:"selfSigned,omitempty"`
	// Existing leaves the certificate authorities that the clusters have to whoever made them: Isthmus writes none.
	// They must go back to one root, or the plan refuses.
	//
	// +optional
	Existing *ExistingRoot `json:"existing,omitempty"`
}

// ExistingRoot is a root that the clusters have already: that of their Secret cacerts or, in a mesh of one cluster, the
// one that istiod made for itself.
type ExistingRoot struct{}

// SelfSignedRoot is a root that Isthmus makes.
type SelfSignedRoot struct {
	// TTL is how long the root is valid.
	//
	// +optional
	// +kubebuilder:default="87600h"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1h')",message="a root that is valid for less than 1h ends before it can be replaced"
	TTL Duration `json:"ttl,omitempty"`
	// Fingerprint is the root that is meant, where it has been made already: SHA-256 of its certificate, as "openssl x509
	// -noout -fingerprint -sha256" prints it. Without it the root is the one that the home cluster keeps or, when the home
	// moves, the one that signed the clusters' intermediates.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=95
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2}){31}$')",message="a fingerprint is 64 hexadecimal digits (SHA-256), with or without colons"
	Fingerprint string `json:"fingerprint,omitempty"`
}
