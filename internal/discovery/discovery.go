// Package discovery computes how clusters learn of each other's services through Kubernetes itself: every control
// plane watches every other API server. In each cluster stands a reader that may do what istiod does there and
// nothing else; in each other cluster a remote secret holds a token of that reader which ends.
//
// What istiod does there includes, in Istio 1.31, to list all Secrets: it keeps certificates ready for gateways that
// it may one day serve in the other cluster, which in a mesh of primaries it never does. Without that right the
// other cluster stays out of the mesh (istiod reports "timeout", and never takes a renewed token). The switch that
// should turn it off, PILOT_ENABLE_REMOTE_CREDENTIALS_CONTROLLER=false, ends istiod with a nil pointer as soon as
// there is a remote secret; a test watches for the day on which it does not. Until then a remote secret opens the
// Secrets of the cluster that it is about, the key of its intermediate among them, as those of istioctl
// create-remote-secret do: whoever may read Secrets in istio-system of one cluster speaks for both.
package discovery

import (
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"isthmus.dev/isthmus/internal/label"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

const (
	// Reader is the ServiceAccount, ClusterRole and ClusterRoleBinding that other clusters' istiods read with.
	Reader = "isthmus-reader"
	// RemoteNamespace is where istiod looks for remote secrets.
	RemoteNamespace = object.IstioNamespace
	// LabelRemote marks a remote secret.
	LabelRemote = object.LabelRemoteSecret
	// AnnotationCluster names the cluster that a remote secret opens (Istio's own).
	AnnotationCluster = "networking.istio.io/cluster"
	// AnnotationIssued is when a remote secret's token was issued, RFC 3339; with the token's end it gives its life.
	AnnotationIssued = "isthmus.dev/issued"
	// AnnotationReader is the UID of the ServiceAccount that a remote secret's token is for.
	AnnotationReader = "isthmus.dev/reader-uid"
)

// RemoteSecret is the name of the Secret that opens a cluster, as istioctl create-remote-secret names it.
func RemoteSecret(cluster string) string { return "istio-remote-secret-" + cluster }

// ReaderSubject is the reader's name in a token.
func ReaderSubject() string {
	return "system:serviceaccount:" + object.SystemNamespace + ":" + Reader
}

// readerRules is what an istiod reads in another cluster, and nothing more: what the informers of Istio 1.31 ask for
// there, seen in an API server's audit log. istio-reader-clusterrole, which istioctl create-remote-secret uses, also
// has all ConfigMaps, and rights that only an istiod serving a cluster without its own needs (TokenReviews,
// SubjectAccessReviews, webhooks). Listing and watching is all that informers do.
var readerRules = []any{
	rule("", "services", "pods", "nodes", "namespaces"),               // pilot/pkg/serviceregistry/kube/controller
	rule("discovery.k8s.io", "endpointslices"),                        // the same
	rule("networking.istio.io", "workloadentries"),                    // the same, multicluster.go: createWleConfigStore
	rule("gateway.networking.k8s.io", "gateways"),                     // pkg/kube/multicluster/cluster.go, if its CRD is there
	rule("apiextensions.k8s.io", "customresourcedefinitions"),         // pkg/kube/kclient: which of the above there are
	rule("multicluster.x-k8s.io", "serviceexports", "serviceimports"), // with ENABLE_MCS_SERVICE_DISCOVERY, ENABLE_MCS_HOST
	rule("", "secrets"), // pilot/pkg/credentials/kube; see the package comment
}

// configRules are those in istio-system: istiod takes the other cluster's trust domain from its mesh configuration
// (pkg/config/mesh/kubemesh). It asks for it by the name that its own has (pilot/pkg/serviceregistry/kube/
// controller/multicluster.go: getMeshConfigMapName), so the names of all clusters are in it.
func configRules(m mesh.Mesh) []any {
	names := map[string]bool{}
	for _, c := range m.Clusters {
		names[meshConfig(c)] = true
	}
	var list []any
	for _, name := range slices.Sorted(maps.Keys(names)) {
		list = append(list, name)
	}
	return []any{map[string]any{
		"apiGroups": []any{""}, "resources": []any{"configmaps"}, "resourceNames": list, "verbs": []any{"list", "watch"},
	}}
}

// meshConfig is the ConfigMap of a cluster's mesh configuration: that of its revision, if it has one.
func meshConfig(c mesh.Cluster) string {
	if c.Istio.Revision == "" {
		return "istio"
	}
	return "istio-" + c.Istio.Revision
}

func rule(group string, resources ...string) any {
	list := make([]any, 0, len(resources))
	for _, r := range resources {
		list = append(list, r)
	}
	return map[string]any{"apiGroups": []any{group}, "resources": list, "verbs": []any{"list", "watch"}}
}

// Objects returns each cluster's reader, and in each cluster a sealed remote secret for every other. What is the same
// in several clusters is so in memory too: it must not be changed.
func Objects(m mesh.Mesh) (object.Objects, error) {
	out := object.Objects{}
	if len(m.Clusters) < 2 {
		return out, nil
	}
	readers := reader(m)
	for _, c := range m.Clusters {
		for _, body := range readers {
			out.Add(c.Name, label.Own(m.Name, object.Object{
				Part: object.PartDiscovery, Reason: fmt.Sprintf("lets other clusters see the services of %s", c.Name), Body: body,
			}))
		}
	}
	// A mesh of 500 has a quarter of a million of them, and all about one cluster are the same object.
	for _, to := range m.Clusters {
		secret := label.Own(m.Name, remoteSecret(to.Name))
		for _, from := range m.Clusters {
			if from.Name != to.Name {
				secret.Reason = to.Name + "'s API server becomes known to " + from.Name
				out.Add(from.Name, secret)
			}
		}
	}
	return out, nil
}

func remoteSecret(about string) object.Object {
	return object.Object{
		Part: object.PartDiscovery,
		Body: &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
			"metadata": map[string]any{
				"name": RemoteSecret(about), "namespace": RemoteNamespace,
				"labels":      map[string]any{LabelRemote: "true"},
				"annotations": map[string]any{AnnotationCluster: about},
			},
		}},
		Sealed: &object.Sealed{Kind: object.SealRemoteSecret, About: about},
	}
}

func reader(m mesh.Mesh) []*unstructured.Unstructured {
	return []*unstructured.Unstructured{
		{Object: map[string]any{
			"apiVersion": "v1", "kind": "ServiceAccount",
			"metadata":                     map[string]any{"name": Reader, "namespace": object.SystemNamespace},
			"automountServiceAccountToken": false,
		}},
		{Object: map[string]any{
			"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
			"metadata": map[string]any{"name": Reader},
			"rules":    runtime.DeepCopyJSONValue(readerRules),
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
			"rules":    configRules(m),
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
