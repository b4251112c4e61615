package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/probe"
	"isthmus.dev/isthmus/internal/traffic"
)

// A Site is one cluster, as far as a proof needs it.
type Site interface {
	// Answers returns nil as soon as the API server answers anything.
	Answers(ctx context.Context) error
	// Place makes the objects exist, and does not wait until their pods are ready. It tells what it waits for.
	Place(ctx context.Context, objects []object.Object, report func(string)) error
	// Remove takes away what Place made, in this run or an earlier one.
	Remove(ctx context.Context) error
	// Pods are verify's own, by role, in whatever state they are; a role without a pod says why.
	Pods(ctx context.Context) (map[Role]Pod, error)
	// Exec runs a program in a container of one of them and returns its output.
	Exec(ctx context.Context, pod, container string, argv ...string) ([]byte, error)
	// Envoy returns a page of the admin interface of a pod's proxy.
	Envoy(ctx context.Context, pod, page string) ([]byte, error)
	// ExecInput is Exec with an input, where what is secret goes.
	ExecInput(ctx context.Context, pod, container string, in []byte, argv ...string) ([]byte, error)
}

// Limits bound a proof in time. The zero value of each is its default.
type Limits struct {
	// Answer is how long an API server has to answer at first. Default: 5 s.
	Answer time.Duration
	// Start is how long pods have to become ready. Default: 60 s, most of it for pulling an image.
	Start time.Duration
	// Settle is how long a call that fails is tried again, as long as nothing shows that this is hopeless:
	// a mesh that has just been made needs seconds until every proxy knows every endpoint. Default: 30 s.
	Settle time.Duration
	// Pause is between two tries. Default: 1 s.
	Pause time.Duration
	// Calls is how often each call is made again after it first passed: all of them must pass too. Default: 20.
	Calls int
	// Remove is how long taking the workloads away may take. Default: 30 s.
	Remove time.Duration
}

func (l Limits) filled() Limits {
	if l.Calls <= 0 {
		l.Calls = 20
	}
	for _, x := range []struct {
		d       *time.Duration
		instead time.Duration
	}{
		{&l.Answer, 5 * time.Second},
		{&l.Start, time.Minute},
		{&l.Settle, 30 * time.Second},
		{&l.Pause, time.Second},
		{&l.Remove, 30 * time.Second},
	} {
		if *x.d <= 0 {
			*x.d = x.instead
		}
	}
	return l
}

// A Step is progress: what key (a cluster, or "calls") is doing, or how it ended.
type Step struct {
	Key, Text string
	// Done ends the key; OK tells how.
	Done, OK bool
}

// A Prover proves a mesh by real calls.
type Prover struct {
	Mesh  mesh.Mesh
	Sites map[string]Site
	// Facts takes a snapshot of every cluster.
	Facts func(context.Context) facts.Snapshot
	// Look looks closely at one cluster, to find out why something failed. Away, Unplaced and Pods are known
	// already and filled in by the Prover.
	Look   func(ctx context.Context, cluster string, pods map[Role]Pod) SiteEvidence
	Now    func() time.Time
	Limits Limits
	// Token is a person's own, to be tried where the document asks for one; nil: none is.
	Token *Token
	// Keep leaves the workloads where they are; the next proof uses them.
	Keep bool
	// Report is told of every step; calls come from many goroutines.
	Report func(Step)
}

// An ImageError means that a cluster cannot get the image that the workloads run: nothing can be proved there.
type ImageError struct{ Cluster, Image, Why string }

func (e *ImageError) Error() string {
	return fmt.Sprintf("cluster %s cannot get the image %s: %s\n"+
		"  Make it of this program: isthmus image --push %s   or load a file into the nodes: isthmus image --output isthmus.tar",
		e.Cluster, e.Image, e.Why, e.Image)
}

// errNoCluster: there is nowhere to call from.
var errNoCluster = errors.New("no cluster of the mesh answers, so nothing can be proved")

// Prove brings the workloads, makes the calls, judges them and takes the workloads away again, also when ctx ends
// in between. A call that fails is not an error but part of the Proof; errors mean that no proof could be made.
func (p *Prover) Prove(ctx context.Context) (Proof, error) {
	begin := p.Now()
	r := &proving{Prover: p, limits: p.Limits.filled(), sites: map[string]*SiteEvidence{}}
	if p.Token != nil { // before anything is placed or called
		var err error
		if r.issuer, err = p.Token.Judge(p.Mesh, begin); err != nil {
			return Proof{}, err
		}
	}
	for _, c := range p.Mesh.Clusters {
		r.sites[c.Name] = &SiteEvidence{}
	}
	snapshot := make(chan facts.Snapshot, 1)
	go func() { snapshot <- r.Facts(ctx) }()
	err := r.open(ctx)
	if err == nil {
		err = r.place(ctx)
	}
	if r.now = <-snapshot; err == nil {
		r.drains = facts.Drains(r.now)
		local := func(from mesh.Cluster) bool { return keepsLocal(p.Mesh, r.now, from) }
		for _, e := range errands(p.Mesh, r.door, local) {
			if r.spared(e.from, e.to) || e.failover && len(r.rescuers(e.from)) == 0 {
				continue
			}
			r.attempts = append(r.attempts, &attempt{errand: e})
		}
		r.withTokens()
		err = r.call(ctx, act{key: "calls"})
		if err == nil {
			err = r.again(ctx)
		}
		if err == nil {
			err = r.second(ctx)
		}
	}
	left := r.remove(ctx)
	if err != nil {
		if len(left) > 0 {
			err = fmt.Errorf("%w\n  Namespace %s is left in: %v. The next isthmus verify uses and removes it", err, p.Mesh.Verify.Namespace, left)
		}
		return Proof{}, err
	}
	proof := r.proof()
	proof.Left, proof.Kept = left, p.Keep
	proof.Taken, proof.TookMillis = p.Now().UTC(), p.Now().Sub(begin).Milliseconds()
	return proof, nil
}

// proof puts the attempts together.
func (r *proving) proof() Proof {
	m := r.Mesh
	proof := Proof{Mesh: m.Name}
	for _, c := range m.Clusters {
		s := r.sites[c.Name]
		problem := s.Away
		if problem == "" {
			problem = s.Unplaced
		}
		proof.Clusters = append(proof.Clusters, ProvedCluster{Name: c.Name, Network: c.Network, Problem: problem})
	}
	for _, from := range m.Clusters {
		for _, to := range m.Clusters {
			proof.Cells = append(proof.Cells, r.cell(from, to))
		}
	}
	for _, a := range r.attempts {
		if a.kind != "" {
			proof.Refusals = append(proof.Refusals, r.refusal(a))
		}
	}
	proof.Tokens = r.tokenCalls()
	proof.Any, proof.Failover, proof.Ingress = r.anyCalls(), r.failovers(), r.ingressCalls()
	proof.complete()
	return proof
}

// spared tells pairs between which nothing is called: the other is drained, and this one's istiod does not know it.
func (r *proving) spared(from, to mesh.Cluster) bool {
	return traffic.Hidden(r.Mesh, r.drains, from, to)
}

func (r *proving) cell(from, to mesh.Cluster) Cell {
	cell := Cell{From: from.Name, To: to.Name, Path: pathOf(from, to), OK: true, Drained: r.spared(from, to)}
	for _, a := range r.attempts {
		if !a.delivers() || a.from.Name != from.Name || a.to.Name != to.Name {
			continue
		}
		if a.tries > 0 {
			a.proof.Repeated, a.proof.Lost = a.repeated, a.lost
			if a.unsteady() {
				a.proof.OK, a.proof.Wrong, a.proof.Result = false, a.lostWords(), a.result
				cell.Reasons = append(cell.Reasons, a.lostReason())
			}
			cell.Calls = append(cell.Calls, a.proof)
		}
		cell.OK = cell.OK && a.passed
		if a.protocol == servicePorts[0].name && a.passed {
			cell.LatencyMillis = a.result.LatencyMillis
		}
		if cell.Wrong == "" && !a.passed {
			cell.Wrong = a.proof.Wrong
		}
	}
	if !cell.OK {
		cell.Reasons = append(cell.Reasons, Judge(r.caseOf(errand{from: from, to: to}))...)
		if cell.Wrong == "" {
			cell.Wrong = briefly(cell.Reasons)
		}
	}
	return cell
}

func (r *proving) refusal(a *attempt) Refusal {
	f := Refusal{From: a.from.Name, To: a.to.Name, Kind: a.kind, Issuer: a.issuer, Door: a.door, OK: a.passed, Tries: a.tries, Repeated: a.repeated, Lost: a.lost}
	if a.tries > 0 {
		result := a.result
		f.Result, f.Verdict = &result, result.Verdict()
		if a.kind == ForgedToken {
			f.Verdict = tokenVerdict(result)
		}
	}
	switch {
	case a.passed && a.kind == PlainText && !r.delivered(a.from, a.to):
		// Anybody on the way can close a connection. That it was the server's proxy shows only in that it serves others.
		f.OK, f.Verdict, f.Wrong = false, probe.Unclear, "closed, and no call that should pass shows that the server's proxy did it"
		f.Reasons = r.reasons(a)
		return f
	case a.passed:
		return f
	case a.unsteady():
		f.Wrong, f.Reasons = a.lostWords(), []Reason{a.lostReason()}
		return f
	}
	f.Reasons = r.reasons(a)
	f.Wrong = briefly(f.Reasons)
	if f.Result != nil {
		f.Wrong = Describe(*f.Result)
	}
	return f
}

// delivered tells whether a call that should pass went from one cluster to the server of another.
func (r *proving) delivered(from, to mesh.Cluster) bool {
	return slices.ContainsFunc(r.attempts, func(a *attempt) bool {
		return a.delivers() && a.from.Name == from.Name && a.to.Name == to.Name && a.proof.Delivered
	})
}
