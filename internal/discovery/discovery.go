// Package discovery computes how clusters learn of each other's services through Kubernetes itself: every control
// plane watches every other API server. In each cluster stands a reader that may see services and where they run,
// and nothing secret; in each other cluster a remote secret holds a token of that reader which ends.
package discovery

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/label"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

const (
	// Reader is the ServiceAccount, ClusterRole and ClusterRoleBinding that other clusters' istiods read with.
	Reader = "isthmus-reader"
	// RemoteNamespace is where istiod looks for remote secrets.
	RemoteNamespace = "istio-system"
	// meshConfig is the ConfigMap of Istio's mesh configuration.
	meshConfig = "istio"
	// LabelRemote marks a remote secret (Istio: pkg/kube/multicluster).
	LabelRemote = "istio/multiCluster"
	// AnnotationCluster names the cluster that a remote secret opens (Istio's own).
	AnnotationCluster = "networking.istio.io/cluster"
	// AnnotationIssued is when a remote secret's token was issued, RFC 3339; with the token's end it gives its life.
	AnnotationIssued = "isthmus.dev/issued"
)

// RemoteSecret is the name of the Secret that opens a cluster, as istioctl create-remote-secret names it.
func RemoteSecret(cluster string) string { return "istio-remote-secret-" + cluster }

// ReaderSubject is the reader's name in a token.
func ReaderSubject() string {
	return "system:serviceaccount:" + object.SystemNamespace + ":" + Reader
}

// readerRules is what an istiod reads in another cluster, and nothing more: what the informers of Istio 1.31 ask for
// in a remote cluster (pilot/pkg/serviceregistry/kube/controller; workload entries in
// pilot/pkg/bootstrap). Secrets and ConfigMaps, which istio-reader-clusterrole has, are not among it: istiod reads
// remote Secrets for gateways that it serves there, and in a mesh of primaries it serves none there
// (PILOT_ENABLE_REMOTE_CREDENTIALS_CONTROLLER is off, see internal/istio). The one ConfigMap that it does read, the
// mesh configuration, is allowed by name in its namespace; a cluster whose istiod may not read it is never synced.
var readerRules = []any{
	rule("", "services", "pods", "nodes", "namespaces"),
	rule("discovery.k8s.io", "endpointslices"),
	rule("networking.istio.io", "workloadentries"),
	rule("gateway.networking.k8s.io", "gateways"),
	rule("apiextensions.k8s.io", "customresourcedefinitions"),
}

func rule(group string, resources ...string) any {
	list := make([]any, 0, len(resources))
	for _, r := range resources {
		list = append(list, r)
	}
	return map[string]any{"apiGroups": []any{group}, "resources": list, "verbs": []any{"list", "watch"}}
}

// Objects returns each cluster's reader, and in each cluster a sealed remote secret for every other.
func Objects(m mesh.Mesh) (object.Objects, error) {
	out := object.Objects{}
	if len(m.Clusters) < 2 {
		return out, nil
	}
	for _, c := range m.Clusters {
		for _, body := range reader() {
			out.Add(c.Name, label.Own(m.Name, object.Object{
				Part: object.PartDiscovery, Reason: fmt.Sprintf("lets other clusters see the services of %s", c.Name), Body: body,
			}))
		}
	}
	for _, p := range m.Pairs() {
		out.Add(p.From.Name, label.Own(m.Name, object.Object{
			Part:   object.PartDiscovery,
			Reason: fmt.Sprintf("%s's API server becomes known to %s", p.To.Name, p.From.Name),
			Body: &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
				"metadata": map[string]any{
					"name": RemoteSecret(p.To.Name), "namespace": RemoteNamespace,
					"labels":      map[string]any{LabelRemote: "true"},
					"annotations": map[string]any{AnnotationCluster: p.To.Name},
				},
			}},
			Sealed: &object.Sealed{Kind: object.SealRemoteSecret, About: p.To.Name},
		}))
	}
	return out, nil
}

func reader() []*unstructured.Unstructured {
	return []*unstructured.Unstructured{
		{Object: map[string]any{
			"apiVersion": "v1", "kind": "ServiceAccount",
			"metadata":                     map[string]any{"name": Reader, "namespace": object.SystemNamespace},
			"automountServiceAccountToken": false,
		}},
		{Object: map[string]any{
			"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
			"metadata": map[string]any{"name": Reader},
			"rules":    readerRules,
		}},
		{Object: map[string]any{
			"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
			"metadata": map[string]any{"name": Reader},
			"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": Reader},
			"subjects": subjects(),
		}},
		{Object: map[string]any{
			"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
			"metadata": map[string]any{"name": Reader, "namespace": RemoteNamespace},
			"rules": []any{map[string]any{
				"apiGroups": []any{""}, "resources": []any{"configmaps"}, "resourceNames": []any{meshConfig},
				"verbs": []any{"list", "watch"},
			}},
		}},
		{Object: map[string]any{
			"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
			"metadata": map[string]any{"name": Reader, "namespace": RemoteNamespace},
			"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": Reader},
			"subjects": subjects(),
		}},
	}
}

func subjects() []any {
	return []any{map[string]any{"kind": "ServiceAccount", "name": Reader, "namespace": object.SystemNamespace}}
}
