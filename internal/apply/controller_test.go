package apply_test

import (
	"context"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// serveWorkloads stands in for the controllers and nodes that these API servers do not have: it says of every
// workload that it runs, but for those whose name begins with "never", and lets deleted namespaces go.
func serveWorkloads(ctx context.Context, cfg *rest.Config) error {
	kube, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	deployments, err := kube.AppsV1().Deployments("").Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	sets, err := kube.AppsV1().DaemonSets("").Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	go func() {
		for e := range deployments.ResultChan() {
			if d, ok := e.Object.(*appsv1.Deployment); ok && d.Status.ObservedGeneration != d.Generation && !strings.HasPrefix(d.Name, "never") {
				n := *d.Spec.Replicas
				d.Status = appsv1.DeploymentStatus{
					ObservedGeneration: d.Generation, Replicas: n, ReadyReplicas: n, AvailableReplicas: n, UpdatedReplicas: n,
					Conditions: []appsv1.DeploymentCondition{
						{Type: appsv1.DeploymentAvailable, Status: corev1.ConditionTrue},
						{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionTrue, Reason: "NewReplicaSetAvailable"},
					},
				}
				_, _ = kube.AppsV1().Deployments(d.Namespace).UpdateStatus(ctx, d, metav1.UpdateOptions{FieldManager: "kube-controller-manager"})
			}
		}
	}()
	namespaces, err := kube.CoreV1().Namespaces().Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	go func() {
		for e := range namespaces.ResultChan() {
			if n, ok := e.Object.(*corev1.Namespace); ok && n.DeletionTimestamp != nil && len(n.Spec.Finalizers) > 0 {
				n.Spec.Finalizers = nil
				_, _ = kube.CoreV1().Namespaces().Finalize(ctx, n, metav1.UpdateOptions{})
			}
		}
	}()
	go func() {
		for e := range sets.ResultChan() {
			if d, ok := e.Object.(*appsv1.DaemonSet); ok && d.Status.ObservedGeneration != d.Generation {
				d.Status = appsv1.DaemonSetStatus{ObservedGeneration: d.Generation}
				_, _ = kube.AppsV1().DaemonSets(d.Namespace).UpdateStatus(ctx, d, metav1.UpdateOptions{FieldManager: "kube-controller-manager"})
			}
		}
	}()
	return nil
}
