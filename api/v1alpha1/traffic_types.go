package v1alpha1

// Traffic is how calls find their way among clusters.
type Traffic struct {
	// Failover is what happens to calls when those who should answer them are gone.
	//
	// +optional
	// +kubebuilder:default={}
	Failover Failover `json:"failover,omitzero"`
}

// Failover is how soon proxies stop calling what does not answer any more: a pod, or the gateway of a cluster that is
// cut off. It judges connections only: what answers, with whatever status, is never left out because of it. It holds
// for every service of the mesh that has no DestinationRule of its own with a trafficPolicy; with it Istio's
// preference for the caller's own region and zone holds too, which needs outlier detection
// (istio.io: locality load balancing).
type Failover struct {
	// Enabled is true, or false for Istio's own behaviour: a call waits 10s for a connection, and endpoints of a cluster
	// that is gone go on being called.
	//
	// +optional
	// +kubebuilder:default=true
	Enabled *bool `json:"enabled,omitempty"`
	// ConnectTimeout is how long a connection may take, TLS handshake included, until another endpoint is tried.
	// Callers' own timeouts should be longer. A proxy that has much to do needs its time for a handshake: shorter is not
	// better.
	//
	// +optional
	// +kubebuilder:default="2s"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s')",message="a connection gets one second at least"
	ConnectTimeout Duration `json:"connectTimeout,omitempty"`
	// DeadAfter is how long a connection may leave data unacknowledged until it is given up (TCP_USER_TIMEOUT of
	// tcp(7)); "0s" leaves that to the kernel, which takes some 15 minutes. How long an answer may take is not meant.
	//
	// +optional
	// +kubebuilder:default="3s"
	DeadAfter Duration `json:"deadAfter,omitempty"`
	// ConsecutiveFailures is after how many failed connections in a row an endpoint is left out.
	//
	// +optional
	// +kubebuilder:default=3
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	ConsecutiveFailures int32 `json:"consecutiveFailures,omitempty"`
	// EjectionTime is for how long it is left out; each time in a row for as much longer, up to 300s (Envoy: outlier
	// detection).
	//
	// +optional
	// +kubebuilder:default="10s"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s')",message="an endpoint is left out for one second at least"
	EjectionTime Duration `json:"ejectionTime,omitempty"`
}
