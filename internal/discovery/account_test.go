package discovery

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"isthmus.dev/isthmus/internal/mesh"
)

// mixed is two primaries and a remote of the second.
func mixed() mesh.Mesh {
	return mesh.Mesh{Name: "shop", Clusters: []mesh.Cluster{{Name: "east"}, {Name: "west"}, {Name: "north", RemoteOf: "west"}}}
}

func TestWhoHoldsWhoseCredential(t *testing.T) {
	got, err := Objects(mixed())
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]string{}
	for name, list := range got {
		for _, o := range list {
			switch {
			case o.Body.GetKind() == "ServiceAccount":
				found[name] = append(found[name], "account "+o.Body.GetName())
			case o.Sealed != nil:
				found[name] = append(found[name], o.Sealed.About+" as "+o.Sealed.Account)
			}
		}
	}
	want := map[string][]string{
		"east":  {"account isthmus-reader", "west as isthmus-reader", "north as isthmus-reader"},
		"west":  {"account isthmus-reader", "east as isthmus-reader", "north as isthmus-control-plane"},
		"north": {"account isthmus-reader", "account isthmus-control-plane"},
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("accounts and credentials (-want +got):\n%s", diff)
	}
}

// TestControlPlaneMayDoThis pins what the istiod that serves a cluster from elsewhere may do there beside what every
// reader may: a change here is a change of the product's promise.
func TestControlPlaneMayDoThis(t *testing.T) {
	m := mixed()
	all := accounts(m, m.Governors(), m.Clusters[2])
	words := func(list ...any) []any { return list }
	wantEverywhere := []any{
		map[string]any{"apiGroups": words("authentication.k8s.io"), "resources": words("tokenreviews"), "verbs": words("create")},
		map[string]any{"apiGroups": words("authorization.k8s.io"), "resources": words("subjectaccessreviews"), "verbs": words("create")},
		map[string]any{"apiGroups": words(""), "resources": words("namespaces"), "verbs": words("get"), "resourceNames": words("istio-system")},
		map[string]any{
			"apiGroups": words(""), "resources": words("configmaps"), "verbs": words("get", "list", "watch", "update"),
			"resourceNames": words("istio-ca-root-cert", "istio-ca-crl"),
		},
		map[string]any{"apiGroups": words(""), "resources": words("configmaps"), "verbs": words("create")},
		map[string]any{
			"apiGroups": words("admissionregistration.k8s.io"), "resources": words("mutatingwebhookconfigurations"),
			"verbs": words("get", "list", "watch"),
		},
		map[string]any{
			"apiGroups": words("admissionregistration.k8s.io"), "resources": words("mutatingwebhookconfigurations"),
			"verbs": words("update"), "resourceNames": words("istio-revision-tag-default", "istio-sidecar-injector"),
		},
	}
	if diff := cmp.Diff(wantEverywhere, all[1].everywhere[len(readerRules):]); diff != "" || all[1].name != ControlPlane {
		t.Errorf("what %s may (-want +got):\n%s", all[1].name, diff)
	}
	wantLock := map[string]any{
		"apiGroups": words(""), "resources": words("configmaps"), "verbs": words("get", "update"),
		"resourceNames": words("istio-namespace-controller-election"),
	}
	if diff := cmp.Diff([]any{wantLock}, all[1].inIstio[1:]); diff != "" {
		t.Errorf("what it may in istio-system (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([][]any{readerRules}, [][]any{all[0].everywhere}); diff != "" {
		t.Errorf("the reader may more than it did:\n%s", diff)
	}
}

// TestOnlyItsOwnWebhooks: an istiod elsewhere changes the webhooks of its revision and of its tags, and nobody else's.
func TestOnlyItsOwnWebhooks(t *testing.T) {
	for _, c := range []struct {
		reason  string
		cluster mesh.Cluster
		want    []string
	}{
		{"the default revision", mesh.Cluster{}, []string{"istio-revision-tag-default", "istio-sidecar-injector"}},
		{"a revision", mesh.Cluster{Istio: mesh.Istio{Revision: "canary"}}, []string{"istio-revision-tag-default", "istio-sidecar-injector-canary"}},
		{
			"tags",
			mesh.Cluster{Istio: mesh.Istio{Revision: "canary", Values: map[string]any{"revisionTags": []any{"prod", "stage"}}}},
			[]string{"istio-revision-tag-default", "istio-revision-tag-prod", "istio-revision-tag-stage", "istio-sidecar-injector-canary"},
		},
		{"tags that are none", mesh.Cluster{Istio: mesh.Istio{Values: map[string]any{"revisionTags": "prod"}}}, []string{"istio-revision-tag-default", "istio-sidecar-injector"}},
	} {
		if d := cmp.Diff(c.want, injectors(c.cluster)); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.reason, d)
		}
	}
}

// TestClustersOfOtherRevisionsHaveOtherRules: the accounts of one name are shared among clusters that are alike.
func TestClustersOfOtherRevisionsHaveOtherRules(t *testing.T) {
	m := mixed()
	m.Clusters[2].Istio.Revision = "canary"
	objects, err := Objects(m)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for name, list := range objects {
		for _, o := range list {
			if o.Body.GetKind() == "ClusterRole" && o.Body.GetName() == ControlPlane {
				text, err := o.Body.MarshalJSON()
				if err != nil {
					t.Fatal(err)
				}
				found[name] = string(text)
			}
		}
	}
	if text := found[m.Clusters[2].Name]; !strings.Contains(text, "istio-sidecar-injector-canary") {
		t.Errorf("%s: %s", m.Clusters[2].Name, text)
	}
}
