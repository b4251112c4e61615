package engine

import (
	"context"
	"fmt"
	"maps"
	"strings"

	"isthmus.dev/isthmus/internal/apply"
	"isthmus.dev/isthmus/internal/plan"
)

// ApplyRounds does a plan and then, as long as clusters wait for what it brought (a remote for the address of its
// primary's gateway), reads the clusters again, plans and applies what is left. Each round is a plan of its own: may
// is asked before it is done, as somebody asked before the first; a nil one allows no second. One change set tells of
// all of them.
func (e Engine) ApplyRounds(ctx context.Context, p plan.Plan, may func(Prospect) error, report func(apply.Event)) (apply.ChangeSet, error) {
	set, err := e.Apply(ctx, p, report)
	for err == nil && p.Again() && may != nil {
		next, planned := e.Plan(ctx)
		if planned != nil {
			return set, planned
		}
		if planned = may(next); planned != nil {
			return set, planned
		}
		before := p
		p = next.Plan
		if still := stillWaiting(before, p); still != "" {
			return set, fmt.Errorf("%s\n  Why, if it stays so: isthmus status", still)
		}
		done := set
		set, err = e.Apply(ctx, p, func(event apply.Event) {
			event.Wave += done.Of
			if report != nil {
				report(event)
			}
		})
		set = joined(done, set)
	}
	return set, err
}

// stillWaiting says which clusters wait after a round for what they waited for before it; "" if there is progress.
func stillWaiting(before, after plan.Plan) string {
	waited := map[string]bool{}
	for _, p := range before.Pending {
		waited[p.Cluster] = p.Next
	}
	var still []string
	for _, p := range after.Pending {
		if !p.Next || !waited[p.Cluster] {
			return ""
		}
		still = append(still, fmt.Sprintf("cluster %s waits: %s", p.Cluster, p.Why))
	}
	return strings.Join(still, "\n")
}

// joined is what two rounds did.
func joined(a, b apply.ChangeSet) apply.ChangeSet {
	out := apply.ChangeSet{Mesh: a.Mesh, Done: append(a.Done, b.Done...), Planned: maps.Clone(a.Planned), Waves: a.Waves + b.Waves, Of: a.Of + b.Of}
	for name, n := range b.Planned {
		out.Planned[name] += n
	}
	return out
}
