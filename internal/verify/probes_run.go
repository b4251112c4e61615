package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"isthmus.dev/isthmus/api/v1alpha1"
	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/patience"
)

// proving is one proof under way. Its fields are written by one goroutine for each cluster, each to its own
// entry, and read when all of them have ended.
type proving struct {
	*Prover
	limits   Limits
	now      facts.Snapshot
	drains   map[string]facts.Drain // as now has them
	sites    map[string]*SiteEvidence
	placed   []string                   // clusters where something may have been written
	changed  map[string][]object.Object // what the last calls changed the workloads to, by cluster
	attempts []*attempt
	looked   bool               // since the last round
	issuer   v1alpha1.JWTIssuer // of the Prover's token
	mu       sync.Mutex

	glancing sync.Mutex // seen and glanced
	seen     facts.Snapshot
	glanced  time.Time
}

// each runs f for every cluster that f should run for, all at the same time.
func (r *proving) each(which func(*SiteEvidence) bool, f func(c mesh.Cluster, s *SiteEvidence)) {
	var wg sync.WaitGroup
	for _, c := range r.Mesh.Clusters {
		if s := r.sites[c.Name]; which(s) {
			wg.Go(func() { f(c, s) })
		}
	}
	wg.Wait()
}

func present(s *SiteEvidence) bool { return s.Away == "" && s.Unplaced == "" }
func answers(s *SiteEvidence) bool { return s.Away == "" }

// open finds out which clusters answer.
func (r *proving) open(ctx context.Context) error {
	r.each(answers, func(c mesh.Cluster, s *SiteEvidence) {
		r.Report(Step{Key: c.Name, Text: "asking its API server"})
		short, cancel := context.WithTimeout(ctx, r.limits.Answer)
		defer cancel()
		if err := r.Sites[c.Name].Answers(short); err != nil && ctx.Err() == nil {
			s.Away = err.Error()
			r.Report(Step{Key: c.Name, Text: "does not answer: " + s.Away, Done: true})
		}
	})
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, s := range r.sites {
		if s.Away == "" {
			return nil
		}
	}
	return fmt.Errorf("%w: %s", errNoCluster, r.sites[r.Mesh.Clusters[0].Name].Away)
}

// place brings the workloads and waits until they are ready, or it is clear that they will not be.
func (r *proving) place(ctx context.Context) error {
	objects := r.workloads()
	for _, c := range r.Mesh.Clusters {
		if answers(r.sites[c.Name]) {
			r.placed = append(r.placed, c.Name)
		}
	}
	var noImage error
	r.each(answers, func(c mesh.Cluster, s *SiteEvidence) {
		err := r.placeOne(ctx, c, s, objects[c.Name])
		switch {
		case ctx.Err() != nil:
		case isImageError(err):
			r.mu.Lock()
			defer r.mu.Unlock()
			noImage = err
		case err != nil:
			s.Unplaced = err.Error()
			r.Report(Step{Key: c.Name, Text: s.Unplaced, Done: true})
		default:
			waiting := s.waiting()
			text := "workloads ready"
			if waiting != "" {
				text = "not ready: " + waiting
			}
			r.Report(Step{Key: c.Name, Text: text, Done: true, OK: waiting == ""})
		}
	})
	if err := ctx.Err(); err != nil {
		return err
	}
	return noImage
}

// placeOne has the objects of one cluster placed, and waits for the pods itself: what keeps one from starting is often to
// be seen at once.
func (r *proving) placeOne(ctx context.Context, c mesh.Cluster, s *SiteEvidence, objects []object.Object) error {
	report := func(text string) { r.Report(Step{Key: c.Name, Text: text}) }
	report(fmt.Sprintf("placing %d objects", len(objects)))
	if err := r.Sites[c.Name].Place(ctx, objects, report); err != nil {
		return err
	}
	return r.ready(ctx, c, s, report)
}

// waiting says which pods are not ready, and why where that is worth saying; "" if all are.
func (s *SiteEvidence) waiting() string {
	var all []string
	for _, role := range Roles {
		p := s.Pods[role]
		switch {
		case p.Ready:
		case p.Stuck:
			brief := strings.SplitN(p.Problem, ": ", 3) // a container's problem goes on with a long message
			all = append(all, fmt.Sprintf("%s (%s)", role, strings.Join(brief[:min(2, len(brief))], ": ")))
		default:
			all = append(all, string(role))
		}
	}
	return strings.Join(all, ", ")
}

// ready waits until every pod is ready. That some are not in time is no error: it shows in the calls.
func (r *proving) ready(ctx context.Context, c mesh.Cluster, s *SiteEvidence, report func(string)) error {
	began := r.Now()
	deadline, look := began.Add(r.limits.Start), began.Add(r.limits.Start/10)
	for {
		pods, err := r.Sites[c.Name].Pods(ctx)
		if err != nil {
			return err
		}
		s.Pods = pods
		waiting := s.waiting()
		for _, role := range Roles {
			if pods[role].NoImage {
				return &ImageError{Cluster: c.Name, Image: r.Mesh.Verify.Image, Why: pods[role].Problem}
			}
		}
		if waiting == "" {
			return nil
		}
		if pods[Server].Problem != noPod {
			report("waiting for " + waiting)
		}
		if r.Now().After(look) {
			// A control plane that is not there brings no sidecar, however long one waits.
			look = r.Now().Add(r.limits.Start / 10)
			local := Case{Mesh: r.Mesh, From: c, To: c, Path: Local, Evidence: Evidence{Now: r.glance(ctx, r.limits.Start/20)}}
			if Proven(Judge(local)) {
				deadline = r.Now()
			}
		}
		if !r.Now().Before(deadline) {
			return nil
		}
		if err := patience.Sleep(ctx, patience.Pause(r.Now().Sub(began), r.limits.Pause/4, r.limits.Pause)); err != nil {
			return err
		}
	}
}

// glance is the mesh as it was not longer ago than that: clusters that wait at the same time share a look at all of it.
func (r *proving) glance(ctx context.Context, ago time.Duration) facts.Snapshot {
	r.glancing.Lock()
	defer r.glancing.Unlock()
	if r.glanced.IsZero() || r.Now().Sub(r.glanced) > ago {
		r.seen = r.Facts(ctx)
		r.glanced = r.Now() // not before: who waited for a slow look wants no other one
	}
	return r.seen
}

// door is where a stranger knocks, as far as is known now.
func (r *proving) door(from, to mesh.Cluster) string { return doorOf(r.evidence(), r.Mesh, from, to) }

func (r *proving) evidence() Evidence {
	e := Evidence{Now: r.now, Sites: map[string]SiteEvidence{}, Shown: map[string]string{}}
	for name, s := range r.sites {
		e.Sites[name] = *s
	}
	for _, a := range r.attempts {
		if a.result.Shown != nil && a.result.Shown.Root != "" {
			e.Shown[a.to.Name] = a.result.Shown.Root
		}
	}
	return e
}

// An act is a part of the proof: the attempts from the first on.
type act struct {
	key   string // of its steps
	first int
	// quick is for how long calls that fail are just tried again, one after the other, before anybody looks for a cause:
	// what was changed a moment ago takes one.
	quick time.Duration
}

// call makes an act's calls, again and again, until all have passed, or the rest is given up, or the time is over.
func (r *proving) call(ctx context.Context, part act) error {
	begin := r.Now()
	end, patient := begin.Add(r.limits.Settle), begin.Add(part.quick)
	for {
		r.round(ctx)
		if err := ctx.Err(); err != nil {
			return err
		}
		pending := r.pending()
		r.Report(Step{Key: part.key, Text: r.progress(part, pending)})
		if len(pending) == 0 || !r.Now().Before(end) {
			break
		}
		if !slices.ContainsFunc(pending, func(a *attempt) bool { return !a.again }) {
			continue
		}
		if r.Now().Before(patient) {
			if err := patience.Sleep(ctx, r.limits.Pause/4); err != nil {
				return err
			}
			continue
		}
		if err := r.consider(ctx, pending); err != nil {
			return err
		}
		if len(r.pending()) == 0 {
			break
		}
		if err := patience.Sleep(ctx, r.limits.Pause); err != nil {
			return err
		}
	}
	r.trustLocal()
	passed := !slices.ContainsFunc(r.attempts[part.first:], func(a *attempt) bool { return !a.passed })
	if !passed && !r.looked {
		r.look(ctx)
	}
	r.Report(Step{Key: part.key, Text: r.progress(part, nil), Done: true, OK: passed})
	return ctx.Err()
}

// pending are the attempts that are worth another try.
func (r *proving) pending() []*attempt {
	return slices.DeleteFunc(slices.Clone(r.attempts), func(a *attempt) bool { return a.passed || a.givenUp })
}

// progress in words: "21 of 24 proved; trying again: east → west http: no healthy upstream".
func (r *proving) progress(part act, pending []*attempt) string {
	passed := 0
	for _, a := range r.attempts[part.first:] {
		if a.passed {
			passed++
		}
	}
	text := fmt.Sprintf("%d of %d proved", passed, len(r.attempts[part.first:]))
	if len(pending) > 0 {
		a := pending[0]
		why := "could not be made yet"
		if a.tries > 0 {
			why = Describe(a.result)
		}
		text += fmt.Sprintf("; trying again: %s → %s %s: %s", a.from.Name, a.to.Name, a.what(), why)
	}
	return text
}

// round makes every pending call once; those of one pod in one go.
func (r *proving) round(ctx context.Context) {
	pending, uninformed := r.pending(), r.uninformed()
	r.looked = false
	r.each(present, func(c mesh.Cluster, s *SiteEvidence) {
		asked := slices.DeleteFunc(slices.Clone(pending), func(a *attempt) bool { return !a.asksProxy() || a.from.Name != c.Name })
		var wg sync.WaitGroup
		for _, role := range Roles {
			mine := slices.DeleteFunc(slices.Clone(pending), func(a *attempt) bool {
				return a.from.Name != c.Name || a.role != role
			})
			// Calls with a token go by another way.
			for _, brings := range []bool{false, true} {
				some := slices.DeleteFunc(slices.Clone(mine), func(a *attempt) bool { return a.brings() != brings })
				if len(some) > 0 && s.Pods[role].Ready {
					wg.Go(func() { r.send(ctx, c, s.Pods[role].Name, some, brings) })
				}
			}
		}
		for _, a := range asked {
			if s.Pods[Client].Ready {
				wg.Go(func() { r.detect(ctx, c, s.Pods[Client].Name, a) })
			}
		}
		wg.Wait()
		for _, a := range asked {
			if a.gone {
				a.passed = a.moved && a.detects
			}
		}
	})
	r.doubtLocal(uninformed)
}

// asked remembers whether a pod could be told to make calls.
func (r *proving) asked(cluster string, role Role, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sites[cluster]
	if s.Unasked == nil {
		s.Unasked = map[Role]string{}
	}
	delete(s.Unasked, role)
	if err != nil {
		s.Unasked[role] = r.Token.scrub(facts.Plain(err))
	}
}
