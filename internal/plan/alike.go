package plan

import (
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"isthmus.dev/isthmus/internal/object"
)

// alike decides about an object of which facts know that it is like many others (see facts.Cluster.Like): where one
// is as it was applied, with every field still ours, so are all. nil says that it has to be looked at by itself.
func (d *decider) alike(o object.Object) (*Change, error) {
	ref := o.Ref()
	live, uid, _ := d.now.Like(ref)
	if live == nil || d.now.Unread[ref] != "" || d.terminating(ref.Namespace) {
		return nil, nil
	}
	prepared, err := d.prepared.prepare(o, d.owner, false)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %w", d.cluster, err)
	}
	same, err := d.prepared.unchanged(pair{live, prepared.Body}, d.owner)
	if err != nil || !same {
		return nil, err
	}
	c := &Change{
		Cluster: d.cluster, Object: ref, Part: o.Part, Stage: StageOf(ref, o.Part, o.Sealed), Reason: o.Reason,
		Action: Unchanged, Seal: o.Sealed != nil, UID: string(uid), Want: prepared, Settled: true,
	}
	if o.Sealed != nil && d.pending[o.Sealed.About] == "" {
		return d.judge(c)
	}
	c.Seal = false
	return c, nil
}

// pair is a live object and what is wanted of it.
type pair struct{ live, want *unstructured.Unstructured }

// unchanged tells whether the live object is wholly as it was applied, whatever the values are that it has.
func (p *prepared) unchanged(x pair, owner string) (bool, error) {
	p.mu.Lock()
	same, known := p.same[x]
	p.mu.Unlock()
	if known {
		return same, nil
	}
	ours, _, err := p.managers(x.live)
	if err != nil {
		return false, err
	}
	ready, _, _ := Ready(x.live)
	same = x.live.GetKind() == "Secret" && ready && x.live.GetDeletionTimestamp() == nil &&
		x.live.GetLabels()[object.LabelMesh] == owner &&
		x.live.GetAnnotations()[object.AnnotationApplied] == x.want.GetAnnotations()[object.AnnotationApplied] &&
		covers(ours, "", x.want.Object)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.same == nil {
		p.same = map[pair]bool{}
	}
	p.same[x] = same
	return same, nil
}

// covers tells whether every field of a wanted body is ours. It is so of fewer bodies than could be: a list with
// something in it counts as not ours.
func covers(ours *fieldpath.Set, path string, want map[string]any) bool {
	for _, k := range slices.Sorted(maps.Keys(want)) {
		at, pe := join(path, k), fieldpath.FieldNameElement(k)
		if notWanted[at] {
			continue
		}
		switch w := want[k].(type) {
		case map[string]any:
			if len(w) > 0 && (child(ours, pe) == nil || !covers(child(ours, pe), at, w)) {
				return false
			}
		case []any:
			if len(w) > 0 {
				return false
			}
		}
		if !has(ours, pe) && child(ours, pe) == nil {
			return false
		}
	}
	return true
}
