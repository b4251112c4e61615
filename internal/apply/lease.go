package apply

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/patience"
	"isthmus.dev/isthmus/internal/plan"
)

// A Lock keeps two runs from writing to one mesh at the same time. It is a Lease in every cluster that a plan writes
// to, and in the home cluster when that answers: so two runs exclude each other even if each of them reaches only
// some of the clusters. It is there while something is written and at no other time.
type Lock struct {
	// Home is the cluster whose Lease is taken first: of two who begin at once, one gets all of them.
	Home string
	// Holder is who runs.
	Holder Holder
	// Dead tells that a holder is a process of this machine that is no more: its Lease is free at once.
	Dead func(Holder) bool
	// Steal takes the Lease of whoever holds it.
	Steal bool
	// For is how long a Lease lasts that nobody renews, by the clock of whoever watches it. Zero: 60 s.
	For time.Duration
	// Every is how often it is renewed. Zero: 10 s.
	Every time.Duration
	// Clock is time that passes while the machine is suspended too; nil: patience.Elapsed.
	Clock func() time.Duration
}

// A Holder is who holds a lock.
type Holder struct {
	// ID is different for every run.
	ID   string `json:"id"`
	User string `json:"user"`
	Host string `json:"host"`
	// Place tells process tables apart, so that PID means something; empty where that is not known.
	Place   string `json:"place,omitempty"`
	PID     int    `json:"pid,omitempty"`
	Command string `json:"command,omitempty"`
}

func (h Holder) String() string {
	s := h.User + "@" + h.Host
	if h.Command != "" {
		s += fmt.Sprintf(" (%s)", h.Command)
	}
	return s
}

const (
	lockFor   = 60 * time.Second
	lockEvery = 10 * time.Second
	// annotationHolder is the Holder of a Lease as JSON.
	annotationHolder = "isthmus.dev/holder"
)

// LockName is the Lease of a mesh in isthmus-system.
func LockName(mesh string) string { return "isthmus-lock-" + mesh }

// A LockedError means that somebody else is writing. Nothing was written.
type LockedError struct {
	Mesh, Cluster string
	Holder        Holder
	Since         time.Time // by the holder's clock
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("cluster %s: mesh %s is being changed by %s since %s, who renewed the lock a moment ago\n  Wait for that run; when nobody renews the lock any more it is free by itself. If you know that the run is dead: --steal-lock",
		e.Cluster, e.Mesh, e.Holder, e.Since.UTC().Format(time.TimeOnly+" MST"))
}

// locks are the Leases that a run holds. The zero and the nil value hold none.
type locks struct {
	run  *run
	lock Lock
	mesh string
	lose context.CancelCauseFunc

	mu   sync.Mutex
	held map[string]*held // by cluster
}

type held struct {
	lease *coordinationv1.Lease
	// renewed is when the last renewal that was answered was begun: the Lease is ours for that long at least.
	renewed time.Duration
	stop    context.CancelFunc
	done    chan struct{}
}

// lock takes the Leases for a plan that writes. The context that it returns ends when one of them is lost.
func (r *run) lock(ctx context.Context, p plan.Plan) (context.Context, func(), error) {
	if r.a.Lock == nil || p.Writes() == 0 {
		return ctx, func() {}, nil
	}
	ctx, lose := context.WithCancelCause(ctx)
	l := &locks{run: r, lock: *r.a.Lock, mesh: p.Mesh, lose: lose, held: map[string]*held{}}
	l.lock.For, l.lock.Every = cmp.Or(l.lock.For, lockFor), cmp.Or(l.lock.Every, lockEvery)
	if l.lock.Clock == nil {
		l.lock.Clock = patience.Elapsed
	}
	r.locks = l
	unlock := func() {
		l.releaseAll(ctx)
		lose(nil)
	}
	systems := map[string]plan.Change{}
	var clusters []string
	for _, w := range p.Waves {
		for _, c := range w.Changes {
			if c.Stage == plan.StageSystem && c.Want != nil {
				systems[c.Cluster] = c
			}
			if c.Action != plan.Unchanged && !slices.Contains(clusters, c.Cluster) {
				clusters = append(clusters, c.Cluster)
			}
		}
	}
	slices.Sort(clusters)
	away := slices.ContainsFunc(p.Pending, func(x plan.Pending) bool { return x.Cluster == l.lock.Home })
	clusters = slices.DeleteFunc(clusters, func(c string) bool { return c == l.lock.Home })
	if !away && l.lock.Home != "" {
		clusters = slices.Insert(clusters, 0, l.lock.Home)
	}
	if err := l.takeAll(ctx, clusters, systems); err != nil {
		unlock()
		return ctx, nil, err
	}
	return ctx, unlock, nil
}

// takeAll takes the first Lease, which decides between two who begin at once, and then all others.
func (l *locks) takeAll(ctx context.Context, clusters []string, systems map[string]plan.Change) error {
	var g errgroup.Group
	g.SetLimit(atOnce)
	errs := make([]error, len(clusters))
	for i, c := range clusters {
		if i == 1 && errs[0] != nil {
			break
		}
		take := func() error {
			errs[i] = l.take(ctx, c, systems[c])
			return nil
		}
		if i == 0 {
			_ = take() // its error is in its place
			continue
		}
		g.Go(take)
	}
	_ = g.Wait() // each error is in its place
	return join(ctx, errs)
}

// errNoPlace means that a cluster has nothing of Isthmus and gets nothing: there is nothing to lock.
var errNoPlace = errors.New("no namespace for a Lease")

// take takes the Lease of a cluster. The namespace that it lies in is the first thing that a plan makes: where it is
// missing, it is made now, as the plan has it.
func (l *locks) take(ctx context.Context, name string, system plan.Change) error {
	if l.run.a.Conns[name] == nil {
		return fmt.Errorf("cluster %s: no connection to it was made, and it is to be locked", name)
	}
	c := plan.Change{Cluster: name, Part: object.PartFoundation, Object: object.Ref{Group: coordinationv1.GroupName, Kind: "Lease", Namespace: object.SystemNamespace, Name: LockName(l.mesh)}}
	began := l.run.now()
	notice := func(text string) { l.run.says(0, c, began, text, nil) }
	var got *coordinationv1.Lease
	var since time.Duration
	err := l.run.retry(ctx, notice, func(ctx context.Context) (err error) {
		since = l.lock.Clock()
		got, err = l.try(ctx, name, notice)
		if apierrors.IsNotFound(err) {
			if system.Want == nil {
				return errNoPlace
			}
			w := writer{run: l.run, conn: l.run.a.Conns[name], change: system, notice: notice}
			if system.Action == plan.Replace {
				w.change.UID = "" // that one is gone by now
			}
			if err := w.apply(ctx, *system.Want); err != nil {
				return err
			}
			since = l.lock.Clock()
			got, err = l.try(ctx, name, notice)
		}
		return err
	})
	var locked *LockedError
	switch {
	case errors.Is(err, errNoPlace):
		return nil
	case errors.As(err, &locked):
		return locked
	case err != nil:
		return &ObjectError{Cluster: name, Verb: "lock", Object: c.Object, Err: err}
	}
	// It may have been watched for a while before it was taken: the next renewal is soon.
	l.keep(ctx, name, got, max(since, l.lock.Clock()-l.lock.Every))
	return nil
}

// try creates the Lease, or takes it over if it is free; LockedError if it is not.
func (l *locks) try(ctx context.Context, name string, notice func(string)) (*coordinationv1.Lease, error) {
	leases := l.run.a.Conns[name].Kube.CoordinationV1().Leases(object.SystemNamespace)
	opts := metav1.CreateOptions{FieldManager: object.Manager}
	lease, err := leases.Create(ctx, l.lease(nil), opts)
	if !apierrors.IsAlreadyExists(err) {
		return lease, err
	}
	there, err := leases.Get(ctx, LockName(l.mesh), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return leases.Create(ctx, l.lease(nil), opts) // let go of a moment ago
	}
	if err != nil {
		return nil, err
	}
	holder, since := holderOf(there)
	free := holder.ID == l.lock.Holder.ID || l.lock.Steal || l.lock.Dead != nil && l.lock.Dead(holder)
	if !free {
		notice(fmt.Sprintf("%s holds the lock: looking whether it is renewed, for at most %s", holder, l.lock.For))
		if free, err = l.abandoned(ctx, leases, there); err != nil {
			return nil, err
		}
	}
	if !free {
		return nil, &LockedError{Mesh: l.mesh, Cluster: name, Holder: holder, Since: since}
	}
	return leases.Update(ctx, l.lease(there), metav1.UpdateOptions{FieldManager: object.Manager})
}

// lease is our Lease, in the place of another if that is not nil.
func (l *locks) lease(was *coordinationv1.Lease) *coordinationv1.Lease {
	now := metav1.NewMicroTime(l.run.now())
	seconds := int32(l.lock.For.Seconds())
	who, err := json.Marshal(l.lock.Holder)
	if err != nil { // strings and a number always marshal
		panic(err)
	}
	name := l.lock.Holder.String()
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{
			Name: LockName(l.mesh), Namespace: object.SystemNamespace,
			Labels: map[string]string{object.LabelMesh: l.mesh}, Annotations: map[string]string{annotationHolder: string(who)},
		},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: &name, LeaseDurationSeconds: &seconds, AcquireTime: &now, RenewTime: &now},
	}
	if was != nil {
		lease.UID, lease.ResourceVersion = was.UID, was.ResourceVersion
		transitions := int32(1)
		if was.Spec.LeaseTransitions != nil {
			transitions += *was.Spec.LeaseTransitions
		}
		lease.Spec.LeaseTransitions = &transitions
	}
	return lease
}

// holderOf reads who says that he holds a Lease, and since when by his clock.
func holderOf(lease *coordinationv1.Lease) (h Holder, since time.Time) {
	if json.Unmarshal([]byte(lease.Annotations[annotationHolder]), &h) != nil || h.User == "" {
		h = Holder{User: "somebody", Host: "an unknown host"}
		if lease.Spec.HolderIdentity != nil {
			h.Command = *lease.Spec.HolderIdentity
		}
	}
	if lease.Spec.AcquireTime != nil {
		since = lease.Spec.AcquireTime.Time
	}
	return h, since
}

// release lets go of a cluster's Lease, if we still hold it. It is no failure when it cannot be reached: it ends.
func (l *locks) release(ctx context.Context, name string) {
	if l == nil {
		return
	}
	l.mu.Lock()
	h := l.held[name]
	delete(l.held, name)
	l.mu.Unlock()
	if h == nil {
		return
	}
	h.stop()
	<-h.done
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	leases := l.run.a.Conns[name].Kube.CoordinationV1().Leases(object.SystemNamespace)
	drop := func(lease *coordinationv1.Lease) error {
		return leases.Delete(ctx, lease.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &lease.UID, ResourceVersion: &lease.ResourceVersion}})
	}
	if !apierrors.IsConflict(drop(h.lease)) {
		return
	}
	// Taken over, or renewed by us: what was stopped above may have been written, and its answer given up.
	if there, err := l.ours(ctx, name); err == nil { // else somebody's, gone with its namespace, or out of reach
		_ = drop(there) // as above
	}
}

func (l *locks) releaseAll(ctx context.Context) {
	l.mu.Lock()
	names := make([]string, 0, len(l.held))
	for name := range l.held {
		names = append(names, name)
	}
	l.mu.Unlock()
	slices.SortFunc(names, strings.Compare)
	var wg sync.WaitGroup
	for _, name := range names {
		wg.Go(func() { l.release(ctx, name) })
	}
	wg.Wait()
}
