package apply_test

import (
	"context"
	"encoding/base64"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// serveWorkloads stands in for the controllers and nodes that these API servers do not have: it says of every
// workload that it runs, but for those whose name begins with "never", lets deleted namespaces go, gives east-west
// gateways an address, and writes the CA of Istio's injection webhook as istiod does.
func serveWorkloads(ctx context.Context, cfg *rest.Config) error {
	kube, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	all := metav1.ListOptions{}
	for _, s := range []struct {
		watch func() (watch.Interface, error)
		serve func(runtime.Object)
	}{
		{func() (watch.Interface, error) { return kube.AppsV1().Deployments("").Watch(ctx, all) }, func(o runtime.Object) { serveDeployment(ctx, kube, o) }},
		{func() (watch.Interface, error) { return kube.AppsV1().DaemonSets("").Watch(ctx, all) }, func(o runtime.Object) { serveDaemonSet(ctx, kube, o) }},
		{func() (watch.Interface, error) { return kube.CoreV1().Namespaces().Watch(ctx, all) }, func(o runtime.Object) { serveNamespace(ctx, kube, o) }},
		{func() (watch.Interface, error) { return kube.CoreV1().Services("").Watch(ctx, all) }, func(o runtime.Object) { serveService(ctx, kube, o) }},
		{func() (watch.Interface, error) {
			return kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Watch(ctx, all)
		}, func(o runtime.Object) { serveInjector(ctx, kube, o) }},
	} {
		w, err := s.watch()
		if err != nil {
			return err
		}
		go func() {
			for {
				for e := range w.ResultChan() {
					if e.Type == watch.Added || e.Type == watch.Modified {
						s.serve(e.Object)
					}
				}
				if w, err = s.watch(); err != nil { // an API server ends watches after a while
					return
				}
			}
		}()
	}
	return nil
}

func serveDeployment(ctx context.Context, kube kubernetes.Interface, o runtime.Object) {
	d, ok := o.(*appsv1.Deployment)
	if !ok || d.Status.ObservedGeneration == d.Generation || strings.HasPrefix(d.Name, "never") {
		return
	}
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

func serveDaemonSet(ctx context.Context, kube kubernetes.Interface, o runtime.Object) {
	if d, ok := o.(*appsv1.DaemonSet); ok && d.Status.ObservedGeneration != d.Generation {
		d.Status = appsv1.DaemonSetStatus{ObservedGeneration: d.Generation}
		_, _ = kube.AppsV1().DaemonSets(d.Namespace).UpdateStatus(ctx, d, metav1.UpdateOptions{FieldManager: "kube-controller-manager"})
	}
}

func serveNamespace(ctx context.Context, kube kubernetes.Interface, o runtime.Object) {
	if n, ok := o.(*corev1.Namespace); ok && n.DeletionTimestamp != nil && len(n.Spec.Finalizers) > 0 {
		n.Spec.Finalizers = nil
		_, _ = kube.CoreV1().Namespaces().Finalize(ctx, n, metav1.UpdateOptions{})
	}
}

func serveService(ctx context.Context, kube kubernetes.Interface, o runtime.Object) {
	s, ok := o.(*corev1.Service)
	if !ok || s.Labels["istio"] != "eastwestgateway" || s.Spec.Type != corev1.ServiceTypeLoadBalancer || len(s.Status.LoadBalancer.Ingress) > 0 {
		return
	}
	s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "198.51.100.9"}}
	_, _ = kube.CoreV1().Services(s.Namespace).UpdateStatus(ctx, s, metav1.UpdateOptions{FieldManager: "cloud"})
}

// istiodCA is what istiod writes into its webhook here.
var istiodCA, _ = base64.StdEncoding.DecodeString(makeCA())

func serveInjector(ctx context.Context, kube kubernetes.Interface, o runtime.Object) {
	m, ok := o.(*admissionv1.MutatingWebhookConfiguration)
	if !ok || m.Labels["app"] != "sidecar-injector" {
		return
	}
	missing := false
	for i := range m.Webhooks {
		if c := &m.Webhooks[i].ClientConfig; len(c.CABundle) == 0 {
			c.CABundle, missing = istiodCA, true
		}
	}
	if missing {
		_, _ = kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Update(ctx, m, metav1.UpdateOptions{FieldManager: "pilot-discovery"})
	}
}
