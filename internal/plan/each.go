package plan

import (
	"fmt"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"isthmus.dev/isthmus/internal/facts"
)

// gathered are the changes of all, in order. Where each had room for its own in one place (see decideEach) they are
// pushed together there: a quarter of a million twice would take two hundred megabytes.
func gathered(decided []decider) []Change {
	if len(decided) == 0 {
		return nil
	}
	all := decided[0].room[:0:cap(decided[0].room)]
	if slices.ContainsFunc(decided, func(d decider) bool { return len(d.changes) > len(d.room) }) {
		all = nil
	}
	for i := range decided {
		d := &decided[i]
		all, d.changes, d.room = append(all, d.changes...), nil, nil
	}
	return all
}

// decideEach decides about every cluster by itself, at the same time, and returns the deciders in document order. A
// cluster that needs the root while nobody can sign with it becomes pending; what is about it is then left alone in
// the others too, so they are decided about again.
func decideEach(in Input, pending map[string]string, members []facts.Member) ([]decider, error) {
	shared, listed := &prepared{}, ""
	if len(members) > 0 {
		listed = facts.FormatMembers(members)
	}
	total := 0
	for _, c := range in.Mesh.Clusters {
		total += len(in.Want[c.Name]) + unlisted
	}
	room := make([]Change, total)
	for {
		deciders := make([]decider, 0, len(in.Mesh.Clusters))
		at := 0
		for _, c := range in.Mesh.Clusters {
			if pending[c.Name] == "" {
				end := at + len(in.Want[c.Name]) + unlisted
				deciders = append(deciders, decider{in: in, cluster: c.Name, now: in.Now.Clusters[c.Name], owner: in.Mesh.Name, pending: pending, members: members, listed: listed, prepared: shared, room: room[at:end]})
				at = end
			}
		}
		errs := make([]error, len(deciders))
		var g errgroup.Group
		g.SetLimit(runtime.GOMAXPROCS(0))
		for i := range deciders {
			g.Go(func() error {
				d := &deciders[i]
				d.changes, errs[i] = d.decide(in.Want[d.cluster])
				return nil
			})
		}
		_ = g.Wait() // each error is in its place
		if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
			return nil, errs[i]
		}
		again := false
		for i := range deciders {
			if d := &deciders[i]; d.needsRoot(d.changes) {
				again = true
				pending[d.cluster] = fmt.Sprintf("its certificates are signed by the root, which %s keeps, and that does not answer", in.Mesh.Home().Name)
			}
		}
		if !again {
			return deciders, nil
		}
	}
}
