package apply_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"isthmus.dev/isthmus/internal/apply"
	"isthmus.dev/isthmus/internal/object"
)

// as applies as somebody, with a lock that is renewed often.
func (b *bench) as(ctx context.Context, user string, change func(*apply.Lock)) error {
	b.t.Helper()
	lock := &apply.Lock{Home: "east", Holder: holder(user), For: 3 * time.Second, Every: 300 * time.Millisecond}
	if change != nil {
		change(lock)
	}
	a := apply.Applier{Conns: b.conns(), Sealers: b.sealers(), RetryFor: ready, ReadyFor: ready, Lock: lock}
	_, err := a.Apply(ctx, b.mustPlan(), nil)
	return err
}

// lease is a mesh's lock in a cluster; nil if nobody holds one.
func (b *bench) lease(name string) *coordinationv1.Lease {
	b.t.Helper()
	l, err := conn(b.t, name).Kube.CoordinationV1().Leases(object.SystemNamespace).Get(context.WithoutCancel(b.t.Context()), apply.LockName(b.mesh.Name), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return l
}

// held is a mesh that ann is changing: her run stands still before its first write of a namespace. The returned
// functions let it go on and wait for its end, and read what it said.
func held(t *testing.T, name string) (b, ann *bench, goOn func() error) {
	b, ann = newBench(t, name), newBench(t, name)
	b.small()
	ann.small()
	reached, gate, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	first := true
	ann.wrap = func(cluster string, rt http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			if isWrite(req) && strings.HasSuffix(req.URL.Path, "/namespaces/"+name) {
				ann.mu.Lock()
				if first {
					first = false
					close(reached)
				}
				ann.mu.Unlock()
				<-gate
			}
			return rt.RoundTrip(req)
		})
	}
	go func() { done <- ann.as(t.Context(), "ann", nil) }()
	select {
	case <-reached:
	case err := <-done:
		t.Fatalf("ann ended at once: %v", err)
	}
	return b, ann, func() error { close(gate); return <-done }
}

func TestTheSecondOfTwoIsTold(t *testing.T) {
	needClusters(t)
	anchored(t)
	b, _, goOn := held(t, "two-at-once")
	writes := 0
	b.wrap = counted(b, &writes)
	err := b.as(t.Context(), "bob", nil)
	if _, ok := errors.AsType[*apply.LockedError](err); !ok {
		t.Fatalf("%v, want that ann holds the lock", err)
	}
	for _, want := range []string{"cluster east: mesh two-at-once is being changed by ann@laptop (isthmus apply) since ", "free by itself", "--steal-lock"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	if writes != 1 { // the Lease that he did not get
		t.Errorf("bob wrote %d times", writes)
	}
	for _, name := range []string{"east", "west"} {
		l := b.lease(name)
		if l == nil || *l.Spec.HolderIdentity != "ann@laptop (isthmus apply)" || *l.Spec.LeaseDurationSeconds != 3 {
			t.Errorf("%s: the lock is %v", name, l)
		}
	}
	before := b.lease("east").Spec.RenewTime.Time
	for range 100 {
		if b.lease("east").Spec.RenewTime.After(before) {
			before = time.Time{}
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if !before.IsZero() {
		t.Error("ann's lock is not renewed")
	}
	if err := goOn(); err != nil {
		t.Errorf("ann: %v", err)
	}
	for _, name := range []string{"east", "west"} {
		if l := b.lease(name); l != nil {
			t.Errorf("%s: the lock is left: %v", name, l)
		}
	}
	writes = 0
	if err := b.as(t.Context(), "bob", nil); err != nil || writes != 0 {
		t.Errorf("with nothing to do bob wrote %d times: %v", writes, err)
	}
}

// TestWhoReachesOtherClustersIsKeptOutToo: bob does not reach the home cluster, and wants to write to the other one.
func TestWhoReachesOtherClustersIsKeptOutToo(t *testing.T) {
	needClusters(t)
	anchored(t)
	b, _, goOn := held(t, "home-away")
	b.wrap = func(name string, rt http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			if name == "east" {
				return nil, errors.New("no route")
			}
			return rt.RoundTrip(req)
		})
	}
	b.want["west"] = b.want["west"][:1] // nothing that the root must sign
	p := b.mustPlan()
	if len(p.Pending) != 1 || p.Writes() == 0 {
		t.Fatalf("pending %v, %d writes", p.Pending, p.Writes())
	}
	var locked *apply.LockedError
	if err := b.as(t.Context(), "bob", nil); !errors.As(err, &locked) || locked.Cluster != "west" {
		t.Errorf("%v, want that ann holds the lock in west", err)
	}
	if err := goOn(); err != nil {
		t.Errorf("ann: %v", err)
	}
}

// TestALockIsReleasedWhileItIsRenewed: the run ends when a renewal is written, and its answer still on the way.
func TestALockIsReleasedWhileItIsRenewed(t *testing.T) {
	needClusters(t)
	anchored(t)
	b := newBench(t, "renewed")
	b.small()
	renewed, answers := make(chan struct{}), 0
	b.wrap = func(name string, rt http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			switch renews := req.Method == http.MethodPut && strings.HasSuffix(req.URL.Path, "/leases/"+apply.LockName("renewed")); {
			case name != "east":
			case renews:
				res, err := rt.RoundTrip(req)
				if err != nil {
					return nil, err
				}
				_ = res.Body.Close() // nobody reads it
				if answers++; answers == 1 {
					close(renewed)
				}
				<-req.Context().Done()
				return nil, req.Context().Err()
			case isWrite(req) && strings.HasSuffix(req.URL.Path, "/namespaces/renewed"):
				<-renewed
			}
			return rt.RoundTrip(req)
		})
	}
	if err := b.as(t.Context(), "ann", nil); err != nil {
		t.Fatal(err)
	}
	if answers == 0 {
		t.Error("the lock was not renewed")
	}
	if l := b.lease("east"); l != nil {
		t.Errorf("the lock is left: %v", l)
	}
}

func TestALockIsTakenOver(t *testing.T) {
	needClusters(t)
	anchored(t)
	cases := []struct {
		reason string
		ends   time.Duration // from now; the lease as somebody left it
		change func(*apply.Lock)
	}{
		{"nobody renews it", time.Minute, nil},
		{"it has run out", -time.Second, nil},
		{"its holder's clock is two hundred years ahead", 200 * 365 * 24 * time.Hour, nil},
		{"whoever held it is dead", time.Minute, func(l *apply.Lock) {
			l.For, l.Dead = time.Hour, func(h apply.Holder) bool { return h.User == "ann" }
		}},
		{"it is stolen", time.Minute, func(l *apply.Lock) { l.For, l.Steal = time.Hour, true }},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			b := newBench(t, "takeover-"+strings.ReplaceAll(c.reason[len(c.reason)-5:], " ", "x"))
			b.small()
			leftLease(b, c.ends)
			if err := b.as(t.Context(), "bob", c.change); err != nil {
				t.Error(err)
			}
			if l := b.lease("east"); l != nil {
				t.Errorf("the lock afterwards: %v", l)
			}
		})
	}
}

// TestASuspendedMachineDoesNotWriteWhenItWakes: ann's machine is suspended for longer than the lock lasts, between two of
// her writes. Her first request after that is none that writes.
func TestASuspendedMachineDoesNotWriteWhenItWakes(t *testing.T) {
	needClusters(t)
	anchored(t)
	b, ann := newBench(t, "suspended"), newBench(t, "suspended")
	b.small()
	ann.small()
	var asleep, after atomic.Int64
	ann.wrap = func(_ string, rt http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			lease := strings.Contains(req.URL.Path, "/leases")
			if isWrite(req) && !lease && asleep.Load() > 0 {
				after.Add(1)
			}
			res, err := rt.RoundTrip(req)
			if isWrite(req) && strings.HasSuffix(req.URL.Path, "/namespaces/suspended") {
				asleep.Store(int64(time.Hour))
			}
			return res, err
		})
	}
	began := time.Now()
	err := ann.as(t.Context(), "ann", func(l *apply.Lock) {
		l.For, l.Every = time.Minute, 20*time.Second
		l.Clock = func() time.Duration { return time.Since(began) + time.Duration(asleep.Load()) }
	})
	if err == nil || !strings.Contains(err.Error(), "was not renewed in time (was this machine suspended?)") {
		t.Errorf("ann: %v", err)
	}
	// What was on its way when she fell asleep, in both clusters, is none that was begun after.
	if n := after.Load(); n > 1 {
		t.Errorf("%d requests that write were made after she woke", n)
	}
	if asleep.Load() == 0 {
		t.Error("nothing was written: this proves nothing")
	}
}

// leftLease is a lock that ann's run left.
func leftLease(b *bench, ends time.Duration) *coordinationv1.Lease {
	b.t.Helper()
	who, seconds := "ann@laptop", int32(60)
	renewed := metav1.NewMicroTime(time.Now().Add(ends - time.Minute))
	l, err := conn(b.t, "east").Kube.CoordinationV1().Leases(object.SystemNamespace).Create(b.t.Context(), &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: apply.LockName(b.mesh.Name), Namespace: object.SystemNamespace, Annotations: map[string]string{"isthmus.dev/holder": `{"id": "x", "user": "ann", "host": "laptop"}`}},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &who, LeaseDurationSeconds: &seconds, AcquireTime: &renewed, RenewTime: &renewed},
	}, metav1.CreateOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	return l
}

// TestWhoseClocksDifferIsNotRobbed: by our clock the lock has run out, and its holder renews it all the same.
func TestWhoseClocksDifferIsNotRobbed(t *testing.T) {
	needClusters(t)
	anchored(t)
	b := newBench(t, "skewed")
	b.small()
	l := leftLease(b, -time.Hour)
	ctx, stop := context.WithCancel(t.Context())
	renewing := make(chan struct{})
	go func() {
		defer close(renewing)
		for ctx.Err() == nil {
			renewed := metav1.NewMicroTime(l.Spec.RenewTime.Add(time.Second))
			l.Spec.RenewTime = &renewed
			if got, err := conn(t, "east").Kube.CoordinationV1().Leases(object.SystemNamespace).Update(ctx, l, metav1.UpdateOptions{}); err == nil {
				l = got
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	err := b.as(t.Context(), "bob", func(lock *apply.Lock) { lock.Every = 2 * time.Second })
	stop()
	<-renewing
	if _, ok := errors.AsType[*apply.LockedError](err); !ok {
		t.Errorf("%v, want that it is held", err)
	}
}

func TestWhoLosesTheLockStops(t *testing.T) {
	needClusters(t)
	anchored(t)
	b, _, goOn := held(t, "lost")
	if err := b.as(t.Context(), "bob", func(l *apply.Lock) { l.Steal = true }); err != nil {
		t.Errorf("bob: %v", err)
	}
	time.Sleep(time.Second) // ann's next renewal finds it out
	if err := goOn(); err == nil || !strings.Contains(err.Error(), "the lock in cluster ") || !strings.Contains(err.Error(), "was lost") {
		t.Errorf("ann: %v, want that the lock was lost", err)
	}
	if n := b.mustPlan().Writes(); n != 0 {
		t.Errorf("%d changes are left of what bob did: %v", n, changes(b.mustPlan()))
	}
}

// TestTheFirstRunMakesTheNamespaceOfItsLock: nothing of Isthmus is in the cluster yet.
func TestTheFirstRunMakesTheNamespaceOfItsLock(t *testing.T) {
	b := newBench(t, "first-lock")
	b.small()
	b.want["west"] = nil
	if err := b.as(t.Context(), "ann", nil); err != nil {
		t.Fatal(err)
	}
	if n := b.mustPlan().Writes(); n != 0 || b.lease("east") != nil {
		t.Errorf("%d changes are left, the lock is %v", n, b.lease("east"))
	}
	b.want = object.Objects{}
	if err := b.as(t.Context(), "ann", nil); err != nil {
		t.Fatal(err)
	}
	if b.lease("east") != nil {
		t.Error("the lock is left after everything went")
	}
}

// counted counts writes.
func counted(b *bench, writes *int) func(string, http.RoundTripper) http.RoundTripper {
	return func(_ string, rt http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			if isWrite(req) {
				b.mu.Lock()
				*writes++
				b.mu.Unlock()
			}
			return rt.RoundTrip(req)
		})
	}
}
