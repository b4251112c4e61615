package plan

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"isthmus.dev/isthmus/internal/object"
)

// A manager is somebody who set fields of a live object, as the API server remembers it in managedFields.
type manager struct {
	name string
	at   time.Time
	keep bool           // it applies what it set again by itself
	set  *fieldpath.Set // nil where this manager has nothing at or under the place in question
}

// managers reads a live object's managedFields: what Isthmus set, by whichever operation, and what others did.
// Status is left out: nobody wants it to be anything. It reads the content as it is, since to convert it takes ten
// times as long, and a plan does this for every object of every cluster.
func (p *prepared) managers(live *unstructured.Unstructured) (ours *fieldpath.Set, others []manager, err error) {
	ours = fieldpath.NewSet()
	metadata, _ := live.Object["metadata"].(map[string]any)
	entries, _ := metadata["managedFields"].([]any)
	for i, x := range entries {
		e, _ := x.(map[string]any)
		fields, ok := e["fieldsV1"].(map[string]any)
		if e["subresource"] == "status" || !ok {
			continue
		}
		set, err := p.setOf(fieldEntry{live.GetKind(), live.GetName(), i}, fields)
		if err != nil {
			return nil, nil, fmt.Errorf("read managedFields of %s: %w", object.RefOf(live), err)
		}
		name, _ := e["manager"].(string)
		if name == object.Manager {
			if ours.Empty() {
				ours = set
			} else {
				ours = ours.Union(set)
			}
			continue
		}
		operation, _ := e["operation"].(string)
		subresource, _ := e["subresource"].(string)
		others = append(others, manager{name: name, at: timeOf(e["time"]), keep: keepsApplying(name, operation, subresource), set: set})
	}
	return ours, others, nil
}

// A fieldEntry is one of managedFields of objects of a kind and a name.
type fieldEntry struct {
	kind, name string
	number     int
}

// fieldSet is fieldsV1, by where it is in memory, and what it says.
type fieldSet struct {
	at  uintptr
	set *fieldpath.Set
}

// setOf reads fieldsV1. What many clusters say of the same object is in memory once in facts from a record, and is
// read once: the set must not be changed.
func (p *prepared) setOf(of fieldEntry, fields map[string]any) (*fieldpath.Set, error) {
	at := reflect.ValueOf(fields).Pointer() // it stays there: facts outlive a plan's making
	p.mu.Lock()
	last := p.sets[of]
	p.mu.Unlock()
	if last.at == at && last.set != nil {
		return last.set, nil
	}
	set, err := setOf(fields)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sets == nil {
		p.sets = map[fieldEntry]fieldSet{}
	}
	p.sets[of] = fieldSet{at, set}
	return set, nil
}

// setOf reads fieldsV1: a key is a step of a path, an empty value says that the place itself is meant, and so does a
// "." beside steps further down (sigs.k8s.io/structured-merge-diff/fieldpath, serialize.go).
func setOf(fields map[string]any) (*fieldpath.Set, error) {
	set := fieldpath.NewSet()
	for step, below := range fields {
		if step == "." {
			continue // said by whoever came here
		}
		pe, err := fieldpath.DeserializePathElement(step)
		if errors.Is(err, fieldpath.ErrUnknownPathElementType) {
			continue // of a later version
		}
		if err != nil {
			return nil, err
		}
		m, ok := below.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%q is no map", step)
		}
		if _, itself := m["."]; itself || len(m) == 0 {
			set.Members.Insert(pe)
		}
		if len(m) == 0 {
			continue
		}
		children, err := setOf(m)
		if err != nil {
			return nil, err
		}
		if !children.Empty() {
			*set.Children.Descend(pe) = *children
		}
	}
	return set, nil
}

func timeOf(x any) time.Time {
	text, _ := x.(string)
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}
	}
	return at.UTC()
}

// A differ walks a wanted body beside the live one and what managers own of it. It has no schema: whether a list
// is keyed, a set or one value as a whole is read from the managers' own entries, which the API server made with
// the schema at hand.
type differ struct {
	kind   string
	secret bool // values are hidden
	// changed tells that another body is wanted than was last applied. When it is not, a field that is still
	// ours cannot have drifted, however the API server writes its value.
	changed bool
	// inherited tells that what others set counts as ours: values that the API server filled in are among it.
	inherited bool
	diffs     []FieldDiff
	yielded   []func()         // take fields that a controller keeps out of the wanted body
	reclaim   []fieldpath.Path // items of lists that somebody put in the place of ours
}

// cursor is one place in the walk.
type cursor struct {
	path   string
	at     fieldpath.Path
	ours   *fieldpath.Set
	others []manager
}

func (c cursor) to(pe fieldpath.PathElement, path string) cursor {
	next := cursor{path: path, at: append(slices.Clip(c.at), pe), ours: child(c.ours, pe)}
	for _, m := range c.others {
		m.set = child(m.set, pe)
		next.others = append(next.others, m)
	}
	return next
}

func child(s *fieldpath.Set, pe fieldpath.PathElement) *fieldpath.Set {
	if s == nil {
		return nil
	}
	c, _ := s.Children.Get(pe)
	return c
}

func has(s *fieldpath.Set, pe fieldpath.PathElement) bool { return s != nil && s.Members.Has(pe) }

// owner is who else set a field: the latest, if several did.
func (c cursor) owner(pe fieldpath.PathElement) (who manager) {
	for _, m := range c.others {
		if (has(m.set, pe) || child(m.set, pe) != nil) && (who.name == "" || m.at.After(who.at)) {
			who = m
		}
	}
	return who
}

// notWanted are fields that identify an object or that the API server keeps for itself.
var notWanted = map[string]bool{
	"apiVersion": true, "kind": true, "status": true,
	"metadata.name": true, "metadata.namespace": true, "metadata.creationTimestamp": true, "metadata.uid": true,
	"metadata.resourceVersion": true, "metadata.generation": true, "metadata.managedFields": true, "metadata.selfLink": true,
	"metadata.annotations." + object.AnnotationApplied: true,
}

func (d *differ) object(c cursor, want map[string]any, live map[string]any) {
	for _, k := range slices.Sorted(maps.Keys(want)) {
		path := join(c.path, k)
		if notWanted[path] {
			continue
		}
		lv, ok := live[k]
		d.field(c, fieldpath.FieldNameElement(k), path, want[k], lv, ok, func() { delete(want, k) })
	}
}

func (d *differ) field(c cursor, pe fieldpath.PathElement, path string, want, live any, ok bool, drop func()) {
	next := c.to(pe, path)
	switch w := want.(type) {
	case map[string]any:
		if l, isMap := live.(map[string]any); isMap && len(w) > 0 && !d.whole(c, pe, next) {
			d.object(next, w, l)
			return
		}
	case []any:
		if l, isList := live.([]any); isList && len(w) > 0 && d.list(next, w, l) {
			return
		}
	}
	d.leaf(c, pe, path, want, live, ok, drop)
}

// whole tells whether a map is one value: it is owned itself, and nobody owns anything in it.
func (d *differ) whole(c cursor, pe fieldpath.PathElement, next cursor) bool {
	if next.ours != nil {
		return false
	}
	owned := has(c.ours, pe)
	for i, m := range c.others {
		if next.others[i].set != nil {
			return false
		}
		owned = owned || has(m.set, pe)
	}
	return owned
}

// list walks a keyed list or a set, item by item; false if this list is one value as a whole.
func (d *differ) list(c cursor, want, live []any) bool {
	items := elements(c.ours)
	for _, m := range c.others {
		items = append(items, elements(m.set)...)
	}
	if len(items) == 0 {
		return d.listByName(c, want, live)
	}
	for i, w := range want {
		pe, found := match(items, w)
		if !found {
			pe = fieldpath.IndexElement(i)
		}
		lv, ok := lookup(live, pe, w)
		if !ok {
			if l, was, renamed := namesake(items, want, live, w); renamed {
				d.reclaim = append(d.reclaim, c.to(was, "").at)
				free := c // of the claim that a reclaimed item is ours: it is not what is wanted
				free.ours = nil
				d.item(free, was, fmt.Sprintf("%s[name=%v]", c.path, nameOf(w)), w, l, true)
				continue
			}
		}
		d.item(c, pe, c.path+"["+label(pe, i)+"]", w, lv, ok)
	}
	return true
}

// namesake finds the live item that has a wanted item's name under another key (a port with another number), and
// that no other wanted item stands for.
func namesake(items []fieldpath.PathElement, want, live []any, item any) (any, fieldpath.PathElement, bool) {
	name := nameOf(item)
	for _, l := range live {
		if name == "" || nameOf(l) != name {
			continue
		}
		pe, known := match(items, l)
		taken := slices.ContainsFunc(want, func(w any) bool { return agree(pe, w) > 0 })
		if known && !taken {
			return l, pe, true
		}
	}
	return nil, fieldpath.PathElement{}, false
}

func nameOf(item any) string {
	m, _ := item.(map[string]any)
	name, _ := m["name"].(string)
	return name
}

// listByName serves lists that nobody owns anything in any more, or that are not there at all.
func (d *differ) listByName(c cursor, want, live []any) bool {
	for _, items := range [][]any{want, live} {
		for _, x := range items {
			m, _ := x.(map[string]any)
			if _, ok := m["name"].(string); !ok {
				return false
			}
		}
	}
	for _, w := range want {
		wm := w.(map[string]any)
		pe := fieldpath.KeyElementByFields("name", wm["name"])
		lv, ok := lookup(live, pe, w)
		d.item(c, pe, c.path+"["+label(pe, 0)+"]", w, lv, ok)
	}
	return true
}

func (d *differ) item(c cursor, pe fieldpath.PathElement, path string, want, live any, ok bool) {
	w, isMap := want.(map[string]any)
	l, _ := live.(map[string]any)
	if isMap && ok {
		d.object(c.to(pe, path), w, l)
		return
	}
	d.leaf(c, pe, path, want, live, ok, func() {})
}

func (d *differ) leaf(c cursor, pe fieldpath.PathElement, path string, want, live any, ok bool, drop func()) {
	owned := has(c.ours, pe) || child(c.ours, pe) != nil
	if owned && !d.changed {
		return
	}
	if !ok && (empty(want) || want == "" && strings.HasPrefix(path, "spec.")) || same(want, live) {
		return // an empty text of a spec is not written down; a ConfigMap's is
	}
	who := c.owner(pe)
	if !owned && yields(d.kind, path, who.name) {
		d.yielded = append(d.yielded, drop)
		return
	}
	diff := FieldDiff{Path: path, From: d.show(path, live, ok), To: d.show(path, want, true)}
	if !owned {
		diff.By, diff.At, diff.Kept = who.name, who.at, who.keep
	}
	d.diffs = append(d.diffs, diff)
}

// gone finds what was ours and is no longer wanted: the next apply takes it away.
func (d *differ) gone(path string, ours *fieldpath.Set, want, live any) {
	if ours == nil {
		return
	}
	visit := func(pe fieldpath.PathElement) {
		at := join(path, label(pe, 0))
		if pe.FieldName == nil {
			at = path + "[" + label(pe, 0) + "]"
		}
		if notWanted[at] {
			return
		}
		l, ok := get(live, pe)
		if !ok {
			return
		}
		w, wanted := get(want, pe)
		if !wanted {
			if was := d.show(at, l, true); !d.inherited || !staysAsItIs(at, was) {
				d.diffs = append(d.diffs, FieldDiff{Path: at, From: was})
			}
			return
		}
		d.gone(at, child(ours, pe), w, l)
	}
	seen := fieldpath.PathElementSet{}
	ours.Members.Iterate(func(pe fieldpath.PathElement) { seen.Insert(pe); visit(pe) })
	ours.Children.Iterate(func(pe fieldpath.PathElement) {
		if !seen.Has(pe) {
			visit(pe)
		}
	})
}
