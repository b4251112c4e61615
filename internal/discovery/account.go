package discovery

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// An account is who an istiod elsewhere is in a cluster, and what it may do there.
type account struct {
	name, reason string
	// everywhere and inIstio are its rules in the cluster and in Istio's namespace.
	everywhere, inIstio []any
}

// accounts are those of a cluster that somebody uses: the istiods of governors other than itself. All of one name
// are the same objects in every cluster.
func accounts(m mesh.Mesh, governors []mesh.Cluster, c mesh.Cluster) []account {
	everywhere := readerRules
	if slices.ContainsFunc(governors, mesh.Cluster.IsExternal) {
		// Their istiods look for it in a namespace that need not be there, and count the cluster as not synced
		// where they may not: the right to it cannot stand in a Role.
		everywhere = slices.Concat(readerRules, configRules(m))
	}
	var out []account
	used := func(name string) bool {
		return slices.ContainsFunc(governors, func(g mesh.Cluster) bool { return g.Name != c.Name && accountOf(g, c) == name })
	}
	if used(Reader) {
		out = append(out, account{
			name: Reader, reason: fmt.Sprintf("lets other clusters see the services of %s", c.Name),
			everywhere: everywhere, inIstio: configRules(m),
		})
	}
	if used(ControlPlane) {
		out = append(out, account{
			name: ControlPlane, reason: fmt.Sprintf("lets the istiod of %s serve %s", c.RemoteOf, c.Name),
			everywhere: slices.Concat(everywhere, controlPlaneRules(c)), inIstio: slices.Concat(configRules(m), lockRules),
		})
	}
	return out
}

// controlPlaneRules are what the istiod that serves a cluster from elsewhere does there beside reading, in Istio 1.31:
// less than istio-reader-clusterrole of its chart for remotes gives it, which has all ConfigMaps and all webhooks. That it
// may create ConfigMaps of any name cannot be helped: no rule can name what is not there yet.
func controlPlaneRules(c mesh.Cluster) []any {
	webhooks := func() any { return rule("admissionregistration.k8s.io", "mutatingwebhookconfigurations") }
	return []any{
		verbs(rule("authentication.k8s.io", "tokenreviews"), "create"),                            // security/pkg/server/ca/authenticate/kubeauth
		verbs(rule("authorization.k8s.io", "subjectaccessreviews"), "create"),                     // pilot/pkg/credentials/kube: gateways' certificates
		named(verbs(rule("", "namespaces"), "get"), RemoteNamespace),                              // multicluster.go: checkShouldLead
		named(verbs(rule("", "configmaps"), "get", "list", "watch", "update"), rootConfigMaps...), // namespacecontroller.go: the mesh's root
		verbs(rule("", "configmaps"), "create"),                                                   // the same, in every namespace
		verbs(webhooks(), "get", "list", "watch"),                                                 // pkg/webhooks: which there are
		named(verbs(webhooks(), "update"), injectors(c)...),                                       // the same: their CA
	}
}

// injectors are the webhook configurations of a cluster's revision and its tags (istio-discovery: mutatingwebhook.yaml and
// revision-tags-mwc.yaml; default: mutatingwebhook.yaml): whoever changes another one reads and changes every object that
// this one asks about.
func injectors(c mesh.Cluster) []string {
	injector := "istio-sidecar-injector"
	if c.Istio.Revision != "" {
		injector += "-" + c.Istio.Revision
	}
	names := []string{injector, "istio-revision-tag-default"}
	tags, _ := c.Istio.Value("revisionTags").([]any) // what is no list the chart refuses
	for _, t := range tags {
		if tag, ok := t.(string); ok {
			names = append(names, "istio-revision-tag-"+tag)
		}
	}
	if ns := c.IstioNamespace(); ns != RemoteNamespace {
		for _, n := range slices.Clone(names) {
			names = append(names, n+"-"+ns)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// rootConfigMaps are what istiod writes into every namespace.
var rootConfigMaps = []string{"istio-ca-root-cert", "istio-ca-crl"}

// lockRules are for the lock of whoever writes them (pilot/pkg/leaderelection: NamespaceController).
var lockRules = []any{named(verbs(rule("", "configmaps"), "get", "update"), "istio-namespace-controller-election")}

// verbs is a rule with other verbs than list and watch.
func verbs(rule any, verbs ...string) any {
	rule.(map[string]any)["verbs"] = list(verbs)
	return rule
}

// named is a rule for objects of some names alone.
func named(rule any, names ...string) any {
	rule.(map[string]any)["resourceNames"] = list(names)
	return rule
}

func list(words []string) []any {
	out := make([]any, 0, len(words))
	for _, w := range words {
		out = append(out, w)
	}
	return out
}

func (a account) objects() []*unstructured.Unstructured {
	const rbac = "rbac.authorization.k8s.io"
	subjects := []any{map[string]any{"kind": "ServiceAccount", "name": a.name, "namespace": object.SystemNamespace}}
	everywhere, inIstio := map[string]any{"name": a.name}, map[string]any{"name": a.name, "namespace": RemoteNamespace}
	return []*unstructured.Unstructured{
		{Object: map[string]any{
			"apiVersion": "v1", "kind": "ServiceAccount",
			"metadata":                     map[string]any{"name": a.name, "namespace": object.SystemNamespace},
			"automountServiceAccountToken": false,
		}},
		{Object: map[string]any{
			"apiVersion": rbac + "/v1", "kind": "ClusterRole", "metadata": everywhere, "rules": runtime.DeepCopyJSONValue(a.everywhere),
		}},
		{Object: map[string]any{
			"apiVersion": rbac + "/v1", "kind": "ClusterRoleBinding", "metadata": runtime.DeepCopyJSON(everywhere),
			"roleRef": map[string]any{"apiGroup": rbac, "kind": "ClusterRole", "name": a.name}, "subjects": subjects,
		}},
		{Object: map[string]any{
			"apiVersion": rbac + "/v1", "kind": "Role", "metadata": inIstio, "rules": runtime.DeepCopyJSONValue(a.inIstio),
		}},
		{Object: map[string]any{
			"apiVersion": rbac + "/v1", "kind": "RoleBinding", "metadata": runtime.DeepCopyJSON(inIstio),
			"roleRef": map[string]any{"apiGroup": rbac, "kind": "Role", "name": a.name}, "subjects": runtime.DeepCopyJSONValue(subjects),
		}},
	}
}
