package supervise

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"isthmus.dev/isthmus/lab/cgroup"
	"isthmus.dev/isthmus/lab/component"
)

// killPods kills the processes of the pods' containers, once. kubelet starts them again.
func killPods(ctx context.Context, s *Supervisor, f *Fault, _ []Fault) error {
	n, err := s.signalPods(ctx, f, syscall.SIGKILL)
	f.Groups = nil
	f.Seen = fmt.Sprintf("killed %d processes of %s in %s", n, podsOf(*f), f.Cluster)
	return err
}

// pausePods freezes the processes of the pods: their sockets accept, nobody answers. A liveness probe that fails for it
// gets the container started again, and that one is not paused.
func pausePods(ctx context.Context, s *Supervisor, f *Fault, _ []Fault) error {
	n, err := s.signalPods(ctx, f, syscall.SIGSTOP)
	f.Seen = fmt.Sprintf("paused %d processes of %s in %s", n, podsOf(*f), f.Cluster)
	return err
}

func resumePods(_ context.Context, _ *Supervisor, f Fault, _ []Fault) error {
	_, err := signalGroups(f.Groups, syscall.SIGCONT)
	return err
}

func podsOf(f Fault) string {
	if f.Namespace == "" {
		return f.Pod
	}
	return f.Namespace + "/" + f.Pod
}

// signalPods signals the processes of the fault's pods, notes their cgroups in it, and returns how many there were.
func (s *Supervisor) signalPods(ctx context.Context, f *Fault, sig syscall.Signal) (int, error) {
	c, err := s.cluster(f.Cluster)
	if err != nil {
		return 0, err
	}
	client, err := c.api()
	if err != nil {
		return 0, err
	}
	pods, err := findPods(ctx, client, *f)
	if err != nil {
		return 0, err
	}
	f.Groups = nil
	for _, p := range pods {
		groups, err := s.podGroups(c, p, f.Container)
		if err != nil {
			return 0, err
		}
		f.Groups = append(f.Groups, groups...)
	}
	n, err := signalGroups(f.Groups, sig)
	if err == nil && n == 0 {
		return 0, fmt.Errorf("no process of %s runs in cluster %s", podsOf(*f), f.Cluster)
	}
	return n, err
}

func findPods(ctx context.Context, client kubernetes.Interface, f Fault) ([]corev1.Pod, error) {
	opts := metav1.ListOptions{FieldSelector: "metadata.name=" + f.Pod}
	if strings.Contains(f.Pod, "=") {
		opts = metav1.ListOptions{LabelSelector: f.Pod}
	}
	list, err := client.CoreV1().Pods(f.Namespace).List(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("list pods of cluster %s: %w", f.Cluster, err)
	}
	if len(list.Items) == 0 {
		return nil, fmt.Errorf("cluster %s has no pod %s", f.Cluster, podsOf(f))
	}
	return list.Items, nil
}

// podGroups are the cgroups of the pod's containers, without the one that only holds its namespaces.
func (s *Supervisor) podGroups(c *cluster, p corev1.Pod, container string) ([]string, error) {
	ids := map[string]bool{}
	for _, st := range slices.Concat(p.Status.ContainerStatuses, p.Status.InitContainerStatuses) {
		if container == "" || st.Name == container {
			_, id, _ := strings.Cut(st.ContainerID, "://")
			ids[id] = true
		}
	}
	i := slices.IndexFunc(c.processes, func(k *process) bool { return k.Site.Node.Name == p.Spec.NodeName })
	if i < 0 {
		return nil, fmt.Errorf("pod %s/%s is on no node of cluster %s", p.Namespace, p.Name, c.Name)
	}
	dirs, err := cgroup.List(component.CgroupRoot(c.processes[i].Site))
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(dirs, func(d string) bool { return !ids[path.Base(d)] }), nil
}

// signalGroups signals every process in the cgroups, once each, and returns how many there were.
func signalGroups(groups []string, sig syscall.Signal) (int, error) {
	pids, err := cgroup.ProcessesIn(groups)
	if err != nil {
		return 0, err
	}
	var problems []error
	for _, p := range pids {
		pid, err := strconv.Atoi(p)
		if err == nil && pid > 1 {
			err = syscall.Kill(pid, sig)
		}
		if err != nil && !errors.Is(err, syscall.ESRCH) {
			problems = append(problems, fmt.Errorf("signal process %s: %w", p, err))
		}
	}
	return len(pids), errors.Join(problems...)
}

// scaleDown takes all replicas of the Deployments that the fault names, and remembers how many there were.
func scaleDown(ctx context.Context, s *Supervisor, f *Fault, _ []Fault) error {
	c, err := s.cluster(f.Cluster)
	if err != nil {
		return err
	}
	client, err := c.api()
	if err != nil {
		return err
	}
	list, err := client.AppsV1().Deployments(f.Namespace).List(ctx, metav1.ListOptions{LabelSelector: f.Pod})
	if err != nil {
		return fmt.Errorf("list Deployments of cluster %s: %w", f.Cluster, err)
	}
	if len(list.Items) == 0 {
		return fmt.Errorf("cluster %s has no Deployment with label %s", f.Cluster, f.Pod)
	}
	if f.Replicas == nil {
		f.Replicas = map[string]int32{}
	}
	var names []string
	for _, d := range list.Items {
		key := d.Namespace + "/" + d.Name
		names = append(names, key)
		if _, known := f.Replicas[key]; !known && d.Spec.Replicas != nil {
			f.Replicas[key] = *d.Spec.Replicas
		}
		if err := scale(ctx, client, d.Namespace, d.Name, 0); err != nil {
			return err
		}
	}
	slices.Sort(names)
	f.Seen = fmt.Sprintf("%s in %s scaled to 0", strings.Join(names, ", "), f.Cluster)
	return nil
}

// scaleUp gives the Deployments their replicas back, unless somebody has done so.
func scaleUp(ctx context.Context, s *Supervisor, f Fault, _ []Fault) error {
	c, err := s.cluster(f.Cluster)
	if err != nil {
		return err
	}
	client, err := c.api()
	if err != nil {
		return err
	}
	var problems []error
	for key, n := range f.Replicas {
		ns, name, _ := strings.Cut(key, "/")
		d, err := client.AppsV1().Deployments(ns).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			problems = append(problems, fmt.Errorf("look at Deployment %s: %w", key, err))
			continue
		}
		if d.Spec.Replicas == nil || *d.Spec.Replicas == 0 {
			problems = append(problems, scale(ctx, client, ns, name, n))
		}
	}
	return errors.Join(problems...)
}

func scale(ctx context.Context, client kubernetes.Interface, ns, name string, n int32) error {
	patch := []byte(`{"spec":{"replicas":` + strconv.Itoa(int(n)) + `}}`)
	if _, err := client.AppsV1().Deployments(ns).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{}, "scale"); err != nil {
		return fmt.Errorf("scale Deployment %s/%s to %d: %w", ns, name, n, err)
	}
	return nil
}
