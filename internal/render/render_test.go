package render

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/plan"
)

func TestFileName(t *testing.T) {
	cases := []struct {
		ref  object.Ref
		want string
	}{
		{object.Ref{Kind: "Namespace", Name: "istio-system"}, "namespace_istio-system.yaml"},
		{object.Ref{Group: "apps", Kind: "Deployment", Namespace: "istio-system", Name: "istiod"}, "deployment.apps_istio-system_istiod.yaml"},
		{object.Ref{Group: "networking.istio.io", Kind: "Gateway", Namespace: "a", Name: "b"}, "gateway.networking.istio.io_a_b.yaml"},
		{object.Ref{Group: "gateway.networking.k8s.io", Kind: "Gateway", Namespace: "a", Name: "b"}, "gateway.gateway.networking.k8s.io_a_b.yaml"},
		{object.Ref{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "system:a/b"}, "clusterrole.rbac.authorization.k8s.io_system%3Aa%2Fb.yaml"},
	}
	for _, c := range cases {
		if got := FileName(c.ref); got != c.want {
			t.Errorf("%s: %s, want %s", c.ref, got, c.want)
		}
	}
}

func item(stage plan.Stage, kind, name string, seal object.SealKind) Item {
	o := object.Object{Reason: "why " + name, Body: &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": kind, "metadata": map[string]any{"name": name, "namespace": "n"},
	}}}
	if seal != "" {
		o.Sealed = &object.Sealed{Kind: seal}
	}
	return Item{Stage: stage, Object: o}
}

func twoClusters() []Cluster {
	return []Cluster{
		{Mesh: "shop", Name: "east", Items: []Item{
			item(plan.StageTrust, "Secret", "cacerts", object.SealIntermediate),
			item(plan.StageConfig, "ConfigMap", "a", ""), item(plan.StageControlPlane, "Pod", "b", ""),
		}},
		{Mesh: "shop", Name: "west", Items: []Item{item(plan.StageConfig, "ConfigMap", "a", "")}},
	}
}

func TestOfPutsAClustersChangesInOrder(t *testing.T) {
	change := func(cluster string, i Item) plan.Change {
		return plan.Change{Cluster: cluster, Object: i.Object.Ref(), Stage: i.Stage, Want: &i.Object}
	}
	gone := plan.Change{Cluster: "east", Object: object.Ref{Kind: "Pod", Name: "old"}, Action: plan.Delete}
	p := plan.Plan{Mesh: "shop", Waves: []plan.Wave{
		{Changes: []plan.Change{change("east", item(plan.StageInventory, "ConfigMap", "inventory", "")), change("east", item(plan.StageGateways, "Pod", "late", "")), gone}},
		{Changes: []plan.Change{change("west", item(plan.StageConfig, "ConfigMap", "a", "")), change("east", item(plan.StageDiscovery, "Secret", "remote", object.SealRemoteSecret))}},
	}}
	m := mesh.Mesh{Name: "shop", Clusters: []mesh.Cluster{{Name: "west"}, {Name: "east"}}}
	var got []string
	for _, c := range Of(m, p) {
		for _, i := range c.Items {
			got = append(got, c.Name+" "+i.Object.Body.GetName())
		}
	}
	if diff := cmp.Diff([]string{"west a", "east remote", "east late"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// tree is every file under a folder and its text.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		out[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func mustWrite(t *testing.T, dir string, clusters []Cluster) Written {
	t.Helper()
	w, err := Write(dir, clusters)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestWriteIsStableAndTidy(t *testing.T) {
	dir := t.TempDir()
	mustWrite(t, dir, twoClusters())
	first := tree(t, dir)
	want := []string{"east/configmap_n_a.yaml", "east/kustomization.yaml", "east/pod_n_b.yaml", "west/configmap_n_a.yaml", "west/kustomization.yaml"}
	var names []string
	for name := range first {
		names = append(names, name)
	}
	slices.Sort(names)
	if diff := cmp.Diff(want, names); diff != "" {
		t.Fatalf("files, -want +got:\n%s", diff)
	}
	for _, words := range []string{"Secret n/cacerts: why cacerts", "fifo", "- \"configmap_n_a.yaml\" # configuration\n- \"pod_n_b.yaml\" # control plane\n"} {
		if !strings.Contains(first["east/kustomization.yaml"], words) {
			t.Errorf("the kustomization does not say %q:\n%s", words, first["east/kustomization.yaml"])
		}
	}
	if w := mustWrite(t, dir, twoClusters()); len(w.Changed)+len(w.Removed)+len(w.Kept)+len(w.Departed) > 0 {
		t.Errorf("the second time: %+v", w)
	}
	mine := filepath.Join(dir, "east", "mine.yaml")
	if err := os.WriteFile(mine, []byte("kind: Mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	less := twoClusters()[:1]
	less[0].Items = less[0].Items[:2]
	w := mustWrite(t, dir, less)
	if diff := cmp.Diff(Written{
		Changed:  []string{filepath.Join(dir, "east/kustomization.yaml")},
		Removed:  []string{filepath.Join(dir, "east/pod_n_b.yaml")},
		Departed: []string{filepath.Join(dir, "west")},
	}, w); diff != "" {
		t.Errorf("with less wanted, -want +got:\n%s", diff)
	}
	if _, err := os.Stat(mine); err != nil {
		t.Errorf("somebody's own file is gone: %v", err)
	}
}

func TestSecretsAreWrittenOnlyWhenFilledAndNeverRemoved(t *testing.T) {
	dir := t.TempDir()
	clusters := twoClusters()
	body := clusters[0].Items[0].Object.Body.DeepCopy()
	body.Object["data"] = map[string]any{"k": "djE="}
	clusters[0].Fill(object.RefOf(body), body)
	mustWrite(t, dir, clusters)
	file := filepath.Join(dir, "east/secret_n_cacerts.yaml")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the Secret's file: %v, %v", info, err)
	}
	have, err := Secrets(dir, twoClusters())
	if err != nil || have["east"][object.RefOf(body)] == nil {
		t.Fatalf("read back: %v, %v", have, err)
	}
	if diff := cmp.Diff(body.Object, have["east"][object.RefOf(body)].Object); diff != "" {
		t.Errorf("read back, -want +got:\n%s", diff)
	}
	if w := mustWrite(t, dir, twoClusters()); !slices.Equal(w.Kept, []string{file}) {
		t.Errorf("without the content: %+v", w)
	}
	if err := os.WriteFile(file, []byte("data: {k: ENC[very secret]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Secrets(dir, twoClusters()); err == nil || strings.Contains(err.Error(), "very secret") {
		t.Errorf("a file that cannot be read: %v", err)
	}
}

// TestSecretFilesAreTheirOwnersAlone: whatever a Secret holds, and whatever mode or link was in the file's place.
func TestSecretFilesAreTheirOwnersAlone(t *testing.T) {
	dir := t.TempDir()
	clusters := twoClusters()[:1]
	clusters[0].Items = []Item{item(plan.StageControlPlane, "Secret", "token", "")}
	mustWrite(t, dir, clusters)
	file := filepath.Join(dir, "east", "secret_n_token.yaml")
	mode := func() os.FileMode {
		info, err := os.Lstat(file)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode()
	}
	if mode() != 0o600 {
		t.Errorf("mode %v", mode())
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if w := mustWrite(t, dir, clusters); mode() != 0o600 || len(w.Changed) != 1 {
		t.Errorf("a file that others could read: mode %v, %+v", mode(), w)
	}
	other := filepath.Join(t.TempDir(), "other")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{file, file + ".part"} {
		if err := os.WriteFile(other, append(text, "# other\n"...), 0o600); err != nil {
			t.Fatal(err)
		}
		_ = os.Remove(at)
		if err := os.Symlink(other, at); err != nil {
			t.Fatal(err)
		}
		mustWrite(t, dir, clusters)
		kept, err := os.ReadFile(other)
		if err != nil || !strings.HasSuffix(string(kept), "# other\n") || mode() != 0o600 {
			t.Errorf("%s as a link: the other file is %q, mode %v, %v", at, kept, mode(), err)
		}
	}
}

func TestFoldersOfOthersAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "west"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "west", Kustomization), []byte("resources: [mine.yaml]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := tree(t, dir)
	if _, err := Write(dir, twoClusters()); err == nil || !strings.Contains(err.Error(), "was not written by isthmus render for mesh shop, cluster west") {
		t.Errorf("a kustomization of somebody else: %v", err)
	}
	if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
		t.Errorf("something was written all the same:\n%s", diff)
	}
	other := twoClusters()[:1]
	other[0].Mesh = "other"
	dir = t.TempDir()
	mustWrite(t, dir, twoClusters()[:1])
	if _, err := Write(dir, other); err == nil {
		t.Error("the folder of another mesh's cluster is overwritten")
	}
}

func TestStreamIsWhatTheFilesHold(t *testing.T) {
	c := twoClusters()[0]
	text, err := c.Stream()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for doc := range strings.SplitSeq(string(text), "\n---\n") {
		var o struct {
			Metadata struct{ Name string }
		}
		if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
			t.Fatal(err)
		}
		names = append(names, o.Metadata.Name)
	}
	if diff := cmp.Diff([]string{"", "a", "b"}, names); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
