package plan

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"isthmus.dev/isthmus/internal/object"
)

// added finds what somebody put into the spec of a mesh's configuration beside what is ours in it. Server-side apply
// leaves such fields alone, and for most kinds that is right. But the spec of a policy or a route means something as a
// whole: one field more, an action or a selector, and it says the opposite in one cluster.
func (d *differ) added(c cursor, want, live *unstructured.Unstructured) {
	if StageOf(object.RefOf(want), "", nil) != StagePolicy {
		return
	}
	w, _ := want.Object["spec"].(map[string]any)
	l, isMap := live.Object["spec"].(map[string]any)
	if isMap {
		d.addedTo(c.to(fieldpath.FieldNameElement("spec"), "spec"), w, l)
	}
}

func (d *differ) addedTo(c cursor, want, live map[string]any) {
	for _, k := range slices.Sorted(maps.Keys(live)) {
		pe, path := fieldpath.FieldNameElement(k), join(c.path, k)
		w, wanted := want[k]
		if wanted {
			wm, both := w.(map[string]any)
			lm, isMap := live[k].(map[string]any)
			if both && isMap {
				d.addedTo(c.to(pe, path), wm, lm)
			}
			continue
		}
		if has(c.ours, pe) || child(c.ours, pe) != nil {
			continue // ours, and no longer wanted: gone says so
		}
		who := c.owner(pe)
		if who.name == "" {
			continue // a default of the API server's
		}
		d.diffs = append(d.diffs, FieldDiff{Path: path, From: d.show(path, live[k], true), By: who.name, At: who.at, Kept: who.keep})
		d.reclaim = append(d.reclaim, c.to(pe, path).at)
	}
}
