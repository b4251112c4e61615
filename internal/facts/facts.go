// Package facts reads what is true now in every cluster of a mesh: in parallel, with a deadline each, and
// without ever writing. A cluster that does not answer is a fact, not a failure. No private key and no token
// leaves this package: Secrets are reduced to what their certificates and addresses say.
package facts

import (
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/object"
)

// A Snapshot is what was seen of every cluster within one deadline.
type Snapshot struct {
	Taken    time.Time           `json:"taken"`
	Clusters map[string]*Cluster `json:"clusters"`
	// Left are clusters that were members and are not in the document any more. Clusters has those of them that it is
	// said how to reach.
	Left []Former `json:"left,omitempty"`
}

// A Cluster is what was seen of one cluster. If Err is not empty nothing else but Name is to be trusted.
type Cluster struct {
	Name string `json:"name"`
	// Err says why the cluster did not answer; empty when it did.
	Err string `json:"err,omitempty"`
	// Cause tells kinds of Err apart, for checks and hints; empty when Err is.
	Cause Cause `json:"cause,omitempty"`
	// Server is the address asked.
	Server string `json:"server"`
	// CABundle is the PEM that the kubeconfig trusts for Server; certificates only.
	CABundle string `json:"caBundle,omitempty"`
	// Insecure tells that the kubeconfig says insecure-skip-tls-verify: whoever answers is believed.
	Insecure bool `json:"insecure,omitempty"`
	// ServerNotAfter is when the certificate that the API server presents ends; zero when not known.
	ServerNotAfter time.Time `json:"serverNotAfter,omitzero"`
	// Latency is the median of a few small requests.
	Latency time.Duration `json:"latency"`
	// ClockSkew is the API server's clock minus ours, half the request taken off; at one second's precision
	// (the Date header's).
	ClockSkew time.Duration `json:"clockSkew"`
	// UID is kube-system's: two contexts with the same one are the same cluster.
	UID     string `json:"uid"`
	Version string `json:"version"` // "v1.36.3"

	Nodes        []Node             `json:"nodes,omitempty"`
	ServiceCIDRs []string           `json:"serviceCIDRs,omitempty"`
	Namespaces   []Namespace        `json:"namespaces,omitempty"`
	CRDs         []CRD              `json:"crds,omitempty"` // istio.io and gateway API ones
	Webhooks     []Webhook          `json:"webhooks,omitempty"`
	Istiods      []Istiod           `json:"istiods,omitempty"`
	Gateways     []Gateway          `json:"gateways,omitempty"`  // east-west gateways: Services labelled istio=eastwestgateway
	Ingresses    []Ingress          `json:"ingresses,omitempty"` // ingress gateways: Services labelled istio=ingressgateway
	LoadBalancer LoadBalancer       `json:"loadBalancer"`
	Secrets      map[string]*Secret `json:"secrets,omitempty"` // "namespace/name" → what may be known of it
	Denied       []Right            `json:"denied,omitempty"`  // what the caller may not do and apply needs

	// Services are those of people: none of Kubernetes' own namespaces, none that Isthmus made.
	Services []Service `json:"services,omitempty"`
	// Meshed are the namespaces whose workloads have a sidecar, by revision.
	Meshed []Meshed `json:"meshed,omitempty"`
	// MeshedMore tells that there are more such pods than were counted.
	MeshedMore bool `json:"meshedMore,omitempty"`
	// MeshedErr says why such pods could not be listed; then Meshed is not known.
	MeshedErr string `json:"meshedErr,omitempty"`
	// Foreign are parts of an Istio that Isthmus did not install, and what its installer keeps of the installation.
	Foreign []Foreign `json:"foreign,omitempty"`

	// Live are the objects that the plan or the inventory names and that exist, Secrets without content. Those of a
	// record may be packed instead: read them by Object.
	Live   map[object.Ref]*unstructured.Unstructured `json:"-"`
	packed []packed                                  // sorted
	// Absent are objects that were looked for and do not exist. One that is in none of Live, Unread and Absent was
	// not looked for, and nothing is known of it.
	Absent []object.Ref `json:"absent,omitempty"`
	// Unread are objects of which it is not known whether they exist, and why: the caller may not read them.
	Unread map[object.Ref]string `json:"-"`
	// Inventory is what Isthmus made here for this mesh.
	Inventory []object.Ref `json:"inventory,omitempty"`
	// Members are those that the inventory's record names: who is in the mesh, and who was and is not clean yet.
	Members []Member `json:"members,omitempty"`
	// Held is what the namespaces hold that are ours and not wanted any more, by name (see Hold).
	Held map[string]Held `json:"held,omitempty"`
	// Inventories are the owners of all inventories here: meshes, and sets such as a proof's.
	Inventories []string `json:"inventories,omitempty"`
}

// Answered tells that a cluster was read: it is known, and its API server answered.
func (c *Cluster) Answered() bool { return c != nil && c.Err == "" }

// A Cause is why a cluster did not answer.
type Cause string

// The causes. Anything that is none of these is CauseUnreachable.
const (
	CauseContext     Cause = "context"     // the kubeconfig or the context in it cannot be used
	CauseUnreachable Cause = "unreachable" // no connection: refused, no route, name not found, timed out
	CauseTLS         Cause = "tls"         // its certificate is not the one that the kubeconfig trusts
	CauseCredentials Cause = "credentials" // 401: it answers and does not know the caller
)

// A Node as far as a mesh cares.
type Node struct {
	Name, Arch       string
	Ready            bool
	Region, Zone     string
	PodCIDRs         []string
	CPUMilli, Memory int64 // allocatable: millicores, bytes
	// CPURequested and MemoryRequested are what the pods on it have asked for: millicores, bytes.
	// Zero when the pods could not be listed.
	CPURequested, MemoryRequested int64
	// Unschedulable tells that it is cordoned or has a NoSchedule or NoExecute taint.
	Unschedulable bool
}

// A Namespace and its mesh labels.
type Namespace struct {
	Name   string
	Labels map[string]string
	// Terminating tells that it is being deleted: nothing can be created in it.
	Terminating bool
}

// A CRD and who keeps it.
type CRD struct {
	Name, Owner string // Owner: field manager or Helm release
}

// A Webhook configuration that has to do with injection or Istio's validation.
type Webhook struct {
	Name, Kind, Revision, Owner string
	Service                     string // namespace/name it calls
	FailurePolicy               string // "Fail" or "Ignore", the strictest of its webhooks
}

// An Istiod is a control plane found in a cluster.
type Istiod struct {
	Namespace, Name, Revision, Version string
	Owner                              string // "isthmus", "istioctl", "helm:<release>", "unknown"
	Ready, Wanted                      int32
	Network, ClusterName, MeshID       string
	TrustDomain                        string // of its mesh configuration; "" when that was not seen
	Mesh                               string // the isthmus.dev/mesh label: whose it is when Owner is "isthmus"
	// Roots are the fingerprints of the certificates that it tells workloads to trust, as it wrote them into the
	// ConfigMap istio-ca-root-cert of its namespace; none when that is not there.
	Roots []string
	// Since is when the oldest of its pods started; zero when none has.
	Since time.Time
}

// A Foreign object belongs to an Istio that Isthmus did not install.
type Foreign struct {
	Object object.Ref
	Owner  string // as Owner says
	// Record tells that it is no part of Istio but what its installer remembers it by, and what to do about it.
	Record string
}

// A Gateway is an east-west gateway's Service and its pods.
type Gateway struct {
	Namespace, Name, Network string
	Type                     string   // of the Service: "LoadBalancer", "NodePort", "ClusterIP"
	Addresses                []string // of its load balancer or externalIPs: IPs or host names
	Annotations              map[string]string
	Ready, Wanted            int32 // pods
}

// An Ingress is an ingress gateway's Service and its pods: calls come in from outside the mesh there.
type Ingress struct {
	Namespace, Name string
	Type            string   // of the Service: "LoadBalancer", "NodePort", "ClusterIP"
	Addresses       []string // of its load balancer or externalIPs: IPs or host names
	Ports           []int32  // of the Service
	Account         string   // service account of its pods; "" where no Deployment has them
	Ready, Wanted   int32    // pods
}

// LoadBalancer tells whether Services of type LoadBalancer get addresses here.
type LoadBalancer struct {
	Seen     bool   // a Service of that type has an address
	Pending  int    // Services of that type that wait for one
	Provider string // what is known of who serves them: "isthmus-lab", "metallb", "cloud", ""
}

// A Secret is what may be known of one: no private byte in it.
type Secret struct {
	Namespace, Name string
	Labels          map[string]string
	Annotations     map[string]string
	Keys            []string // data keys, sorted
	// Certificates by data key, for keys that hold PEM certificates.
	Certificates map[string][]Certificate
	// KeyMatches tells whether ca-key.pem (or tls.key) is the private key of ca-cert.pem (or tls.crt).
	KeyMatches bool
	// Kubeconfigs by data key, for Istio's remote secrets.
	Kubeconfigs map[string]Kubeconfig
}

// A Certificate is one's public face.
type Certificate struct {
	Subject, Issuer     string
	NotBefore, NotAfter time.Time
	IsCA                bool
	Fingerprint         string // SHA-256 of the DER form, hex
	SPKI                string // SHA-256 of its public key, hex: who signed whom survives a reissue
	IssuedBy            string // fingerprint of the certificate in the same Secret that signed it; "" if none did
	PEM                 string
}

// A Kubeconfig is one's public face.
type Kubeconfig struct {
	Server   string
	CABundle string    // PEM
	NotAfter time.Time // of its token; zero: no token or one that never ends
	Subject  string    // system:serviceaccount:namespace:name
}

// A Right that a caller lacks. Resource may name a subresource: "pods/exec".
type Right struct{ Verb, Group, Resource, Namespace string }

func (r Right) String() string {
	s := r.Verb + " " + r.Resource
	if r.Group != "" {
		s += "." + r.Group
	}
	if r.Namespace != "" {
		s += " in namespace " + r.Namespace
	}
	return s
}
