package supervise

import "time"

// Status is what the supervisor knows of its lab. Field names are stable: this is what status -o json prints.
type Status struct {
	Lab        string `json:"lab"`
	Dir        string `json:"dir"`
	Kubeconfig string `json:"kubeconfig"`
	// Layout is Digest of what the supervisor works with.
	Layout string    `json:"layout"`
	PID    int       `json:"supervisorPID"`
	Since  time.Time `json:"supervisorSince"`
	// Ready: every cluster is.
	Ready    bool            `json:"ready"`
	Memory   int64           `json:"memoryBytes"` // resident, of all components; workloads are not in it
	Clusters []ClusterStatus `json:"clusters"`
	Faults   []Fault         `json:"faults"`
}

// ClusterStatus is one cluster.
type ClusterStatus struct {
	Name    string `json:"name"`
	Network string `json:"network"`
	Region  string `json:"region"`
	Hollow  bool   `json:"hollow,omitempty"`
	Server  string `json:"server"`
	// Ready: the API answers, every node is Ready and the DNS server is available.
	Ready bool `json:"ready"`
	// Doing says what is waited for; empty when ready.
	Doing string `json:"doing,omitempty"`
	// Problem is why it cannot become ready without help.
	Problem string `json:"problem,omitempty"`
	// ReadyAfter is how long it took from the supervisor's start, in seconds.
	ReadyAfter    float64           `json:"readyAfterSeconds,omitempty"`
	Memory        int64             `json:"memoryBytes"`
	Nodes         []NodeStatus      `json:"nodes"`
	Components    []ComponentStatus `json:"components"`
	LoadBalancers []LoadBalancer    `json:"loadBalancers"`
}

// NodeStatus is one node.
type NodeStatus struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	Region  string `json:"region"`
	Zone    string `json:"zone"`
	Pods    string `json:"pods"`
	Ready   bool   `json:"ready"`
}

// ComponentStatus is one program.
type ComponentStatus struct {
	Name   string `json:"name"`
	Node   string `json:"node,omitempty"`
	Memory int64  `json:"memoryBytes"`
	Log    string `json:"log"`
	Record `json:",inline"`
}

// LoadBalancer is a Service and its address.
type LoadBalancer struct {
	Service string `json:"service"` // NAMESPACE/NAME
	Address string `json:"address"`
}
