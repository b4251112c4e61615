package plan

import (
	"fmt"
	"maps"
	"math/rand"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/merge"
	"sigs.k8s.io/structured-merge-diff/v6/typed"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/object"
)

// A server is an API server as far as a plan can tell: objects, and who set which of their fields. Server-side apply
// is done by the library that API servers do it with; types are deduced, so lists are one value each.
type server struct {
	live   map[object.Ref]*unstructured.Unstructured
	fields map[object.Ref]fieldpath.ManagedFields
	made   int
	sealed int
}

func newServer() *server {
	return &server{live: map[object.Ref]*unstructured.Unstructured{}, fields: map[object.Ref]fieldpath.ManagedFields{}}
}

type sameVersion struct{}

func (sameVersion) Convert(o *typed.TypedValue, _ fieldpath.APIVersion) (*typed.TypedValue, error) {
	return o, nil
}
func (sameVersion) IsMissingVersionError(error) bool { return false }

// ofTheServer are fields that an API server lets nobody own.
var ofTheServer = fieldpath.NewSet(
	fieldpath.MakePathOrDie("apiVersion"), fieldpath.MakePathOrDie("kind"), fieldpath.MakePathOrDie("metadata"), fieldpath.MakePathOrDie("metadata", "name"),
	fieldpath.MakePathOrDie("metadata", "namespace"), fieldpath.MakePathOrDie("metadata", "labels"), fieldpath.MakePathOrDie("metadata", "annotations"),
)

func valueOf(body map[string]any) *typed.TypedValue {
	v, err := typed.DeducedParseableType.FromUnstructured(body)
	if err != nil {
		panic(err)
	}
	return v
}

// write is a server-side apply, by force, or the update that kubectl edit makes.
func (s *server) write(ref object.Ref, body *unstructured.Unstructured, manager string, update bool) {
	updater := (&merge.UpdaterBuilder{Converter: sameVersion{}}).BuildUpdater()
	content := map[string]any{"apiVersion": body.GetAPIVersion(), "kind": body.GetKind()}
	var uid types.UID
	if live := s.live[ref]; live != nil {
		content, uid = plainContent(live), live.GetUID()
	} else {
		s.made++
		uid = types.UID(fmt.Sprintf("uid-%d", s.made))
	}
	before := s.fields[ref]
	if before == nil {
		before = fieldpath.ManagedFields{}
	}
	var out *typed.TypedValue
	var fields fieldpath.ManagedFields
	var err error
	if update {
		out, fields, err = updater.Update(valueOf(content), valueOf(body.Object), "v1", before, manager)
	} else {
		out, fields, err = updater.Apply(valueOf(content), valueOf(body.Object), "v1", before, manager, true)
		if out == nil && err == nil {
			out = valueOf(content) // nothing changes
		}
	}
	if err != nil {
		panic(err)
	}
	u := &unstructured.Unstructured{Object: out.AsValue().Unstructured().(map[string]any)}
	u = u.DeepCopy()
	for _, field := range []string{"labels", "annotations"} { // an API server writes no empty ones
		if m, ok, _ := unstructured.NestedMap(u.Object, "metadata", field); ok && len(m) == 0 {
			unstructured.RemoveNestedField(u.Object, "metadata", field)
		}
	}
	u.SetUID(uid)
	var entries []metav1.ManagedFieldsEntry
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		set := fields[name].Set().Difference(ofTheServer)
		if set.Empty() {
			delete(fields, name)
			continue
		}
		fields[name] = fieldpath.NewVersionedSet(set, "v1", fields[name].Applied())
		raw, err := set.ToJSON()
		if err != nil {
			panic(err)
		}
		entries = append(entries, managed(name, metav1.ManagedFieldsOperationApply, now, string(raw)))
	}
	u.SetManagedFields(entries)
	s.live[ref], s.fields[ref] = u, fields
}

func plainContent(u *unstructured.Unstructured) map[string]any {
	u = u.DeepCopy()
	unstructured.RemoveNestedField(u.Object, "metadata", "managedFields")
	unstructured.RemoveNestedField(u.Object, "metadata", "uid")
	return u.Object
}

func (s *server) remove(ref object.Ref) {
	delete(s.live, ref)
	delete(s.fields, ref)
}

// do is what apply does about one change.
func (s *server) do(c Change) {
	if c.Action == Delete || c.Action == Replace {
		s.remove(c.Object)
	}
	if c.Action == Delete || c.Action == Unchanged {
		return
	}
	body := c.Want.Body.DeepCopy()
	if c.Want.Sealed != nil {
		if live := s.live[c.Object]; live != nil && !c.Seal {
			body.Object["data"] = live.Object["data"]
		} else {
			s.sealed++
			body.Object["data"] = map[string]any{"key": fmt.Sprintf("sha256:%d", s.sealed)}
		}
	}
	s.write(c.Object, body, object.Manager, false)
}

// A fleet is a mesh on such servers.
type fleet struct {
	names   []string
	servers map[string]*server
}

func newFleet(names []string) *fleet {
	f := &fleet{names: names, servers: map[string]*server{}}
	for _, n := range names {
		f.servers[n] = newServer()
	}
	return f
}

func (f *fleet) input(want object.Objects, order []string) Input {
	in := Input{Mesh: meshOf(order...), Want: want, Now: facts.Snapshot{Taken: now, Clusters: map[string]*facts.Cluster{}}}
	in.Judges = map[object.SealKind]Judge{object.SealRemoteSecret: fresh}
	for n, s := range f.servers {
		c := &facts.Cluster{Name: n, Live: s.live, Unread: map[object.Ref]string{}}
		if list := s.live[Inventory("shop", "", "").Ref()]; list != nil {
			text, _, _ := unstructured.NestedString(list.Object, "data", facts.InventoryKey)
			c.Inventory, _ = facts.ParseInventory(text)
			text, _, _ = unstructured.NestedString(list.Object, "data", facts.MembersKey)
			c.Members, _ = facts.ParseMembers(text)
			c.Inventories = []string{"shop"}
		}
		in.Now.Clusters[n] = c
	}
	return in
}

// to plans and does.
func (f *fleet) to(t *rapid.T, want object.Objects) Plan {
	p, err := Make(f.input(want, f.names))
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Conflicts) > 0 {
		t.Fatalf("conflicts: %v", p.Conflicts)
	}
	for _, w := range p.Waves {
		for _, c := range w.Changes {
			f.servers[c.Cluster].do(c)
		}
	}
	left, err := Make(f.input(want, f.names))
	if err != nil || left.Writes() != 0 {
		t.Fatalf("a plan after apply is not empty: %v\n%s", err, show(left))
	}
	return p
}

// state is everything on the servers, but for what tells one making of an object from another: UIDs, and secrets.
func (f *fleet) state() map[string]map[string]any {
	out := map[string]map[string]any{}
	for n, s := range f.servers {
		out[n] = map[string]any{}
		for ref, u := range s.live {
			content := plainContent(u)
			if ref.Kind == "Secret" {
				delete(content, "data")
			}
			ours := ""
			if set := s.fields[ref][object.Manager]; set != nil {
				raw, err := set.Set().ToJSON()
				if err != nil {
					panic(err)
				}
				ours = string(raw)
			}
			out[n][ref.String()] = map[string]any{"content": content, "ours": ours}
		}
	}
	return out
}

// wants draws what a document may want of a few clusters.
func wants(t *rapid.T, names []string, what string) object.Objects {
	want := object.Objects{}
	word := rapid.SampledFrom([]string{"a", "b", "c"})
	for _, n := range names {
		draw := func(label string) bool { return rapid.Bool().Draw(t, what+" "+n+" "+label) }
		pick := func(label string) string { return word.Draw(t, what+" "+n+" "+label) }
		if !draw("is in use") {
			continue
		}
		want.Add(n, obj(object.PartFoundation, `{apiVersion: v1, kind: Namespace, metadata: {name: istio-system}}`))
		if draw("has configuration") {
			want.Add(n, obj(object.PartControlPlane, fmt.Sprintf(`{apiVersion: v1, kind: ConfigMap, metadata: {name: istio, namespace: istio-system, labels: {l-%s: x}}, data: {mesh: %s, %s: y}}`, pick("label"), pick("mesh"), pick("key"))))
		}
		if draw("has a control plane") {
			want.Add(n, obj(object.PartControlPlane, fmt.Sprintf(`{apiVersion: apps/v1, kind: Deployment, metadata: {name: istiod, namespace: istio-system}, spec: {selector: {matchLabels: {app: %s}}, template: {spec: {containers: [{name: discovery, image: %s}], nodeSelector: {%s: x}}}}}`, pick("selector"), pick("image"), pick("node"))))
		}
		if draw("has a gateway") {
			want.Add(n, obj(object.PartGateway, fmt.Sprintf(`{apiVersion: v1, kind: Service, metadata: {name: gateway, namespace: istio-system}, spec: {type: %s, ports: [{name: tls, port: 15443}]}}`, pick("type"))))
		}
		for _, other := range names {
			if other != n && draw("knows "+other) {
				want.Add(n, sealed(object.SealRemoteSecret, other, fmt.Sprintf(`{apiVersion: v1, kind: Secret, metadata: {name: remote-%s, namespace: istio-system, labels: {l: %s}}}`, other, pick("label of "+other))))
			}
		}
	}
	return want
}

// TestThereAndBack: a plan from A to B and one from B to A leave A, to the last field and its owner; what somebody
// else put beside ours stays; and a plan after its apply is empty.
func TestThereAndBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"a", "b", "c"}[:rapid.IntRange(1, 3).Draw(t, "clusters")]
		a, b := wants(t, names, "A"), wants(t, names, "B")
		f := newFleet(names)
		others := parse(`{apiVersion: v1, kind: ConfigMap, metadata: {name: somebodys, namespace: istio-system}, data: {a: b}}`)
		for _, n := range names {
			f.servers[n].write(object.RefOf(others), others, "kubectl", true)
			if rapid.Bool().Draw(t, n+" has the namespace before") {
				namespace := parse(`{apiVersion: v1, kind: Namespace, metadata: {name: istio-system, labels: {team: x}}}`)
				f.servers[n].write(object.RefOf(namespace), namespace, "kubectl", true)
			}
		}
		f.to(t, a)
		before := f.state()
		f.to(t, b)
		f.to(t, a)
		if d := cmp.Diff(before, f.state()); d != "" {
			t.Fatalf("there and back (-A +A again):\n%s", d)
		}
	})
}

// TestDriftGoesBack: whatever somebody changes in an object of ours, or deletes, the next plan puts it right.
func TestDriftGoesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"a", "b"}
		want := wants(t, names, "A")
		f := newFleet(names)
		f.to(t, want)
		before := f.state()
		for _, n := range names {
			s := f.servers[n]
			for _, ref := range slices.SortedFunc(maps.Keys(s.live), object.Ref.Compare) {
				switch rapid.SampledFrom([]string{"", "", "change", "remove", "delete"}).Draw(t, n+" "+ref.String()) {
				case "change":
					s.edit(ref, func(body map[string]any) {
						for _, path := range [][]string{{"data", "mesh"}, {"spec", "type"}, {"metadata", "labels", object.LabelPart}} {
							if _, ok, _ := unstructured.NestedString(body, path...); ok {
								_ = unstructured.SetNestedField(body, "drifted", path...)
							}
						}
					})
				case "remove":
					s.edit(ref, func(body map[string]any) {
						unstructured.RemoveNestedField(body, "metadata", "labels", object.LabelPart)
					})
				case "delete":
					if ref.Kind != "Namespace" && ref != Inventory("shop", "", "").Ref() { // without those nothing is known to be ours
						s.remove(ref)
					}
				}
			}
		}
		f.to(t, want)
		if d := cmp.Diff(before, f.state()); d != "" {
			t.Fatalf("what drifted is not as it was (-before +after):\n%s", d)
		}
	})
}

func (s *server) edit(ref object.Ref, change func(map[string]any)) {
	body := &unstructured.Unstructured{Object: plainContent(s.live[ref])}
	change(body.Object)
	s.write(ref, body, "kubectl-edit", true)
}

// TestNoOrderChangesAPlan: in whatever order clusters and objects come, and however maps are walked, each cluster gets
// the same changes; in the same order they give the same plan, byte for byte.
func TestNoOrderChangesAPlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"a", "b", "c", "d"}
		f := newFleet(names)
		f.to(t, wants(t, names, "A"))
		want := wants(t, names, "B")
		plan := func(order []string) Plan {
			p, err := Make(f.input(want, order))
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		first := plan(names)
		shuffle := rand.New(rand.NewSource(rapid.Int64().Draw(t, "seed")))
		for n := range want {
			shuffle.Shuffle(len(want[n]), func(i, j int) { want[n][i], want[n][j] = want[n][j], want[n][i] })
		}
		if a, b := text(t, first), text(t, plan(names)); a != b {
			t.Fatalf("two plans of one input:\n%s\n%s", a, b)
		}
		other := slices.Clone(names)
		shuffle.Shuffle(len(other), func(i, j int) { other[i], other[j] = other[j], other[i] })
		if d := cmp.Diff(byCluster(first), byCluster(plan(other))); d != "" {
			t.Fatalf("in the order %v clusters get other changes (-want +got):\n%s", other, d)
		}
	})
}

func byCluster(p Plan) map[string][]string {
	out := map[string][]string{}
	for _, w := range p.Waves {
		for _, c := range w.Changes {
			out[c.Cluster] = append(out[c.Cluster], fmt.Sprintf("%s %s %s %v %v %s", c.Action, c.Object, c.Reason, c.Fields, c.Impact, appliedOf(c)))
		}
	}
	for _, list := range out {
		slices.Sort(list)
	}
	return out
}

// TestFieldsAreReadAsTheLibraryReadsThem compares our reading of fieldsV1 with the library's.
func TestFieldsAreReadAsTheLibraryReadsThem(t *testing.T) {
	step := rapid.OneOf(
		rapid.Map(rapid.StringMatching(`[a-z.]{1,3}`), fieldpath.FieldNameElement),
		rapid.Map(rapid.IntRange(1, 3), func(i int) fieldpath.PathElement { return fieldpath.KeyElementByFields("port", int64(i), "name", "x") }),
		rapid.Map(rapid.IntRange(0, 2), fieldpath.IndexElement),
	)
	rapid.Check(t, func(t *rapid.T) {
		set := fieldpath.NewSet()
		for _, p := range rapid.SliceOf(rapid.SliceOfN(step, 1, 4)).Draw(t, "paths") {
			set.Insert(fieldpath.Path(p))
		}
		raw, err := set.ToJSON()
		if err != nil {
			t.Fatal(err)
		}
		u := &unstructured.Unstructured{Object: map[string]any{}}
		u.SetManagedFields([]metav1.ManagedFieldsEntry{managed(object.Manager, metav1.ManagedFieldsOperationApply, now, string(raw))})
		got, _, err := (&prepared{}).managers(u)
		if err != nil || !got.Equals(set) {
			t.Fatalf("%s is read as %v, %v", raw, got, err)
		}
	})
}
