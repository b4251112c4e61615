package verify

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestPodOfADeployment(t *testing.T) {
	ready := []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	pod := func(name string, age time.Duration, change func(*corev1.Pod)) corev1.Pod {
		p := corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Name: name, Labels: map[string]string{"app": "server"}, CreationTimestamp: metav1.NewTime(noon.Add(-age)),
			},
			Spec:   corev1.PodSpec{Containers: []corev1.Container{{Name: Container}, {Name: "istio-proxy"}}},
			Status: corev1.PodStatus{PodIP: "100.64.0.7"},
		}
		change(&p)
		return p
	}
	waits := func(reason, message string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{
				Name: Container, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
			}}
		}
	}
	isReady := func(p *corev1.Pod) { p.Status.Conditions = ready }
	current := appsv1.DeploymentStatus{ObservedGeneration: 2, UpdatedReplicas: 1}
	cases := []struct {
		reason string
		status appsv1.DeploymentStatus
		pods   []corev1.Pod
		want   Pod
	}{
		{
			"ready, with a sidecar", current,
			[]corev1.Pod{pod("a", 0, isReady)},
			Pod{Name: "a", IP: "100.64.0.7", Ready: true, Sidecar: true},
		},
		{
			"a sidecar among the init containers, as Kubernetes has them now", current,
			[]corev1.Pod{pod("a", 0, func(p *corev1.Pod) {
				isReady(p)
				p.Spec.Containers, p.Spec.InitContainers = p.Spec.Containers[:1], p.Spec.Containers[1:]
			})},
			Pod{Name: "a", IP: "100.64.0.7", Ready: true, Sidecar: true},
		},
		{
			"the old pod is not the one that was asked for",
			appsv1.DeploymentStatus{ObservedGeneration: 1, UpdatedReplicas: 1},
			[]corev1.Pod{pod("old", time.Hour, isReady)},
			Pod{Problem: noPod},
		},
		{
			"of two the newest that is not on its way out", current,
			[]corev1.Pod{
				pod("old", time.Hour, isReady), pod("new", time.Minute, isReady),
				pod("going", 0, func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: noon} }),
			},
			Pod{Name: "new", IP: "100.64.0.7", Ready: true, Sidecar: true},
		},
		{
			"a webhook refuses pods",
			appsv1.DeploymentStatus{ObservedGeneration: 2, Conditions: []appsv1.DeploymentCondition{
				{Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Message: "failed calling webhook"},
			}},
			nil,
			Pod{Problem: "failed calling webhook", Stuck: true},
		},
		{
			"no image", current,
			[]corev1.Pod{pod("a", 0, waits("ErrImageNeverPull", "not there"))},
			Pod{Name: "a", IP: "100.64.0.7", Sidecar: true, Problem: "container probe: ErrImageNeverPull: not there", Stuck: true, NoImage: true},
		},
		{
			"a first pull that failed may be followed by a better one", current,
			[]corev1.Pod{pod("a", 0, waits("ErrImagePull", ""))},
			Pod{Name: "a", IP: "100.64.0.7", Sidecar: true, Problem: "container probe: ErrImagePull", Stuck: true},
		},
		{
			"containers are being made", current,
			[]corev1.Pod{pod("a", 0, waits("PodInitializing", ""))},
			Pod{Name: "a", IP: "100.64.0.7", Sidecar: true, Problem: "starting"},
		},
		{
			"no node", current,
			[]corev1.Pod{pod("a", 0, func(p *corev1.Pod) {
				p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "no nodes available"}}
			})},
			Pod{Name: "a", IP: "100.64.0.7", Sidecar: true, Problem: "not scheduled: no nodes available", Stuck: true},
		},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			d := appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "server", Generation: 2}, Status: c.status}
			if diff := cmp.Diff(c.want, podOf(d, c.pods)); diff != "" {
				t.Errorf("%s: -want +got\n%s", c.reason, diff)
			}
		})
	}
}

func TestEndpointsOfAProxy(t *testing.T) {
	const clusters = `{"cluster_statuses":[
	  {"name":"outbound|80||to-west.isthmus-verify.svc.cluster.local","host_statuses":[
	    {"address":{"socket_address":{"address":"198.18.0.12","port_value":15443}},"health_status":{"eds_health_status":"HEALTHY"}},
	    {"address":{"socket_address":{"address":"198.18.0.13","port_value":15443}},
	     "health_status":{"eds_health_status":"HEALTHY","failed_outlier_check":true}}]},
	  {"name":"outbound|9000||to-west.isthmus-verify.svc.cluster.local","host_statuses":[{}]},
	  {"name":"outbound|80||to-south.other.svc.cluster.local","host_statuses":[{}]},
	  {"name":"outbound|80||to-east.isthmus-verify.svc.cluster.local"},
	  {"name":"BlackHoleCluster"}]}`
	want := map[string][]Endpoint{"west": {{"198.18.0.12:15443", true}, {"198.18.0.13:15443", false}}}
	if diff := cmp.Diff(want, endpoints([]byte(clusters), "isthmus-verify")); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if got := endpoints([]byte("not JSON"), "isthmus-verify"); got != nil {
		t.Errorf("%v out of what is no answer; want nil, as if not asked", got)
	}
	if got := endpoints([]byte("{}"), "isthmus-verify"); got == nil {
		t.Error("nil of a proxy that knows no cluster; want an empty map: it was asked")
	}
}
