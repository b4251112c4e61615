package plan

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

func TestRestart(t *testing.T) {
	const istiod = "Deployment istio-system/istiod"
	w := newWorld("east")
	w.converge(t)
	why := ""
	next := func() Change {
		in := w.input()
		in.Restart = func(_ mesh.Mesh, _ string, o object.Object, _ facts.Snapshot) (string, error) {
			if o.Ref().String() != istiod {
				return "", nil
			}
			return why, nil
		}
		p, err := Make(in)
		if err != nil {
			t.Fatal(err)
		}
		c, _, ok := find(p, "east", istiod)
		if !ok {
			t.Fatalf("no change of istiod in\n%s", show(p))
		}
		w.do(p)
		return c
	}
	revise := func(to string) {
		live := w.now.Clusters["east"].Live[object.Ref{Group: "apps", Kind: "Deployment", Namespace: "istio-system", Name: "istiod"}]
		notes := live.GetAnnotations()
		notes[revision] = to
		live.SetAnnotations(notes)
	}
	type seen struct {
		Action Action
		Reason string
		Fields []FieldDiff
		Impact []string
		// Restarted is what apply waits longer for.
		Restarted bool
	}
	steps := []struct {
		reason   string
		why      string
		revision string
		want     seen
	}{
		{"nothing asks for it", "", "1", seen{Action: Unchanged, Reason: "is needed"}},
		{"it must start anew", "holds another root", "1", seen{
			Configure, "holds another root",
			[]FieldDiff{{Path: "spec.template.metadata", To: `{"annotations":{"isthmus.dev/restarted":"after revision 1"}}`}},
			[]string{"restarts istiod (2 pods)"},
			true,
		}},
		{"it has: the mark stays and nothing is written", "", "2", seen{Action: Unchanged, Reason: "is needed"}},
		{"and once more, later", "holds another root again", "2", seen{
			Configure, "holds another root again",
			[]FieldDiff{{Path: "spec.template.metadata.annotations.isthmus.dev/restarted", From: "after revision 1", To: "after revision 2"}},
			[]string{"restarts istiod (2 pods)"},
			true,
		}},
		{"that too stays", "", "3", seen{Action: Unchanged, Reason: "is needed"}},
	}
	for _, s := range steps {
		why = s.why
		revise(s.revision)
		c := next()
		if diff := cmp.Diff(s.want, seen{c.Action, c.Reason, c.Fields, c.Impact, c.Restarted}); diff != "" {
			t.Errorf("%s: -want +got\n%s", s.reason, diff)
		}
	}
}
