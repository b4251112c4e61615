package apply_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/apply"
	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/plan"
)

// errCrash is what requests get from a process that is no more.
var errCrash = errors.New("crash")

// A crash ends the world at the n-th write: before it is sent, or after it was done and before the answer came.
// From then on no request leaves.
type crash struct {
	at    int
	after bool
	stop  context.CancelFunc

	mu     sync.Mutex
	writes int
}

func (c *crash) wrap(_ string, rt http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		if !isWrite(req) {
			return rt.RoundTrip(req)
		}
		c.mu.Lock()
		c.writes++
		n := c.writes
		c.mu.Unlock()
		switch {
		case n < c.at:
			return rt.RoundTrip(req)
		case n == c.at && c.after:
			if resp, err := rt.RoundTrip(req.WithContext(context.WithoutCancel(req.Context()))); err == nil {
				_ = resp.Body.Close()
			}
		}
		c.stop()
		return nil, errCrash
	})
}

// small is a world with few objects, so that every write of it can be crashed at.
func (b *bench) small() {
	for name, objects := range b.want {
		b.want[name] = slices.DeleteFunc(objects, func(o object.Object) bool {
			switch o.Body.GetKind() {
			case "Namespace", "Secret", "ConfigMap", "Deployment", "Role":
				return false
			}
			return true
		})
	}
}

// edit changes what is wanted in every way: an object changes, one goes, one is replaced, one comes.
func (b *bench) edit() {
	for name, objects := range b.want {
		objects = slices.DeleteFunc(slices.Clone(objects), func(o object.Object) bool { return o.Body.GetKind() == "Role" })
		for i, o := range objects {
			objects[i].Body = o.Body.DeepCopy()
			switch o.Body.GetKind() {
			case "ConfigMap":
				_ = unstructured.SetNestedField(objects[i].Body.Object, "new", "data", "mesh")
			case "Deployment":
				_ = unstructured.SetNestedField(objects[i].Body.Object, "b", "spec", "selector", "matchLabels", "new")
				_ = unstructured.SetNestedField(objects[i].Body.Object, "b", "spec", "template", "metadata", "labels", "new")
			}
		}
		text := `{apiVersion: v1, kind: ConfigMap, metadata: {name: more, namespace: ` + b.mesh.Name + `}}`
		b.want[name] = append(objects, object.Object{Part: object.PartPolicy, Body: body(b.t, text)})
	}
}

// A chapter is a part of a mesh's life, and what is wanted when it is over.
type chapter struct {
	name string
	mesh mesh.Mesh
	want object.Objects
	calm bool // it is lived without a crash
}

// A life is chapters that end where the first one began, so that it can be lived again and again: each time one more
// write is crashed at in each of them.
type life struct {
	bench    *bench
	chapters []chapter
	crashed  func() (over bool) // looks at the world right after a crash; over: later points show nothing new
	again    func()             // makes the world fresh for the next one, beyond what the last chapter does
}

// points counts the crashes by chapter.
type points struct {
	mu sync.Mutex
	n  map[string]int
}

func (p *points) add(chapter string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n[chapter]++
}

// live lives once, and crashes every chapter at its n-th write; false when there is no use in a later one.
func (l life) live(n int, after bool, count *points) (more bool) {
	before := l.refs(chapter{mesh: l.chapters[0].mesh})
	for _, c := range l.chapters {
		l.bench.mesh, l.bench.want = c.mesh, c.want
		at := n
		if c.calm {
			at = math.MaxInt
		}
		crashed, over := l.crash(c, before, at, after)
		if crashed {
			count.add(c.name)
			more = !over
		}
		before = l.refs(c)
		if l.bench.t.Failed() {
			return false
		}
	}
	if l.again != nil {
		l.again()
	}
	return more
}

// crash goes through a chapter, is ended at its n-th write, and goes through it again.
func (l life) crash(c chapter, before map[string][]object.Ref, n int, after bool) (crashed, over bool) {
	b := l.bench
	b.t.Helper()
	at := fmt.Sprintf("%s, write %d, after it %t", c.name, n, after)
	ctx, stop := context.WithCancel(b.t.Context())
	defer stop()
	ends := &crash{at: n, after: after, stop: stop}
	b.wrap = ends.wrap
	p := b.mustPlan()
	set, err := b.apply(ctx, p)
	crashed = ends.writes >= n
	// The last write lets go of the lock: what was to be done is done, so no error is due.
	if err == nil && ends.writes < n && len(set.Done) != p.Writes() || err != nil && !crashed {
		b.t.Fatalf("%s: apply says %v after %d writes and %d of %d changes", at, err, ends.writes, len(set.Done), p.Writes())
	}
	b.wrap = nil
	if crashed && l.crashed != nil {
		over = l.crashed()
	}
	all := l.everything(before, l.refs(c))
	b.listed(all)
	again := b.does(b.answered())
	if left := b.mustPlan(); left.Writes() != 0 || len(left.Pending) != 0 {
		b.t.Errorf("%s: after the second run there is still %v, %v", at, changes(left), left.Pending)
	} else if asked := b.asksFor(left); len(asked) > 0 {
		b.t.Errorf("%s: apply with nothing to do asked %d times, for %s first", at, len(asked), asked[0])
	}
	b.listed(all)
	b.is(at, all, l.refs(c))
	b.unlocked(at, again)
	if n == 1 {
		b.secretless(p)
	}
	return crashed, over
}

// answered is the plan once both clusters say everything they are asked for: on a machine that has other things to do
// they may be as good as away for a moment, and what is away is left as it is.
func (b *bench) answered() plan.Plan {
	b.t.Helper()
	for deadline := time.Now().Add(ready); ; time.Sleep(100 * time.Millisecond) {
		p := b.mustPlan()
		if !slices.ContainsFunc(p.Pending, func(x plan.Pending) bool { return !x.Next }) {
			return p
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("not within %s: %v", ready, p.Pending)
		}
	}
}

// asksFor is what apply asks API servers for to do a plan.
func (b *bench) asksFor(p plan.Plan) (asked []string) {
	b.t.Helper()
	var mu sync.Mutex
	b.wrap = func(cluster string, rt http.RoundTripper) http.RoundTripper {
		return through(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			asked = append(asked, cluster+": "+r.Method+" "+r.URL.Path)
			mu.Unlock()
			return rt.RoundTrip(r)
		})
	}
	defer func() { b.wrap = nil }()
	if _, err := b.apply(b.t.Context(), p); err != nil {
		b.t.Errorf("apply with nothing to do: %v", err)
	}
	return asked
}

type through func(*http.Request) (*http.Response, error)

func (f through) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// refs are what a chapter wants, by cluster.
func (l life) refs(c chapter) map[string][]object.Ref {
	all := map[string][]object.Ref{}
	for _, name := range []string{"east", "west"} {
		all[name] = c.want.Refs(name)
	}
	return all
}

func (l life) everything(a, b map[string][]object.Ref) map[string][]object.Ref {
	all := map[string][]object.Ref{}
	for name := range a {
		all[name] = slices.Concat(a[name], b[name])
	}
	return all
}

// unlocked checks that nothing is left of the lock where the second run wrote. Where a run ended after its last change
// there is nothing to write any more and so nothing to lock: what is left there runs out, and goes with the next change.
func (b *bench) unlocked(at string, again apply.ChangeSet) {
	b.t.Helper()
	for _, name := range []string{"east", "west"} {
		wrote := slices.ContainsFunc(again.Done, func(d apply.Done) bool { return d.Cluster == name })
		if wrote && b.get(name, ref("coordination.k8s.io", "Lease", object.SystemNamespace, apply.LockName(b.mesh.Name))) != nil {
			b.t.Errorf("%s: the lock is left in %s", at, name)
		}
	}
}

// is checks that exactly what is wanted is there, of all that ever was.
func (b *bench) is(at string, all, want map[string][]object.Ref) {
	b.t.Helper()
	for _, name := range []string{"east", "west"} {
		for _, r := range all[name] {
			there, wanted := b.get(name, r) != nil, slices.Contains(want[name], r)
			if r.Kind == "CustomResourceDefinition" || r.Name == object.SystemNamespace {
				there = there || !wanted // kinds are kept, and other meshes may live in that namespace
				wanted = true
			}
			if there != wanted {
				b.t.Errorf("%s: %s in %s is there: %t, wanted: %t", at, r, name, there, wanted)
			}
		}
		inventory := b.get(name, ref("", "ConfigMap", object.SystemNamespace, facts.InventoryName(b.mesh.Name)))
		if (inventory != nil) != (len(want[name]) > 0) {
			b.t.Errorf("%s: there is an inventory in %s: %t, and %d objects are wanted", at, name, inventory != nil, len(want[name]))
		}
	}
}

// listed checks that whatever exists and is ours is in its cluster's inventory: nothing is orphaned.
func (b *bench) listed(refs map[string][]object.Ref) {
	b.t.Helper()
	for name, all := range refs {
		var text string
		if inv := b.get(name, ref("", "ConfigMap", object.SystemNamespace, facts.InventoryName(b.mesh.Name))); inv != nil {
			text, _, _ = unstructured.NestedString(inv.Object, "data", facts.InventoryKey)
		}
		have, _ := facts.ParseInventory(text)
		for _, r := range all {
			if r.Kind == "CustomResourceDefinition" || r.Kind == "Namespace" && r.Name == object.SystemNamespace {
				continue // kept when the mesh goes; in no inventory
			}
			if b.get(name, r) != nil && !slices.Contains(have, r) {
				b.t.Errorf("%s in %s exists and is in no inventory", r, name)
			}
		}
	}
}

// smallLife is the life of a small mesh: it is made, changed in every way, left by west, and taken away.
func smallLife(t *testing.T, name string) life {
	b := newBench(t, name)
	b.lock = true
	b.small()
	two, one := b.mesh, b.mesh
	one.Clusters, one.Former = two.Clusters[:1], two.Clusters[1:]
	installed := maps.Clone(b.want)
	b.edit()
	edited := b.want
	left := object.Objects{"east": slices.DeleteFunc(slices.Clone(edited["east"]), func(o object.Object) bool {
		return o.Sealed != nil && o.Sealed.About == "west"
	})}
	return life{bench: b, chapters: []chapter{
		{name: "install", mesh: two, want: installed},
		{name: "upgrade", mesh: two, want: edited},
		{name: "removal of a cluster", mesh: one, want: left},
		{name: "uninstall", mesh: one, want: object.Objects{}},
	}}
}

// TestACrashAtEveryWriteConverges ends the process before and after every single write of a small mesh's life. Several
// such meshes live side by side on the same API servers, each of them with its own share of the points.
func TestACrashAtEveryWriteConverges(t *testing.T) {
	needClusters(t)
	t.Parallel() // beside the lives of a whole mesh; whoever else writes to these API servers has ended
	anchored(t)
	const lives = 6
	count := &points{n: map[string]int{}}
	var next atomic.Int64
	t.Run("lives", func(t *testing.T) {
		for i := range lives {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				l := smallLife(t, fmt.Sprintf("crash-%d", i))
				for {
					k := int(next.Add(1)) - 1
					if !l.live(k/2+1, k%2 == 1, count) {
						return
					}
				}
			})
		}
	})
	total := 0
	for _, c := range []string{"install", "upgrade", "removal of a cluster", "uninstall"} {
		t.Logf("%s: crashed at %d points", c, count.n[c])
		total += count.n[c]
		if count.n[c] < 10 {
			t.Errorf("only %d points of %s were crashed at", count.n[c], c)
		}
	}
	t.Logf("crashed at %d points", total)
}

// anchored keeps isthmus-system in both clusters for as long as a test runs: meshes that come and go side by side
// would delete it under each other, which a namespace that holds something refuses.
func anchored(t *testing.T) {
	inventory := facts.InventoryName("verify-anchor")
	for _, name := range []string{"east", "west"} {
		want := objects(t, `{apiVersion: v1, kind: Namespace, metadata: {name: anchor}}`)
		if _, err := quick(ready).ApplySet(t.Context(), conn(t, name), want, inventory, nil); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if _, err := quick(ready).DeleteSet(context.WithoutCancel(t.Context()), conn(t, name), inventory, nil); err != nil {
				t.Error(err)
			}
		})
	}
}

// secretless checks that no canary is in a plan, in its error or in an event.
func (b *bench) secretless(p plan.Plan) {
	b.t.Helper()
	for _, text := range []string{fmt.Sprintf("%+v", p), marshal(b.t, p), marshal(b.t, b.facts()), fmt.Sprintf("%+v", b.facts().Clusters["east"]), b.all.String()} {
		if at := strings.Index(text, canary); at >= 0 {
			b.t.Errorf("a secret is in: %s", text[max(0, at-200):at])
		}
	}
}
