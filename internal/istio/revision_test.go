package istio

import (
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"istio.io/istio/operator/pkg/render"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// revised is a mesh of two clusters, of which one has a revision.
func revised(revision string) mesh.Mesh {
	m := shop("east", "west")
	m.Clusters[0].Istio.Revision = revision
	return m
}

func TestRevisionIsInEveryName(t *testing.T) {
	out := must(t, revised("canary"))
	areWhole(t, out["east"])
	for _, x := range []struct{ kind, name string }{
		{"Deployment", "istiod-canary"},
		{"Service", "istiod-canary"},
		{"ConfigMap", "istio-canary"},
		{"ConfigMap", "istio-sidecar-injector-canary"},
		{"MutatingWebhookConfiguration", "istio-sidecar-injector-canary"},
		{"ValidatingWebhookConfiguration", "istio-validator-canary-istio-system"},
		{"MutatingWebhookConfiguration", "istio-revision-tag-default"},
		{"Service", "istiod-revision-tag-default"},
		{"ValidatingWebhookConfiguration", validatorName},
	} {
		labels := at(t, find(t, out["east"], x.kind, x.name), "metadata", "labels").(map[string]any)
		if labels["istio.io/rev"] != "canary" {
			t.Errorf("%s %s is of revision %v", x.kind, x.name, labels["istio.io/rev"])
		}
	}
	find(t, out["west"], "Deployment", "istiod")
	gateway := find(t, out["east"], "Deployment", EastWestGateway)
	if got := at(t, gateway, "spec", "template", "metadata", "labels", "istio.io/rev"); got != "canary" {
		t.Errorf("the east-west gateway is of revision %v", got)
	}
	hook := at(t, find(t, out["east"], "ValidatingWebhookConfiguration", validatorName), "webhooks", 0, "clientConfig", "service", "name")
	if hook != "istiod-canary" {
		t.Errorf("configuration of no revision is judged by %v", hook)
	}
}

// TestDefaultTagIsWhatIstioctlMakes renders the tag with the settings with which istioctl tag set renders it, which
// istioctl install runs at its end (istio.io/istio/istioctl/pkg/tag/generate.go: generateMutatingWebhook and
// generateTagService), and compares. A test on real clusters asks istioctl itself.
func TestDefaultTagIsWhatIstioctlMakes(t *testing.T) {
	east := must(t, revised("canary"))["east"]
	sets, _, err := render.GenerateManifest(nil, []string{
		"profile=empty", "components.pilot.enabled=true", "revision=canary", "values.revisionTags.[0]=default",
		"values.sidecarInjectorWebhook.enableNamespacesByDefault=false", "values.global.istioNamespace=" + Namespace,
	}, false, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, x := range sets[0].Manifests {
		if x.GetLabels()["istio.io/tag"] != "default" {
			continue
		}
		compared++
		ours := &unstructured.Unstructured{Object: find(t, east, x.GetKind(), x.GetName())}
		ours = ours.DeepCopy()
		labels := ours.GetLabels()
		delete(labels, object.LabelMesh)
		delete(labels, object.LabelPart)
		ours.SetLabels(labels)
		dropNulls(x.Object)
		if diff := gocmp.Diff(x.Object, ours.Object); diff != "" {
			t.Errorf("%s %s, -istioctl +ours:\n%s", x.GetKind(), x.GetName(), diff)
		}
	}
	if compared != 2 {
		t.Errorf("compared %d objects, want the webhook and the Service", compared)
	}
}

func TestTagsOfTheDocumentStay(t *testing.T) {
	m := revised("canary")
	m.Clusters[0].Istio.Values = map[string]any{"revisionTags": []any{"prod"}, "sidecarInjectorWebhook": map[string]any{"enableNamespacesByDefault": true}}
	east := must(t, m)["east"]
	find(t, east, "MutatingWebhookConfiguration", "istio-revision-tag-prod")
	tag := find(t, east, "MutatingWebhookConfiguration", "istio-revision-tag-default")
	if !slices.ContainsFunc(tag["webhooks"].([]any), func(w any) bool { return strings.HasPrefix(w.(map[string]any)["name"].(string), "auto.") }) {
		t.Error("namespaces are injected by default in the revision, and not by its default tag")
	}
	m.Clusters[0].Istio.Values = map[string]any{"global": map[string]any{"operatorManageWebhooks": true}}
	for _, o := range must(t, m)["east"] {
		if o.Body.GetName() == "istio-revision-tag-default" || o.Body.GetName() == validatorName {
			t.Errorf("%s, though the document says that somebody else makes webhooks", o.Ref())
		}
	}
}

func TestPullSecretsReachEveryPod(t *testing.T) {
	m := shop("east", "west")
	m.Clusters[0].Istio.Profile, m.Clusters[0].Istio.ImagePullSecrets = "ambient", []string{"registry"}
	east := must(t, m)["east"]
	want := []any{map[string]any{"name": "registry"}}
	accounts := map[string]bool{}
	for _, o := range east {
		if o.Body.GetKind() == "ServiceAccount" && gocmp.Equal(o.Body.Object["imagePullSecrets"], any(want)) {
			accounts[o.Body.GetName()] = true
		}
	}
	pods := 0
	for _, o := range east {
		pod, there := podOf(o.Body)
		if !there {
			continue
		}
		pods++
		account, _ := pod["serviceAccountName"].(string)
		if !accounts[account] && !gocmp.Equal(pod["imagePullSecrets"], any(want)) {
			t.Errorf("%s has no pull secret, and its account %q neither", o.Ref(), account)
		}
	}
	if pods != 4 { // istiod, the east-west gateway, the CNI plugin, ztunnel
		t.Errorf("%d kinds of pods", pods)
	}
	injector := at(t, find(t, east, "ConfigMap", "istio-sidecar-injector"), "data", "values").(string)
	if !strings.Contains(injector, `"registry"`) {
		t.Error("the injector knows nothing of the pull secret")
	}
}
