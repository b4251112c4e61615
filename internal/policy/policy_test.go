package policy

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/mesh"
)

func TestObjects(t *testing.T) {
	m := mesh.Mesh{Name: "shop", MTLS: "STRICT", Clusters: []mesh.Cluster{{Name: "east"}, {Name: "west"}}}
	got, err := Objects(m, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range m.Clusters {
		if n := len(got[c.Name]); n != 1 {
			t.Fatalf("%s has %d objects, want 1", c.Name, n)
		}
		o := got[c.Name][0]
		if s := o.Ref().String(); s != "PeerAuthentication istio-system/default" {
			t.Errorf("%s: %s: only this name and namespace hold for the whole mesh", c.Name, s)
		}
		if mode, _, _ := unstructured.NestedString(o.Body.Object, "spec", "mtls", "mode"); mode != "STRICT" {
			t.Errorf("%s: mode %q, want STRICT", c.Name, mode)
		}
	}
}
