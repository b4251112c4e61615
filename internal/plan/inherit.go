package plan

import (
	"bytes"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"isthmus.dev/isthmus/internal/object"
)

// inherit counts what some managers set as ours, for a plan that makes it so.
func inherit(ours *fieldpath.Set, others []manager, names []string) (*fieldpath.Set, []manager) {
	var rest []manager
	for _, m := range others {
		if slices.Contains(names, m.name) {
			ours = ours.Union(m.set.Difference(istiods(m.set)))
			m.set = istiods(m.set)
		}
		rest = append(rest, m)
	}
	return ours, rest
}

// istiods are the fields among some that istiod fills in: who wrote them at the beginning is no reason to take them
// away, since an API server calls no webhook that it has no CA for.
func istiods(set *fieldpath.Set) *fieldpath.Set {
	out := fieldpath.NewSet()
	for p := range set.All() {
		if last := p[len(p)-1].FieldName; len(p) > 1 && p[0].FieldName != nil && *p[0].FieldName == "webhooks" && last != nil && (*last == "caBundle" || *last == "failurePolicy") {
			out.Insert(p.Copy())
		}
	}
	return out
}

// Inherited returns managedFields in which what some managers set is ours, and theirs no longer. Applying then takes
// away what they set and nobody wants: without it an object that was taken over would keep for ever what its former
// owner put there. The entry of ours is made where there is none yet; nothing else of the object changes.
func Inherited(entries []metav1.ManagedFieldsEntry, managers []string) ([]metav1.ManagedFieldsEntry, error) {
	all := fieldpath.NewSet()
	var kept []metav1.ManagedFieldsEntry
	own := metav1.ManagedFieldsEntry{Manager: object.Manager, Operation: metav1.ManagedFieldsOperationApply, FieldsType: "FieldsV1"}
	found := false
	for _, e := range entries {
		mine := e.Manager == object.Manager && e.Operation == metav1.ManagedFieldsOperationApply && e.Subresource == ""
		if !mine && (e.Subresource != "" || !slices.Contains(managers, e.Manager)) {
			kept = append(kept, e)
			continue
		}
		found = found || !mine
		own.APIVersion, own.Time = e.APIVersion, e.Time
		if e.FieldsV1 == nil {
			continue
		}
		set := fieldpath.NewSet()
		if err := set.FromJSON(bytes.NewReader(e.FieldsV1.GetRawBytes())); err != nil {
			return nil, fmt.Errorf("read managedFields of %s: %w", e.Manager, err)
		}
		if mine {
			all = all.Union(set)
			continue
		}
		all = all.Union(set.Difference(istiods(set)))
		if rest := istiods(set); !rest.Empty() {
			raw, err := rest.ToJSON()
			if err != nil {
				return nil, fmt.Errorf("write managedFields of %s: %w", e.Manager, err)
			}
			e.FieldsV1 = metav1.NewFieldsV1(string(raw))
			kept = append(kept, e)
		}
	}
	if !found {
		return entries, nil
	}
	raw, err := all.ToJSON()
	if err != nil {
		return nil, fmt.Errorf("write managedFields: %w", err)
	}
	own.FieldsV1 = metav1.NewFieldsV1(string(raw))
	return append(kept, own), nil
}
