package apply

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestPodTrouble(t *testing.T) {
	waiting := func(name, reason, message string) corev1.ContainerStatus {
		return corev1.ContainerStatus{Name: name, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}}
	}
	crashing := waiting("discovery", "CrashLoopBackOff", "back-off")
	crashing.RestartCount = 4
	crashing.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ExitCode: 1, Message: "no\n certificate"}
	cases := []struct {
		reason string
		status corev1.PodStatus
		node   string
		want   string
	}{
		{"no image", corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{waiting("discovery", "ErrImagePull", "manifest unknown")}}, "n", "container discovery: ErrImagePull: manifest unknown"},
		{"it crashes", corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{crashing}}, "n", "container discovery ended 4 times, last with exit code 1: no certificate"},
		{"no node fits", corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "0/1 nodes: insufficient memory"}}}, "", "cannot be scheduled: 0/1 nodes: insufficient memory"},
		{"it starts", corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{waiting("discovery", "ContainerCreating", "")}}, "n", "container discovery is being made"},
		{"it runs and is not ready", corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "discovery", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}}, "n", "container discovery runs and does not say that it is ready"},
		{"nothing is known yet", corev1.PodStatus{}, "", "waits for a node"},
		{"it is ready", corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "a", Ready: true, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}}, "n", ""},
	}
	for _, c := range cases {
		if got := podTrouble(corev1.Pod{Spec: corev1.PodSpec{NodeName: c.node}, Status: c.status}); got != c.want {
			t.Errorf("%s: %q, want %q", c.reason, got, c.want)
		}
	}
}
