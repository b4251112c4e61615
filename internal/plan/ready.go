package plan

import (
	"fmt"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Ready tells whether a live object does what it is for, else why not; failed means that waiting will not help.
// It is kstatus with two things added that a mesh needs: a LoadBalancer Service has an address, and a mutating
// webhook has the CA that istiod fills in.
func Ready(u *unstructured.Unstructured) (ready, failed bool, why string) {
	switch u.GetKind() {
	case "Service":
		if len(Addresses(u)) == 0 && serviceType(u) == "LoadBalancer" {
			return false, false, "no address yet"
		}
		return true, false, ""
	case "MutatingWebhookConfiguration":
		return webhooksReady(u)
	case "ConfigMap", "Secret", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding",
		"HorizontalPodAutoscaler", "PodDisruptionBudget":
		return true, false, ""
	}
	r, err := status.Compute(u)
	if err != nil {
		return false, false, err.Error()
	}
	return r.Status == status.CurrentStatus, r.Status == status.FailedStatus, r.Message
}

func serviceType(u *unstructured.Unstructured) string {
	t, _, _ := unstructured.NestedString(u.Object, "spec", "type") // absent is ""
	return t
}

// Addresses are where a Service is reached from outside its cluster: what its load balancer gave, else externalIPs.
func Addresses(u *unstructured.Unstructured) []string {
	var all []string
	ingress, _, _ := unstructured.NestedSlice(u.Object, "status", "loadBalancer", "ingress") // absent is none
	for _, x := range ingress {
		m, _ := x.(map[string]any)
		for _, k := range []string{"ip", "hostname"} {
			if s, _ := m[k].(string); s != "" {
				all = append(all, s)
				break
			}
		}
	}
	if len(all) > 0 {
		return all
	}
	ips, _, _ := unstructured.NestedStringSlice(u.Object, "spec", "externalIPs") // absent is none
	return ips
}

func webhooksReady(u *unstructured.Unstructured) (ready, failed bool, why string) {
	hooks, _, _ := unstructured.NestedSlice(u.Object, "webhooks") // absent is none
	for _, x := range hooks {
		m, _ := x.(map[string]any)
		_, service, _ := unstructured.NestedMap(m, "clientConfig", "service") // absent is false
		ca, _, _ := unstructured.NestedString(m, "clientConfig", "caBundle")  // absent is ""
		if service && ca == "" {
			return false, false, fmt.Sprintf("istiod has not written the CA of webhook %v yet", m["name"])
		}
	}
	return true, false, ""
}
