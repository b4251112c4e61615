package facts

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"

	"isthmus.dev/isthmus/internal/object"
)

// A Service in a few words, since clusters have thousands. Two that mean the same to their callers differ in
// Namespace and Name at most.
type Service struct {
	Namespace, Name string
	// Kind is the type, or "Headless".
	Kind string
	// Ports are "80/TCP:http,9090/TCP:grpc", sorted; "-" where there are none.
	Ports string
	// Selector is a digest of the selector; "-" where there is none.
	Selector string
}

// MarshalText writes a Service as five words.
func (s Service) MarshalText() ([]byte, error) {
	return []byte(strings.Join([]string{s.Namespace, s.Name, s.Kind, s.Ports, s.Selector}, " ")), nil
}

// UnmarshalText reads five words.
func (s *Service) UnmarshalText(text []byte) error {
	words := strings.Fields(string(text))
	if len(words) != 5 {
		return fmt.Errorf("%q is no Service: want namespace, name, kind, ports and selector", text)
	}
	s.Namespace, s.Name, s.Kind, s.Ports, s.Selector = words[0], words[1], words[2], words[3], words[4]
	return nil
}

// services reads all Services: what there is for callers, and evidence that those of type LoadBalancer get addresses.
func (g *gatherer) services(ctx context.Context) error {
	got, err := g.conn.Kube.CoreV1().Services("").List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return g.tolerate(err, list("services", ""))
	}
	for i := range got.Items {
		s := &got.Items[i]
		if s.Spec.Type == corev1.ServiceTypeLoadBalancer {
			g.mu.Lock()
			if len(s.Status.LoadBalancer.Ingress) > 0 {
				g.out.LoadBalancer.Seen = true
			} else {
				g.out.LoadBalancer.Pending++
			}
			g.mu.Unlock()
		}
		if !kubernetesOwn(s.Namespace, s.Name) && s.Labels[object.LabelMesh] == "" {
			g.out.Services = append(g.out.Services, serviceOf(s))
		}
	}
	slices.SortFunc(g.out.Services, func(a, b Service) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	return nil
}

// kubernetesOwn tells Services that every cluster has and that each may run as it likes.
func kubernetesOwn(namespace, name string) bool {
	return strings.HasPrefix(namespace, "kube-") || namespace == metav1.NamespaceDefault && name == "kubernetes"
}

func serviceOf(s *corev1.Service) Service {
	out := Service{Namespace: s.Namespace, Name: s.Name, Kind: string(cmp.Or(s.Spec.Type, corev1.ServiceTypeClusterIP)), Ports: "-", Selector: "-"}
	if s.Spec.ClusterIP == corev1.ClusterIPNone {
		out.Kind = "Headless"
	}
	var ports []string
	for _, p := range s.Spec.Ports {
		port := fmt.Sprintf("%d/%s", p.Port, cmp.Or(p.Protocol, corev1.ProtocolTCP))
		if p.Name != "" {
			port += ":" + p.Name
		}
		ports = append(ports, port)
	}
	if len(ports) > 0 {
		slices.Sort(ports)
		out.Ports = strings.Join(ports, ",")
	}
	if len(s.Spec.Selector) > 0 {
		raw, err := json.Marshal(s.Spec.Selector)
		if err != nil { // strings always marshal
			panic(err)
		}
		out.Selector = sum(raw)[:8]
	}
	return out
}

// A Meshed namespace: its workloads with a sidecar of one revision.
type Meshed struct {
	Namespace string `json:"namespace"`
	Revision  string `json:"revision"`
	Workloads int    `json:"workloads"` // Deployments, StatefulSets, DaemonSets, Jobs; a bare pod is one too
	Pods      int    `json:"pods"`
}

// pageOfPods is how many pods one request asks for: their metadata alone, about 1 kB each.
const pageOfPods = 1000

var podResource = schema.GroupVersionResource{Version: "v1", Resource: "pods"}

// meshed counts workloads with a sidecar by the label that the injector gives their pods (istio: the injection
// templates). After manyPods it stops counting, and says so.
func (g *gatherer) meshed(ctx context.Context) error {
	client, err := metadata.NewForConfig(g.conn.Config)
	if err != nil {
		return &reachError{cause: CauseContext, why: err.Error()}
	}
	options := metav1.ListOptions{LabelSelector: "security.istio.io/tlsMode=istio", Limit: pageOfPods}
	var pods []metav1.PartialObjectMetadata
	for again := false; ; {
		got, err := client.Resource(podResource).List(ctx, options)
		switch {
		case apierrors.IsResourceExpired(err) && !again: // it took too long: from the beginning, once
			pods, options.Continue, again = nil, "", true
			continue
		case apierrors.IsForbidden(err):
			g.out.MeshedErr = Plain(err)
			return g.tolerate(err, list("pods", ""))
		case err != nil && ctx.Err() == nil: // it says what a change disturbs, and nothing else hangs on it
			g.out.MeshedErr = Plain(err)
			return nil
		case err != nil:
			return err
		}
		pods = append(pods, got.Items...)
		if options.Continue = got.Continue; got.Continue == "" || len(pods) >= manyPods {
			break
		}
	}
	g.out.Meshed, g.out.MeshedMore = countMeshed(pods), options.Continue != ""
	return nil
}

func countMeshed(pods []metav1.PartialObjectMetadata) []Meshed {
	type key struct{ namespace, revision string }
	counts, workloads := map[key]*Meshed{}, map[key]map[string]bool{}
	for i := range pods {
		p := &pods[i]
		if p.DeletionTimestamp != nil {
			continue
		}
		k := key{p.Namespace, revisionOf(p)}
		if counts[k] == nil {
			counts[k], workloads[k] = &Meshed{Namespace: k.namespace, Revision: k.revision}, map[string]bool{}
		}
		counts[k].Pods++
		workloads[k][workloadOf(p)] = true
	}
	var out []Meshed
	for k, m := range counts {
		m.Workloads = len(workloads[k])
		out = append(out, *m)
	}
	slices.SortFunc(out, func(a, b Meshed) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Revision, b.Revision))
	})
	return out
}

// revisionOf is the revision whose injector a pod got its sidecar from, as that wrote down.
func revisionOf(p metav1.Object) string {
	var status struct {
		Revision string `json:"revision"`
	}
	_ = json.Unmarshal([]byte(p.GetAnnotations()["sidecar.istio.io/status"]), &status) // what is no status says nothing
	return cmp.Or(status.Revision, p.GetLabels()[labelRevision], "default")
}

// workloadOf names the workload that a pod is of: a ReplicaSet's name without the template's hash is its Deployment's.
func workloadOf(p metav1.Object) string {
	owner := metav1.GetControllerOf(p)
	if owner == nil {
		return "Pod/" + p.GetName()
	}
	if hash := p.GetLabels()["pod-template-hash"]; owner.Kind == "ReplicaSet" && hash != "" {
		return "Deployment/" + strings.TrimSuffix(owner.Name, "-"+hash)
	}
	return owner.Kind + "/" + owner.Name
}
