package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/object"
)

// compareOnce is compare. Objects of which facts know that they are the same in many clusters (see facts.Cluster.Like),
// and that are wanted alike in each, are compared once where they turn out to be unchanged.
func (d *decider) compareOnce(c *Change, live *unstructured.Unstructured) error {
	if _, _, shared := d.now.Like(c.Object); !shared || c.TakeOver || c.Adopt {
		return d.compare(c, live)
	}
	x := pair{live, c.Want.Body}
	d.prepared.mu.Lock()
	settled := d.prepared.settled[x]
	d.prepared.mu.Unlock()
	if settled {
		c.Action, c.Settled = Unchanged, true
		return nil
	}
	if err := d.compare(c, live); err != nil || c.Action != Unchanged || !c.Settled {
		return err
	}
	d.prepared.mu.Lock()
	defer d.prepared.mu.Unlock()
	if d.prepared.settled == nil {
		d.prepared.settled = map[pair]bool{}
	}
	d.prepared.settled[x] = true
	return nil
}

// compare decides what happens to an object that exists and may be changed.
func (d *decider) compare(c *Change, live *unstructured.Unstructured) error {
	want := c.Want.Body
	c.Settled, _, _ = Ready(live)
	if c.Want.Sealed != nil {
		want = c.keepType(live)
	}
	if live.GetDeletionTimestamp() != nil {
		if c.Want.Sealed != nil && c.Want.Sealed.Kind.Irreplaceable() {
			d.losing(c, live)
			return nil
		}
		c.Action, c.Reason, c.Settled = Replace, "is being deleted; made anew once it is gone", false
		return nil
	}
	ours, others, err := d.prepared.managers(live)
	if err != nil {
		return fmt.Errorf("cluster %s: %w", d.cluster, err)
	}
	changed := c.TakeOver || live.GetAnnotations()[object.AnnotationApplied] != want.GetAnnotations()[object.AnnotationApplied]
	if c.TakeOver {
		ours, others = inherit(ours, others, c.Inherit)
	}
	if _, pods := template(want); changed && pods { // the body is shared
		want = c.ownBody()
		quiet(want, live)
	}
	diff := differences(c, live, ours, others, changed)
	want = c.Want.Body
	c.Fields, c.Reclaim = diff.diffs, diff.reclaim
	slices.SortStableFunc(c.Fields, func(a, b FieldDiff) int { return strings.Compare(a.Path, b.Path) })
	switch {
	case !changed && len(c.Fields) == 0:
		c.Action = Unchanged
		return nil
	case c.Adopt && d.overruled(c), d.disputed(c):
		c.Action = ""
		return nil
	}
	c.Action, c.Settled = Configure, false
	if c.Adopt {
		c.Reason = "was there before Isthmus: it gets labels and is never deleted"
	} else {
		c.Reason = whyConfigure(c, changed)
	}
	if field := mustReplace(want, live); field != "" && want.GetKind() != "Namespace" && !d.replaces(c, field) {
		return nil
	}
	c.Impact = append(c.Impact, d.impact(c, live)...)
	if c.TakeOver && !d.takeOver(c, live) {
		c.Action = ""
	}
	return nil
}

// differences are those of a live object from what is wanted. The wanted body becomes the change's own where something is
// taken out of it.
func differences(c *Change, live *unstructured.Unstructured, ours *fieldpath.Set, others []manager, changed bool) differ {
	want := c.Want.Body
	diff := differ{kind: want.GetKind(), secret: want.GetKind() == "Secret", changed: changed, inherited: c.TakeOver}
	if _, whole := live.Object["spec"]; changed && !whole && want.GetKind() == "CustomResourceDefinition" {
		diff.kind = "" // facts hold only the metadata of kinds, which are megabytes
	} else {
		diff.object(cursor{ours: ours, others: others}, want.Object, live.Object)
		if len(diff.yielded) > 0 { // the body is shared: a controller's fields are taken out of a copy
			want = c.ownBody()
			diff = differ{kind: diff.kind, secret: diff.secret, changed: changed, inherited: diff.inherited}
			diff.object(cursor{ours: ours, others: others}, want.Object, live.Object)
		}
	}
	for _, drop := range diff.yielded {
		drop()
	}
	if !c.Adopt && !c.TakeOver {
		diff.added(cursor{ours: ours, others: others}, want, live)
	}
	if changed && diff.kind != "" {
		diff.gone("", withoutContent(ours, c.Want.Sealed), want.Object, live.Object)
	}
	return diff
}

// ownBody gives a change a body that no other cluster's shares, and returns it: only such a one may be changed.
func (c *Change) ownBody() *unstructured.Unstructured {
	own := *c.Want
	own.Body = own.Body.DeepCopy()
	c.Want = &own
	return c.Want.Body
}

// overruled tells whether adopting a namespace would change what somebody else set in it: then it is a conflict.
func (d *decider) overruled(c *Change) bool {
	for _, f := range c.Fields {
		if f.By == "" || f.From == "" || d.in.Options.namedAlone(c.Object) {
			continue
		}
		d.conflict(c.Object, f.By, fmt.Sprintf("has %s %s, set by %s, and %s is wanted", f.Path, f.From, f.By, f.To),
			fmt.Sprintf("write %s into the document, or change it: --take-over=%q", f.From, c.Object.String()))
		return true
	}
	return false
}

func whyConfigure(c *Change, changed bool) string {
	var by []string
	for _, f := range c.Fields {
		if f.By != "" && !slices.Contains(by, f.By) {
			by = append(by, f.By)
		}
	}
	switch {
	case len(by) > 0:
		return "changed by " + strings.Join(by, ", ")
	case changed && len(c.Fields) == 0:
		return "wanted in other words than last time"
	case changed:
		return "wanted otherwise than last time"
	}
	return "changed by somebody"
}

// judge lets the judge of a kind of secret say whether what the cluster holds is still right.
func (d *decider) judge(c *Change) (*Change, error) {
	judge := d.in.Judges[c.Want.Sealed.Kind]
	if judge == nil {
		return nil, fmt.Errorf("cluster %s: nothing can judge %s (%s)", d.cluster, c.Object, c.Want.Sealed.Kind)
	}
	stale, err := judge(d.in.Mesh, d.cluster, *c.Want, d.in.Now)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %s: %w", d.cluster, c.Object, err)
	}
	if c.Action == Create || c.Action == Replace {
		return c, nil
	}
	c.Seal = stale != ""
	if c.Seal {
		c.Action, c.Reason, c.Settled = Configure, stale, false
	}
	return c, nil
}

// unwanted decides about an object of the inventory that is no longer wanted; nil if it is gone already.
func (d *decider) unwanted(ref object.Ref) *Change {
	live, uid := d.now.Find(ref)
	if why := d.now.Unread[ref]; why != "" {
		d.conflict(ref, "", "cannot be read: "+why)
		d.kept = append(d.kept, ref)
		return nil
	}
	if live == nil || !d.ours(ref, live) {
		return nil
	}
	part := object.PartOf(live.GetLabels()[object.LabelPart])
	c := &Change{
		Cluster: d.cluster, Object: ref, Part: part, Stage: StageOf(ref, part, nil), UID: string(uid),
		Action: Delete, Reason: cmp.Or(d.why, d.in.Dropped[d.cluster][ref], "no longer wanted"),
	}
	switch {
	case ref == rootRef && !d.in.removal() && !d.elsewhere():
		d.kept = append(d.kept, ref) // it moves first, or is the only one
		d.stays = append(d.stays, Stay{Cluster: d.cluster, Namespace: ref.Namespace, Why: "Secret " + ref.Name + " in it is a root that no other cluster keeps, and cannot be made again; if nothing trusts it any more, delete it by hand"})
		return nil
	case ref == rootRef && !d.in.removal():
		c.MovedTo = d.in.Mesh.Home().Name
	case ref.Kind == "CustomResourceDefinition":
		// With a kind go all objects of it, and those are not ours.
		c.Action, c.Reason, c.Settled = Unchanged, c.Reason+"; kept, since every object of its kind would go with it", true
	case ref.Kind == "Namespace" && live.GetAnnotations()[AnnotationAdopted] != "":
		c.Action, c.Reason = Configure, c.Reason+"; was there before Isthmus, so only our labels go"
		c.Want = &object.Object{Part: part, Reason: c.Reason, Body: bare(live)}
	case ref.Kind == "Namespace" && ref.Group == "" && d.holds(ref.Name):
		c.Action, c.Reason = Configure, c.Reason+"; stays, since not all in it is Isthmus's: only our labels go"
		c.Want = &object.Object{Part: part, Reason: c.Reason, Body: bare(live)}
	default:
		c.Impact = d.impact(c, live)
	}
	return c
}

// holds tells whether a namespace holds what is not ours, or may, and notes that it stays.
func (d *decider) holds(namespace string) bool {
	held, known := d.now.Held[namespace]
	if !known || held.None() { // where it was not looked at apply looks, before it deletes one
		return false
	}
	d.stays = append(d.stays, Stay{Cluster: d.cluster, Namespace: namespace, Why: held.String()})
	return true
}

// bare is an object with nothing in it: applied, it takes away every field that we set.
func bare(live *unstructured.Unstructured) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{}}
	u.SetGroupVersionKind(live.GroupVersionKind())
	u.SetNamespace(live.GetNamespace())
	u.SetName(live.GetName())
	return u
}

// inventory is the change of the list of what is ours, as it will be when everything is done.
func (d *decider) inventory(changes []Change) (*Change, error) {
	refs := slices.Clone(d.kept)
	for _, c := range changes {
		if c.Action != Delete && !c.Beside && c.Want != nil && hasLabels(c.Want.Body) && !isSystem(c.Object) {
			refs = append(refs, c.Object)
		}
	}
	for _, x := range d.conflicts {
		if slices.Contains(d.now.Inventory, x.Object) {
			refs = append(refs, x.Object)
		}
	}
	if len(refs) == 0 && len(d.now.Inventory) == 0 {
		return nil, nil
	}
	objects := facts.FormatInventory(refs)
	live, uid := d.now.Find(Inventory(d.owner, "", "").Ref())
	if live != nil {
		if was, _, _ := unstructured.NestedString(live.Object, "data", facts.InventoryKey); was == objects {
			objects = was // the lists of 500 clusters are long: one that stays is in memory once
		}
	}
	o := Inventory(d.owner, objects, d.listed)
	if len(refs) == 0 && live != nil && d.ours(o.Ref(), live) {
		return &Change{
			Cluster: d.cluster, Object: o.Ref(), Part: o.Part, Stage: StageInventory, UID: string(uid),
			Action: Delete, Reason: "nothing is left to list",
		}, nil
	}
	if n := held(o.Body); n > mostHeld {
		d.conflict(o.Ref(), "", fmt.Sprintf("would list %d objects and %d clusters in %d bytes, and a ConfigMap holds %d", len(refs), len(d.members), n, mostHeld),
			"let spec.resources bring fewer objects into this cluster, or make two meshes of this one")
		return nil, nil
	}
	c, err := d.change(o)
	if err != nil || c == nil {
		return nil, err
	}
	c.Stage, c.Fields = StageInventory, nil // the list says nothing that the changes do not
	c.Late = !lists(d.members, d.now.Members)
	if c.Action == Configure {
		c.Reason = o.Reason
	}
	all, known := withAll(d.now.Inventory, refs), union(d.members, d.now.Members)
	if len(all) > len(d.now.Inventory) || c.Action == Create || !lists(d.now.Members, known) {
		listed := d.listed
		if len(known) > len(d.members) {
			listed = facts.FormatMembers(known)
		}
		first, err := prepare(Inventory(d.owner, facts.FormatInventory(all), listed), d.owner, false)
		if err != nil {
			return nil, fmt.Errorf("cluster %s: %w", d.cluster, err)
		}
		c.First = &first
		d.tooLarge(first) // of what was and what will be, while both are there
	}
	return c, nil
}

// hasLabels tells whether an object has any label. GetLabels copies them, which of all objects of a large mesh is much.
func hasLabels(u *unstructured.Unstructured) bool {
	labels, _, _ := unstructured.NestedFieldNoCopy(u.Object, "metadata", "labels")
	all, _ := labels.(map[string]any)
	return len(all) > 0
}

// withAll are objects and those of others that are not among them.
func withAll(list, more []object.Ref) []object.Ref {
	known := make(map[object.Ref]bool, len(list))
	for _, r := range list {
		known[r] = true
	}
	all := slices.Clone(list)
	for _, r := range more {
		if !known[r] {
			all = append(all, r)
		}
	}
	return all
}

// Inventory is the ConfigMap that lists what Isthmus made in a cluster for a mesh or a set, and a mesh's members; a
// set has none.
func Inventory(owner, objects, members string) object.Object {
	data := map[string]any{facts.InventoryKey: objects}
	if members != "" {
		data[facts.MembersKey] = members
	}
	body := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": facts.InventoryName(owner), "namespace": object.SystemNamespace},
		"data":     data,
	}}
	return object.Object{Part: object.PartFoundation, Reason: "lists what Isthmus made here", Body: body}
}

// needsRoot tells whether a change needs the root to sign while the cluster that keeps it does not answer.
func (d *decider) needsRoot(changes []Change) bool {
	if d.pending[d.in.Mesh.Home().Name] == "" {
		return false
	}
	return slices.ContainsFunc(changes, func(c Change) bool {
		return c.Seal && c.Want.Sealed.Kind == object.SealIntermediate
	})
}

// withoutContent leaves out the fields that only the sealer knows, which no wanted body holds.
func withoutContent(ours *fieldpath.Set, sealed *object.Sealed) *fieldpath.Set {
	if sealed == nil {
		return ours
	}
	metadata := fieldpath.FieldNameElement("metadata")
	kept := fieldpath.NewSet()
	if sub, ok := ours.Children.Get(metadata); ok {
		*kept.Children.Descend(metadata) = *sub
	}
	return kept
}
