package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"isthmus.dev/isthmus/internal/image"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/probe"
)

// send has a pod make calls, and judges what it reports. A pod that cannot be asked leaves its attempts as they
// are: nothing was learnt about the mesh.
func (r *proving) send(ctx context.Context, c mesh.Cluster, pod string, mine []*attempt, brings bool) {
	byID := map[string]*attempt{}
	var calls []probe.Call
	for _, a := range mine {
		if (a.kind != "" || a.ingress) && a.door == "" {
			continue
		}
		for _, call := range a.calls() {
			byID[call.ID] = a
			calls = append(calls, call)
		}
	}
	got := map[*attempt][]probe.Result{}
	for _, result := range r.ask(ctx, c, mine[0].role, pod, calls, brings) {
		if a := byID[result.ID]; a != nil {
			got[a] = append(got[a], result)
		}
	}
	for a, results := range got {
		if len(results) == len(a.calls()) {
			a.judge(r.Mesh, results...)
		}
	}
}

// ask has a pod make calls, and returns what it reports; less where it could not be asked. Calls that bring the token are
// told by the program's input, and what comes back is cleaned of it.
func (r *proving) ask(ctx context.Context, c mesh.Cluster, role Role, pod string, calls []probe.Call, brings bool) []probe.Result {
	if brings {
		calls = slices.Clone(calls)
		for i := range calls {
			calls[i] = r.Token.on(calls[i], r.issuer)
		}
	}
	texts, err := plans(calls)
	if err != nil {
		return nil
	}
	var all []probe.Result
	for _, text := range texts {
		// Every call is bounded by itself; this is for the connection to the API server.
		bounded, cancel := context.WithTimeout(ctx, time.Minute)
		var out []byte
		if brings {
			out, err = r.Sites[c.Name].ExecInput(bounded, pod, Container, []byte(text), image.Path, "probe", "call", "--plan", "-", "-o", "json")
		} else {
			out, err = r.Sites[c.Name].Exec(bounded, pod, Container, image.Path, "probe", "call", "--plan", text, "-o", "json")
		}
		cancel()
		var results []probe.Result
		if err == nil {
			err = json.Unmarshal(out, &results)
		}
		r.asked(c.Name, role, err)
		if err != nil {
			break
		}
		for _, result := range results {
			all = append(all, r.Token.scrubbed(result))
		}
	}
	return all
}

// again makes each call that passed some more times (Limits.Calls), and all of them must pass: a first pass is what was
// waited for, and half of a path that is broken passes now and then. Calls to a service of all clusters are left out,
// which go here or there by right.
func (r *proving) again(ctx context.Context) error {
	const key = "again"
	again := slices.DeleteFunc(slices.Clone(r.attempts), func(a *attempt) bool {
		return !a.passed || a.any || a.gone || a.failover || a.batch > 0
	})
	if len(again) == 0 {
		return nil
	}
	r.Report(Step{Key: key, Text: fmt.Sprintf("making %d calls %d times more", len(again), r.limits.Calls)})
	r.each(present, func(c mesh.Cluster, s *SiteEvidence) {
		var wg sync.WaitGroup
		for _, role := range Roles {
			for _, brings := range []bool{false, true} {
				mine := slices.DeleteFunc(slices.Clone(again), func(a *attempt) bool {
					return a.from.Name != c.Name || a.role != role || a.brings() != brings
				})
				if len(mine) > 0 && s.Pods[role].Ready {
					wg.Go(func() { r.repeat(ctx, c, s.Pods[role].Name, mine, brings) })
				}
			}
		}
		wg.Wait()
	})
	lost := 0
	for _, a := range again {
		if a.repeated == 0 { // nobody knows how it goes on
			a.passed = false
		}
		lost += a.lost
	}
	r.Report(Step{Key: key, Text: fmt.Sprintf("%d calls made %d times more: %d lost", len(again), r.limits.Calls, lost), Done: true, OK: lost == 0})
	return ctx.Err()
}

func (r *proving) repeat(ctx context.Context, c mesh.Cluster, pod string, mine []*attempt, brings bool) {
	byID := map[string]*attempt{}
	calls := make([]probe.Call, 0, len(mine))
	for _, a := range mine {
		call := a.call
		call.Count, call.Repeat = 1, r.limits.Calls
		byID[call.ID] = a
		calls = append(calls, call)
	}
	for _, result := range r.ask(ctx, c, mine[0].role, pod, calls, brings) {
		if a := byID[result.ID]; a != nil {
			a.steady(r.Mesh, result)
		}
	}
}

// steady judges a call that passed and was made some more times.
func (a *attempt) steady(m mesh.Mesh, result probe.Result) {
	shown := &attempt{errand: a.errand}
	shown.judge(m, result)
	a.repeated = max(1, result.Repeated)
	switch {
	case !shown.passed && result.Differed > 0:
		a.lost = result.Differed
	case !shown.passed:
		a.lost = a.repeated
	case result.Differed > 0: // the first of them was the one that failed
		a.lost = a.repeated - result.Differed
	}
	if a.lost > 0 {
		a.passed, a.result = false, result
	}
}

// unsteady tells a call that passed at first and then did not, or of which nobody knows whether it would.
func (a *attempt) unsteady() bool { return a.lost > 0 }

func (a *attempt) lostWords() string {
	return fmt.Sprintf("%d of %d calls lost after the first passed", a.lost, a.repeated)
}

// lostReason is why a call that passed at first is not proved.
func (a *attempt) lostReason() Reason {
	how := Describe(a.result)
	if a.kind != "" {
		how = "it was let in"
		if !a.result.OK {
			how = Describe(a.result)
		}
	}
	what := a.protocol + " calls from " + a.from.Name + " to " + a.to.Name
	if a.kind != "" {
		what = "calls (" + string(a.kind) + ") from " + a.from.Name + " to " + a.to.Name
	}
	return Reason{
		Code: "calls-lost", Text: fmt.Sprintf("%s pass now and then: of %d after the first that passed %d did not: %s", what, a.repeated, a.lost, how),
		Next: "isthmus status, and isthmus verify --calls 100 for how often", Proven: true,
	}
}
