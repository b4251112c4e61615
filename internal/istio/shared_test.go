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
func renders(t *testing.T, m mesh.Mesh, render renderOne) (out [][]object.Object, asked []string) {
	t.Helper()
	var mu sync.Mutex
	out, err := together(m.Clusters, func(c mesh.Cluster) ([]object.Object, error) {
		mu.Lock()
		asked = append(asked, c.Name)
		mu.Unlock()
		return render(c)
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(asked)
	return out, asked
}

// alike is a mesh of clusters whose settings are the same; names and networks are of several lengths.
func alike(change func(*mesh.Cluster)) mesh.Mesh {
	m := shop("a", "istio", "europe-west-3", "a-name-of-forty-three-characters-is-the-most")
	m.Clusters[2].Network = m.Clusters[2].Name // the default of the document
	for i := range m.Clusters {
		change(&m.Clusters[i])
	}
	return m
}

// TestLikeClustersAreRenderedOnce: what is rendered for many is to the letter what each would be by itself.
func TestLikeClustersAreRenderedOnce(t *testing.T) {
	cases := map[string]func(*mesh.Cluster){}
	for _, profile := range []string{"default", "demo", "ambient", "minimal", "remote"} {
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
			out, asked := renders(t, m, func(c mesh.Cluster) ([]object.Object, error) { return Renderer{}.ofCluster(m, c) })
			if want := []string{"a", "a-name-of-forty-three-characters-is-the-most", aCluster}; !slices.Equal(asked, want) {
				t.Errorf("rendered: %v, want the pattern and two proofs: %v", asked, want)
			}
			for i, c := range m.Clusters[1:3] { // those that are no proofs
				i++
				want, err := Renderer{}.ofCluster(m, c)
				if err != nil {
					t.Fatal(err)
				}
				if d := gocmp.Diff(plain(want), plain(out[i])); d != "" {
					t.Errorf("%s (-by itself +with the others):\n%s", c.Name, d)
				}
			}
			same := 0
			for i, o := range out[0] {
				if o.Body == out[1][i].Body {
					same++
				}
			}
			if same < len(out[0])/3 {
				t.Errorf("%d of %d objects are in memory once for two clusters", same, len(out[0]))
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

// TestWhoIsRenderedAlone: nothing is put in the place of names where that may not be the same.
func TestWhoIsRenderedAlone(t *testing.T) {
	for _, c := range []struct {
		reason string
		change func(*mesh.Mesh)
		want   int // how many are rendered by themselves, the pattern among them
	}{
		{"all alike", func(*mesh.Mesh) {}, 3},
		{"a mesh of few", func(m *mesh.Mesh) { m.Clusters = m.Clusters[:3] }, 3},
		{"one has settings of its own, the others are too few", func(m *mesh.Mesh) {
			m.Clusters[2].Istio.Values = map[string]any{"pilot": map[string]any{"replicaCount": int64(2)}}
		}, 4},
		{"names that YAML takes for numbers", func(m *mesh.Mesh) {
			for i := range m.Clusters {
				m.Clusters[i].Name = fmt.Sprint(i)
			}
		}, 4},
		{"networks that YAML takes for something else", func(m *mesh.Mesh) {
			for i, n := range []string{"true", "no", "null", "on"} {
				m.Clusters[i].Network = n
			}
		}, 4},
		{"settings that hold the very names that stand for others", func(m *mesh.Mesh) {
			for i := range m.Clusters {
				m.Clusters[i].Istio.MeshConfig = map[string]any{"accessLogFormat": aCluster}
			}
		}, 4},
	} {
		t.Run(c.reason, func(t *testing.T) {
			m := alike(func(*mesh.Cluster) {})
			c.change(&m)
			opened := func(c mesh.Cluster) ([]object.Object, error) {
				return []object.Object{exposeServices(c, []any{"*." + c.Name})}, nil
			}
			out, asked := renders(t, m, opened)
			if len(asked) != c.want {
				t.Errorf("rendered: %v, want %d", asked, c.want)
			}
			for i, x := range m.Clusters {
				if want, _ := opened(x); !equal(want, out[i]) {
					t.Errorf("%s is %v", x.Name, plain(out[i]))
				}
			}
		})
	}
}

// TestAChartThatDoesMoreThanWrite: if what is made of a name is not the name, the proofs differ, and all are
// rendered by themselves.
func TestAChartThatDoesMoreThanWrite(t *testing.T) {
	m := alike(func(*mesh.Cluster) {})
	out, asked := renders(t, m, func(c mesh.Cluster) ([]object.Object, error) {
		o := exposeServices(c, nil)
		o.Body.SetAnnotations(map[string]string{"length": fmt.Sprint(len(c.Name))})
		return []object.Object{o}, nil
	})
	if len(asked) != 3+len(m.Clusters) {
		t.Errorf("rendered: %v", asked)
	}
	for i, c := range m.Clusters {
		if got := out[i][0].Body.GetAnnotations()["length"]; got != fmt.Sprint(len(c.Name)) {
			t.Errorf("%s has length %s", c.Name, got)
		}
	}
}
