package istio

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// renders counts which clusters are rendered by themselves.
func renders(t *testing.T, m mesh.Mesh) (out [][]object.Object, asked []string) {
	t.Helper()
	var mu sync.Mutex
	out, err := together(m.Clusters, func(c mesh.Cluster) ([]object.Object, error) {
		mu.Lock()
		asked = append(asked, c.Name)
		mu.Unlock()
		return ofCluster(m, c)
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(asked)
	return out, asked
}

// alike is a mesh of clusters whose settings are the same; names and networks are of several lengths.
func alike(change func(*mesh.Cluster)) mesh.Mesh {
	m := shop("a", "istio", "europe-west-3", "a-name-of-forty-three-characters-is-the-most", "b2")
	m.Clusters[4].Network = m.Clusters[1].Network
	m.Clusters[2].Network = m.Clusters[2].Name // the default of the document
	for i := range m.Clusters {
		change(&m.Clusters[i])
	}
	return m
}

// TestLikeClustersAreRenderedOnce: what is rendered for many is to the letter what each would be by itself.
func TestLikeClustersAreRenderedOnce(t *testing.T) {
	cases := map[string]func(*mesh.Cluster){}
	for _, profile := range profiles(t) {
		cases["profile "+profile] = func(c *mesh.Cluster) { c.Istio.Profile = profile }
	}
	cases["values, mesh configuration and flags"] = func(c *mesh.Cluster) {
		c.Istio.Values = map[string]any{
			"pilot":    map[string]any{"autoscaleEnabled": false, "env": map[string]any{"A": "1"}},
			"gateways": map[string]any{"istio-ingressgateway": map[string]any{"autoscaleEnabled": true}},
		}
		c.Istio.MeshConfig = map[string]any{"accessLogFile": "/dev/stdout", "defaultConfig": map[string]any{"proxyMetadata": map[string]any{"X": "a text that is long enough to be broken over several lines by a writer of YAML"}}}
		c.Istio.Set = []string{"components.pilot.k8s.replicaCount=3", "values.global.proxy.logLevel=debug"}
	}
	cases["a revision"] = func(c *mesh.Cluster) { c.Istio.Values = map[string]any{"revision": "canary"} }
	for reason, change := range cases {
		t.Run(reason, func(t *testing.T) {
			m := alike(change)
			out, asked := renders(t, m)
			if want := []string{"a", "a-name-of-forty-three-characters-is-the-most", aCluster}; !slices.Equal(asked, want) {
				t.Errorf("rendered: %v, want the pattern and two proofs: %v", asked, want)
			}
			for i, c := range m.Clusters {
				want, err := ofCluster(m, c)
				if err != nil {
					t.Fatal(err)
				}
				if d := gocmp.Diff(plain(want), plain(out[i])); d != "" {
					t.Errorf("%s (-by itself +with the others):\n%s", c.Name, d)
				}
			}
		})
	}
}

type flat struct {
	Part   object.Part
	Reason string
	Body   map[string]any
}

func plain(objects []object.Object) []flat {
	var out []flat
	for _, o := range objects {
		out = append(out, flat{o.Part, o.Reason, o.Body.Object})
	}
	return out
}

func TestWhatIsTheSameIsInMemoryOnce(t *testing.T) {
	out, _ := renders(t, alike(func(*mesh.Cluster) {}))
	same := 0
	for i, o := range out[0] {
		if o.Body == out[1][i].Body {
			same++
		}
	}
	if same < len(out[0])/2 {
		t.Errorf("%d of %d objects are shared by two clusters", same, len(out[0]))
	}
}

// TestWhoIsRenderedAlone: nothing is put in the place of names where that may not be the same.
func TestWhoIsRenderedAlone(t *testing.T) {
	all := func(*mesh.Mesh) int { return len("abcde") }
	for _, c := range []struct {
		reason string
		change func(*mesh.Mesh)
		want   func(*mesh.Mesh) int // how many are rendered by themselves
	}{
		{"all alike", func(*mesh.Mesh) {}, func(*mesh.Mesh) int { return 3 }},
		{"a mesh of few", func(m *mesh.Mesh) { m.Clusters = m.Clusters[:3] }, func(*mesh.Mesh) int { return 3 }},
		{"one has settings of its own", func(m *mesh.Mesh) { m.Clusters[2].Istio.Values = map[string]any{"pilot": map[string]any{"replicaCount": int64(2)}} }, func(*mesh.Mesh) int { return 4 }},
		{"names that YAML takes for numbers", func(m *mesh.Mesh) {
			for i := range m.Clusters {
				m.Clusters[i].Name = fmt.Sprint(i)
			}
		}, all},
		{"networks that YAML takes for something else", func(m *mesh.Mesh) {
			for i, n := range []string{"true", "no", "null", "on", "y"} {
				m.Clusters[i].Network = n
			}
		}, all},
		{"settings that hold the very names that stand for others", func(m *mesh.Mesh) {
			for i := range m.Clusters {
				m.Clusters[i].Istio.MeshConfig = map[string]any{"accessLogFormat": aCluster}
			}
		}, all},
	} {
		t.Run(c.reason, func(t *testing.T) {
			m := alike(func(*mesh.Cluster) {})
			c.change(&m)
			if _, asked := renders(t, m); len(asked) != c.want(&m) {
				t.Errorf("rendered by themselves: %v, want %d", asked, c.want(&m))
			}
		})
	}
}

// TestAChartThatDoesMoreThanWrite: if what is made of a name is not the name, the proofs differ, and all are
// rendered by themselves.
func TestAChartThatDoesMoreThanWrite(t *testing.T) {
	m := alike(func(*mesh.Cluster) {})
	asked := 0
	var mu sync.Mutex
	out, err := together(m.Clusters, func(c mesh.Cluster) ([]object.Object, error) {
		mu.Lock()
		asked++
		mu.Unlock()
		o := exposeServices(c, nil)
		o.Body.SetAnnotations(map[string]string{"length": fmt.Sprint(len(c.Name))})
		return []object.Object{o}, nil
	})
	if err != nil || asked != 3+len(m.Clusters) {
		t.Fatalf("%d renderings, %v", asked, err)
	}
	for i, c := range m.Clusters {
		if got := out[i][0].Body.GetAnnotations()["length"]; got != fmt.Sprint(len(c.Name)) {
			t.Errorf("%s has length %s", c.Name, got)
		}
	}
}
