package istio

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"

	"isthmus.dev/isthmus/internal/mesh"
)

// shelf keeps renderings in memory.
type shelf map[string][]byte

func (s shelf) Get(key string) []byte       { return s[key] }
func (s shelf) Put(key string, text []byte) { s[key] = text }

func meshOf(i mesh.Istio) mesh.Mesh {
	return mesh.Mesh{Name: "shop", Trust: mesh.Trust{Domain: "shop.local"}, Clusters: []mesh.Cluster{
		{Name: "east", Network: "east", Istio: i}, {Name: "west", Network: "west", Istio: i},
	}}
}

func TestKeptRenderingsAreWhatWouldBeRendered(t *testing.T) {
	if library() == "" {
		t.Skip("this test's program does not know the digests of its modules")
	}
	for _, i := range []mesh.Istio{
		{Profile: "default"},
		{Profile: "demo"},
		{Profile: "minimal", Revision: "canary"},
		{Profile: "empty"},
		{Profile: "preview", Set: []string{"values.pilot.resources.requests.memory=1Gi", "meshConfig.accessLogFile=/dev/stdout"}},
	} {
		m := meshOf(i)
		fresh, err := Objects(m)
		if err != nil {
			t.Fatal(err)
		}
		s := shelf{}
		r := Renderer{Kept: s}
		if _, err := r.Objects(m); err != nil {
			t.Fatal(err)
		}
		if len(s) != 4 { // the control plane and the gateway of each
			t.Errorf("%s: %d renderings were kept, want 4", i.Profile, len(s))
		}
		before := maps.Clone(s)
		again, err := r.Objects(m)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(fresh, again); diff != "" {
			t.Errorf("%s: what was kept differs from what is rendered (-rendered +kept):\n%s", i.Profile, diff)
		}
		if len(s) != len(before) {
			t.Errorf("%s: the second time something else was rendered", i.Profile)
		}
		for key := range s { // not whole
			s[key] = s[key][:len(s[key])/2]
		}
		mended, err := r.Objects(m)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(fresh, mended); diff != "" {
			t.Errorf("%s: what was damaged differs:\n%s", i.Profile, diff)
		}
	}
}

func TestARenderingIsKeptByAllThatItDependsOn(t *testing.T) {
	if library() == "" {
		t.Skip("this test's program does not know the digests of its modules")
	}
	keys := map[string]string{}
	for name, key := range map[string]string{
		"one":              keyOf(map[string]any{"spec": map[string]any{"profile": "default"}}, nil),
		"another profile":  keyOf(map[string]any{"spec": map[string]any{"profile": "demo"}}, nil),
		"with a flag":      keyOf(map[string]any{"spec": map[string]any{"profile": "default"}}, []string{"hub=x"}),
		"with other flags": keyOf(map[string]any{"spec": map[string]any{"profile": "default"}}, []string{"hub=y"}),
	} {
		if other, known := keys[key]; known || key == "" {
			t.Errorf("%s has the key %q, as %s", name, key, other)
		}
		keys[key] = name
	}
	if key := keyOf(map[string]any{"spec": map[string]any{"installPackagePath": "/charts"}}, nil); key != "" {
		t.Errorf("charts in a folder, which may change, have the key %s", key)
	}
}
