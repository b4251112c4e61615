package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// leaves is a settled mesh of three that serve, whose document does not name c any more.
func leaves(t *testing.T) *world {
	t.Helper()
	w := newWorld("a", "b", "c")
	for _, name := range []string{"a", "b", "c"} {
		w.now.Clusters[name].UID, w.now.Clusters[name].Server = "uid-"+name, "https://"+name
	}
	w.converge(t)
	w.serving("a", "b", "c")
	w.drop("c")
	return w
}

// drop takes a cluster out of the document, and reads facts again as the engine does.
func (w *world) drop(name string) {
	w.mesh, _, _ = w.mesh.Without(name)
	delete(w.want, name)
	for c, objects := range w.want {
		w.want[c] = slices.DeleteFunc(slices.Clone(objects), func(o object.Object) bool { return o.Body.GetName() == "remote-"+name })
	}
	w.mesh.Former = append(w.mesh.Former, mesh.Cluster{Name: name, Context: name})
	w.now.Left = facts.Left(w.mesh, w.now)
}

func gone(left []facts.Former) []string {
	var all []string
	for _, f := range left {
		all = append(all, f.Name)
	}
	return all
}

func names(members []facts.Member) []string {
	var all []string
	for _, m := range members {
		all = append(all, m.Name)
	}
	return all
}

func TestEveryMemberKnowsAllOthers(t *testing.T) {
	w := leaves(t)
	for _, name := range []string{"a", "b", "c"} {
		if d := cmp.Diff([]string{"a", "b", "c"}, names(w.now.Clusters[name].Members)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
	want := facts.Former{Name: "c", Server: "https://c", Said: map[string][]string{"uid-c": {"a", "b"}}, Named: true}
	if d := cmp.Diff([]facts.Former{want}, w.now.Left); d != "" {
		t.Errorf("who left (-want +got):\n%s", d)
	}
}

func TestOthersForgetFirst(t *testing.T) {
	w := leaves(t)
	p := w.plan(t)
	last := p.Waves[len(p.Waves)-1]
	if d := cmp.Diff([]string{"c"}, last.Clusters); d != "" {
		t.Fatalf("last wave (-want +got):\n%s\n%s", d, show(p))
	}
	if d := cmp.Diff(&LetGo{Of: []string{"c"}, By: []string{"a", "b"}}, last.LetGo); d != "" {
		t.Errorf("what the last wave waits for (-want +got):\n%s", d)
	}
	for _, name := range []string{"a", "b"} {
		c, wave, ok := find(p, name, "Secret istio-system/remote-c")
		if !ok || c.Action != Delete || wave >= len(p.Waves)-1 {
			t.Errorf("%s forgets c in wave %d of %d: %v %s", name, wave+1, len(p.Waves), ok, c.Action)
		}
	}
	var order []string
	for _, c := range last.Changes {
		if c.Action == Delete {
			order = append(order, c.Stage.String())
		}
		if c.Reason != "c leaves the mesh" && c.Stage > StageInventory {
			t.Errorf("%s goes because: %s", c.Object, c.Reason)
		}
	}
	want := []string{"control plane", "configuration", "trust", "trust", "trust", "namespaces", "inventory", "system"}
	if d := cmp.Diff(want, order); d != "" {
		t.Errorf("order in c (-want +got):\n%s", d)
	}
	if inv, _, _ := find(p, "a", "ConfigMap isthmus-system/isthmus-inventory-shop"); !inv.Late {
		t.Error("a's record forgets c before c is clean")
	}
	w.do(p)
	w.now.Left = facts.Left(w.mesh, w.now)
	if len(w.now.Left) != 0 || w.plan(t).Writes() != 0 {
		t.Errorf("afterwards %v are left, and the plan is\n%s", w.now.Left, show(w.plan(t)))
	}
	for ref := range w.now.Clusters["c"].Live {
		t.Errorf("%s is left in c", ref)
	}
}

func TestWhoDoesNotAnswerStaysPending(t *testing.T) {
	w := leaves(t)
	there := w.now.Clusters["c"]
	w.now.Clusters["c"] = &facts.Cluster{Name: "c", Err: "cluster c: https://c: connection refused"}
	p := w.plan(t)
	if len(p.Pending) != 1 || !p.Pending[0].Left || !strings.HasPrefix(p.Pending[0].Why, "is no longer in the document and does not answer (https://c: connection refused)") {
		t.Errorf("pending: %+v", p.Pending)
	}
	if c, _, ok := find(p, "a", "Secret istio-system/remote-c"); !ok || c.Action != Delete {
		t.Error("a does not forget c while that does not answer")
	}
	w.do(p)
	w.now.Left = facts.Left(w.mesh, w.now)
	if d := cmp.Diff([]string{"c"}, gone(w.now.Left)); d != "" {
		t.Fatalf("c is forgotten (-want +got):\n%s", d)
	}
	if again := w.plan(t); again.Writes() != 0 || len(again.Pending) != 1 {
		t.Errorf("the second plan: %v\n%s", again.Pending, show(again))
	}
	given := w.input()
	given.Options.Forget = []string{"c"}
	forgotten, err := Make(given)
	if err != nil || len(forgotten.Pending) != 0 || forgotten.Writes() != 2 {
		t.Errorf("given up: %v, %v\n%s", err, forgotten.Pending, show(forgotten))
	}
	w.now.Clusters["c"] = there
	w.do(w.plan(t))
	w.now.Left = facts.Left(w.mesh, w.now)
	if len(there.Live) != 0 || len(w.now.Left) != 0 {
		t.Errorf("when it answers again %d objects stay in it, and %v are left", len(there.Live), w.now.Left)
	}
}

func TestAnotherClusterIsNotCleaned(t *testing.T) {
	cases := []struct {
		reason  string
		given   func(*world)
		pending string
	}{
		{"it has another name in the document now", func(w *world) {
			w.now.Clusters["b"].UID = "uid-c"
			w.recorded("a", "b", "uid-c")
			w.recorded("b", "b", "uid-c")
		}, ""},
		{"its context leads to a member", func(w *world) { w.now.Clusters["c"] = w.now.Clusters["b"] }, "what answers has UID uid-b, while the records of a, b know it as uid-c"},
		{"its context leads elsewhere", func(w *world) { w.now.Clusters["c"].UID = "uid-x" }, "what answers has UID uid-x, while the records of a, b know it as uid-c"},
		{"its context leads to a cluster with nothing in it", func(w *world) {
			w.now.Clusters["c"] = &facts.Cluster{Name: "c", UID: "uid-x"}
		}, "what answers has UID uid-x"},
		{"its UID cannot be read", func(w *world) { w.now.Clusters["c"].UID = "" }, "its UID cannot be read"},
		{"records differ about it", func(w *world) { w.recorded("b", "c", "uid-y") }, "the records of b know it as uid-y"},
		{"one record alone names another", func(w *world) {
			w.recorded("a", "c", "uid-y")
			w.recorded("b", "c", "")
			w.now.Clusters["c"].UID = "uid-y"
		}, "its own record is that of a cluster with UID uid-c, and it has uid-y"},
		{"no record has its UID", func(w *world) { w.recorded("a", "c", ""); w.recorded("b", "c", "") }, "no record says what its UID was"},
		{"its own record is of another cluster", func(w *world) { w.recorded("c", "c", "uid-y") }, "its own record is that of a cluster with UID uid-y"},
		{"its own record is not there", func(w *world) { w.now.Clusters["c"].Members = nil }, "its own record does not say that it is c"},
		{"its own record names another mesh's clusters", func(w *world) {
			w.now.Clusters["c"].Members = []facts.Member{{Name: "c", UID: "uid-c"}, {Name: "a", UID: "uid-z"}, {Name: "x", UID: "uid-b"}}
		}, "its own record names no cluster of the mesh that answers"},
		{"nobody but records says how it is reached", func(w *world) { w.mesh.Former = nil }, "nothing but the records of a, b says how it was reached, which is not obeyed"},
		{"its inventory cannot be read", func(w *world) {
			w.now.Clusters["c"].Unread[object.Ref{Kind: "Namespace", Name: "istio-system"}] = "forbidden"
		}, "cannot be cleaned: Namespace istio-system cannot be read: forbidden"},
		{"nothing of the mesh is in it", func(w *world) {
			w.now.Clusters["c"] = &facts.Cluster{Name: "c", UID: "uid-c"}
		}, ""},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			w := leaves(t)
			c.given(w)
			w.now.Left = facts.Left(w.mesh, w.now)
			p := w.plan(t)
			for _, x := range changesOf(p, "c") {
				t.Errorf("c: %s %s", x.Action, x.Object)
			}
			if (c.pending == "") != (len(p.Pending) == 0) || c.pending != "" && !strings.Contains(p.Pending[0].Why, c.pending) {
				t.Errorf("pending %v, want %q", p.Pending, c.pending)
			}
		})
	}
}

// recorded lets the record of one cluster know another by a UID.
func (w *world) recorded(in, of, uid string) {
	members := slices.Clone(w.now.Clusters[in].Members)
	for i, m := range members {
		if m.Name == of {
			members[i].UID = uid
		}
	}
	w.now.Clusters[in].Members = members
}

func changesOf(p Plan, cluster string) (all []Change) {
	for _, w := range p.Waves {
		for _, c := range w.Changes {
			if c.Cluster == cluster && c.Action != Unchanged {
				all = append(all, c)
			}
		}
	}
	return all
}

// TestTheRootMovesBeforeItsClusterGoes: the first cluster of the document leaves, and with it the root would.
func TestTheRootMovesBeforeItsClusterGoes(t *testing.T) {
	w := leaves(t)
	w.now.Clusters["a"].Secrets = map[string]*facts.Secret{"isthmus-system/isthmus-root": {
		Namespace: "isthmus-system", Name: "isthmus-root", KeyMatches: true, Labels: map[string]string{object.LabelMesh: "shop"},
	}}
	w.drop("a")
	w.want.Add("b", sealed(object.SealRoot, "b", `{apiVersion: v1, kind: Secret, metadata: {name: isthmus-root, namespace: isthmus-system}}`))
	in := w.input()
	in.RootFrom, in.RootsInUse = "a", []string{"f"}
	p, err := Make(in)
	if err != nil {
		t.Fatal(err)
	}
	made, first, ok := find(p, "b", "Secret isthmus-system/isthmus-root")
	gone, last, found := find(p, "a", "Secret isthmus-system/isthmus-root")
	if !ok || !found || made.Action != Create || gone.Action != Delete || first >= last {
		t.Fatalf("made in wave %d (%t), gone in wave %d (%t)\n%s", first+1, ok, last+1, found, show(p))
	}
	if made.Want.Sealed.From != "a" || made.Reason != "moves here from a; what it signed stays good" {
		t.Errorf("from %q: %s", made.Want.Sealed.From, made.Reason)
	}
	if d := cmp.Diff(&RootMove{From: "a", To: "b", InUse: []string{"f"}}, p.Root); d != "" {
		t.Errorf("what is told of the root (-want +got):\n%s", d)
	}
	// The next home does not answer: then nothing of the root's cluster goes.
	w.now.Clusters["b"] = &facts.Cluster{Name: "b", Err: "refused"}
	p = w.plan(t)
	if got := changesOf(p, "a"); len(got) != 0 {
		t.Errorf("%d changes in a, which keeps the only root: %v", len(got), got)
	}
	if len(p.Pending) < 2 || !strings.Contains(fmt.Sprint(p.Pending), "keeps the mesh's root, which moves to b as soon as that answers") {
		t.Errorf("pending: %v", p.Pending)
	}
}

// TestTheOldHomeKeepsTheRootUntilTheNewOneAnswers: only the order of the document changed.
func TestTheOldHomeKeepsTheRootUntilTheNewOneAnswers(t *testing.T) {
	w := newWorld("a", "b")
	w.converge(t)
	w.mesh = meshOf("b", "a")
	w.want["a"] = slices.DeleteFunc(w.want["a"], func(o object.Object) bool { return o.Body.GetName() == "isthmus-root" })
	w.now.Clusters["b"] = &facts.Cluster{Name: "b", Err: "refused"}
	if c, _, ok := find(w.plan(t), "a", "Secret isthmus-system/isthmus-root"); ok {
		t.Errorf("%s %s: %s", c.Action, c.Object, c.Reason)
	}
}

func TestANewcomerIsListedBeforeAnythingIsMadeInIt(t *testing.T) {
	w := newWorld("a", "b")
	w.converge(t)
	w.serving("a", "b")
	three := newWorld("a", "b", "c")
	w.mesh, w.want = three.mesh, three.want
	w.now.Clusters["c"] = three.now.Clusters["c"]
	p := w.plan(t)
	for _, name := range []string{"a", "b"} {
		if c, wave, ok := find(p, name, "ConfigMap isthmus-system/isthmus-inventory-shop"); !ok || wave != 0 || c.First == nil {
			t.Errorf("%s names c in wave %d\n%s", name, wave+1, show(p))
		}
	}
}

// TestAWholeMeshForgetsItselfFirst: all remote secrets go before anything that others send to.
func TestAWholeMeshForgetsItselfFirst(t *testing.T) {
	w := newWorld("a", "b")
	for n := range w.want {
		for i, o := range w.want[n] {
			if o.Sealed != nil && o.Sealed.Kind == object.SealRemoteSecret {
				w.want[n][i].Part = object.PartDiscovery
			}
		}
	}
	w.converge(t)
	w.serving("a", "b")
	w.want = object.Objects{}
	p := w.plan(t)
	if len(p.Waves) != 2 || len(p.Waves[0].Changes) != 2 || p.Waves[0].LetGo != nil {
		t.Fatalf("%d waves\n%s", len(p.Waves), show(p))
	}
	for _, c := range p.Waves[0].Changes {
		if c.Stage != StageDiscovery {
			t.Errorf("%s goes first", c.Object)
		}
	}
	w.do(p)
	if n := len(w.now.Clusters["a"].Live) + len(w.now.Clusters["b"].Live); n != 0 {
		t.Errorf("%d objects are left", n)
	}
}
