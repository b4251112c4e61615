package apply

import (
	"context"
	"errors"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordination "k8s.io/client-go/kubernetes/typed/coordination/v1"

	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/patience"
)

// Whether a Lease is held is told by one's own clock alone: who watches it sees it renewed or not, who holds it knows when
// its last renewal was answered.

// abandoned watches a Lease for as long as one lasts, and tells whether nobody renewed it. Times in it are not looked at: they
// are of its holder's clock, which may be wrong, or of the year 2099 (client-go's leader election does the same).
func (l *locks) abandoned(ctx context.Context, leases coordination.LeaseInterface, seen *coordinationv1.Lease) (bool, error) {
	for began := l.lock.Clock(); ; {
		over := l.lock.Clock()-began > l.lock.For // before the look: what was renewed until then is seen by it
		now, err := leases.Get(ctx, seen.Name, metav1.GetOptions{})
		switch {
		case err != nil:
			return false, err
		case now.ResourceVersion != seen.ResourceVersion:
			return false, nil
		case over:
			return true, nil
		}
		if err := patience.Sleep(ctx, l.lock.Every/5); err != nil {
			return false, err
		}
	}
}

// keep renews a Lease until it is released. since is when it was asked for.
func (l *locks) keep(ctx context.Context, name string, lease *coordinationv1.Lease, since time.Duration) {
	ctx, stop := context.WithCancel(ctx)
	h := &held{lease: lease, renewed: since, stop: stop, done: make(chan struct{})}
	l.mu.Lock()
	l.held[name] = h
	l.mu.Unlock()
	go func() {
		defer close(h.done)
		for patience.Sleep(ctx, l.lock.Every) == nil {
			began := l.lock.Clock()
			err := l.renew(ctx, name, h)
			switch {
			case err == nil:
				l.mu.Lock()
				h.renewed = began
				l.mu.Unlock()
			case ctx.Err() != nil:
				return
			case errors.As(err, new(*LockedError)), apierrors.IsNotFound(err), l.stale(h):
				l.lose(fmt.Errorf("the lock in cluster %s was lost: %s", name, explain(err)))
				return
			}
		}
	}()
}

// stale tells that a Lease was not renewed for so long that somebody else may take it before a request that is made now has
// ended. A machine that was suspended finds that out before its next write.
func (l *locks) stale(h *held) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lock.Clock()-h.renewed > l.lock.For-min(l.lock.For/4, longestRequest)
}

// longestRequest is how long a request may take (see cluster.Options).
const longestRequest = 10 * time.Second

// mayWrite refuses a write in a cluster whose Lease may be somebody else's by now. nil where nothing is locked.
func (l *locks) mayWrite(name string) error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	h := l.held[name]
	l.mu.Unlock()
	if h == nil || !l.stale(h) {
		return nil
	}
	err := fmt.Errorf("the lock in cluster %s was not renewed in time (was this machine suspended?), and somebody else may write by now", name)
	l.lose(err)
	return err
}

func (l *locks) renew(ctx context.Context, name string, h *held) error {
	leases := l.run.a.Conns[name].Kube.CoordinationV1().Leases(object.SystemNamespace)
	mine := h.lease.DeepCopy()
	now := metav1.NewMicroTime(l.run.now())
	mine.Spec.RenewTime = &now
	got, err := leases.Update(ctx, mine, metav1.UpdateOptions{FieldManager: object.Manager})
	if apierrors.IsConflict(err) { // taken over, or an answer that was lost
		got, err = l.ours(ctx, name)
	}
	if err == nil {
		h.lease = got
	}
	return err
}

// ours is a cluster's Lease as it is now; LockedError if it is no longer this run's.
func (l *locks) ours(ctx context.Context, name string) (*coordinationv1.Lease, error) {
	there, err := l.run.a.Conns[name].Kube.CoordinationV1().Leases(object.SystemNamespace).Get(ctx, LockName(l.mesh), metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	if holder, since := holderOf(there); holder.ID != l.lock.Holder.ID {
		return nil, &LockedError{Mesh: l.mesh, Cluster: name, Holder: holder, Since: since}
	}
	return there, nil
}
