package verify

import (
	"context"
	"errors"
	"slices"
	"sync"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/probe"
)

// consider looks at what failed and gives up on what waiting will not change. A reason counts once it was found
// twice in a row: a snapshot taken in the middle of a change proves nothing.
func (r *proving) consider(ctx context.Context, pending []*attempt) error {
	r.look(ctx)
	for _, a := range pending {
		reasons := r.reasons(a)
		code := reasons[0].Code
		if reasons[0].Proven && (code == a.lastCode || !present(r.sites[a.from.Name]) || !present(r.sites[a.to.Name])) {
			a.givenUp = true
		}
		a.lastCode = code
		if a.ingress {
			a.door = r.ingressDoor(a.via)
			a.call = ingressErrand(r.Mesh, a.via, a.to, a.door).call
		}
		if !a.kind.inside() { // a gateway may have got its address, a server's pod another one
			a.door = r.door(a.from, a.to)
			a.call.To = protocolOf(a.call.To) + "://" + a.door
		}
	}
	return ctx.Err()
}

// look gathers evidence anew.
func (r *proving) look(ctx context.Context) {
	snapshot := make(chan facts.Snapshot, 1)
	go func() { snapshot <- r.Facts(ctx) }()
	r.each(answers, func(c mesh.Cluster, s *SiteEvidence) {
		short, cancel := context.WithTimeout(ctx, r.limits.Answer)
		defer cancel()
		if err := r.Sites[c.Name].Answers(short); err != nil {
			if ctx.Err() == nil {
				s.Away = err.Error()
			}
			return
		}
		seen := r.Look(ctx, c.Name, s.Pods)
		seen.Unplaced, seen.Unasked, seen.Pods = s.Unplaced, s.Unasked, s.Pods
		if pods, err := r.Sites[c.Name].Pods(ctx); err == nil && s.Unplaced == "" {
			seen.Pods = pods
		}
		*s = seen
	})
	r.now, r.looked = <-snapshot, true
}

// caseOf puts together what is known of calls like this one.
func (r *proving) caseOf(e errand) Case {
	c := Case{Mesh: r.Mesh, From: e.from, To: e.to, Kind: e.kind, Path: pathOf(e.from, e.to), KeepsLocal: e.local, Evidence: r.evidence()}
	for _, a := range r.attempts {
		if a.from.Name != e.from.Name || a.to.Name != e.to.Name || a.tries == 0 {
			continue
		}
		result := a.result
		switch {
		case a.any:
			if e.any {
				c.Any, c.Rule = &result, a.rule
			}
		case a.ingress, a.ask != nil: // they say nothing of calls within the mesh
		case a.failover:
			if e.failover && !a.gone {
				c.Any = &result
			}
		case a.kind == "":
			if e.kind == "" && !a.passed {
				c.Calls = append(c.Calls, a.proof)
			}
		case a.kind.inside():
			if a.kind == e.kind {
				c.Insider = &result
			}
		case a.kind == e.kind || e.kind.inside() && a.kind == NoCertificate:
			// What a stranger met at the door tells of the network, whatever failed.
			c.Knock, c.Door = &result, a.door
		}
	}
	return c
}

// remove takes the workloads away everywhere, even if ctx has ended, and names the clusters where it could not. Where they
// are kept they are put back to what they were before the last calls.
func (r *proving) remove(ctx context.Context) (left []string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.limits.Remove)
	defer cancel()
	if r.Keep {
		r.restore(ctx)
		return nil
	}
	var mu sync.Mutex
	r.each(func(*SiteEvidence) bool { return true }, func(c mesh.Cluster, s *SiteEvidence) {
		if !slices.Contains(r.placed, c.Name) {
			return
		}
		r.Report(Step{Key: c.Name, Text: "taking the workloads away"})
		if err := r.Sites[c.Name].Remove(ctx); err != nil {
			r.Report(Step{Key: c.Name, Text: "could not take the workloads away: " + err.Error(), Done: true})
			mu.Lock()
			defer mu.Unlock()
			left = append(left, c.Name)
			return
		}
		r.Report(Step{Key: c.Name, Text: "workloads taken away", Done: true, OK: true})
	})
	slices.Sort(left)
	return left
}

// restore undoes what second changed.
func (r *proving) restore(ctx context.Context) {
	if len(r.changed) == 0 {
		return
	}
	objects := r.workloads()
	r.each(present, func(c mesh.Cluster, _ *SiteEvidence) {
		if _, changed := r.changed[c.Name]; !changed {
			return
		}
		r.Report(Step{Key: c.Name, Text: "putting the workloads back to what they were"})
		if err := r.Sites[c.Name].Place(ctx, objects[c.Name], func(string) {}); err != nil {
			r.Report(Step{Key: c.Name, Text: "could not put them back, the next isthmus verify does: " + err.Error(), Done: true})
			return
		}
		r.Report(Step{Key: c.Name, Text: "workloads as they were", Done: true, OK: true})
	})
}

func isImageError(err error) bool {
	var e *ImageError
	return errors.As(err, &e)
}

// protocolOf is the scheme of a call's address.
func protocolOf(to string) string {
	for _, p := range []string{probe.TLS, probe.HTTP} {
		if len(to) > len(p) && to[:len(p)+1] == p+":" {
			return p
		}
	}
	return probe.HTTP
}
