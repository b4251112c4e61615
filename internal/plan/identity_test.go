package plan

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"isthmus.dev/isthmus/internal/facts"
)

// known is a settled mesh whose members have UIDs.
func known(t *testing.T, names ...string) *world {
	t.Helper()
	w := newWorld(names...)
	for _, name := range names {
		w.now.Clusters[name].UID = "uid-" + name
	}
	w.converge(t)
	return w
}

func TestAContextThatLeadsElsewhereStopsEverything(t *testing.T) {
	for _, c := range []struct {
		reason string
		given  func(*world)
		in     []string // clusters with a conflict
		why    string
	}{
		{"all are as before", func(*world) {}, nil, ""},
		{"an empty cluster answers", func(w *world) {
			w.now.Clusters["b"] = newWorld("b").now.Clusters["b"]
			w.now.Clusters["b"].UID = "uid-x"
		}, []string{"b"}, "the records of a, c know b by another"},
		{"a cluster of another mesh answers", func(w *world) {
			w.now.Clusters["b"] = newWorld("b").now.Clusters["b"]
			w.now.Clusters["b"].UID = "uid-x"
			w.now.Clusters["b"].Members = []facts.Member{{Name: "b", UID: "uid-x"}}
		}, []string{"b"}, "this is another cluster than before"},
		{"two contexts are the wrong way round", func(w *world) {
			a, b := w.now.Clusters["a"], w.now.Clusters["b"]
			w.now.Clusters["a"], w.now.Clusters["b"] = b, a
		}, []string{"a", "b"}, "the one that is known as"},
		{"one record alone says another UID", func(w *world) { w.recorded("c", "a", "uid-x") }, nil, ""},
		{"one that restored the records of another", func(w *world) { w.now.Clusters["c"].UID = "uid-x" }, []string{"c"}, "a, b, c know c by another"},
		{"it has another name in the document", func(w *world) {
			w.mesh = meshOf("a", "b", "d")
			w.now.Clusters["d"] = w.now.Clusters["c"]
			delete(w.now.Clusters, "c")
		}, nil, ""},
	} {
		t.Run(c.reason, func(t *testing.T) {
			w := known(t, "a", "b", "c")
			c.given(w)
			var in []string
			for _, x := range w.plan(t).Conflicts {
				if x.Object == kubeSystem {
					in = append(in, x.Cluster)
					if !strings.Contains(x.Why, c.why) || !strings.Contains(x.Do, "--new-cluster "+x.Cluster) {
						t.Errorf("%s: %s; %s", x.Cluster, x.Why, x.Do)
					}
				}
			}
			if d := cmp.Diff(c.in, in); d != "" {
				t.Errorf("conflicts (-want +got):\n%s", d)
			}
		})
	}
}

func TestAClusterMadeAnewIsTakenWhenSaid(t *testing.T) {
	w := known(t, "a", "b")
	w.now.Clusters["b"] = newWorld("b").now.Clusters["b"]
	w.now.Clusters["b"].UID = "uid-new"
	in := w.input()
	in.Options.NewClusters = []string{"b"}
	p, err := Make(in)
	if err != nil || slices.ContainsFunc(p.Conflicts, func(c Conflict) bool { return c.Object == kubeSystem }) {
		t.Fatalf("%v %v", err, p.Conflicts)
	}
	w.do(p)
	for _, name := range []string{"a", "b"} {
		i := slices.IndexFunc(w.now.Clusters[name].Members, func(m facts.Member) bool { return m.Name == "b" })
		if got := w.now.Clusters[name].Members[i].UID; got != "uid-new" {
			t.Errorf("%s's record knows b as %s", name, got)
		}
	}
	if again := w.plan(t); again.Writes() != 0 || len(again.Conflicts) != 0 {
		t.Errorf("without the flag, afterwards: %v\n%s", again.Conflicts, show(again))
	}
	if d := cmp.Diff(map[string]string{"a": "uid-a", "b": "uid-new"}, p.UIDs); d != "" {
		t.Errorf("UIDs (-want +got):\n%s", d)
	}
}

// TestADoubtedDrainStopsUntilSomebodySays: one record says that another cluster is drained. Nothing is written before a
// person has said which it is, and then it is that in all records.
func TestADoubtedDrainStopsUntilSomebodySays(t *testing.T) {
	settled := func(t *testing.T, since time.Time) *world {
		t.Helper()
		w := known(t, "a", "b")
		members := slices.Clone(w.now.Clusters["b"].Members)
		members[0].Drain = &facts.Drain{On: true, Since: since, To: "b", By: "x@y"}
		w.now.Clusters["b"].Members = members
		return w
	}
	w := settled(t, now.Add(-time.Hour))
	p := w.plan(t)
	if len(p.Conflicts) != 1 || !strings.Contains(p.Conflicts[0].Why, "a is drained since 2026-11-24 11:00 UTC by x@y, say the records of b") {
		t.Errorf("conflicts: %v", p.Conflicts)
	}
	in := w.input()
	in.Options.Undrain, in.Drains = []string{"a"}, map[string]facts.Drain{"a": {Since: now}}
	p, err := Make(in)
	if err != nil || len(p.Conflicts) != 0 || p.Writes() != 2 {
		t.Fatalf("undrained: %v, %v\n%s", err, p.Conflicts, show(p))
	}
	w.do(p)
	if p := w.plan(t); len(p.Conflicts) != 0 {
		t.Errorf("afterwards: %v", p.Conflicts)
	}
	// A time that is yet to come stops nobody.
	p = settled(t, now.AddDate(7000, 0, 0)).plan(t)
	if len(p.Conflicts) != 0 || len(p.Doubted) != 1 {
		t.Errorf("of the year 9026: conflicts %v, doubted %v", p.Conflicts, p.Doubted)
	}
}
