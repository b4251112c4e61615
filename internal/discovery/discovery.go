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
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/label"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

const (
	// Reader is the ServiceAccount, ClusterRole and ClusterRoleBinding that other clusters' istiods read with.
	Reader = "isthmus-reader"
	// ControlPlane is the same for the one istiod that serves a cluster from elsewhere, and does more there.
	ControlPlane = "isthmus-control-plane"
	// RemoteNamespace is where istiod looks for remote secrets.
	RemoteNamespace = object.IstioNamespace
	// LabelRemote marks a remote secret.
	LabelRemote = object.LabelRemoteSecret
	// AnnotationCluster names the cluster that a remote secret opens (Istio's own).
	AnnotationCluster = "networking.istio.io/cluster"
	// AnnotationIssued is when a remote secret's token was issued.
	AnnotationIssued = object.AnnotationIssued
	// AnnotationReader is the UID of the ServiceAccount that a remote secret's token is for.
	AnnotationReader = "isthmus.dev/reader-uid"
)

// RemoteSecret is the name of the Secret that opens a cluster, as istioctl create-remote-secret names it.
func RemoteSecret(cluster string) string { return "istio-remote-secret-" + cluster }

// Subject is an account's name in a token.
func Subject(namespace, account string) string {
	return "system:serviceaccount:" + namespace + ":" + account
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

// accountOf is the account of c that the istiod of governor g uses there.
func accountOf(g, c mesh.Cluster) string {
	if c.RemoteOf == g.Name {
		return ControlPlane
	}
	return Reader
}

// configRules are those in istio-system: istiod takes the other cluster's trust domain from its mesh configuration
// (pkg/config/mesh/kubemesh). It asks for it by the name that its own has (pilot/pkg/serviceregistry/kube/
// controller/multicluster.go: getMeshConfigMapName), so the names of all clusters are in it.
func configRules(m mesh.Mesh) []any {
	names := map[string]bool{}
	for _, c := range m.Governors() {
		names[MeshConfig(c)] = true
	}
	var list []any
	for _, name := range slices.Sorted(maps.Keys(names)) {
		list = append(list, name)
	}
	return []any{map[string]any{
		"apiGroups": []any{""}, "resources": []any{"configmaps"}, "resourceNames": list, "verbs": []any{"list", "watch"},
	}}
}

// MeshConfig is the ConfigMap of a cluster's mesh configuration: that of its revision, if it has one.
func MeshConfig(c mesh.Cluster) string {
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

// Objects returns in each cluster the accounts that other clusters' istiods use there, and beside each istiod a sealed
// remote secret for every cluster but its own. What is the same in several clusters is so in memory too: it must not
// be changed.
func Objects(m mesh.Mesh) (object.Objects, error) {
	out := object.Objects{}
	governors := m.Governors()
	bodies := map[string][]*unstructured.Unstructured{}
	for _, c := range m.Clusters {
		for _, a := range accounts(m, governors, c) {
			alike := a.name
			if a.name == ControlPlane { // its rules name the cluster's webhooks
				alike = strings.Join(append(injectors(c), a.name), " ")
			}
			if bodies[alike] == nil {
				bodies[alike] = a.objects()
			}
			for _, body := range bodies[alike] {
				out.Add(c.Name, label.Own(m.Name, object.Object{Part: object.PartDiscovery, Reason: a.reason, Body: body}))
			}
		}
	}
	// A mesh of 500 has a quarter of a million of them, and nearly all about one cluster are the same object.
	for _, to := range m.Clusters {
		same := map[[2]string]object.Object{}
		for _, from := range governors {
			if from.Name == to.Name {
				continue
			}
			key := [2]string{from.IstioNamespace(), accountOf(from, to)}
			if _, made := same[key]; !made {
				same[key] = label.Own(m.Name, remoteSecret(to.Name, from.IstioNamespace(), accountOf(from, to)))
			}
			secret := same[key]
			secret.Reason, secret.For = to.Name+"'s API server becomes known to "+from.Name, from.Elsewhere()
			out.Add(m.Host(from).Name, secret)
		}
		if to.IsExternal() {
			out.Add(to.ExternalAt, label.Own(m.Name, configSecret(to)))
		}
	}
	return out, nil
}

func remoteSecret(about, namespace, account string) object.Object {
	return object.Object{
		Part: object.PartDiscovery,
		Body: &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
			"metadata": map[string]any{
				"name": RemoteSecret(about), "namespace": namespace,
				"labels":      map[string]any{LabelRemote: "true"},
				"annotations": map[string]any{AnnotationCluster: about},
			},
		}},
		Sealed: &object.Sealed{Kind: object.SealRemoteSecret, About: about, Account: account},
	}
}
