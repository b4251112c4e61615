// Package engine puts the parts together: document → wanted objects → facts → plan → apply. Commands are thin
// over it, and so will be the controller. It prints nothing and knows no flag.
package engine

import (
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
	// Options are what a plan may take from others.
	Options plan.Options
}

// LoadCharts returns an engine whose mesh has all charts to render from. It is needed before Want and what builds on
// it; with the embedded charts it reads nothing.
func (e Engine) LoadCharts(ctx context.Context) (Engine, error) {
	m, err := e.Charts.Load(ctx, e.Mesh)
	e.Mesh = m
	return e, err
}

// A Prospect is a plan and what it was made from.
type Prospect struct {
	Plan  plan.Plan
	Facts facts.Snapshot
	// Findings are what is worth knowing of the files that the document names, and stops nothing.
	Findings []analyze.Finding
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
		{"istio", istio.Objects},
		{"trust", func(m mesh.Mesh) (object.Objects, error) { return trust.Objects(m), nil }},
		{"discovery", discovery.Objects},
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

// Facts reads every cluster, and the objects that want names.
func (e Engine) Facts(ctx context.Context, want object.Objects) facts.Snapshot {
	return facts.Gather(ctx, e.Mesh, want, e.Dial, e.Deadline, e.Now)
}

// Plan decides what would change. It writes nothing.
func (e Engine) Plan(ctx context.Context) (Prospect, error) {
	want, findings, err := e.want()
	if err != nil {
		return Prospect{}, err
	}
	p, err := e.plan(ctx, want)
	p.Findings = findings
	return p, err
}

// PlanRemoval decides how everything that Isthmus made goes away again. It writes nothing.
func (e Engine) PlanRemoval(ctx context.Context) (Prospect, error) {
	return e.plan(ctx, object.Objects{})
}

func (e Engine) plan(ctx context.Context, want object.Objects) (Prospect, error) {
	now := e.Facts(ctx, want)
	if err := ctx.Err(); err != nil {
		return Prospect{}, err
	}
	return e.decide(want, now)
}

func (e Engine) decide(want object.Objects, now facts.Snapshot) (Prospect, error) {
	p, err := plan.Make(plan.Input{
		Mesh: e.Mesh, Want: want, Now: now, Judges: Judges(), Restart: trust.JudgeIstiod,
		Options: e.Options, Guards: []plan.Guard{trust.Guard},
	})
	return Prospect{Plan: p, Facts: now}, err
}

// Judges say whether secrets that exist are still right.
func Judges() map[object.SealKind]plan.Judge {
	return map[object.SealKind]plan.Judge{
		object.SealRoot:         trust.JudgeRoot,
		object.SealIntermediate: trust.JudgeIntermediate,
		object.SealRemoteSecret: discovery.JudgeRemoteSecret,
	}
}

// Conns connects to every cluster that a plan touches or needs.
func (e Engine) Conns() (map[string]*cluster.Conn, error) {
	conns := map[string]*cluster.Conn{}
	for _, c := range e.Mesh.Clusters {
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
	conns, err := e.Conns()
	if err != nil {
		return apply.ChangeSet{}, err
	}
	a := apply.Applier{Conns: conns, Sealers: seal.Sealers(e.Mesh, conns, e.Now, e.Rand)}
	return a.Apply(ctx, p, report)
}

// Unreachable lists the clusters that did not answer, in document order.
func (p Prospect) Unreachable(m mesh.Mesh) []string {
	var names []string
	for _, c := range m.Clusters {
		if f := p.Facts.Clusters[c.Name]; f == nil || f.Err != "" {
			names = append(names, c.Name)
		}
	}
	return slices.Clip(names)
}
