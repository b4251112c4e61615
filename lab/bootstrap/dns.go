package bootstrap

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	apps "k8s.io/client-go/applyconfigurations/apps/v1"
	core "k8s.io/client-go/applyconfigurations/core/v1"
	meta "k8s.io/client-go/applyconfigurations/meta/v1"
	rbac "k8s.io/client-go/applyconfigurations/rbac/v1"
	"k8s.io/client-go/kubernetes"

	"isthmus.dev/isthmus/lab/layout"
)

const (
	system = "kube-system"
	dns    = "coredns"
	// DNSImage is the image of CoreDNS.
	DNSImage = "lab.local/coredns:1"
)

// corefile answers for the cluster and for nothing else: there is no forward, so no question leaves the machine.
const corefile = `.:53 {
  errors
  health {
    lameduck 1s
  }
  ready
  kubernetes cluster.local in-addr.arpa ip6.arpa {
    pods insecure
    fallthrough in-addr.arpa ip6.arpa
  }
  cache 5
  loop
  reload
}
`

// DNS installs CoreDNS at the address that kubelets tell pods.
func DNS(ctx context.Context, client kubernetes.Interface, c layout.Cluster) error {
	opts := metav1.ApplyOptions{FieldManager: manager, Force: true}
	role := "system:" + dns
	steps := []func() error{
		func() error {
			_, err := client.CoreV1().ServiceAccounts(system).Apply(ctx, core.ServiceAccount(dns, system), opts)
			return err
		},
		func() error {
			_, err := client.RbacV1().ClusterRoles().Apply(ctx, rbac.ClusterRole(role).WithRules(
				rbac.PolicyRule().WithAPIGroups("").WithResources("endpoints", "services", "pods", "namespaces").WithVerbs("list", "watch"),
				rbac.PolicyRule().WithAPIGroups("discovery.k8s.io").WithResources("endpointslices").WithVerbs("list", "watch"),
			), opts)
			return err
		},
		func() error {
			_, err := client.RbacV1().ClusterRoleBindings().Apply(ctx, rbac.ClusterRoleBinding(role).
				WithRoleRef(rbac.RoleRef().WithAPIGroup("rbac.authorization.k8s.io").WithKind("ClusterRole").WithName(role)).
				WithSubjects(rbac.Subject().WithKind("ServiceAccount").WithName(dns).WithNamespace(system)), opts)
			return err
		},
		func() error {
			_, err := client.CoreV1().ConfigMaps(system).Apply(ctx, core.ConfigMap(dns, system).WithData(map[string]string{"Corefile": corefile}), opts)
			return err
		},
		func() error {
			_, err := client.CoreV1().Services(system).Apply(ctx, service(c), opts)
			return err
		},
		func() error {
			_, err := client.AppsV1().Deployments(system).Apply(ctx, deployment(), opts)
			return err
		},
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("install CoreDNS: %w", err)
		}
	}
	return nil
}

func service(c layout.Cluster) *core.ServiceApplyConfiguration {
	return core.Service("kube-dns", system).WithLabels(map[string]string{"k8s-app": "kube-dns"}).WithSpec(core.ServiceSpec().
		WithClusterIP(c.ServiceIP(10).String()).WithSelector(map[string]string{"k8s-app": "kube-dns"}).
		WithPorts(
			core.ServicePort().WithName("dns").WithPort(53).WithProtocol(corev1.ProtocolUDP),
			core.ServicePort().WithName("dns-tcp").WithPort(53).WithProtocol(corev1.ProtocolTCP),
		))
}

func deployment() *apps.DeploymentApplyConfiguration {
	labels := map[string]string{"k8s-app": "kube-dns"}
	container := core.Container().WithName(dns).WithImage(DNSImage).WithImagePullPolicy(corev1.PullIfNotPresent).
		WithArgs("-conf", "/etc/coredns/Corefile").
		WithReadinessProbe(core.Probe().WithPeriodSeconds(1).WithHTTPGet(core.HTTPGetAction().WithPath("/ready").WithPort(intstr.FromInt32(8181)))).
		WithSecurityContext(core.SecurityContext().WithRunAsUser(0)).
		WithVolumeMounts(core.VolumeMount().WithName("config").WithMountPath("/etc/coredns"))
	pod := core.PodSpec().WithServiceAccountName(dns).WithDNSPolicy(corev1.DNSDefault).WithContainers(container).
		WithPriorityClassName("system-cluster-critical").
		WithTolerations(core.Toleration().WithOperator(corev1.TolerationOpExists)).
		WithVolumes(core.Volume().WithName("config").WithConfigMap(core.ConfigMapVolumeSource().WithName(dns)))
	return apps.Deployment(dns, system).WithLabels(labels).WithSpec(apps.DeploymentSpec().WithReplicas(1).
		WithSelector(meta.LabelSelector().WithMatchLabels(labels)).
		WithTemplate(core.PodTemplateSpec().WithLabels(labels).WithSpec(pod)))
}

// DNSReady tells whether the DNS server answers.
func DNSReady(ctx context.Context, client kubernetes.Interface) (bool, error) {
	d, err := client.AppsV1().Deployments(system).Get(ctx, dns, metav1.GetOptions{})
	if err != nil {
		return false, fmt.Errorf("look at CoreDNS: %w", err)
	}
	return d.Status.AvailableReplicas > 0, nil
}
