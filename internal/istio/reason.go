package istio

import (
	"cmp"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/mesh"
)

// reason says for people why a rendered object exists.
func reason(c mesh.Cluster, b *unstructured.Unstructured) string {
	if op := b.GetLabels()[operatorLabel]; op == ingress || op == "EgressGateways" {
		return fmt.Sprintf("belongs to the gateway of profile %s in %s", cmp.Or(c.Istio.Profile, "default"), c.Name)
	}
	switch b.GetKind() {
	case "CustomResourceDefinition":
		kind, _, _ := unstructured.NestedString(b.Object, "spec", "names", "kind")
		return "Istio's own kind " + kind
	case "Deployment":
		return "the control plane of " + c.Name
	case "DaemonSet":
		return "runs on every node of " + c.Name
	case "Service":
		return "where proxies and the API server find istiod"
	case "ConfigMap":
		return "what istiod is told: mesh configuration, injection templates, values"
	case "HorizontalPodAutoscaler":
		return "runs as many istiods as " + c.Name + " needs"
	case "PodDisruptionBudget":
		return "keeps one running while nodes are drained"
	case "MutatingWebhookConfiguration":
		return "gives new pods their proxy"
	case "ValidatingWebhookConfiguration", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding":
		return "refuses Istio configuration that is wrong"
	case "ServiceAccount":
		return "who istiod and its helpers are to the API server"
	case "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding":
		return "what istiod and its helpers may do in " + c.Name
	}
	return fmt.Sprintf("belongs to Istio's profile %s", cmp.Or(c.Istio.Profile, "default"))
}

// gatewayReason says for people why an object of the east-west gateway exists.
func gatewayReason(c mesh.Cluster, b *unstructured.Unstructured) string {
	switch b.GetKind() {
	case "Deployment":
		return "carries calls from other networks into " + c.Name
	case "Service":
		return "where other networks reach " + c.Network
	}
	return "belongs to the east-west gateway of " + c.Name
}
