package engine

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/plan"
	"isthmus.dev/isthmus/internal/record"
)

// PlanFrom decides what would change from facts that were recorded, with no cluster. Errors: the document wants
// objects that were not looked for when the facts were recorded, so that it is not known whether they exist.
func (e Engine) PlanFrom(now facts.Snapshot) (Prospect, error) {
	want, err := e.Want()
	if err != nil {
		return Prospect{}, err
	}
	for _, c := range e.Mesh.Clusters {
		if f := now.Clusters[c.Name]; f.Answered() {
			if missed := unasked(f, want[c.Name]); len(missed) > 0 {
				return Prospect{}, fmt.Errorf("cluster %s: these facts say nothing of %s, which the document wants: they were recorded for another document\n  Record them for this one: isthmus facts -o FILE", c.Name, few(missed))
			}
		}
	}
	now.Left = facts.Left(e.Mesh, now, e.Leaving...)
	return e.decide(want, now)
}

// unasked are wanted objects of which facts know neither that they exist nor that they do not.
func unasked(f *facts.Cluster, want []object.Object) []object.Ref {
	absent := make(map[object.Ref]bool, len(f.Absent))
	for _, ref := range f.Absent {
		absent[ref] = true
	}
	var missed []object.Ref
	for _, o := range want {
		if ref := o.Ref(); !f.Exists(ref) && f.Unread[ref] == "" && !absent[ref] {
			missed = append(missed, ref)
		}
	}
	slices.SortFunc(missed, object.Ref.Compare)
	return missed
}

func few(refs []object.Ref) string {
	if len(refs) == 1 {
		return refs[0].String()
	}
	return fmt.Sprintf("%s and %d more", refs[0], len(refs)-1)
}

// Save puts a plan into a form that Resume does later. program is this program's version.
func (e Engine) Save(w io.Writer, p Prospect, program string) error {
	s := plan.Saved{Plan: p.Plan, Uninstall: p.Uninstall}
	for _, c := range e.Leaving {
		s.Leaves = append(s.Leaves, c.Name)
	}
	var err error
	if s.Document, err = e.Mesh.Digest(); err != nil {
		return err
	}
	if s.Facts, err = p.Facts.Write(io.Discard, e.Mesh.Name, program); err != nil {
		return err
	}
	return s.Write(w, record.Header{Taken: p.Facts.Taken, Program: program})
}

// A MovedError says why a saved plan is not done: what is no longer as it was. Nothing was written.
type MovedError struct{ Moved []plan.Moved }

// shown is how much of what moved a person is told.
const shown = 12

func (e *MovedError) Error() string {
	lines := make([]string, 0, shown+1)
	for i, m := range e.Moved {
		if i == shown {
			lines = append(lines, fmt.Sprintf("and %d more", len(e.Moved)-shown))
			break
		}
		lines = append(lines, m.String())
	}
	return strings.Join(lines, "\n  ")
}

// Resume decides what is left to do of a saved plan: all of it, or after an apply of it that was interrupted the
// rest. It reads the clusters and makes the plan again; it writes nothing. The engine is that of the mesh without the
// clusters that leave by the plan. Errors: the plan is of another mesh or document; *MovedError where doing it now would
// do something else than what was saved.
func (e Engine) Resume(ctx context.Context, s plan.Saved) (Prospect, error) {
	if s.Plan.Mesh != e.Mesh.Name {
		return Prospect{}, fmt.Errorf("it is a plan for mesh %s, and the document is mesh %s", s.Plan.Mesh, e.Mesh.Name)
	}
	document, err := e.Mesh.Digest()
	if err != nil {
		return Prospect{}, err
	}
	if document != s.Document {
		return Prospect{}, fmt.Errorf("it was made from another document, or with other --set, than is given now")
	}
	e.Options = s.Plan.Options
	anew := e.Plan
	if s.Uninstall {
		anew = e.PlanRemoval
	}
	fresh, err := anew(ctx)
	if err != nil {
		return Prospect{}, err
	}
	if moved := others(s, fresh.Facts); len(moved) > 0 {
		return Prospect{}, &MovedError{moved}
	}
	left, moved := plan.Left(s.Plan, fresh.Plan)
	if len(moved) > 0 {
		return Prospect{}, &MovedError{moved}
	}
	left.Skew = fresh.Plan.Skew
	fresh.Plan = left
	return fresh, nil
}

// others are clusters that are not the ones that a plan was made for.
func others(s plan.Saved, now facts.Snapshot) []plan.Moved {
	var moved []plan.Moved
	for _, name := range slices.Sorted(maps.Keys(s.Plan.UIDs)) {
		if c := now.Clusters[name]; c != nil && c.UID != "" && c.UID != s.Plan.UIDs[name] {
			moved = append(moved, plan.Moved{Cluster: name, How: fmt.Sprintf("is another cluster than the one that the plan was made for (its namespace kube-system has UID %s, not %s): its access in the document leads elsewhere now, or it was made anew", c.UID, s.Plan.UIDs[name])})
		}
	}
	return moved
}
