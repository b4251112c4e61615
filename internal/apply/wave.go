package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/plan"
)

// Bounds of the requests under way: to one cluster, far below what its priority levels give one user (see facts), so
// that many clusters take no longer than a few; and to all of them together, for the memory that bodies take.
const (
	atOnce    = 24
	atOnceAll = 960
)

// wave does one wave: stage by stage, then deletions in reverse, then the inventories' last word. Before a stage
// begins, what it stands on is ready, whether it was made now or by an earlier run that ended half way. Namespaces are
// waited for at the end, all together: Kubernetes lets each of them lie for 5 s before it looks at it
// (pkg/controller/namespace), and nothing calls a deletion back that it has accepted.
func (r *run) wave(ctx context.Context, wave int, w plan.Wave) error {
	if err := r.letGo(ctx, wave, w); err != nil {
		return err
	}
	var waiting, leaving []plan.Change
	for _, group := range stages(w.Changes) {
		needed := func(c plan.Change) bool { return group[0].Action == plan.Delete || readyBy(c) < group[0].Stage }
		due := slices.DeleteFunc(slices.Clone(waiting), func(c plan.Change) bool { return !needed(c) })
		waiting = slices.DeleteFunc(waiting, needed)
		if err := r.ready(ctx, wave, due); err != nil {
			return err
		}
		if err := r.all(ctx, group, func(ctx context.Context, c plan.Change) error { return r.do(ctx, wave, c) }); err != nil {
			return err
		}
		for _, c := range group {
			switch {
			case r.lingers(c):
				leaving = append(leaving, c)
			case c.Action != plan.Delete && !settles(c):
				waiting = append(waiting, c)
			}
		}
	}
	if err := r.ready(ctx, wave, waiting); err != nil {
		return err
	}
	if err := r.all(ctx, leaving, func(ctx context.Context, c plan.Change) error { return r.left(ctx, wave, c) }); err != nil {
		return err
	}
	return r.trim(ctx, wave)
}

// stages cuts a wave's changes, which are in order, into groups that are done together.
func stages(changes []plan.Change) [][]plan.Change {
	var groups [][]plan.Change
	for _, c := range changes {
		if idle(c) {
			continue
		}
		if n := len(groups) - 1; n >= 0 && groups[n][0].Stage == c.Stage && (groups[n][0].Action == plan.Delete) == (c.Action == plan.Delete) {
			groups[n] = append(groups[n], c)
			continue
		}
		groups = append(groups, []plan.Change{c})
	}
	return groups
}

// settles tells kinds that are ready as soon as they exist.
func settles(c plan.Change) bool {
	switch c.Object.Kind {
	case "CustomResourceDefinition", "Deployment", "DaemonSet", "StatefulSet", "Job", "Pod", "MutatingWebhookConfiguration":
		return false
	case "Service":
		if c.Want == nil {
			return true
		}
		kind, _, _ := unstructured.NestedString(c.Want.Body.Object, "spec", "type") // absent is ClusterIP
		return kind != "LoadBalancer"
	}
	return true
}

// lingers tells deletions that take a while after they are accepted, and are waited for.
func (r *run) lingers(c plan.Change) bool {
	return c.Action == plan.Delete && c.Object.Kind == "Namespace" && !r.a.Detach
}

// left waits until a namespace whose deletion was accepted is gone.
func (r *run) left(ctx context.Context, wave int, c plan.Change) error {
	began, w := r.now(), r.writer(wave, c)
	if err := w.gone(ctx); err != nil {
		err = w.failed("delete", err)
		r.says(wave, c, began, "", err)
		return err
	}
	r.did(wave, c, began, "")
	return nil
}

// readyBy is the stage at whose end an object must be ready. istiod fills in its webhook's CA, in a remote cluster once
// it has the remote secret for it, and clouds take their time for an address: both are waited for only when something
// depends on them.
func readyBy(c plan.Change) plan.Stage {
	switch c.Object.Kind {
	case "MutatingWebhookConfiguration":
		return plan.StageDiscovery
	case "Service":
		return plan.StageGateways
	}
	return c.Stage
}

// all does something about changes at the same time and joins what went wrong, in the changes' order.
func (r *run) all(ctx context.Context, changes []plan.Change, do func(context.Context, plan.Change) error) error {
	errs := make([]error, len(changes))
	total := make(chan struct{}, atOnceAll)
	clusters := map[string]*errgroup.Group{}
	for _, c := range changes {
		if clusters[c.Cluster] == nil {
			clusters[c.Cluster] = &errgroup.Group{}
			clusters[c.Cluster].SetLimit(atOnce)
		}
	}
	var all sync.WaitGroup
	for name, g := range clusters {
		all.Go(func() {
			for i, c := range changes {
				if c.Cluster != name {
					continue
				}
				g.Go(func() error {
					total <- struct{}{}
					defer func() { <-total }()
					errs[i] = do(ctx, c)
					return nil
				})
			}
			_ = g.Wait() // each error is in its place
		})
	}
	all.Wait()
	return join(ctx, errs)
}

// join joins errors. When the caller gave up, the many consequences of that are one.
func join(ctx context.Context, errs []error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted: %w", context.Cause(ctx))
	}
	return errors.Join(errs...)
}

func (r *run) do(ctx context.Context, wave int, c plan.Change) error {
	began := r.now()
	r.begin(wave, c)
	err := r.act(ctx, wave, c)
	switch {
	case err != nil:
		r.says(wave, c, began, "", err)
	case c.Action == plan.Unchanged:
	case trims(c): // counted when its last word is written
	default:
		r.wrote(c)
		if (settles(c) || c.Action == plan.Delete) && !r.lingers(c) {
			r.did(wave, c, began, "")
		}
	}
	return err
}

// writer of one change, which says what it waits for.
func (r *run) writer(wave int, c plan.Change) writer {
	began := r.now()
	return writer{run: r, conn: r.a.Conns[c.Cluster], change: c, notice: func(text string) { r.says(wave, c, began, text, nil) }}
}

func (r *run) act(ctx context.Context, wave int, c plan.Change) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	w := r.writer(wave, c)
	switch c.Action {
	case plan.Create, plan.Configure:
		if c.Stage == plan.StageInventory {
			if c.First == nil {
				return nil
			}
			return w.apply(ctx, *c.First)
		}
		return w.apply(ctx, *c.Want)
	case plan.Replace:
		if s := c.Want.Sealed; s != nil && s.Kind.Irreplaceable() {
			return w.failed("replace", errors.New("its content cannot be made again, and no plan may replace it"))
		}
		if err := w.delete(ctx); err != nil {
			return err
		}
		if err := w.gone(ctx); err != nil {
			return w.failed("delete", err)
		}
		w.change.UID = ""
		return w.apply(ctx, *c.Want)
	case plan.Delete:
		if c.Stage == plan.StageSystem {
			r.locks.release(ctx, c.Cluster) // it lies in that namespace
		}
		return w.delete(ctx)
	}
	return nil
}

// trim writes inventories as they are in the end, in the clusters that have no change in a later wave.
func (r *run) trim(ctx context.Context, wave int) error {
	var due []plan.Change
	for name, c := range r.final {
		if r.last[name] == wave {
			due = append(due, c)
			delete(r.final, name)
		}
	}
	slices.SortFunc(due, func(a, b plan.Change) int { return strings.Compare(a.Cluster, b.Cluster) })
	return r.all(ctx, due, func(ctx context.Context, c plan.Change) error {
		began, w := r.now(), r.writer(wave, c)
		if c.First != nil {
			w.change.UID = "" // made a moment ago
		}
		r.begin(wave, c)
		if err := w.apply(ctx, *c.Want); err != nil {
			return err
		}
		r.wrote(c)
		r.did(wave, c, began, "")
		return nil
	})
}

// address is what a Service got, for people.
func address(ref object.Ref, addresses []string) string {
	if ref.Kind != "Service" || len(addresses) == 0 {
		return ""
	}
	return strings.Join(addresses, ", ")
}
