package explain

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/status"
)

// rootNamespace is where Istio's mesh-wide configuration and its control plane live.
const rootNamespace = "istio-system"

// Evidence is everything that a path is judged by. It can be written down and judged again.
type Evidence struct {
	Taken       time.Time `json:"taken"`
	TrustDomain string    `json:"trustDomain"`
	Call        Call      `json:"call"`
	From        Party     `json:"from"`
	To          Party     `json:"to"`
	// Sites by cluster name: the caller's and the callee's, which may be one.
	Sites map[string]*Site `json:"sites"`
}

// A Call is what is asked of the callee.
type Call struct {
	Host    string            `json:"host"` // "echo.demo.svc.cluster.local"
	Port    int               `json:"port"`
	Method  string            `json:"method"`
	Path    string            `json:"path"`
	Headers map[string]string `json:"headers,omitempty"` // lower case
	// Claims are a token's; nil where the call has none. The token itself is not evidence.
	Claims map[string]any `json:"claims,omitempty"`
}

func (c Call) String() string {
	if c.Port == 0 { // no Service was read that would say
		return fmt.Sprintf("%s http://%s%s", c.Method, c.Host, c.Path)
	}
	return fmt.Sprintf("%s http://%s:%d%s", c.Method, c.Host, c.Port, c.Path)
}

// A Party is who calls, or who is called.
type Party struct {
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"` // "" for a whole cluster
	Cluster   string `json:"cluster"`
}

// Ref is how a party is written on the command line.
func (p Party) Ref() string {
	if p.Name == "" {
		return p.Cluster
	}
	return p.Namespace + "/" + p.Name + "@" + p.Cluster
}

// Whole tells that whole clusters are asked about, not workloads.
func (e Evidence) Whole() bool { return e.From.Name == "" }

func (e Evidence) from() *Site { return e.site(e.From.Cluster) }
func (e Evidence) to() *Site   { return e.site(e.To.Cluster) }

func (e Evidence) site(name string) *Site {
	if s := e.Sites[name]; s != nil {
		return s
	}
	return &Site{Cluster: name, Err: "was not asked"}
}

// A Site is what was seen in one cluster.
type Site struct {
	Cluster string `json:"cluster"`
	Context string `json:"context,omitempty"`
	Network string `json:"network"` // the document's
	// Err says why the cluster could not be asked; the rest is empty then.
	Err   string         `json:"err,omitempty"`
	Facts *facts.Cluster `json:"facts,omitempty"`
	Pages status.Pages   `json:"pages"`
	// Config are its objects of Istio's kinds.
	Config []*unstructured.Unstructured `json:"config,omitempty"`
	// Unread are kinds that could not be read, and why.
	Unread   map[string]string `json:"unread,omitempty"`
	Services []Service         `json:"services,omitempty"`
	// DNSCapture: its proxies answer DNS questions for names that its own DNS does not have.
	DNSCapture bool `json:"dnsCapture,omitempty"`
	// Called is the Service that the callee's name stands for here; "" where there is none.
	Called string `json:"called,omitempty"`
	// Caller and Callees are pods of the caller and of the Service that is called.
	Caller  *Pod  `json:"caller,omitempty"`
	Callees []Pod `json:"callees,omitempty"`
	// CallerProxy, CalleeProxy and Gateway are proxies asked for their live configuration; nil where there is none.
	CallerProxy *Proxy `json:"callerProxy,omitempty"`
	CalleeProxy *Proxy `json:"calleeProxy,omitempty"`
	Gateway     *Proxy `json:"gateway,omitempty"`
	// GatewayPorts are those of the east-west gateway's Service.
	GatewayPorts []ServicePort `json:"gatewayPorts,omitempty"`
}

// A Service as far as a path cares.
type Service struct {
	Namespace, Name, Type, ClusterIP string
	ExportTo                         string // annotation networking.istio.io/exportTo
	Selector                         map[string]string
	Ports                            []ServicePort
}

// A ServicePort is one of a Service's.
type ServicePort struct {
	Name, Protocol, AppProtocol string
	Port                        int
	Target                      string // number or name
}

// A Pod as far as a path cares.
type Pod struct {
	Namespace, Name, IP, Account string
	Labels                       map[string]string
	Ready, Sidecar               bool
	// Problem is why it is not ready.
	Problem string
	// Ports are what its containers declare, by name where they have one.
	Ports map[string]int `json:",omitempty"`
}

// service finds a Service by its host.
func (s *Site) service(host string) *Service {
	for i, x := range s.Services {
		if hostOf(x.Name, x.Namespace) == host {
			return &s.Services[i]
		}
	}
	return nil
}

func hostOf(name, namespace string) string { return name + "." + namespace + ".svc.cluster.local" }

func (s *Service) port(number int) *ServicePort {
	for i, p := range s.Ports {
		if p.Port == number {
			return &s.Ports[i]
		}
	}
	return nil
}

// namespace are a Namespace's labels; ok is false where there is none of that name.
func (s *Site) namespace(name string) (labels map[string]string, ok bool) {
	if s.Facts == nil {
		return nil, false
	}
	for _, n := range s.Facts.Namespaces {
		if n.Name == name {
			return n.Labels, true
		}
	}
	return nil, false
}

// kind are objects of one kind, sorted by namespace and name.
func (s *Site) kind(kind string) []*unstructured.Unstructured {
	var all []*unstructured.Unstructured
	for _, u := range s.Config {
		if u.GetKind() == kind {
			all = append(all, u)
		}
	}
	slices.SortFunc(all, func(a, b *unstructured.Unstructured) int {
		return cmp.Or(strings.Compare(a.GetNamespace(), b.GetNamespace()), strings.Compare(a.GetName(), b.GetName()))
	})
	return all
}

func text(u *unstructured.Unstructured, path ...string) string {
	s, _, _ := unstructured.NestedString(u.Object, path...) // of another type: not there
	return s
}

func list(u *unstructured.Unstructured, path ...string) []any {
	l, _, _ := unstructured.NestedSlice(u.Object, path...) // of another type: not there
	return l
}

func words(m map[string]any, key string) []string {
	l, _ := m[key].([]any)
	var out []string
	for _, x := range l {
		if s, ok := x.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// selects tells whether an object's workload selector chooses pods with labels; one without selector chooses all.
func selects(u *unstructured.Unstructured, labels map[string]string, path ...string) bool {
	selector, _, _ := unstructured.NestedStringMap(u.Object, path...) // of another type: not there
	for _, k := range slices.Sorted(maps.Keys(selector)) {
		if labels[k] != selector[k] {
			return false
		}
	}
	return true
}

func name(u *unstructured.Unstructured) string { return u.GetNamespace() + "/" + u.GetName() }

// principal is a pod's identity as policies write it: without the scheme.
func (e Evidence) principal(p *Pod) string {
	return fmt.Sprintf("%s/ns/%s/sa/%s", e.TrustDomain, p.Namespace, cmp.Or(p.Account, "default"))
}
