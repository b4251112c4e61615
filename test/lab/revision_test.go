//go:build lab

package lab_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// TestRevision is a mesh of which one cluster's control plane has a revision and comes from charts in a folder, and the
// other's has none: both follow the namespaces' labels, and it is the default revision that istioctl would have made.
// Images are pulled with a secret, which verify brings along.
func TestRevision(t *testing.T) {
	beside(t)
	doc := revisionDocument(t)
	before := map[string][]string{}
	for _, c := range []string{"east", "west"} {
		before[c] = everything(t, c)
	}
	if r := isthmus(t, doc, "check", "-f", "-"); r.code != 4 || !strings.Contains(r.out, "Secret istio-system/registry is not there") {
		t.Errorf("check says nothing of the pull secret that is missing: exit %d\n%s", r.code, r.out)
	}
	must(t, doc, "apply", "-f", "-", "--skip-checks") // the lab's images are there already
	for _, c := range []string{"east", "west"} {
		kubectl(t, c, "-n", "istio-system", "create", "secret", "docker-registry", "registry",
			"--docker-server", "registry.test", "--docker-username", "lab", "--docker-password", "canary-of-the-registry")
	}
	must(t, doc, "check", "-f", "-")
	proved(t, doc, 2, "--keep")
	writesNothing(t, doc, "east", "west")
	t.Run("istio-injection=enabled means the revision", func(t *testing.T) {
		for cluster, want := range map[string]string{"east": "canary", "west": "default"} {
			if got := injectedBy(t, cluster); got != want {
				t.Errorf("%s: a pod in a namespace with istio-injection=enabled is injected by %q, want %s", cluster, got, want)
			}
		}
	})
	t.Run("the default tag is istioctl's", isIstioctlsTag)
	t.Run("status names the revision", func(t *testing.T) {
		if r := must(t, doc, "status", "-f", "-"); !strings.Contains(r.out, "canary") {
			t.Errorf("status says nothing of the revision:\n%s", r.out)
		}
	})
	t.Run("what GitOps applies, plan leaves alone", func(t *testing.T) { rendersTheSame(t, doc) })
	t.Run("verify pulls as the mesh does", func(t *testing.T) {
		r := must(t, doc, "verify", "-f", "-", "--keep")
		copied := kubectl(t, "east", "-n", "isthmus-verify", "get", "secret", "registry", "-o", "jsonpath={.type}")
		pods := kubectl(t, "east", "-n", "isthmus-verify", "get", "pods", "-o", "jsonpath={.items[*].spec.imagePullSecrets[*].name}")
		if copied != "kubernetes.io/dockerconfigjson" || !strings.Contains(pods, "registry") || strings.Contains(r.out+r.err, "canary-of-the-registry") {
			t.Errorf("copied %q, pods pull with %q:\n%s", copied, pods, r.out)
		}
		must(t, doc, "verify", "-f", "-")
	})
	for _, c := range []string{"east", "west"} {
		kubectl(t, c, "-n", "istio-system", "delete", "secret", "registry")
	}
	must(t, doc, "uninstall", "-f", "-", "--yes")
	for _, c := range []string{"east", "west"} {
		leavesNothing(t, c, before[c])
	}
}

// revisionDocument is the quick start's with a revision in east.
func revisionDocument(t *testing.T) string {
	t.Helper()
	module, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "istio.io/istio").Output()
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := yaml.Unmarshal([]byte(document(t, "east", "west")), &doc); err != nil {
		t.Fatal(err)
	}
	spec := doc["spec"].(map[string]any)
	spec["istio"].(map[string]any)["imagePullSecrets"] = []any{"registry"}
	spec["clusters"].([]any)[0].(map[string]any)["istio"] = map[string]any{
		"revision": "canary", "charts": filepath.Join(strings.TrimSpace(string(module)), "manifests"),
	}
	text, err := yaml.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// injectedBy asks the API server what it would make of a pod, webhooks and all.
func injectedBy(t *testing.T, cluster string) string {
	t.Helper()
	const namespace = "revision-injection"
	kubectl(t, cluster, "create", "namespace", namespace)
	t.Cleanup(func() { kubectl(t, cluster, "delete", "namespace", namespace) })
	kubectl(t, cluster, "label", "namespace", namespace, "istio-injection=enabled")
	var pod struct {
		Metadata struct{ Annotations map[string]string }
	}
	out := kubectl(t, cluster, "-n", namespace, "run", "any", "--image", "any", "--dry-run=server", "-o", "json")
	if err := json.Unmarshal([]byte(out), &pod); err != nil {
		t.Fatal(err)
	}
	return pod.Metadata.Annotations["istio.io/rev"]
}

// isIstioctlsTag compares the default tag with what istioctl makes for the revision that is there.
func isIstioctlsTag(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), world.programs.Program("istioctl"), "--context", "east", "tag", "generate", "default", "--revision", "canary", "--overwrite")
	cmd.Env = append(os.Environ(), "KUBECONFIG="+here(t).Kubeconfig)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("istioctl tag generate: %v\n%s", err, out)
	}
	compared := 0
	for text := range strings.SplitSeq(string(out), "\n---\n") {
		var want map[string]any
		if err := yaml.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		kind, _ := want["kind"].(string)
		if kind == "" {
			continue
		}
		name := want["metadata"].(map[string]any)["name"].(string)
		var got map[string]any
		if err := json.Unmarshal([]byte(kubectl(t, "east", "-n", "istio-system", "get", kind, name, "-o", "json")), &got); err != nil {
			t.Fatal(err)
		}
		compared++
		if diff := cmp.Diff(asked(want["webhooks"]), asked(got["webhooks"])); diff != "" {
			t.Errorf("%s %s, -istioctl +ours:\n%s", kind, name, diff)
		}
	}
	if compared < 2 {
		t.Errorf("compared %d objects:\n%s", compared, out)
	}
}

// asked is who is asked about what by webhooks: without what the API server and istiod fill in.
func asked(webhooks any) []any {
	var out []any
	list, _ := webhooks.([]any)
	for _, w := range list {
		w := w.(map[string]any)
		service := w["clientConfig"].(map[string]any)["service"].(map[string]any)
		object, _ := w["objectSelector"].(map[string]any)
		namespace, _ := w["namespaceSelector"].(map[string]any)
		out = append(out, []any{w["name"], service["name"], service["path"], object["matchExpressions"], namespace["matchExpressions"]})
	}
	return out
}

// rendersTheSame applies what render writes as a GitOps controller does, over what apply made: it forces its way, since
// to an API server a default that is written and one that is left out are a conflict. Afterwards nothing restarts, and
// there is nothing to change.
func rendersTheSame(t *testing.T, doc string) {
	dir := t.TempDir()
	must(t, doc, "render", "-f", "-", "-d", dir)
	for _, c := range []string{"east", "west"} {
		out := kubectl(t, c, "apply", "-k", filepath.Join(dir, c), "--server-side", "--field-manager", "gitops", "--force-conflicts")
		if n := strings.Count(out, "serverside-applied"); n < 40 {
			t.Errorf("%s: %d objects were applied:\n%s", c, n, out)
		}
	}
	if r := isthmus(t, doc, "plan", "-f", "-", "--detailed-exitcode"); r.code != 0 {
		t.Errorf("after the rendered files were applied there is something to change:\n%s", r.out)
	}
}
