package plan

import (
	"fmt"
	"strings"
	"testing"

	"isthmus.dev/isthmus/internal/object"
)

// TestWhatNoAPIServerWouldTakeIsRefusedByThePlan: the list of what was made is one ConfigMap, which holds 1 MiB.
func TestWhatNoAPIServerWouldTakeIsRefusedByThePlan(t *testing.T) {
	for _, c := range []struct {
		objects int
		want    string
	}{
		{1000, ""}, {10500, "would list 105"}, {100_000, "would list 1000"},
	} {
		w := newWorld("a", "b")
		for i := range c.objects {
			w.want.Add("a", obj(object.PartPolicy, fmt.Sprintf(`{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: route-to-a-service-of-the-shop-%d, namespace: shop-frontend}}`, i)))
		}
		var found []Conflict
		for _, x := range w.plan(t).Conflicts {
			if x.Object == Inventory("shop", "", "").Ref() {
				found = append(found, x)
			}
		}
		if (len(found) == 1) != (c.want != "") || len(found) == 1 && (found[0].Cluster != "a" || !strings.HasPrefix(found[0].Why, c.want) || !strings.Contains(found[0].Why, "a ConfigMap holds 1048576")) {
			t.Errorf("%d objects: %v", c.objects, found)
		}
	}
	w := newWorld("a")
	large := obj(object.PartControlPlane, `{apiVersion: v1, kind: ConfigMap, metadata: {name: istio, namespace: istio-system}}`)
	large.Body.Object["data"] = map[string]any{"mesh": strings.Repeat("x", mostHeld), "more": "x"}
	w.want.Add("a", large)
	if p := w.plan(t); len(p.Conflicts) != 1 || p.Conflicts[0].Why != "would hold 1048577 bytes, and a ConfigMap holds 1048576" {
		t.Errorf("a large ConfigMap: %v", p.Conflicts)
	}
}
