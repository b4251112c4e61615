package plan

import (
	"bytes"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"isthmus.dev/isthmus/internal/object"
)

// Reclaimed returns managedFields in which everything at and under some paths is ours alone. Server-side apply takes
// away what an applier owned and no longer wants, and nothing else: an item of a keyed list that somebody put in the
// place of ours (a Service's port under another number) would stay beside ours, or make it invalid.
func Reclaimed(entries []metav1.ManagedFieldsEntry, paths []fieldpath.Path) ([]metav1.ManagedFieldsEntry, error) {
	taken := fieldpath.NewSet()
	own := -1
	sets := make([]*fieldpath.Set, len(entries))
	for i, e := range entries {
		sets[i] = fieldpath.NewSet()
		if e.FieldsV1 == nil {
			continue
		}
		if err := sets[i].FromJSON(bytes.NewReader(e.FieldsV1.GetRawBytes())); err != nil {
			return nil, fmt.Errorf("read managedFields of %s: %w", e.Manager, err)
		}
		if e.Manager == object.Manager && e.Operation == metav1.ManagedFieldsOperationApply && e.Subresource == "" {
			own = i
			continue
		}
		under := fieldpath.NewSet()
		for p := range sets[i].All() {
			if within(p, paths) {
				under.Insert(p.Copy())
			}
		}
		taken = taken.Union(under)
		sets[i] = sets[i].Difference(under)
	}
	if own < 0 || taken.Empty() {
		return entries, nil
	}
	sets[own] = sets[own].Union(taken)
	var out []metav1.ManagedFieldsEntry
	for i, e := range entries {
		if sets[i].Empty() {
			continue
		}
		raw, err := sets[i].ToJSON()
		if err != nil {
			return nil, fmt.Errorf("write managedFields of %s: %w", e.Manager, err)
		}
		e.FieldsV1 = metav1.NewFieldsV1(string(raw))
		out = append(out, e)
	}
	return out, nil
}

func within(p fieldpath.Path, prefixes []fieldpath.Path) bool {
	for _, prefix := range prefixes {
		if len(p) >= len(prefix) && p[:len(prefix)].Equals(prefix) {
			return true
		}
	}
	return false
}
