package discovery

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// An external istiod reads the cluster that it serves with a kubeconfig that its chart mounts. The token is a file of
// its own beside it, which client-go reads again every minute: so one that is renewed is taken up without a restart.
const (
	// ConfigSecret is the Secret of that kubeconfig (Istio's chart: istio-kubeconfig).
	ConfigSecret = "istio-kubeconfig" //nolint:gosec // the name of a Secret, not its content
	// ConfigKey and TokenKey are its data keys; ConfigFolder is where the chart mounts it.
	ConfigKey    = "config"
	TokenKey     = "token"
	ConfigFolder = "/var/run/secrets/remote"
)

// configSecret is the kubeconfig of a cluster's external istiod, with a token of the account that its chart makes
// for it there.
func configSecret(c mesh.Cluster) object.Object {
	return object.Object{
		Part: object.PartDiscovery, Reason: fmt.Sprintf("opens %s's API server to its istiod", c.Name), For: c.Name,
		Body: &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
			"metadata": map[string]any{"name": ConfigSecret, "namespace": c.IstioNamespace()},
		}},
		Sealed: &object.Sealed{Kind: object.SealConfigCluster, About: c.Name, Account: istiodAccount(c)},
	}
}

// istiodAccount is the ServiceAccount of a cluster's istiod: that of its revision, if it has one.
func istiodAccount(c mesh.Cluster) string {
	if c.Istio.Revision == "" {
		return "istiod"
	}
	return "istiod-" + c.Istio.Revision
}

// AccountNamespace is where the account is whose token a sealed object holds.
func AccountNamespace(s object.Sealed, about mesh.Cluster) string {
	if s.Kind == object.SealConfigCluster {
		return about.IstioNamespace()
	}
	return object.SystemNamespace
}

// keyOf is the data key of the kubeconfig in a sealed Secret.
func keyOf(s object.Sealed) string {
	if s.Kind == object.SealConfigCluster {
		return ConfigKey
	}
	return s.About
}
