package facts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"isthmus.dev/isthmus/internal/cluster"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// DefaultDeadline is how long a cluster has to answer everything that is asked of it.
const DefaultDeadline = 10 * time.Second

// atOnce bounds the requests that are under way to one API server: far below what its priority levels give one
// user (Kubernetes: flowcontrol, 340 seats shared), and enough to hide the round trips.
const atOnce = 24

// Gather reads every cluster of a mesh, all at the same time, each within its own deadline (zero: DefaultDeadline).
// want are the objects whose live state is needed beside those that the inventories list. It never fails as a
// whole: a cluster that does not answer has Err and Cause. now is the clock that ages and skews are told by.
func Gather(ctx context.Context, m mesh.Mesh, want object.Objects, dial cluster.Dialer, deadline time.Duration, now func() time.Time) Snapshot {
	return Begin(ctx, m, dial, deadline, now).End(ctx, want)
}

// A Reading is Gather under way: everything that can be read before it is known what is wanted.
type Reading struct {
	mesh  mesh.Mesh
	taken time.Time
	of    []*begun // as the mesh's clusters
	wg    sync.WaitGroup
}

// begun is one cluster of a Reading. What is left of its deadline is for what End asks: the time between does not count.
type begun struct {
	g    *gatherer
	left time.Duration
	err  error
}

// Begin is the part of Gather that needs not know what is wanted, which takes a while to compute. It returns at once;
// ctx ends it.
func Begin(ctx context.Context, m mesh.Mesh, dial cluster.Dialer, deadline time.Duration, now func() time.Time) *Reading {
	if deadline <= 0 {
		deadline = DefaultDeadline
	}
	r := &Reading{mesh: m, taken: now().UTC()}
	for _, c := range m.Clusters {
		b := &begun{g: &gatherer{owner: m.Name, now: now, pull: c.Istio.ImagePullSecrets, out: newCluster(c.Name)}, left: deadline}
		r.of = append(r.of, b)
		r.wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, deadline)
			defer cancel()
			start := time.Now()
			b.err = b.g.first(ctx, func() (*cluster.Conn, error) { return dial(c) })
			b.left -= time.Since(start)
		})
	}
	return r
}

// End reads the rest, for what is wanted, and returns the whole.
func (r *Reading) End(ctx context.Context, want object.Objects) Snapshot {
	r.wg.Wait()
	for i, b := range r.of {
		name := r.mesh.Clusters[i].Name
		b.g.want, b.g.rights = want[name], Rights(r.mesh, want, name)
		if b.err != nil {
			continue
		}
		r.wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, b.left)
			defer cancel()
			b.err = b.g.then(ctx)
		})
	}
	r.wg.Wait()
	s := Snapshot{Taken: r.taken, Clusters: map[string]*Cluster{}}
	for i, b := range r.of {
		s.Clusters[r.mesh.Clusters[i].Name] = b.g.judged(b.err)
	}
	return s
}

// GatherSet reads only what a plan about a set of objects in one cluster needs: the live objects and the inventory
// of that owner. Errors: the cluster does not answer.
func GatherSet(ctx context.Context, conn *cluster.Conn, owner string, want []object.Object, now func() time.Time) (Snapshot, error) {
	g := gatherer{owner: owner, now: now, want: want, conn: conn, out: newCluster(conn.Name)}
	g.definitions = g.defined(ctx)
	if err := errors.Join(g.recorded(ctx), g.live(ctx)); err != nil {
		return Snapshot{}, fmt.Errorf("cluster %s: %w", conn.Name, err)
	}
	return Snapshot{Taken: now().UTC(), Clusters: map[string]*Cluster{conn.Name: g.out}}, nil
}

// A gatherer reads one cluster. Its tasks run at the same time; each writes fields of its own, and what they
// share is behind mu.
type gatherer struct {
	owner  string
	now    func() time.Time
	want   []object.Object
	rights []Right
	pull   []string // names of image pull secrets in Istio's namespace
	conn   *cluster.Conn
	// definitions are those of kinds, read once.
	definitions func() (*metav1.PartialObjectMetadataList, error)
	out         *Cluster
	mu          sync.Mutex
}

func newCluster(name string) *Cluster {
	return &Cluster{
		Name: name, Secrets: map[string]*Secret{}, Live: map[object.Ref]*unstructured.Unstructured{},
		Unread: map[object.Ref]string{},
	}
}

// first reads what does not depend on what is wanted.
func (g *gatherer) first(ctx context.Context, dial func() (*cluster.Conn, error)) error {
	conn, err := connOf(dial)
	if err != nil {
		return err
	}
	g.conn, g.definitions = conn, g.defined(ctx)
	if err := g.reach(ctx); err != nil {
		return err
	}
	return all(ctx, g.identity, g.nodes, g.serviceCIDRs, g.namespaces, g.crds, g.webhooks, g.controlPlanes, g.gateways,
		g.services, g.meshed, g.remoteSecrets, g.wellKnownSecrets, g.inventories, g.recorded)
}

// then reads what is wanted.
func (g *gatherer) then(ctx context.Context) error { return all(ctx, g.denied, g.live) }

// all runs reads at the same time, and ends them all with the first that fails.
func all(ctx context.Context, reads ...func(context.Context) error) error {
	tasks, ctx := errgroup.WithContext(ctx)
	for _, read := range reads {
		tasks.Go(func() error { return read(ctx) })
	}
	return tasks.Wait()
}

// judged is what was read, or why nothing was.
func (g *gatherer) judged(err error) *Cluster {
	if err == nil {
		slices.SortFunc(g.out.Denied, compareRights)
		g.out.Denied = slices.Compact(g.out.Denied)
		return g.out
	}
	// Half of what is true is worse than nothing: an object that was not read would look like one that is missing.
	failed := newCluster(g.out.Name)
	failed.Server, failed.CABundle, failed.Insecure = g.out.Server, g.out.CABundle, g.out.Insecure
	failed.ServerNotAfter = g.out.ServerNotAfter
	failed.Cause, failed.Err = CauseUnreachable, fmt.Sprintf("%s: %s", g.out.Server, Plain(err))
	if r, ok := errors.AsType[*reachError](err); ok {
		failed.Cause, failed.Err = r.cause, r.why
	} else if c := CauseOf(err); c != CauseUnreachable {
		failed.Cause = c
	}
	return failed
}

// tolerate turns what a read may meet in a healthy cluster into facts: a missing right is listed, a missing kind or
// object is nothing. Everything else means that the cluster cannot be judged now.
func (g *gatherer) tolerate(err error, right Right) error {
	switch {
	case err == nil, apierrors.IsNotFound(err), apierrors.IsMethodNotSupported(err):
		return nil
	case apierrors.IsForbidden(err):
		g.mu.Lock()
		defer g.mu.Unlock()
		g.out.Denied = append(g.out.Denied, right)
		return nil
	}
	return fmt.Errorf("%s: %w", right, err)
}

func gvkOf(ref object.Ref, version string) schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: ref.Group, Version: version, Kind: ref.Kind}
}
