package verify

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"isthmus.dev/isthmus/internal/cluster"
	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/patience"
)

// A ClusterSite is a Site on a real cluster. It reads and runs programs; what is written goes through the two
// functions that it is given, because internal/apply is the only writer.
type ClusterSite struct {
	Conn      *cluster.Conn
	Namespace string
	// Apply makes the objects exist; it need not wait until they are ready.
	Apply func(ctx context.Context, objects []object.Object) error
	// Delete takes them away again.
	Delete func(ctx context.Context) error
}

var _ Site = ClusterSite{}

// Answers asks for something that every API server has an opinion on; a refusal is an answer too.
func (s ClusterSite) Answers(ctx context.Context) error {
	_, err := s.Conn.Kube.CoreV1().Namespaces().Get(ctx, s.Namespace, metav1.GetOptions{})
	var status apierrors.APIStatus
	if err == nil || errors.As(err, &status) && !apierrors.IsUnauthorized(err) {
		return nil
	}
	return fmt.Errorf("%s: %s", s.Conn.Config.Host, facts.Plain(err))
}

// Place applies the objects, after a namespace that an earlier proof left on its way out is gone.
func (s ClusterSite) Place(ctx context.Context, objects []object.Object, report func(string)) error {
	for {
		ns, err := s.Conn.Kube.CoreV1().Namespaces().Get(ctx, s.Namespace, metav1.GetOptions{})
		if err != nil || ns.DeletionTimestamp == nil {
			break // whatever is wrong with it, applying will say
		}
		report("waiting for the namespace " + s.Namespace + " of an earlier proof to go")
		if err := patience.Sleep(ctx, 250*time.Millisecond); err != nil {
			return err
		}
	}
	return s.Apply(ctx, objects)
}

// Remove deletes the objects; it does not wait until the last pod is gone.
func (s ClusterSite) Remove(ctx context.Context) error { return s.Delete(ctx) }

// Exec runs a program in a container of a pod of verify's namespace.
func (s ClusterSite) Exec(ctx context.Context, pod, container string, argv ...string) ([]byte, error) {
	return s.Conn.Exec(ctx, s.Namespace, pod, container, argv...)
}

// Envoy asks the proxy of a pod of verify's namespace.
func (s ClusterSite) Envoy(ctx context.Context, pod, page string) ([]byte, error) {
	return s.Conn.Envoy(ctx, s.Namespace, pod, page)
}

// ExecInput is Exec with an input.
func (s ClusterSite) ExecInput(ctx context.Context, pod, container string, in []byte, argv ...string) ([]byte, error) {
	return s.Conn.ExecInput(ctx, s.Namespace, pod, container, bytes.NewReader(in), argv...)
}

// Pods reads Deployments and pods, and makes one Pod of each role's.
func (s ClusterSite) Pods(ctx context.Context) (map[Role]Pod, error) {
	deployments, err := s.Conn.Kube.AppsV1().Deployments(s.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list Deployments in namespace %s: %s", s.Namespace, facts.Plain(err))
	}
	pods, err := s.Conn.Kube.CoreV1().Pods(s.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list pods in namespace %s: %s", s.Namespace, facts.Plain(err))
	}
	roles := map[Role]Pod{}
	for _, r := range Roles {
		i := slices.IndexFunc(deployments.Items, func(d appsv1.Deployment) bool { return d.Name == string(r) })
		if i < 0 {
			roles[r] = Pod{Problem: noPod}
			continue
		}
		roles[r] = podOf(deployments.Items[i], pods.Items)
	}
	return roles, nil
}

// noPod is what a Deployment's first moments look like.
const noPod = "no pod yet"

// podOf is the pod that a Deployment has now, or why it has none.
func podOf(d appsv1.Deployment, pods []corev1.Pod) Pod {
	if d.Status.ObservedGeneration < d.Generation || d.Status.UpdatedReplicas == 0 {
		return noPodOf(d)
	}
	mine := slices.DeleteFunc(slices.Clone(pods), func(p corev1.Pod) bool {
		return p.Labels["app"] != d.Name || p.DeletionTimestamp != nil
	})
	if len(mine) == 0 {
		return noPodOf(d)
	}
	newest := slices.MaxFunc(mine, func(a, b corev1.Pod) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	return PodOf(newest)
}

// PodOf says of a pod whether it is ready, whether it has a proxy, and if it is not ready why.
func PodOf(pod corev1.Pod) Pod {
	p := Pod{Name: pod.Name, IP: pod.Status.PodIP}
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		p.Sidecar = p.Sidecar || c.Name == proxyContainer
	}
	p.Ready = slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
	if !p.Ready {
		problemOf(pod, &p)
	}
	return p
}

func noPodOf(d appsv1.Deployment) Pod {
	why := replicaFailure(d)
	return Pod{Problem: cmp.Or(why, noPod), Stuck: why != ""}
}

// proxyContainer is the name of Istio's sidecar, as a container or as an init container that stays.
const proxyContainer = "istio-proxy"

// replicaFailure is why the pods of a Deployment cannot be created: a webhook that does not answer, a quota.
func replicaFailure(d appsv1.Deployment) string {
	for _, c := range d.Status.Conditions {
		if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
			return c.Message
		}
	}
	return ""
}

// noImage are the kubelet's reasons for a container that will not get its image, however long one waits.
// ErrImagePull is not among them: it is a first try that failed.
var noImage = []string{"ErrImageNeverPull", "ImagePullBackOff", "InvalidImageName"}

// problemOf says why a pod is not ready.
func problemOf(pod corev1.Pod, p *Pod) {
	p.Problem = cmp.Or(pod.Status.Message, "starting")
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			p.Problem, p.Stuck = "not scheduled: "+c.Message, true
		}
	}
	for _, c := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		w := c.State.Waiting
		switch {
		case w != nil && w.Reason != "PodInitializing" && w.Reason != "ContainerCreating":
			p.Problem = strings.TrimSuffix(fmt.Sprintf("container %s: %s: %s", c.Name, w.Reason, w.Message), ": ")
			p.Stuck, p.NoImage = true, c.Name == Container && slices.Contains(noImage, w.Reason)
			return
		case c.State.Running != nil && !c.Ready:
			p.Problem = fmt.Sprintf("container %s is not ready", c.Name)
		}
	}
}
