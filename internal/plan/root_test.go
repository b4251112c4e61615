package plan

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"pgregory.net/rapid"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// rooted gives a cluster a root of this fingerprint, in facts and live.
func (w *world) rooted(cluster, fingerprint string) *unstructured.Unstructured {
	f := w.now.Clusters[cluster]
	u := parse(`{apiVersion: v1, kind: Secret, type: kubernetes.io/tls, metadata: {name: isthmus-root, namespace: isthmus-system, uid: root, labels: {isthmus.dev/mesh: shop}}}`)
	if f.Live[rootRef] != nil {
		u = f.Live[rootRef]
		u.Object["type"] = "kubernetes.io/tls"
	}
	f.Live[rootRef] = u
	f.Secrets = map[string]*facts.Secret{"isthmus-system/isthmus-root": {
		Namespace: "isthmus-system", Name: "isthmus-root", KeyMatches: true, Labels: map[string]string{object.LabelMesh: "shop"},
		Certificates: map[string][]facts.Certificate{"tls.crt": {{Fingerprint: fingerprint}}},
	}}
	return u
}

func actionOn(p Plan, cluster string) (Action, *Change) {
	for _, w := range p.Waves {
		for _, c := range w.Changes {
			if c.Cluster == cluster && c.Object == rootRef {
				return c.Action, &c
			}
		}
	}
	return "", nil
}

func TestARootOfAnotherTypeIsTheSameRoot(t *testing.T) {
	w := newWorld("a", "b")
	w.converge(t)
	w.rooted("a", "f").Object["type"] = "Opaque"
	p := w.plan(t)
	if action, c := actionOn(p, "a"); action != Unchanged && action != Configure || c.Seal || c.Want.Body.Object["type"] != "Opaque" {
		t.Errorf("%s\n%s", action, show(p))
	}
	if len(p.Conflicts) != 0 {
		t.Errorf("conflicts: %v", p.Conflicts)
	}
}

func TestARootThatIsBeingDeletedStopsThePlan(t *testing.T) {
	w := newWorld("a", "b")
	w.converge(t)
	now := metav1.Now()
	root := w.rooted("a", "f")
	root.SetDeletionTimestamp(&now)
	root.SetFinalizers([]string{"example.org/keep"})
	p := w.plan(t)
	if action, _ := actionOn(p, "a"); action != "" {
		t.Errorf("%s\n%s", action, show(p))
	}
	if len(p.Conflicts) != 1 || !strings.Contains(p.Conflicts[0].Why, "cannot be made again; it waits for example.org/keep") || !strings.Contains(p.Conflicts[0].Do, "keep a copy") {
		t.Errorf("conflicts: %v", p.Conflicts)
	}
}

func TestARootStaysWhereNoOtherClusterKeepsIt(t *testing.T) {
	for _, c := range []struct {
		reason string
		given  func(*world, *Input)
		stays  bool
	}{
		{"the document wants existing authorities now", func(w *world, in *Input) {}, true},
		{"the home has another", func(w *world, in *Input) { w.home("b", "other") }, true},
		{"the home has the same", func(w *world, in *Input) { w.home("b", "f") }, false},
		{"it moves to the home now", func(w *world, in *Input) { w.mesh = meshOf("b", "a"); in.RootFrom = "a" }, false},
		{"another one moves to the home", func(w *world, in *Input) { w.mesh = meshOf("b", "a"); in.RootFrom = "c" }, true},
		{"everything goes", func(w *world, in *Input) { w.want = object.Objects{} }, false},
	} {
		t.Run(c.reason, func(t *testing.T) {
			w := newWorld("a", "b")
			w.converge(t)
			w.rooted("a", "f")
			w.want["a"] = slices.DeleteFunc(w.want["a"], func(o object.Object) bool { return o.Body.GetName() == "isthmus-root" })
			var given Input
			c.given(w, &given)
			in := w.input()
			in.RootFrom = given.RootFrom
			p, err := Make(in)
			if err != nil {
				t.Fatal(err)
			}
			action, change := actionOn(p, "a")
			if (action == Delete) == c.stays || (len(p.Stays) > 0) != c.stays {
				t.Errorf("%s, stays %v\n%s", action, p.Stays, show(p))
			}
			if action == Delete && len(in.Want) > 0 && change.MovedTo != "b" {
				t.Errorf("it is deleted before %q has it", change.MovedTo)
			}
		})
	}
}

// home makes a cluster the home, with a root.
func (w *world) home(cluster, fingerprint string) {
	w.mesh = meshOf(cluster, "a")
	w.rooted(cluster, fingerprint)
}

// TestNoPlanLosesARoot: whatever is live, whatever is wanted and whatever a person lets the plan do, a root that is there
// is neither replaced nor written over, and deleted only with the whole mesh or where it is elsewhere too.
func TestNoPlanLosesARoot(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		w := newWorld("a", "b", "c")
		w.converge(t)
		bools := func(name string) bool { return rapid.Bool().Draw(r, name) }
		keepers := map[string]string{}
		for _, name := range []string{"a", "b", "c"} {
			if !bools("root in " + name) {
				continue
			}
			fingerprint := rapid.SampledFrom([]string{"f", "g"}).Draw(r, "root of "+name)
			u := w.rooted(name, fingerprint)
			keepers[name] = fingerprint
			u.Object["type"] = rapid.SampledFrom([]string{"kubernetes.io/tls", "Opaque"}).Draw(r, "type")
			if bools("immutable") {
				u.Object["immutable"] = true
			}
			if bools("is being deleted") {
				now := metav1.Now()
				u.SetDeletionTimestamp(&now)
			}
			if bools("says nothing of the mesh") {
				u.SetLabels(nil)
			}
			if bools("is listed") {
				w.now.Clusters[name].Inventory = append(w.now.Clusters[name].Inventory, rootRef)
			}
		}
		order := rapid.Permutation([]string{"a", "b", "c"}).Draw(r, "order")
		w.mesh = meshOf(order[:rapid.IntRange(1, 3).Draw(r, "members")]...)
		switch rapid.SampledFrom([]string{"home", "none", "as it was", "nothing at all"}).Draw(r, "wanted") {
		case "home":
			w.withoutRoot()
			w.want.Add(w.mesh.Home().Name, sealed(object.SealRoot, "", `{apiVersion: v1, kind: Secret, type: kubernetes.io/tls, metadata: {name: isthmus-root, namespace: isthmus-system}}`))
		case "none":
			w.withoutRoot()
		case "nothing at all":
			w.want = object.Objects{}
		}
		if bools("a member is away") {
			w.now.Clusters[order[0]] = &facts.Cluster{Name: order[0], Err: "refused"}
		}
		w.mesh.Former = []mesh.Cluster{{Name: "a"}, {Name: "b"}, {Name: "c"}}
		w.now.Left = facts.Left(w.mesh, w.now)
		in := w.input()
		in.Options = Options{Adopt: bools("adopt"), Forget: rapid.SliceOf(rapid.SampledFrom(order)).Draw(r, "forget")}
		if bools("take over") {
			in.Options.TakeOver = []string{TakeOverAll, rootRef.String()}
		}
		in.RootFrom = rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(r, "moves from")
		stale := rapid.SampledFrom([]string{"", "is stale"}).Draw(r, "judge of intermediates")
		in.Judges[object.SealIntermediate] = func(mesh.Mesh, string, object.Object, facts.Snapshot) (string, error) { return stale, nil }
		p, err := Make(in)
		if err != nil {
			return
		}
		w.losesNoRoot(r, in, p, keepers)
	})
}

func (w *world) withoutRoot() {
	for name := range w.want {
		w.want[name] = slices.DeleteFunc(slices.Clone(w.want[name]), func(o object.Object) bool { return o.Body.GetName() == "isthmus-root" })
	}
}

// losesNoRoot looks at what a plan does to the roots that are there: keepers are those, by cluster.
func (w *world) losesNoRoot(r *rapid.T, in Input, p Plan, keepers map[string]string) {
	home := w.mesh.Home().Name
	for _, wave := range p.Waves {
		for _, c := range wave.Changes {
			if c.Object != rootRef || w.now.Clusters[c.Cluster].Live[rootRef] == nil {
				continue
			}
			there := keepers[home] != "" && keepers[home] == keepers[c.Cluster] || in.RootFrom == c.Cluster
			switch {
			case c.Action == Replace, c.Seal, c.TakeOver:
				r.Errorf("%s: %s, sealed anew %t, taken over %t", c.Cluster, c.Action, c.Seal, c.TakeOver)
			case c.Action == Delete && !in.removal() && (c.Cluster == home || !there || c.MovedTo != home):
				r.Errorf("%s: deleted, and %q has it (home %s has %q, it has %q)", c.Cluster, c.MovedTo, home, keepers[home], keepers[c.Cluster])
			}
		}
	}
	for _, wave := range p.Waves {
		for _, c := range wave.Changes {
			if c.Action == Delete && c.Object == (object.Ref{Kind: "Namespace", Name: object.SystemNamespace}) && keepers[c.Cluster] != "" && !in.removal() {
				if action, _ := actionOn(p, c.Cluster); action != Delete {
					r.Errorf("%s: the namespace of the root goes", c.Cluster)
				}
			}
		}
	}
}
