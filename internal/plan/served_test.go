package plan

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/object"
)

// TestServedClustersFollow: a remote changes after what serves it.
func TestServedClustersFollow(t *testing.T) {
	order := func(p Plan) (out [][]string) {
		for _, w := range p.Waves {
			out = append(out, w.Clusters)
		}
		return out
	}
	remote := func(joined ...string) *world {
		w := newWorld("r", "a", "b", "s") // r and s are remotes of b; the document names r first
		w.mesh.Clusters[0].RemoteOf, w.mesh.Clusters[3].RemoteOf = "b", "b"
		for _, name := range joined {
			w.now.Clusters[name].Inventory = []object.Ref{{Kind: "ConfigMap", Name: "x"}}
		}
		for _, name := range []string{"a", "b"} {
			w.now.Clusters[name].Istiods = []facts.Istiod{{Ready: 1}}
		}
		return w
	}
	for _, tt := range []struct {
		reason string
		world  func() *world
		want   [][]string
	}{
		{"those that join come together, after the primaries", func() *world { return remote() }, [][]string{{"a"}, {"b"}, {"r", "s"}}},
		{"those that are there come one by one", func() *world { return remote("r", "s") }, [][]string{{"a"}, {"b"}, {"r"}, {"s"}}},
		{"one joins, one is there", func() *world { return remote("r") }, [][]string{{"a"}, {"b"}, {"s"}, {"r"}}},
		{"the document says how", func() *world {
			w := remote("r", "s")
			w.mesh.Waves = [][]string{{"b"}, {"r", "s"}, {"a"}}
			return w
		}, [][]string{{"b"}, {"r", "s"}, {"a"}}},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, order(tt.world().plan(t))); diff != "" {
				t.Errorf("waves (-want +got):\n%s", diff)
			}
		})
	}
}

func TestClustersThatWait(t *testing.T) {
	for _, tt := range []struct {
		reason string
		change func(*world)
		want   []Pending
		again  bool
	}{
		{"for what this plan brings", func(*world) {}, []Pending{{Cluster: "r", Why: "no address yet", Next: true}}, true},
		{
			"for a primary that is away", func(w *world) { w.now.Clusters["a"] = &facts.Cluster{Name: "a", Err: "connection refused"} },
			[]Pending{{Cluster: "a", Why: "connection refused"}, {Cluster: "r", Why: "no address yet"}},
			false,
		},
		{
			"and are away themselves", func(w *world) { w.now.Clusters["r"] = &facts.Cluster{Name: "r", Err: "connection refused"} },
			[]Pending{{Cluster: "r", Why: "connection refused"}},
			false,
		},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			w := newWorld("a", "r")
			w.mesh.Clusters[1].RemoteOf = "a"
			tt.change(w)
			in := w.input()
			in.Waiting = map[string]string{"r": "no address yet"}
			p, err := Make(in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, p.Pending); diff != "" || p.Again() != tt.again {
				t.Errorf("again: %t; pending (-want +got):\n%s", p.Again(), diff)
			}
			if _, _, found := find(p, "a", "Secret istio-system/remote-r"); found {
				t.Error("a credential for a cluster that waits is planned")
			}
		})
	}
}
