// Package engine puts the parts together: document → wanted objects → facts → plan → apply. Commands are thin
// over it, and so will be the controller. It prints nothing and knows no flag.
package engine

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"isthmus.dev/isthmus/internal/analyze"
	"isthmus.dev/isthmus/internal/apply"
	"isthmus.dev/isthmus/internal/charts"
	"isthmus.dev/isthmus/internal/cluster"
	"isthmus.dev/isthmus/internal/discovery"
	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/istio"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/plan"
	"isthmus.dev/isthmus/internal/policy"
	"isthmus.dev/isthmus/internal/resources"
	"isthmus.dev/isthmus/internal/seal"
	"isthmus.dev/isthmus/internal/status"
	"isthmus.dev/isthmus/internal/traffic"
	"isthmus.dev/isthmus/internal/trust"
)

// An Engine works on one mesh.
type Engine struct {
	Mesh mesh.Mesh
	Dial cluster.Dialer
	// Now is the clock, Rand the source of keys and serial numbers.
	Now  func() time.Time
	Rand io.Reader
	// Deadline is how long one cluster may take to answer; zero is facts' default.
	Deadline time.Duration
	// Charts reads charts that are not embedded; its zero value will do.
	Charts charts.Reader
	// Renderings are what charts gave before; nil: they are rendered every time.
	Renderings istio.Kept
	// Options are what a person lets a plan do.
	Options plan.Options
	// Leaving are clusters that the document still names and Mesh does not, see Without.
	Leaving []mesh.Cluster
	// Lock is who applies; nil: nobody is kept from applying at the same time.
	Lock *apply.Lock
}

// LoadCharts returns an engine whose mesh has all charts to render from. It is needed before Want and what builds on
// it; with the embedded charts it reads nothing.
func (e Engine) LoadCharts(ctx context.Context) (Engine, error) {
	m, err := e.Charts.Load(ctx, e.Mesh)
	e.Mesh = m
	return e, err
}

// Without is the engine of the mesh that is left when clusters leave it.
func (e Engine) Without(names ...string) (Engine, error) {
	var err error
	e.Mesh, e.Leaving, err = e.Mesh.Without(names...)
	return e, err
}

// A Prospect is a plan and what it was made from.
type Prospect struct {
	Plan  plan.Plan
	Facts facts.Snapshot
	// Findings are what is worth knowing of the files that the document names, and stops nothing.
	Findings []analyze.Finding
	// Uninstall tells that everything is to go.
	Uninstall bool
}

// Want computes what should exist in every cluster.
func (e Engine) Want() (object.Objects, error) {
	want, _, err := e.want()
	return want, err
}

// want reads the files that the document names, and adds their objects to those that the document itself means.
func (e Engine) want() (object.Objects, []analyze.Finding, error) {
	sources, err := resources.Read(e.Mesh)
	if err != nil {
		return nil, nil, err
	}
	want, err := e.made()
	if err != nil {
		return nil, nil, err
	}
	objects, findings, err := resources.Objects(e.Mesh, sources, want)
	if err != nil {
		return nil, nil, err
	}
	for name, list := range objects {
		want.Add(name, list...)
	}
	return want, findings, nil
}

// made are the objects that the document means by itself.
func (e Engine) made() (object.Objects, error) {
	want := object.Objects{}
	for _, part := range []struct {
		name    string
		objects func(mesh.Mesh) (object.Objects, error)
	}{
		{"istio", istio.Renderer{Kept: e.Renderings}.Objects},
		{"trust", func(m mesh.Mesh) (object.Objects, error) { return trust.Objects(m), nil }},
		{"discovery", discovery.Objects},
		{"traffic", func(m mesh.Mesh) (object.Objects, error) { return traffic.Objects(m), nil }},
		{"policy", func(m mesh.Mesh) (object.Objects, error) { return policy.Objects(m, want) }},
	} {
		objects, err := part.objects(e.Mesh)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", part.name, err)
		}
		for name, list := range objects {
			want.Add(name, list...)
		}
	}
	return want, nil
}

// Facts reads every cluster, those too that left the document and are not clean yet, and the objects that want names.
func (e Engine) Facts(ctx context.Context, want object.Objects) facts.Snapshot {
	return e.finish(ctx, e.begin(ctx), want)
}

func (e Engine) begin(ctx context.Context) *facts.Reading {
	return facts.Begin(ctx, e.Mesh, e.Dial, e.Deadline, e.Now)
}

func (e Engine) finish(ctx context.Context, r *facts.Reading, want object.Objects) facts.Snapshot {
	s := r.End(ctx, want)
	facts.GatherLeft(ctx, e.Mesh, &s, e.Leaving, e.Dial, e.Deadline, e.Now)
	return s
}

// hold adds what the namespaces hold that go when want is all that is wanted.
func (e Engine) hold(ctx context.Context, s facts.Snapshot, want object.Objects) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(e.Deadline, facts.DefaultDeadline))
	defer cancel()
	facts.Hold(ctx, e.Mesh.Name, s, want, func(name string) (*cluster.Conn, error) {
		c, ok := e.Mesh.Cluster(name)
		if !ok {
			if c, ok = facts.Reached(e.Mesh, e.Leaving, name); !ok {
				return nil, fmt.Errorf("nobody says how it is reached")
			}
		}
		return e.Dial(c)
	})
}

// A Look is what the document wants and what there is.
type Look struct {
	Want     object.Objects
	Findings []analyze.Finding
	Now      facts.Snapshot
}

// Look computes what should exist, and reads the clusters meanwhile.
func (e Engine) Look(ctx context.Context) (Look, error) {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	r := e.begin(reading)
	want, findings, err := e.want()
	if err != nil {
		return Look{}, err
	}
	now := e.finish(ctx, r, want)
	e.hold(ctx, now, want)
	return Look{want, findings, now}, ctx.Err()
}

// Plan decides what would change. It writes nothing.
func (e Engine) Plan(ctx context.Context) (Prospect, error) {
	look, err := e.Look(ctx)
	if err != nil {
		return Prospect{}, err
	}
	p, err := e.decide(look.Want, look.Now)
	p.Findings = look.Findings
	return p, err
}

// PlanRemoval decides how everything that Isthmus made goes away again. It writes nothing.
func (e Engine) PlanRemoval(ctx context.Context) (Prospect, error) {
	now := e.Facts(ctx, nil)
	e.hold(ctx, now, nil)
	if err := ctx.Err(); err != nil {
		return Prospect{}, err
	}
	p, err := e.decide(object.Objects{}, now)
	p.Uninstall = true
	return p, err
}

func (e Engine) decide(want object.Objects, now facts.Snapshot) (Prospect, error) {
	want, waiting := istio.Resolve(e.Mesh, want, now)
	drains := traffic.Drains(e.Mesh, now, e.said())
	want, dropped, err := traffic.Drain(e.Mesh, want, now, drains)
	if err != nil {
		return Prospect{}, err
	}
	keeper := trust.FindKeeper(e.Mesh, now)
	doubted := make([]plan.DoubtedRoot, 0, len(keeper.Doubted))
	for _, d := range keeper.Doubted {
		doubted = append(doubted, plan.DoubtedRoot{Cluster: d.Cluster, Fingerprint: d.Fingerprint, Why: d.Why})
	}
	p, err := plan.Make(plan.Input{
		RootFrom: keeper.Cluster, RootsInUse: trust.InUse(e.Mesh, now), DoubtedRoots: doubted,
		Mesh: e.Mesh, Want: want, Now: now, Judges: Judges(), Restart: trust.JudgeIstiod,
		Options: e.Options, Guards: []plan.Guard{trust.Guard}, Waiting: waiting, Drains: drains, Dropped: dropped,
	})
	return Prospect{Plan: p, Facts: now}, err
}

// Judges say whether secrets that exist are still right, by one snapshot.
func Judges() map[object.SealKind]plan.Judge {
	remote := discovery.Judge()
	return map[object.SealKind]plan.Judge{
		object.SealRoot:          trust.JudgeRoot,
		object.SealIntermediate:  trust.JudgeIntermediate,
		object.SealRemoteSecret:  remote,
		object.SealConfigCluster: remote,
	}
}

// Conns connects to every cluster of the document, and to those that left it and are named.
func (e Engine) Conns(left ...string) (map[string]*cluster.Conn, error) {
	conns := map[string]*cluster.Conn{}
	clusters := slices.Clone(e.Mesh.Clusters)
	for _, name := range left {
		c, ok := facts.Reached(e.Mesh, e.Leaving, name)
		if !ok { // a saved plan's word is not enough
			return nil, fmt.Errorf("cluster %s has left the mesh, and neither the document nor the command line says how it is reached: --leave %[1]s=CONTEXT", name)
		}
		clusters = append(clusters, c)
	}
	for _, c := range clusters {
		conn, err := e.Dial(c)
		if err != nil {
			return nil, err
		}
		conns[c.Name] = conn
	}
	return conns, nil
}

// Apply does a plan and reports every step.
func (e Engine) Apply(ctx context.Context, p plan.Plan, report func(apply.Event)) (apply.ChangeSet, error) {
	conns, err := e.Conns(p.Left...)
	if err != nil {
		return apply.ChangeSet{}, err
	}
	clock := func() time.Time { return e.Now().Add(p.Skew) }
	a := apply.Applier{
		Conns: conns, Sealers: seal.Sealers(e.Mesh, conns, clock, e.Rand), Lock: e.Lock,
		LetGo: func(ctx context.Context, cluster string, of []string) (string, error) {
			return status.Sends(ctx, conns[cluster], "", of)
		},
	}
	return a.Apply(ctx, p, report)
}

// Unreachable lists the clusters that did not answer, in document order.
func (p Prospect) Unreachable(m mesh.Mesh) []string {
	var names []string
	for _, c := range m.Clusters {
		if f := p.Facts.Clusters[c.Name]; !f.Answered() {
			names = append(names, c.Name)
		}
	}
	return slices.Clip(names)
}
