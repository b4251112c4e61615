package plan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/record"
)

func saved(t testing.TB, p Plan) string {
	t.Helper()
	var b bytes.Buffer
	s := Saved{Plan: p, Facts: "f", Document: "d"}
	if err := s.Write(&b, record.Header{Taken: now, Program: "v1"}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func reread(t testing.TB, text string) Plan {
	t.Helper()
	s, h, err := Read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if s.Facts != "f" || s.Document != "d" || h.Mesh != "shop" || !h.Taken.Equal(now) {
		t.Errorf("head %+v, %+v", s, h)
	}
	return s.Plan
}

// TestASavedPlanHoldsAllThatApplyDoes compares field by field, those that JSON does not show too.
func TestASavedPlanHoldsAllThatApplyDoes(t *testing.T) {
	w := newWorld("a", "b")
	w.converge(t)
	w.serving("a", "b")
	w.want["a"][1].Body.Object["spec"].(map[string]any)["replicas"] = int64(3)
	w.want["b"] = w.want["b"][:2]
	w.now.Clusters["b"].Unread[object.Ref{Kind: "Deployment", Namespace: "istio-system", Name: "istiod"}] = "may not"
	p := w.plan(t)
	p.Pending = []Pending{{Cluster: "c", Why: "refused", Left: true, Next: true}}
	p.Options = Options{Adopt: true, TakeOver: []string{TakeOverAll}, Forget: []string{"d"}}
	p.Left, p.UIDs = []string{"d"}, map[string]string{"a": "uid-a"}
	p.Doubted = []facts.DoubtedDrain{{Cluster: "a", Said: []string{"b"}, Of: 2, Drain: facts.Drain{On: true, Since: now, By: "x@y"}}}
	p.Leftovers = []Leftover{{Cluster: "a"}}
	p.Waves[0].LetGo = &LetGo{Of: []string{"d"}, By: []string{"a"}}
	p.Waves[0].Changes[0].Late = true
	key := fieldpath.KeyByFields("port", int64(15443), "protocol", "TCP")
	p.Waves[0].Changes[0].Reclaim = []fieldpath.Path{{fieldpath.FieldNameElement("spec"), fieldpath.PathElement{Key: key}}}
	got := reread(t, saved(t, p))
	same := cmp.Comparer(func(a, b fieldpath.Path) bool { return a.Equals(b) })
	if d := cmp.Diff(p, got, same); d != "" {
		t.Errorf("what was read (-want +got):\n%s", d)
	}
	if again := saved(t, got); again != saved(t, p) {
		t.Error("written again it is another file")
	}
}

func TestASavedPlanHoldsEachBodyOnce(t *testing.T) {
	w := newWorld("a", "b", "c")
	kind := `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: x.example}, spec: {mark: here-it-is}}`
	for _, n := range []string{"a", "b", "c"} {
		w.want.Add(n, obj(object.PartControlPlane, kind))
	}
	if n := strings.Count(saved(t, w.plan(t)), "here-it-is"); n != 1 {
		t.Errorf("the same kind in three clusters is in the file %d times", n)
	}
}

// moved are the words about what keeps a saved plan from being done, and what is left of it.
func moved(t *testing.T, w *world, before Plan) (Plan, []string) {
	t.Helper()
	left, moved := Left(reread(t, saved(t, before)), w.plan(t))
	var words []string
	for _, m := range moved {
		words = append(words, m.String())
	}
	return left, words
}

func TestWhatMovedSinceAPlanWasSaved(t *testing.T) {
	istiod := object.Ref{Group: "apps", Kind: "Deployment", Namespace: "istio-system", Name: "istiod"}
	gateway := object.Ref{Kind: "Service", Namespace: "istio-system", Name: "gateway"}
	edit := func(w *world, ref object.Ref, by, path string, value any) {
		live := w.now.Clusters["a"].Live[ref].DeepCopy()
		live.Object["spec"].(map[string]any)[path] = value
		entries := live.GetManagedFields()[:1]
		entries[0] = managed(object.Manager, metav1.ManagedFieldsOperationApply, now, `{"f:metadata":{"f:labels":{"f:isthmus.dev/mesh":{}}}}`)
		entries = append(entries, managed(by, metav1.ManagedFieldsOperationUpdate, now, `{"f:spec":{"f:`+path+`":{}}}`))
		live.SetManagedFields(entries)
		w.now.Clusters["a"].Live[ref] = live
	}
	for _, c := range []struct {
		reason string
		given  func(*world) // before the plan is saved, on a mesh that is there
		then   func(*world)
		want   []string
	}{
		{"nothing", nil, func(*world) {}, nil},
		{"latency, clocks and versions of objects are not the plan's", nil, func(w *world) {
			w.now.Clusters["a"].Latency = 5
			for _, u := range w.now.Clusters["a"].Live {
				u.SetResourceVersion("77")
			}
		}, nil},
		{
			"an object that stays as it is was changed", nil, func(w *world) { edit(w, istiod, "kubectl-edit", "replicas", int64(7)) },
			[]string{"cluster a: Deployment istio-system/istiod was as it should be when the plan was made, and now there is this to do: configure (changed by kubectl-edit)"},
		},
		{
			"an object that stays as it is was deleted", nil, func(w *world) { delete(w.now.Clusters["b"].Live, gateway) },
			[]string{"cluster b: Service istio-system/gateway was as it should be when the plan was made, and now there is this to do: create (is needed)"},
		},
		{
			"a field that is to be overwritten was changed once more", func(w *world) { edit(w, istiod, "kubectl-edit", "replicas", int64(7)) },
			func(w *world) { edit(w, istiod, "kubectl-scale", "replicas", int64(9)) },
			[]string{"cluster a: Deployment istio-system/istiod was changed since the plan was made: spec.replicas is 9, set by kubectl-scale"},
		},
		{
			"an object that is to be changed is another now", func(w *world) { edit(w, istiod, "kubectl-edit", "replicas", int64(7)) },
			func(w *world) { w.now.Clusters["a"].Live[istiod].SetUID("other") },
			[]string{"cluster a: Deployment istio-system/istiod is another object of that name than when the plan was made"},
		},
		{
			"somebody did already what the plan wants", func(w *world) { delete(w.now.Clusters["a"].Live, gateway) },
			func(w *world) { w.do(w.plan(t)) }, nil,
		},
		{
			"an object that is to be made has been made by somebody else", func(w *world) { delete(w.now.Clusters["a"].Live, gateway) },
			func(w *world) {
				w.now.Clusters["a"].Live[gateway] = parse(`{apiVersion: v1, kind: Service, metadata: {name: gateway, namespace: istio-system, labels: {isthmus.dev/mesh: other}}}`)
			},
			[]string{"cluster a: Service istio-system/gateway exists and belongs to mesh other, which it did not when the plan was made"},
		},
		{
			"a cluster answers no more", func(w *world) { delete(w.now.Clusters["b"].Live, gateway) },
			func(w *world) { w.now.Clusters["b"] = &facts.Cluster{Name: "b", Err: "connection refused"} },
			[]string{"cluster b: has changes in the plan, and now it can get none: connection refused"},
		},
		{
			"what is wanted is another", func(w *world) { delete(w.now.Clusters["a"].Live, gateway) },
			func(w *world) {
				w.want["a"][2].Body.Object["spec"].(map[string]any)["type"] = "NodePort"
			},
			[]string{"cluster a: Service istio-system/gateway is wanted otherwise than when the plan was made"},
		},
		{"a secret has become old", nil, func(w *world) {
			w.judges[object.SealRemoteSecret] = staleFor("b")
		}, []string{"cluster a: Secret istio-system/remote-b was as it should be when the plan was made, and now there is this to do: configure (its token ended)"}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			w := newWorld("a", "b")
			w.converge(t)
			if c.given != nil {
				c.given(w)
			}
			before := w.plan(t)
			c.then(w)
			_, words := moved(t, w, before)
			if d := cmp.Diff(c.want, words); d != "" {
				t.Errorf("moved (-want +got):\n%s", d)
			}
		})
	}
}

func staleFor(about string) Judge {
	return func(_ mesh.Mesh, _ string, o object.Object, _ facts.Snapshot) (string, error) {
		if o.Sealed.About == about {
			return "its token ended", nil
		}
		return "", nil
	}
}

func TestAClusterThatAnswersAgainIsNotInThePlan(t *testing.T) {
	w := newWorld("a", "b")
	w.converge(t)
	there := w.now.Clusters["b"]
	w.now.Clusters["b"] = &facts.Cluster{Name: "b", Err: "connection refused"}
	before := w.plan(t)
	w.now.Clusters["b"] = there
	if _, words := moved(t, w, before); len(words) != 1 || !strings.Contains(words[0], "cluster b: is left as it is by the plan") {
		t.Errorf("moved %q", words)
	}
}

// TestAnInterruptedPlanGoesOn: wherever an apply of a saved plan ended, what is left of it is the rest of its changes
// in its own order, and doing that ends where the whole would have ended. Waves are the saved ones, though clusters
// serve by now.
func TestAnInterruptedPlanGoesOn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"a", "b", "c"}[:rapid.IntRange(1, 3).Draw(t, "clusters")]
		w := newWorld(names...)
		if rapid.Bool().Draw(t, "there before") {
			w.do(mustMake(t, w))
			for _, n := range names {
				w.want[n][1].Body.Object["spec"].(map[string]any)["replicas"] = int64(5)
				w.want[n] = slices.Delete(w.want[n], 2, 3)
			}
		}
		whole := mustMake(t, w)
		var all []Change
		for _, wave := range whole.Waves {
			for _, c := range wave.Changes {
				if c.Action != Unchanged {
					all = append(all, c)
				}
			}
		}
		done := rapid.IntRange(0, len(all)).Draw(t, "done")
		w.doFirst(all[:done])
		w.serving(names...)
		left, movedNow := Left(whole, mustMake(t, w))
		if len(movedNow) > 0 {
			t.Fatalf("after %d of %d changes: %v", done, len(all), movedNow)
		}
		if len(left.Waves) != len(whole.Waves) {
			t.Fatalf("%d waves are left of %d", len(left.Waves), len(whole.Waves))
		}
		var rest, want []string
		for _, wave := range left.Waves {
			for _, c := range wave.Changes {
				if c.Action != Unchanged && c.Stage != StageInventory {
					rest = append(rest, fmt.Sprint(c.Cluster, c.Action, c.Object))
				}
			}
		}
		for _, c := range all[done:] {
			if c.Stage != StageInventory {
				want = append(want, fmt.Sprint(c.Cluster, c.Action, c.Object))
			}
		}
		if d := cmp.Diff(want, rest); d != "" {
			t.Fatalf("left after %d of %d (-want +got):\n%s", done, len(all), d)
		}
		w.do(left)
		if p := mustMake(t, w); p.Writes() != 0 {
			t.Fatalf("left after all:\n%s", show(p))
		}
	})
}

func mustMake(t *rapid.T, w *world) Plan {
	p, err := Make(w.input())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// doFirst does changes in order, and of an inventory only its first word, as apply does until all else is done.
func (w *world) doFirst(changes []Change) {
	for _, c := range changes {
		if c.Stage == StageInventory && c.Action != Delete {
			if c.First == nil {
				continue
			}
			c.Want = c.First
		}
		w.do(Plan{Waves: []Wave{{Changes: []Change{c}}}})
	}
}

func TestADamagedPlanIsRefused(t *testing.T) {
	text := saved(t, newWorld("a").plan(t))
	for _, c := range []struct{ reason, text, want string }{
		{"cut off", text[:len(text)/2], "is cut off: its end is missing"},
		{"edited", strings.Replace(text, `"replicas":2`, `"replicas":9`, 1), "was changed after it was written: its digest is not that of its content"},
		{"facts", strings.Replace(text, `"kind":"Plan"`, `"kind":"Facts"`, 1), "holds facts, not plan"},
		{"an old format", strings.Replace(text, `"version":2`, `"version":1`, 1), "was written in format 1 by isthmus v1, which this program no longer reads (format 2)"},
	} {
		_, _, err := Read(strings.NewReader(c.text))
		var e *record.Error
		if !errors.As(err, &e) || e.Why != c.want {
			t.Errorf("%s: %v, want %s", c.reason, err, c.want)
		}
	}
	for _, items := range [][]any{
		nil,
		{savedItem{Head: &savedHead{}}, savedItem{Change: &savedChange{}}},
		{savedItem{Head: &savedHead{Plan: Plan{Waves: []Wave{{Clusters: []string{"a"}}}}}}, savedItem{Change: &savedChange{Want: &savedObject{Body: 3}}}},
	} {
		var b bytes.Buffer
		if _, err := record.Write(&b, record.Header{Kind: RecordKind, Version: recordVersion}, slices.Values(items)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Read(&b); err == nil {
			raw, _ := json.Marshal(items)
			t.Errorf("a plan that makes no sense is read: %s", raw)
		}
	}
}
