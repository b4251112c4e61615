package v1alpha1

// Rollout is how many clusters are changed together.
type Rollout struct {
	// Waves names clusters that change together, in order; every cluster is in exactly one. Default: one cluster a
	// wave, except that clusters which have no control plane yet, and so carry no traffic, are one wave together.
	//
	// +optional
	// +listType=atomic
	Waves [][]string `json:"waves,omitempty"`
}

// Verify is how proofs are made.
type Verify struct {
	// Image is the image of the isthmus program that client and server pods run (see: isthmus image).
	//
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z0-9][^ ]*$') && !self.contains('://')",message="an image is HOST/PATH:TAG, without a scheme"
	Image string `json:"image,omitempty"`
	// Namespace is made for the proof and removed after it, so it cannot be one that is in use.
	//
	// +optional
	// +kubebuilder:default=isthmus-verify
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Label().validate(self).hasValue()",message="a namespace's name is a DNS label: lower-case letters, digits and \"-\", a letter or digit at both ends"
	// +kubebuilder:validation:XValidation:rule="!(self in ['default', 'istio-system', 'isthmus-system']) && !self.startsWith('kube-')",message="verify removes its namespace when it ends, so it cannot be one that is in use"
	Namespace string `json:"namespace,omitempty"`
	// ImagePullPolicy of the image.
	//
	// +optional
	// +kubebuilder:default=IfNotPresent
	// +kubebuilder:validation:Enum=Always;IfNotPresent;Never
	ImagePullPolicy string `json:"imagePullPolicy,omitempty"`
}
