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
	if deadline <= 0 {
		deadline = DefaultDeadline
	}
	s := Snapshot{Taken: now().UTC(), Clusters: map[string]*Cluster{}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, c := range m.Clusters {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, deadline)
			defer cancel()
			g := gatherer{owner: m.Name, now: now, want: want[c.Name], rights: Rights(m, want, c.Name), pull: c.Istio.ImagePullSecrets}
			out := g.gather(ctx, c.Name, func() (*cluster.Conn, error) { return dial(c) })
			mu.Lock()
			defer mu.Unlock()
			s.Clusters[c.Name] = out
		})
	}
	wg.Wait()
	return s
}

// GatherSet reads only what a plan about a set of objects in one cluster needs: the live objects and the inventory
// of that owner. Errors: the cluster does not answer.
func GatherSet(ctx context.Context, conn *cluster.Conn, owner string, want []object.Object, now func() time.Time) (Snapshot, error) {
	g := gatherer{owner: owner, now: now, want: want, conn: conn, out: newCluster(conn.Name)}
	if err := g.live(ctx); err != nil {
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
	out    *Cluster
	mu     sync.Mutex
}

func newCluster(name string) *Cluster {
	return &Cluster{
		Name: name, Secrets: map[string]*Secret{}, Live: map[object.Ref]*unstructured.Unstructured{},
		Unread: map[object.Ref]string{},
	}
}

func (g *gatherer) gather(ctx context.Context, name string, dial func() (*cluster.Conn, error)) *Cluster {
	g.out = newCluster(name)
	err := g.all(ctx, dial)
	if err == nil {
		slices.SortFunc(g.out.Denied, compareRights)
		g.out.Denied = slices.Compact(g.out.Denied)
		return g.out
	}
	// Half of what is true is worse than nothing: an object that was not read would look like one that is missing.
	failed := newCluster(name)
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

func (g *gatherer) all(ctx context.Context, dial func() (*cluster.Conn, error)) error {
	conn, err := connOf(dial)
	if err != nil {
		return err
	}
	g.conn = conn
	if err := g.reach(ctx); err != nil {
		return err
	}
	tasks, ctx := errgroup.WithContext(ctx)
	for _, read := range []func(context.Context) error{
		g.identity, g.nodes, g.serviceCIDRs, g.namespaces, g.crds, g.webhooks, g.controlPlanes, g.gateways,
		g.services, g.meshed, g.remoteSecrets, g.wellKnownSecrets, g.denied, g.live, g.inventories,
	} {
		tasks.Go(func() error { return read(ctx) })
	}
	return tasks.Wait()
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
