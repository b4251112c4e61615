package evidence

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"isthmus.dev/isthmus/internal/cluster"
	"isthmus.dev/isthmus/internal/explain"
	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/verify"
)

// look reads what says who the parties are: Services and pods. It returns false when the cluster cannot be asked.
func (r *reader) look(ctx context.Context, dial cluster.Dialer) bool {
	conn, err := dial(r.cluster)
	if err != nil {
		r.site.Err = err.Error()
		return false
	}
	r.conn = conn
	services, err := conn.Kube.CoreV1().Services("").List(ctx, metav1.ListOptions{})
	if err != nil {
		if facts.NoAnswer(err) {
			r.site.Err = facts.Plain(err)
			return false
		}
		r.site.Unread["Service"] = facts.Plain(err)
		services = &corev1.ServiceList{}
	}
	for _, s := range services.Items {
		r.site.Services = append(r.site.Services, serviceOf(s))
	}
	r.site.DNSCapture = r.dnsCapture(ctx)
	pods := map[string][]corev1.Pod{}
	for _, ns := range []string{r.From.Namespace, r.To.Namespace} {
		if _, have := pods[ns]; have || ns == "" {
			continue
		}
		got, err := conn.Kube.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{})
		if err != nil {
			r.site.Unread["Pod"] = facts.Plain(err)
			continue
		}
		pods[ns] = slices.DeleteFunc(got.Items, func(p corev1.Pod) bool {
			return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed || p.DeletionTimestamp != nil
		})
	}
	if r.cluster.Name == r.From.Cluster || r.From.Cluster == "" {
		r.site.Caller = best(workload(pods[r.From.Namespace], r.From.Name))
	}
	r.callees(pods[r.To.Namespace])
	return true
}

// callees are the pods of the Service that is called: the one of that name, or else the first that chooses the
// workload of that name.
func (r *reader) callees(pods []corev1.Pod) {
	named := workload(pods, r.To.Name)
	for _, s := range r.site.Services {
		if s.Namespace != r.To.Namespace {
			continue
		}
		chosen := slices.DeleteFunc(slices.Clone(pods), func(p corev1.Pod) bool { return !chooses(s.Selector, p.Labels) })
		if s.Name == r.To.Name {
			r.site.Called, r.site.Callees = s.Name, podsOf(chosen)
			return
		}
		if r.site.Called == "" && len(named) > 0 && chooses(s.Selector, named[0].Labels) {
			r.site.Called, r.site.Callees = s.Name, podsOf(chosen)
		}
	}
}

func chooses(selector, labels map[string]string) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return len(selector) > 0
}

// hashes are what controllers put behind the names of their pods.
var hashes = regexp.MustCompile(`^(-[a-z0-9]{5,10})?-[a-z0-9]{5}$|^-[0-9]+$`)

// workload are the pods of a name: the pod itself, those of the Deployment, StatefulSet or other owner, or those with
// the label app.
func workload(pods []corev1.Pod, name string) []corev1.Pod {
	var found []corev1.Pod
	for _, p := range pods {
		rest, ok := strings.CutPrefix(p.Name, name)
		if p.Name == name || ok && len(p.OwnerReferences) > 0 && hashes.MatchString(rest) {
			found = append(found, p)
		}
	}
	if len(found) > 0 {
		return found
	}
	for _, p := range pods {
		if p.Labels["app"] == name || p.Labels["app.kubernetes.io/name"] == name {
			found = append(found, p)
		}
	}
	return found
}

// best is a ready pod, else the newest.
func best(pods []corev1.Pod) *explain.Pod {
	if len(pods) == 0 {
		return nil
	}
	p := slices.MaxFunc(pods, func(a, b corev1.Pod) int {
		if isReady(a) != isReady(b) {
			if isReady(a) {
				return 1
			}
			return -1
		}
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
	})
	x := podOf(p)
	return &x
}

func isReady(p corev1.Pod) bool { return verify.PodOf(p).Ready }

func podsOf(pods []corev1.Pod) []explain.Pod {
	var out []explain.Pod
	for _, p := range pods {
		out = append(out, podOf(p))
	}
	slices.SortFunc(out, func(a, b explain.Pod) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func podOf(p corev1.Pod) explain.Pod {
	seen := verify.PodOf(p)
	x := explain.Pod{
		Namespace: p.Namespace, Name: p.Name, IP: p.Status.PodIP, Account: p.Spec.ServiceAccountName, Labels: p.Labels,
		Ready: seen.Ready, Sidecar: seen.Sidecar, Problem: seen.Problem, Ports: map[string]int{},
	}
	for _, c := range p.Spec.Containers {
		if c.Name == proxyContainer {
			continue
		}
		for _, port := range c.Ports {
			x.Ports[cmp.Or(port.Name, fmt.Sprint(port.ContainerPort))] = int(port.ContainerPort)
		}
	}
	return x
}

func serviceOf(s corev1.Service) explain.Service {
	return explain.Service{
		Namespace: s.Namespace, Name: s.Name, Type: string(s.Spec.Type), ClusterIP: s.Spec.ClusterIP,
		ExportTo: s.Annotations["networking.istio.io/exportTo"], Selector: s.Spec.Selector, Ports: portsOf(s),
	}
}

func portsOf(s corev1.Service) []explain.ServicePort {
	var out []explain.ServicePort
	for _, p := range s.Spec.Ports {
		x := explain.ServicePort{Name: p.Name, Protocol: string(p.Protocol), Port: int(p.Port), Target: p.TargetPort.String()}
		if p.AppProtocol != nil {
			x.AppProtocol = *p.AppProtocol
		}
		out = append(out, x)
	}
	return out
}

// dnsCapture tells whether the mesh configuration lets proxies answer DNS questions.
func (r *reader) dnsCapture(ctx context.Context) bool {
	cm, err := r.conn.Kube.CoreV1().ConfigMaps("istio-system").Get(ctx, "istio", metav1.GetOptions{})
	if err != nil {
		return false
	}
	var config struct {
		DefaultConfig struct {
			Metadata map[string]string `json:"proxyMetadata"`
		} `json:"defaultConfig"`
	}
	return yaml.Unmarshal([]byte(cm.Data["mesh"]), &config) == nil && config.DefaultConfig.Metadata["ISTIO_META_DNS_CAPTURE"] == "true"
}
