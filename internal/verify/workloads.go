package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"

	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/probe"
)

// A Role is what one of verify's pods is for; it is the pod's "app" label too.
type Role string

// The roles. A stranger is a pod of the cluster that is not of the mesh: it has no sidecar.
const (
	Server   Role = "server"
	Client   Role = "client"
	Stranger Role = "stranger"
)

// Roles are all of them, in the order in which they are placed and shown.
var Roles = []Role{Server, Client, Stranger}

// ProbeSet names the set of objects that verify places and removes, for internal/apply: one for each mesh. No mesh
// can have that name, since there is no dot in theirs. It is a label's value, so it has at most 63 characters.
func ProbeSet(m mesh.Mesh) string {
	const prefix, most = "verify.", 63
	if len(prefix)+len(m.Name) <= most {
		return prefix + m.Name
	}
	sum := sha256.Sum256([]byte(m.Name))
	end := "-" + hex.EncodeToString(sum[:4])
	return prefix + m.Name[:most-len(prefix)-len(end)] + end
}

// Container is the name of the program's container in verify's pods.
const Container = "probe"

// labelCluster tells server pods of different clusters apart, so that a Service selects those of one.
const labelCluster = "isthmus.dev/cluster"

// servicePorts of every Service to-X; a port's name tells Istio its protocol.
var servicePorts = []struct {
	name       string
	port, pods int32
}{
	{probe.HTTP, 80, probe.PortHTTP},
	{probe.GRPC, probe.PortGRPC, probe.PortGRPC},
	{probe.TCP, probe.PortTCP, probe.PortTCP},
}

// ServiceName of the Service that only cluster's server answers. It exists in every cluster, because a name must
// exist where it is asked for; endpoints it has in one.
func ServiceName(cluster string) string { return "to-" + cluster }

// SNI is the server name by which an east-west gateway knows a cluster's HTTP server. Istio's own form:
// outbound_.port_.subset_.host.
func SNI(m mesh.Mesh, c mesh.Cluster) string {
	return fmt.Sprintf("outbound_.%d_._.%s.%s.svc.%s", servicePorts[0].port, ServiceName(c.Name), m.Verify.Namespace,
		clusterDomain(c))
}

// clusterDomain is the DNS domain of a cluster's Services: Istio's value for it, or the usual one.
func clusterDomain(c mesh.Cluster) string {
	domain, found, err := unstructured.NestedString(c.Istio.Values, "global", "proxy", "clusterDomain")
	if err != nil || !found || domain == "" {
		return "cluster.local"
	}
	return domain
}

// Identity is the SPIFFE identity that a pod of a role must have.
func Identity(m mesh.Mesh, r Role) string {
	return fmt.Sprintf("spiffe://%s/ns/%s/sa/%s", m.Trust.Domain, m.Verify.Namespace, r)
}

// Workloads are what verify brings to every cluster: a server, a client, a stranger, a Service for each
// cluster's server, one for all of them, for each cluster one that fails over, and the policy that says who may call
// it. The result is in the order in which things can be made.
func Workloads(m mesh.Mesh) object.Objects {
	objects := object.Objects{}
	for _, c := range m.Clusters {
		add := func(o metav1.Object, gvk schema.GroupVersionKind, reason string) {
			objects.Add(c.Name, object.Object{Part: object.PartProbes, Reason: reason, Body: body(o, gvk)})
		}
		core, apps := corev1.SchemeGroupVersion, appsv1.SchemeGroupVersion
		add(namespace(m, c), core.WithKind("Namespace"), "holds what verify brings")
		for _, name := range c.Istio.ImagePullSecrets {
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: m.Verify.Namespace}}
			objects.Add(c.Name, object.Object{
				Part: object.PartProbes, Reason: "a copy of " + istioNamespace + "/" + name + ", to pull images with",
				Body: body(secret, core.WithKind("Secret")), Sealed: &object.Sealed{Kind: object.SealPullSecret},
			})
		}
		for _, r := range Roles {
			add(serviceAccount(m, r), core.WithKind("ServiceAccount"), fmt.Sprintf("the identity of verify's %s", r))
		}
		for _, to := range m.Clusters {
			add(service(m, ServiceName(to.Name), serverLabels(to)), core.WithKind("Service"), fmt.Sprintf("the name by which %s's server is called", to.Name))
		}
		add(service(m, AnyService(m), everywhere), core.WithKind("Service"), "the name by which a server of any cluster is called")
		if asksFailover(m) {
			for _, of := range m.Clusters {
				add(service(m, FailoverService(of.Name), everywhere), core.WithKind("Service"), fmt.Sprintf("the name by which %s calls a server of any cluster, and then of another", of.Name))
			}
		}
		if !c.IsRemote() { // it obeys its primary's
			objects.Add(c.Name, invitation(m))
		}
		for _, r := range Roles {
			add(deployment(m, c, r), apps.WithKind("Deployment"), fmt.Sprintf("verify's %s", r))
		}
	}
	return objects
}

// invitation lets verify's client call its servers, and nobody else. So a proof works where the mesh lets nobody in
// by default, and shows both: that who is let in gets in, and that who is not does not.
func invitation(m mesh.Mesh) object.Object {
	return object.Object{
		Part: object.PartProbes, Reason: "lets verify's client in, and nobody else",
		Body: &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
			"metadata": map[string]any{"name": string(Server), "namespace": m.Verify.Namespace},
			"spec": map[string]any{
				"selector": map[string]any{"matchLabels": map[string]any{"app": string(Server)}},
				"rules": []any{map[string]any{"from": []any{map[string]any{"source": map[string]any{
					"principals": []any{strings.TrimPrefix(Identity(m, Client), "spiffe://")},
				}}}}},
			},
		}},
	}
}

func namespace(m mesh.Mesh, c mesh.Cluster) *corev1.Namespace {
	labels := map[string]string{"istio-injection": "enabled"}
	if r := c.Istio.Revision; r != "" {
		labels = map[string]string{"istio.io/rev": r}
	}
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: m.Verify.Namespace, Labels: labels}}
}

func serviceAccount(m mesh.Mesh, r Role) *corev1.ServiceAccount {
	none := false
	return &corev1.ServiceAccount{
		ObjectMeta:                   metav1.ObjectMeta{Name: string(r), Namespace: m.Verify.Namespace},
		AutomountServiceAccountToken: &none,
	}
}

// serverLabels are those of a cluster's server.
func serverLabels(c mesh.Cluster) map[string]string {
	return map[string]string{"app": string(Server), labelCluster: c.Name}
}

func service(m mesh.Mesh, name string, selector map[string]string) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: m.Verify.Namespace},
		Spec:       corev1.ServiceSpec{Selector: selector},
	}
	for _, p := range servicePorts {
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{
			Name: p.name, Port: p.port, TargetPort: intstr.FromInt32(p.pods), Protocol: corev1.ProtocolTCP,
		})
	}
	return s
}

func deployment(m mesh.Mesh, c mesh.Cluster, r Role) *appsv1.Deployment {
	labels := map[string]string{"app": string(r), labelCluster: c.Name}
	pod := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{
			Labels: map[string]string{"app": string(r), labelCluster: c.Name},
			Annotations: map[string]string{
				// Small proxies: they carry a few calls and are gone again.
				"sidecar.istio.io/proxyCPU": "10m", "sidecar.istio.io/proxyMemory": "64Mi",
				// Istio's 15 s between two looks make a proxy that is ready wait for the next look.
				"readiness.status.sidecar.istio.io/periodSeconds": "1",
			},
		},
		Spec: podSpec(m, c, r),
	}
	if r == Stranger {
		pod.Labels["sidecar.istio.io/inject"] = "false"
		pod.Annotations = nil
	}
	one := int32(1)
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: string(r), Namespace: m.Verify.Namespace, Labels: labels},
		Spec: appsv1.DeploymentSpec{
			Replicas: &one, RevisionHistoryLimit: &one,
			// With two pods for a while, calls could be answered by the old one.
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType},
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: pod,
		},
	}
}

// podSpec meets the restricted pod security standard; what a sidecar's init container asks for is Istio's matter.
func podSpec(m mesh.Mesh, c mesh.Cluster, r Role) corev1.PodSpec {
	yes, no, user, grace := true, false, int64(65532), int64(1)
	container := corev1.Container{
		Name: Container, Image: m.Verify.Image, ImagePullPolicy: corev1.PullPolicy(m.Verify.ImagePullPolicy),
		Args: []string{"probe", "serve", "--cluster", c.Name},
		Env: []corev1.EnvVar{{Name: "POD_NAME", ValueFrom: &corev1.EnvVarSource{
			FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.name"},
		}}},
		Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse("5m"), corev1.ResourceMemory: resource.MustParse("32Mi"),
		}, Limits: corev1.ResourceList{ // the server has a bound on connections, and each takes some ten KiB
			corev1.ResourceCPU: resource.MustParse("1"), corev1.ResourceMemory: resource.MustParse("256Mi"),
		}},
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes,
			Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
	}
	var pull []corev1.LocalObjectReference
	for _, name := range c.Istio.ImagePullSecrets {
		pull = append(pull, corev1.LocalObjectReference{Name: name})
	}
	for _, p := range servicePorts {
		container.Ports = append(container.Ports, corev1.ContainerPort{
			Name: p.name, ContainerPort: p.pods, Protocol: corev1.ProtocolTCP,
		})
	}
	return corev1.PodSpec{
		ServiceAccountName: string(r), AutomountServiceAccountToken: &no, EnableServiceLinks: &no,
		TerminationGracePeriodSeconds: &grace, Containers: []corev1.Container{container}, ImagePullSecrets: pull,
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: &yes, RunAsUser: &user, RunAsGroup: &user,
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
	}
}

// body is an object as it is sent: without the fields that only a server fills in.
func body(o metav1.Object, gvk schema.GroupVersionKind) *unstructured.Unstructured {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		panic(fmt.Sprintf("a typed object of our own cannot be converted: %v", err))
	}
	u := &unstructured.Unstructured{Object: content}
	unstructured.RemoveNestedField(content, "status")
	unstructured.RemoveNestedField(content, "metadata", "creationTimestamp")
	unstructured.RemoveNestedField(content, "spec", "template", "metadata", "creationTimestamp")
	if spec, ok := content["spec"].(map[string]any); ok && len(spec) == 0 {
		delete(content, "spec")
	}
	u.SetGroupVersionKind(gvk)
	return u
}
