package plan

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"
	"sigs.k8s.io/yaml"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func parse(text string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		panic(err)
	}
	if err := u.UnmarshalJSON(raw); err != nil {
		panic(err)
	}
	return u
}

func obj(part object.Part, text string) object.Object {
	return object.Object{Part: part, Reason: "is needed", Body: parse(text)}
}

func sealed(kind object.SealKind, about, text string) object.Object {
	o := obj(object.PartTrust, text)
	o.Sealed = &object.Sealed{Kind: kind, About: about}
	return o
}

func meshOf(names ...string) mesh.Mesh {
	m := mesh.Mesh{Name: "shop"}
	for _, n := range names {
		m.Clusters = append(m.Clusters, mesh.Cluster{Name: n})
	}
	return m
}

// world is a mesh, what is wanted and what is there, with a stand-in for apply that does what a plan says.
type world struct {
	mesh   mesh.Mesh
	want   object.Objects
	now    facts.Snapshot
	judges map[object.SealKind]Judge
}

func fresh(mesh.Mesh, string, object.Object, facts.Snapshot) (string, error) { return "", nil }

func newWorld(names ...string) *world {
	w := &world{mesh: meshOf(names...), want: object.Objects{}, now: facts.Snapshot{Taken: now, Clusters: map[string]*facts.Cluster{}}}
	w.judges = map[object.SealKind]Judge{object.SealRoot: fresh, object.SealIntermediate: fresh, object.SealRemoteSecret: fresh}
	for _, n := range names {
		w.now.Clusters[n] = &facts.Cluster{Name: n, Live: map[object.Ref]*unstructured.Unstructured{}, Unread: map[object.Ref]string{}}
		w.want.Add(n, obj(object.PartFoundation, `{apiVersion: v1, kind: Namespace, metadata: {name: istio-system}}`),
			obj(object.PartControlPlane, `{apiVersion: apps/v1, kind: Deployment, metadata: {name: istiod, namespace: istio-system}, spec: {replicas: 2, template: {spec: {containers: [{name: discovery, image: "pilot:1"}]}}}}`),
			obj(object.PartGateway, `{apiVersion: v1, kind: Service, metadata: {name: gateway, namespace: istio-system}, spec: {type: LoadBalancer, ports: [{name: tls, port: 15443}]}}`),
			sealed(object.SealIntermediate, n, `{apiVersion: v1, kind: Secret, metadata: {name: cacerts, namespace: istio-system}}`))
		for _, other := range names {
			if other != n {
				w.want.Add(n, sealed(object.SealRemoteSecret, other, fmt.Sprintf(`{apiVersion: v1, kind: Secret, metadata: {name: remote-%s, namespace: istio-system}}`, other)))
			}
		}
	}
	w.want.Add(names[0], sealed(object.SealRoot, "", `{apiVersion: v1, kind: Secret, metadata: {name: isthmus-root, namespace: isthmus-system}}`))
	return w
}

func (w *world) input() Input {
	return Input{Mesh: w.mesh, Want: w.want, Now: w.now, Judges: w.judges}
}

func (w *world) plan(t *testing.T) Plan {
	t.Helper()
	p, err := Make(w.input())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// do stands in for apply: what a plan says becomes true.
func (w *world) do(p Plan) {
	for _, wave := range p.Waves {
		for _, c := range wave.Changes {
			live := w.now.Clusters[c.Cluster].Live
			switch c.Action {
			case Delete:
				delete(live, c.Object)
			case Create, Configure, Replace:
				live[c.Object] = owned(c.Want.Body)
			}
			if c.Stage == StageInventory && c.Want != nil && c.Action != Delete {
				text, _, _ := unstructured.NestedString(c.Want.Body.Object, "data", facts.InventoryKey)
				w.now.Clusters[c.Cluster].Inventory, _ = facts.ParseInventory(text)
				text, _, _ = unstructured.NestedString(c.Want.Body.Object, "data", facts.MembersKey)
				w.now.Clusters[c.Cluster].Members, _ = facts.ParseMembers(text)
			}
			if c.Stage == StageInventory && c.Action == Delete {
				w.now.Clusters[c.Cluster].Inventory, w.now.Clusters[c.Cluster].Members = nil, nil
			}
		}
	}
}

// owned is an object as it is after Isthmus alone applied it.
func owned(body *unstructured.Unstructured) *unstructured.Unstructured {
	u := body.DeepCopy()
	u.SetUID(types.UID("uid-" + u.GetName()))
	u.SetManagedFields([]metav1.ManagedFieldsEntry{entry(object.Manager, metav1.ManagedFieldsOperationApply, now, body)})
	return u
}

func entry(name string, op metav1.ManagedFieldsOperationType, at time.Time, of *unstructured.Unstructured) metav1.ManagedFieldsEntry {
	raw, err := fieldpath.SetFromValue(value.NewValueInterface(of.Object)).ToJSON()
	if err != nil {
		panic(err)
	}
	when := metav1.NewTime(at)
	return metav1.ManagedFieldsEntry{Manager: name, Operation: op, Time: &when, FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(string(raw))}
}

func (w *world) converge(t *testing.T) {
	t.Helper()
	w.do(w.plan(t))
	if p := w.plan(t); p.Writes() != 0 {
		t.Fatalf("not settled: %s", show(p))
	}
}

func show(p Plan) string {
	var lines []string
	for i, w := range p.Waves {
		for _, c := range w.Changes {
			if c.Action != Unchanged {
				lines = append(lines, fmt.Sprintf("%d %s %s %s: %s %v", i+1, c.Cluster, c.Action, c.Object, c.Reason, c.Fields))
			}
		}
	}
	return strings.Join(lines, "\n")
}

func find(p Plan, cluster, ref string) (Change, int, bool) {
	for i, w := range p.Waves {
		for _, c := range w.Changes {
			if c.Cluster == cluster && c.Object.String() == ref {
				return c, i, true
			}
		}
	}
	return Change{}, 0, false
}

func (w *world) serving(names ...string) {
	for _, n := range names {
		w.now.Clusters[n].Istiods = []facts.Istiod{{Owner: "isthmus", Mesh: "shop", Ready: 1, Wanted: 1}}
	}
}

func TestWaves(t *testing.T) {
	cases := []struct {
		reason string
		given  func(*world)
		want   [][]string
	}{
		{"fresh clusters carry no traffic: all at once", func(*world) {}, [][]string{{"a", "b", "c"}}},
		{"clusters that serve go one by one", func(w *world) { w.serving("a", "b", "c") }, [][]string{{"a"}, {"b"}, {"c"}}},
		{"a new one comes first", func(w *world) { w.serving("a", "b") }, [][]string{{"c"}, {"a"}, {"b"}}},
		{"the document has the last word", func(w *world) { w.mesh.Waves = [][]string{{"b"}, {"c", "a"}} }, [][]string{{"b"}, {"c", "a"}}},
		{"whom the document forgets comes last, alone", func(w *world) { w.mesh.Waves = [][]string{{"c"}} }, [][]string{{"c"}, {"a"}, {"b"}}},
		{"who does not answer is in none", func(w *world) { w.now.Clusters["b"] = &facts.Cluster{Name: "b", Err: "refused"} }, [][]string{{"a", "c"}}},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			w := newWorld("a", "b", "c")
			c.given(w)
			var got [][]string
			for _, x := range w.plan(t).Waves {
				got = append(got, x.Clusters)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("waves (-want +got):\n%s", d)
			}
		})
	}
}

func TestWhatIsAboutTwoClustersWaitsForTheLater(t *testing.T) {
	w := newWorld("a", "b")
	w.serving("a", "b")
	p := w.plan(t)
	for _, x := range []struct{ in, about string }{{"a", "b"}, {"b", "a"}} {
		if _, wave, ok := find(p, x.in, "Secret istio-system/remote-"+x.about); !ok || wave != 1 {
			t.Errorf("the remote secret in %s about %s is in wave %d", x.in, x.about, wave+1)
		}
	}
	if _, wave, _ := find(p, "a", "Deployment istio-system/istiod"); wave != 0 {
		t.Errorf("istiod of a is in wave %d", wave+1)
	}
}

func TestTheRootComesBeforeWhatItSigns(t *testing.T) {
	w := newWorld("a", "b")
	w.mesh.Waves = [][]string{{"b"}, {"a"}}
	p := w.plan(t)
	root, wave, _ := find(p, "a", "Secret isthmus-system/isthmus-root")
	signed, signedIn, _ := find(p, "b", "Secret istio-system/cacerts")
	if wave != 0 || signedIn != 0 || root.Stage >= signed.Stage {
		t.Errorf("root in wave %d at %s, the intermediate in wave %d at %s", wave+1, root.Stage, signedIn+1, signed.Stage)
	}
	if _, wave, _ := find(p, "a", "Namespace isthmus-system"); wave != 0 {
		t.Error("its namespace is made after it")
	}
	if _, wave, _ := find(p, "a", "Deployment istio-system/istiod"); wave != 1 {
		t.Error("the rest of its cluster comes with it")
	}
}

func TestPending(t *testing.T) {
	down := func(w *world, name string) {
		w.now.Clusters[name] = &facts.Cluster{Name: name, Err: "connection refused"}
	}
	t.Run("what is about a cluster that does not answer is neither made nor taken away", func(t *testing.T) {
		w := newWorld("a", "b", "c")
		w.converge(t)
		delete(w.now.Clusters["a"].Live, object.Ref{Kind: "Secret", Namespace: "istio-system", Name: "remote-c"})
		down(w, "c")
		w.judges[object.SealRemoteSecret] = func(_ mesh.Mesh, _ string, o object.Object, _ facts.Snapshot) (string, error) {
			if o.Sealed.About == "c" {
				return "", errors.New("judged a cluster that does not answer")
			}
			return "", nil
		}
		p := w.plan(t)
		if p.Writes() != 1 { // the inventory no longer lists what is not there
			t.Errorf("changes:\n%s", show(p))
		}
		if _, _, ok := find(p, "a", "Secret istio-system/remote-c"); ok {
			t.Error("a remote secret to c is planned in a")
		}
		if c, _, _ := find(p, "b", "Secret istio-system/remote-c"); c.Action != Unchanged || c.Seal {
			t.Errorf("the remote secret to c in b: %+v", c)
		}
		if d := cmp.Diff([]Pending{{Cluster: "c", Why: "connection refused"}}, p.Pending); d != "" {
			t.Error(d)
		}
	})
	t.Run("without the root nothing can be signed", func(t *testing.T) {
		w := newWorld("a", "b")
		down(w, "a")
		p := w.plan(t)
		if len(p.Waves) != 0 || len(p.Pending) != 2 || !strings.Contains(p.Pending[1].Why, "which a keeps") {
			t.Errorf("waves %v, pending %v", p.Waves, p.Pending)
		}
	})
	t.Run("what is signed already stays", func(t *testing.T) {
		w := newWorld("a", "b")
		w.converge(t)
		down(w, "a")
		if p := w.plan(t); len(p.Waves) != 1 || p.Writes() != 0 {
			t.Errorf("waves %v:\n%s", p.Waves, show(p))
		}
	})
}

func TestJudges(t *testing.T) {
	w := newWorld("a", "b")
	w.converge(t)
	w.judges[object.SealIntermediate] = func(_ mesh.Mesh, cluster string, _ object.Object, _ facts.Snapshot) (string, error) {
		if cluster == "b" {
			return "it ends in 3 days", nil
		}
		return "", nil
	}
	p := w.plan(t)
	c, _, _ := find(p, "b", "Secret istio-system/cacerts")
	if c.Action != Configure || !c.Seal || c.Reason != "it ends in 3 days" || p.Writes() != 1 {
		t.Errorf("%+v\n%s", c, show(p))
	}
	w.judges[object.SealRoot] = func(mesh.Mesh, string, object.Object, facts.Snapshot) (string, error) {
		return "", errors.New("the root is lost")
	}
	if _, err := Make(w.input()); err == nil || err.Error() != "cluster a: Secret isthmus-system/isthmus-root: the root is lost" {
		t.Errorf("error %v", err)
	}
	delete(w.judges, object.SealRoot)
	if _, err := Make(w.input()); err == nil {
		t.Error("a kind of secret that nobody judges is taken as right")
	}
}

func TestBadWants(t *testing.T) {
	w := newWorld("a")
	w.want.Add("a", w.want["a"][1])
	if _, err := Make(w.input()); err == nil || err.Error() != "cluster a: Deployment istio-system/istiod is wanted twice" {
		t.Errorf("error %v", err)
	}
	w.want["a"] = []object.Object{{Part: "x", Body: &unstructured.Unstructured{Object: map[string]any{}}}}
	if _, err := Make(w.input()); err == nil {
		t.Error("an object without a name is planned")
	}
}

func TestNoPlanHasASecret(t *testing.T) {
	w := newWorld("a")
	secret := "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: istio-system}\n"
	w.want.Add("a", obj(object.PartControlPlane, secret+"stringData: {a: CANARY}\n"))
	if p, err := Make(w.input()); err == nil || !strings.Contains(err.Error(), "Secret istio-system/s has its content in it") || strings.Contains(err.Error(), "CANARY") {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestUnreadAndForeign(t *testing.T) {
	w := newWorld("a")
	ref := object.Ref{Kind: "Secret", Namespace: "istio-system", Name: "cacerts"}
	w.now.Clusters["a"].Unread[ref] = "may not"
	live := parse(`{apiVersion: v1, kind: Service, metadata: {name: gateway, namespace: istio-system, labels: {isthmus.dev/mesh: other}}}`)
	w.now.Clusters["a"].Live[object.RefOf(live)] = live
	var got []string
	for _, c := range w.plan(t).Conflicts {
		got = append(got, c.String())
	}
	want := []string{
		"cluster a: Secret istio-system/cacerts cannot be read: may not",
		"cluster a: Service istio-system/gateway exists and belongs to mesh other",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("conflicts (-want +got):\n%s", d)
	}
}

func TestBeingDeletedIsMadeAnew(t *testing.T) {
	w := newWorld("a")
	w.converge(t)
	when := metav1.NewTime(now)
	w.now.Clusters["a"].Live[object.Ref{Kind: "Namespace", Name: "istio-system"}].SetDeletionTimestamp(&when)
	if c, _, _ := find(w.plan(t), "a", "Namespace istio-system"); c.Action != Replace {
		t.Errorf("%s: %s", c.Action, c.Reason)
	}
	if c, _, _ := find(w.plan(t), "a", "Deployment istio-system/istiod"); c.Action != Create || c.UID != "" {
		t.Errorf("what is in it: %s: %s", c.Action, c.Reason)
	}
	if c, _, _ := find(w.plan(t), "a", "Secret isthmus-system/isthmus-root"); c.Action != Unchanged {
		t.Errorf("what is elsewhere: %s: %s", c.Action, c.Reason)
	}
}

func TestKindsAreNeverPruned(t *testing.T) {
	w := newWorld("a")
	w.want.Add("a", obj(object.PartControlPlane, `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: gateways.networking.istio.io}}`))
	w.converge(t)
	w.want["a"] = nil
	p := w.plan(t)
	if c, _, _ := find(p, "a", "CustomResourceDefinition gateways.networking.istio.io"); c.Action != Unchanged {
		t.Errorf("%s: %s", c.Action, c.Reason)
	}
	last := p.Waves[0].Changes[len(p.Waves[0].Changes)-1]
	if last.Object.String() != "Namespace isthmus-system" || last.Action != Delete {
		t.Errorf("the last change is %s %s", last.Action, last.Object)
	}
	w.now.Clusters["a"].Inventories = []string{"other", "shop"}
	if _, _, ok := find(w.plan(t), "a", "Namespace isthmus-system"); ok {
		t.Error("another mesh's inventory goes with the namespace")
	}
}

// TestOrderDoesNotMatter: the same input in any order gives the same plan, byte for byte; and what a plan says, once
// done, needs no doing again.
func TestOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"a", "b", "c", "d"}[:rapid.IntRange(1, 4).Draw(t, "clusters")]
		build := func(shuffle *rand.Rand) *world {
			w := newWorld(names...)
			for n := range w.want {
				list := w.want[n]
				shuffle.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
			}
			return w
		}
		one, two := build(rand.New(rand.NewSource(1))), build(rand.New(rand.NewSource(rapid.Int64().Draw(t, "seed"))))
		for _, n := range names {
			if rapid.Bool().Draw(t, n+" serves") {
				one.serving(n)
				two.serving(n)
			}
		}
		half := rapid.IntRange(0, 20).Draw(t, "done before")
		begun, err := Make(one.input())
		if err != nil {
			t.Fatal(err)
		}
		for i, w := range begun.Waves {
			begun.Waves[i].Changes = w.Changes[:min(half, len(w.Changes))]
		}
		one.do(begun)
		two.do(begun)
		p, err := Make(one.input())
		if err != nil {
			t.Fatal(err)
		}
		q, err := Make(two.input())
		if err != nil {
			t.Fatal(err)
		}
		if a, b := text(t, p), text(t, q); a != b {
			t.Fatalf("two plans of one input:\n%s\n%s", a, b)
		}
		x, errX := p.Digest()
		if y, errY := q.Digest(); x != y || errX != nil || errY != nil {
			t.Fatalf("digests %s and %s, %v, %v", x, y, errX, errY)
		}
		one.do(p)
		left, err := Make(one.input())
		if err != nil || left.Writes() != 0 {
			t.Fatalf("left after it was done: %v\n%s", err, show(left))
		}
	})
}

func text(t *rapid.T, p Plan) string {
	raw, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestChangesAreInTheOrderInWhichTheyAreMade(t *testing.T) {
	w := newWorld("a", "b")
	w.converge(t)
	for n := range w.want {
		w.want[n] = slices.DeleteFunc(w.want[n], func(o object.Object) bool { return o.Part == object.PartGateway || o.Sealed != nil })
		w.want[n][0].Body.SetLabels(map[string]string{"new": "x"})
	}
	var got []string
	for _, c := range w.plan(t).Waves[0].Changes {
		if c.Action != Unchanged {
			got = append(got, fmt.Sprintf("%s %s %s", c.Action, c.Cluster, c.Object))
		}
	}
	want := []string{
		"configure a ConfigMap isthmus-system/isthmus-inventory-shop", "configure b ConfigMap isthmus-system/isthmus-inventory-shop",
		"configure a Namespace istio-system", "configure b Namespace istio-system",
		"delete b Service istio-system/gateway", "delete a Service istio-system/gateway",
		"delete b Secret istio-system/remote-a", "delete b Secret istio-system/cacerts",
		"delete a Secret istio-system/remote-b", "delete a Secret istio-system/cacerts",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("order (-want +got):\n%s", d)
	}
}

func TestStagesReadAsTheyAreWritten(t *testing.T) {
	for s := StageSystem; s <= StageProbes; s++ {
		raw, err := s.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var back Stage
		if err := back.UnmarshalText(raw); err != nil || back != s {
			t.Errorf("%s is read as %s, %v", raw, back, err)
		}
	}
	var s Stage
	if err := s.UnmarshalText([]byte("never")); err == nil {
		t.Error("a stage that does not exist is read")
	}
}
