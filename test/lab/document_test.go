//go:build lab

package lab_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"isthmus.dev/isthmus/internal/cluster"
	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// document is examples/quickstart/mesh.yaml, which a newcomer runs, with other clusters in it.
func document(t testing.TB, clusters ...string) string {
	t.Helper()
	text, err := os.ReadFile("../../examples/quickstart/mesh.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	list := make([]any, 0, len(clusters))
	for _, c := range clusters {
		list = append(list, map[string]any{"name": c})
	}
	doc["spec"].(map[string]any)["clusters"] = list
	out, err := yaml.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// versions tell whether anybody wrote anything that Isthmus owns in a cluster, by its own inventory: resourceVersions,
// and for what has a status, which controllers write whenever they like, everything but the status.
func versions(t testing.TB, name string) map[object.Ref]string {
	t.Helper()
	conn, err := cluster.Options{Kubeconfig: here(t).Kubeconfig}.Dial(mesh.Cluster{Name: name, Context: name})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	out := map[object.Ref]string{}
	for _, ref := range inventory(t, name) {
		r, err := conn.Resource(schema.GroupVersionKind{Group: ref.Group, Kind: ref.Kind}, ref.Namespace)
		if err != nil {
			t.Fatal(err)
		}
		live, err := r.Get(t.Context(), ref.Name, metav1.GetOptions{})
		if err != nil {
			t.Fatalf("%s: %s, which the inventory names: %v", name, ref, err)
		}
		out[ref] = version(t, live)
	}
	return out
}

func version(t testing.TB, live *unstructured.Unstructured) string {
	t.Helper()
	if _, ok := live.Object["status"]; !ok {
		return live.GetResourceVersion()
	}
	delete(live.Object, "status")
	live.SetResourceVersion("")
	live.SetManagedFields(slices.DeleteFunc(live.GetManagedFields(), func(e metav1.ManagedFieldsEntry) bool { return e.Subresource == "status" }))
	text, err := json.Marshal(live)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// inventory is what Isthmus says it made in a cluster; empty when it made nothing.
func inventory(t testing.TB, cluster string) []object.Ref {
	t.Helper()
	out, err := tryKubectl(t, cluster, "get", "configmap", "-n", object.SystemNamespace, facts.InventoryName("shop"), "-o", "json")
	if err != nil {
		if strings.Contains(out, "NotFound") {
			return nil
		}
		t.Fatalf("read inventory of %s: %v: %s", cluster, err, out)
	}
	var cm struct{ Data map[string]string }
	if err := json.Unmarshal([]byte(out), &cm); err != nil {
		t.Fatal(err)
	}
	refs, err := facts.ParseInventory(cm.Data[facts.InventoryKey])
	if err != nil {
		t.Fatal(err)
	}
	return refs
}

// everything lists all objects of a cluster that outlive a test: name and kind, without what Kubernetes itself makes
// and unmakes all the time.
func everything(t testing.TB, cluster string) []string {
	t.Helper()
	var kinds []string
	for kind := range strings.SplitSeq(kubectl(t, cluster, "api-resources", "--verbs=list", "-o", "name"), "\n") {
		switch kind = strings.TrimSpace(kind); kind {
		case "events", "events.events.k8s.io", "leases.coordination.k8s.io", "componentstatuses", "pods.metrics.k8s.io":
		default:
			kinds = append(kinds, kind)
		}
	}
	var list []string
	for line := range strings.SplitSeq(kubectl(t, cluster, "get", strings.Join(kinds, ","), "-A", "-o", "name", "--ignore-not-found"), "\n") {
		list = append(list, strings.TrimSpace(line))
	}
	return list
}
