package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"isthmus.dev/isthmus/internal/apply"
	"isthmus.dev/isthmus/internal/discovery"
	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/patience"
	"isthmus.dev/isthmus/internal/plan"
	"isthmus.dev/isthmus/internal/status"
	"isthmus.dev/isthmus/internal/traffic"
)

// drainLook is how often istiods are asked whether a drain has reached the proxies.
const drainLook = time.Second

// PlanDrain decides how calls are kept from clusters, or from such no more. What else the document wants is not done by
// the way: aside counts the writes that it would take.
func (e Engine) PlanDrain(ctx context.Context, drain, undrain []string) (p Prospect, aside int, err error) {
	look, err := e.Look(ctx)
	if err != nil {
		return Prospect{}, 0, err
	}
	p, aside, err = e.decideDrain(look.Want, look.Now, drain, undrain)
	p.Findings = look.Findings
	return p, aside, err
}

// decideDrain counts for aside what is written whether the clusters are to be drained or not. Other ways do not tell it
// from what a run left that was killed: records may say that a drain holds, with the rest of it still to do, and a remote
// secret may be gone that only a drain is without.
func (e Engine) decideDrain(want object.Objects, now facts.Snapshot, drain, undrain []string) (p Prospect, aside int, err error) {
	e.Options.Drain, e.Options.Undrain = undrain, drain
	opposite, err := e.decide(want, now)
	if err != nil {
		return Prospect{}, 0, err
	}
	e.Options.Drain, e.Options.Undrain = drain, undrain
	p, err = e.decide(want, now)
	return p, writtenByBoth(p.Plan, opposite.Plan), err
}

// writtenByBoth counts the writes that two plans have in common.
func writtenByBoth(a, b plan.Plan) int {
	type place struct {
		cluster string
		object  object.Ref
	}
	in := map[place]plan.Change{}
	for _, w := range a.Waves {
		for _, c := range w.Changes {
			if c.Action != plan.Unchanged {
				in[place{c.Cluster, c.Object}] = c
			}
		}
	}
	n := 0
	for _, w := range b.Waves {
		for _, c := range w.Changes {
			x, ok := in[place{c.Cluster, c.Object}]
			if ok && x.Action == c.Action && (x.Want == nil) == (c.Want == nil) && (c.Want == nil || equality.Semantic.DeepEqual(x.Want.Body, c.Want.Body)) {
				n++
			}
		}
	}
	return n
}

// said is what the options say of keeping calls from clusters.
func (e Engine) said() traffic.Said {
	return traffic.Said{Drain: e.Options.Drain, Undrain: e.Options.Undrain, By: e.Options.By}
}

// A Drained cluster and who must know.
type Drained struct {
	Name string
	facts.Drain
	// Callers are the clusters whose istiods no longer send to it.
	Callers []mesh.Cluster
	// Own is the cluster from which its own istiod reads its configuration.
	Own mesh.Cluster
}

// Drained are the clusters that are drained once a plan of these facts is done, in document order.
func (e Engine) Drained(now facts.Snapshot) []Drained {
	drains := traffic.Drains(e.Mesh, now, e.said())
	var out []Drained
	for _, c := range e.Mesh.Clusters {
		if !drains[c.Name].On {
			continue
		}
		d := Drained{Name: c.Name, Drain: drains[c.Name], Own: e.Mesh.Primary(c)}
		for _, g := range e.Mesh.Governors() {
			if g.Name != d.Own.Name {
				d.Callers = append(d.Callers, g)
			}
		}
		out = append(out, d)
	}
	return out
}

// OnlyIn lists the services of drained clusters' meshes of which an istiod elsewhere knows no endpoint in any cluster
// that stays: calls to them would fail. Clusters that do not answer are passed over; err says that nobody could tell.
func (e Engine) OnlyIn(ctx context.Context, now facts.Snapshot) ([]string, error) {
	drained := e.Drained(now)
	var names []string
	for _, d := range drained {
		names = append(names, d.Name)
	}
	mine := func(namespace string) bool {
		return slices.ContainsFunc(names, func(c string) bool { f := now.Clusters[c]; return f != nil && traffic.Meshed(f, namespace) })
	}
	var last error
	for _, g := range e.Mesh.Governors() {
		f := now.Clusters[e.Mesh.Host(g).Name]
		if slices.Contains(names, g.Name) || !f.Answered() {
			continue
		}
		conn, err := e.Dial(e.Mesh.Host(g))
		if err != nil {
			last = err
			continue
		}
		hosts, err := status.OnlyIn(ctx, conn, g.IstioNamespace(), names, mine)
		conn.Close()
		if last = err; err == nil {
			return hosts, nil
		}
	}
	return nil, last
}

// HowFar asks, before a plan is done, how far istiods are with telling their proxies things, by cluster: those whose
// mesh configuration the plan changes so that callers of a drained cluster prefer another. Who cannot be asked is left out.
func (e Engine) HowFar(ctx context.Context, p Prospect) map[string]status.Pushed {
	out := map[string]status.Pushed{}
	for _, d := range e.Drained(p.Facts) {
		config := object.Ref{Kind: "ConfigMap", Namespace: d.Own.IstioNamespace(), Name: discovery.MeshConfig(d.Own)}
		changes := func(c plan.Change) bool {
			return c.Cluster == d.Own.Name && c.Object == config && (c.Action == plan.Create || c.Action == plan.Configure)
		}
		if !slices.ContainsFunc(p.Plan.Waves, func(w plan.Wave) bool { return slices.ContainsFunc(w.Changes, changes) }) {
			continue
		}
		conn, err := e.Dial(e.Mesh.Host(d.Own))
		if err != nil {
			continue
		}
		if far, err := status.HowFar(ctx, conn, d.Own.IstioNamespace()); err == nil {
			out[d.Own.Name] = far
		}
		conn.Close()
	}
	return out
}

// AwaitDrained waits until no proxy sends to drained clusters any more, and theirs prefer others. Left names clusters
// of which that is not known: they do not answer in facts and are not asked, or the caller may not ask their istiods.
// since is how far istiods were before (HowFar). Errors: ctx, or somebody who does not come so far within limit.
func (e Engine) AwaitDrained(ctx context.Context, now facts.Snapshot, since map[string]status.Pushed, limit time.Duration, report func(string)) (left []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var mu sync.Mutex
	note := func(name string) {
		mu.Lock()
		defer mu.Unlock()
		left = append(left, name)
	}
	say := func(s string) {
		mu.Lock()
		defer mu.Unlock()
		if report != nil {
			report(s)
		}
	}
	asks, ctx := errgroup.WithContext(ctx)
	for _, d := range e.Drained(now) {
		for _, g := range append(slices.Clone(d.Callers), d.Own) {
			if f := now.Clusters[e.Mesh.Host(g).Name]; !f.Answered() {
				note(g.Name)
				continue
			}
			asks.Go(func() error {
				err := e.await(ctx, d, g, since[g.Name], say)
				if apierrors.IsForbidden(err) {
					note(g.Name)
					return nil
				}
				return err
			})
		}
	}
	err = asks.Wait()
	slices.Sort(left)
	return slices.Compact(left), err
}

// await asks one cluster's istiods until they have let go of a drained cluster, or prefer another. Where the caller may
// not ask them it gives them time, and returns that error.
func (e Engine) await(ctx context.Context, d Drained, g mesh.Cluster, since status.Pushed, report func(string)) error {
	conn, err := e.Dial(e.Mesh.Host(g))
	if err != nil {
		return err
	}
	defer conn.Close()
	for {
		var still string
		if g.Name == d.Own.Name {
			if d.To == "" {
				return nil
			}
			still, err = status.Prefers(ctx, conn, g.IstioNamespace(), d.To, since)
		} else {
			still, err = status.Sends(ctx, conn, g.IstioNamespace(), []string{d.Name})
		}
		switch {
		case err == nil && still == "":
			return nil
		case apierrors.IsForbidden(err):
			report(fmt.Sprintf("%s: nobody may ask its istiod: waiting %s instead", g.Name, apply.Blind))
			_ = patience.Sleep(ctx, apply.Blind) // that nobody may ask is the error
			return err
		case ctx.Err() == nil && err != nil:
			still = strings.TrimSpace(err.Error())
		}
		if still != "" {
			report(fmt.Sprintf("%s: %s", g.Name, still))
		}
		if err := patience.Sleep(ctx, drainLook); err != nil {
			if still == "" {
				still = "did not answer"
			}
			return fmt.Errorf("cluster %s: %s: %w", g.Name, still, err)
		}
	}
}
