// Package apply is the only writer. It does what a plan lists, no more and no less, by server-side apply with
// field manager "isthmus": wave by wave, in a wave stage by stage, and in a stage all clusters and objects at once.
// An unchanged object is never written. Ended anywhere, by an error, a signal or a power cut, the next plan sees
// what is left, since every write is whole by itself and the inventory names an object before it is made.
package apply

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/cluster"
	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/plan"
)

// A Sealer makes the secret content of an object at the moment of applying. It returns the object's body with the
// content in it, and nothing else changed; annotations that it adds begin with "isthmus.dev/". The body that it is
// given is its own to change.
type Sealer func(ctx context.Context, cluster string, o object.Object) (*unstructured.Unstructured, error)

// An Applier writes plans to clusters. The zero value serves plans without sealed objects once it has Conns.
type Applier struct {
	// Conns are connections by cluster name.
	Conns map[string]*cluster.Conn
	// Sealers make the content of sealed objects.
	Sealers map[object.SealKind]Sealer
	// Now is the clock; nil is the real one.
	Now func() time.Time
	// RetryFor is how long a request is tried again that failed for a reason which passes (an API server that
	// restarts, a webhook that does not answer yet). Zero: 60 s.
	RetryFor time.Duration
	// ReadyFor is how long a stage may take to become ready. Zero: 5 min, since a cloud takes minutes for a load
	// balancer and a node may have to pull images.
	ReadyFor time.Duration
	// Lock keeps a second run away while something is written; nil: none does, as for sets.
	Lock *Lock
	// LetGo asks a cluster's istiods whether they still send to other clusters, see plan.LetGo. It returns what
	// they still have of them, "" for nothing. nil: nobody is asked.
	LetGo func(ctx context.Context, cluster string, of []string) (still string, err error)
	// Detach lets DeleteSet return once every deletion is accepted, before the objects are gone.
	Detach bool
	// Unready lets ApplySet return once every write is accepted, before anything is ready: for who waits himself.
	Unready bool
}

// A Done change.
type Done struct {
	Cluster string      `json:"cluster"`
	Object  object.Ref  `json:"object"`
	Action  plan.Action `json:"action"`
}

// A ChangeSet is what was done.
type ChangeSet struct {
	Mesh string `json:"mesh"`
	// Done are the changes that were made, in the plan's order.
	Done []Done `json:"done"`
	// Planned is how many changes the plan has, by cluster; unchanged objects do not count.
	Planned map[string]int `json:"planned"`
	// Waves is how many waves are complete, of Of.
	Waves int `json:"waves"`
	Of    int `json:"of"`
}

// Count is how many of a cluster's planned changes were made.
func (s ChangeSet) Count(cluster string) (done, planned int) {
	for _, d := range s.Done {
		if d.Cluster == cluster {
			done++
		}
	}
	return done, s.Planned[cluster]
}

// An Event is progress. Exactly one goroutine at a time reports.
type Event struct {
	Wave    int         `json:"wave"` // 1 is the first
	Cluster string      `json:"cluster"`
	Stage   plan.Stage  `json:"stage"`
	Part    object.Part `json:"part"`
	// Object is what the event is about; empty when a whole part of a cluster is done in this wave.
	Object object.Ref  `json:"object,omitzero"`
	Action plan.Action `json:"action,omitempty"`
	// Text is for people: what is waited for, or what came of it (a gateway's address).
	Text string `json:"text,omitempty"`
	Done bool   `json:"done"`
	Err  error  `json:"-"`
	// Elapsed is since the object, or the part, was begun.
	Elapsed time.Duration `json:"elapsed"`
}

// Apply does a plan. It refuses a plan with conflicts before the first request, stops at the first wave that
// fails, and touches nothing of the next. A nil report is fine.
func (a *Applier) Apply(ctx context.Context, p plan.Plan, report func(Event)) (ChangeSet, error) {
	r := &run{a: a, now: a.now(), reported: report, set: ChangeSet{Mesh: p.Mesh, Done: []Done{}, Planned: map[string]int{}, Of: len(p.Waves)}}
	if len(p.Conflicts) > 0 {
		return r.set, &ConflictError{Conflicts: p.Conflicts}
	}
	r.prepare(p)
	if err := r.sameClusters(ctx, p); err != nil {
		return r.set, err
	}
	ctx, unlock, err := r.lock(ctx, p)
	if err != nil {
		return r.set, err
	}
	defer unlock()
	for i, w := range p.Waves {
		if err := r.connected(w); err != nil {
			return r.set, err
		}
		if err := r.wave(ctx, i, w); err != nil {
			r.order(p)
			return r.set, err
		}
		r.set.Waves++
	}
	r.order(p)
	return r.set, nil
}

// ApplySet makes the objects of a set in one cluster be there and, but for Unready, be ready, and prunes what the set no
// longer has. The inventory's name is facts.InventoryName of the set's name.
func (a *Applier) ApplySet(ctx context.Context, conn *cluster.Conn, objects []object.Object, inventory string, report func(Event)) (ChangeSet, error) {
	return a.set(ctx, conn, objects, inventory, report)
}

// DeleteSet deletes the objects of a set in reverse stage order, then its inventory. A set that is not there is no
// error.
func (a *Applier) DeleteSet(ctx context.Context, conn *cluster.Conn, inventory string, report func(Event)) (ChangeSet, error) {
	return a.set(ctx, conn, nil, inventory, report)
}

func (a *Applier) set(ctx context.Context, conn *cluster.Conn, objects []object.Object, inventory string, report func(Event)) (ChangeSet, error) {
	name := strings.TrimPrefix(inventory, facts.InventoryName(""))
	if name == inventory || name == "" {
		return ChangeSet{}, fmt.Errorf("cluster %s: %q is not an inventory's name: it begins with %q", conn.Name, inventory, facts.InventoryName(""))
	}
	s, err := facts.GatherSet(ctx, conn, name, objects, a.now())
	if err != nil {
		return ChangeSet{}, err
	}
	p, err := plan.MakeSet(name, conn.Name, objects, s)
	if err != nil {
		return ChangeSet{}, err
	}
	b := *a
	b.Conns = map[string]*cluster.Conn{conn.Name: conn}
	return b.Apply(ctx, p, report)
}

func (a *Applier) now() func() time.Time {
	if a.Now != nil {
		return a.Now
	}
	return time.Now
}

// A run is one Apply.
type run struct {
	a        *Applier
	now      func() time.Time
	reported func(Event)

	// last is the wave of a cluster's last change: after it the inventory is trimmed.
	last map[string]int
	// final are the inventories as they are in the end, where that differs from what is written first.
	final map[string]plan.Change

	mu    sync.Mutex
	set   ChangeSet
	parts map[partKey]*progress
	locks *locks // those that this run holds; nil where it needs none
}

type partKey struct {
	wave    int
	cluster string
	part    object.Part
}

// progress of one part of a cluster in a wave.
type progress struct {
	left  int
	began time.Time
	text  string
}

func (r *run) prepare(p plan.Plan) {
	r.last, r.final, r.parts = map[string]int{}, map[string]plan.Change{}, map[partKey]*progress{}
	for i, w := range p.Waves {
		for _, c := range w.Changes {
			if idle(c) {
				continue
			}
			r.last[c.Cluster] = i
			if c.Action != plan.Unchanged {
				r.set.Planned[c.Cluster]++
			}
			if trims(c) {
				r.final[c.Cluster] = c
				continue
			}
			r.expect(partKey{i, c.Cluster, c.Part})
		}
	}
	for name, c := range r.final {
		if c.Late {
			r.last[name] = len(p.Waves) - 1
		}
		r.expect(partKey{r.last[name], name, c.Part})
	}
}

func (r *run) expect(k partKey) {
	if r.parts[k] == nil {
		r.parts[k] = &progress{}
	}
	r.parts[k].left++
}

// trims tells that the inventory is written once more when everything else is done.
func trims(c plan.Change) bool {
	if c.Stage != plan.StageInventory || c.Action == plan.Delete || c.Action == plan.Unchanged {
		return false
	}
	return c.First == nil || digestOf(c.First.Body) != digestOf(c.Want.Body)
}

func digestOf(u *unstructured.Unstructured) string {
	return u.GetAnnotations()[object.AnnotationApplied]
}

// connected tells before a wave begins whether all of it can be reached at all.
func (r *run) connected(w plan.Wave) error {
	for _, c := range w.Changes {
		if !idle(c) && r.a.Conns[c.Cluster] == nil {
			return fmt.Errorf("cluster %s: no connection to it was made, and %s is to be changed there", c.Cluster, c.Object)
		}
	}
	return nil
}

// idle tells that nothing has to be asked or done about an object.
func idle(c plan.Change) bool { return c.Action == plan.Unchanged && (c.Settled || settles(c)) }

func (r *run) since(t time.Time) time.Duration { return r.now().Sub(t) }

func (r *run) report(e Event) {
	if r.reported != nil {
		r.reported(e)
	}
}

// begin marks that a change's part has begun.
func (r *run) begin(wave int, c plan.Change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.parts[partKey{wave, c.Cluster, c.Part}]; p != nil && p.began.IsZero() {
		p.began = r.now()
	}
}

// did notes a change that was made (or an object that became ready) and reports the part when all of it is.
func (r *run) did(wave int, c plan.Change, began time.Time, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.parts[partKey{wave, c.Cluster, c.Part}]
	p.left--
	p.text = cmp.Or(text, p.text)
	e := Event{Wave: wave + 1, Cluster: c.Cluster, Stage: c.Stage, Part: c.Part, Object: c.Object, Action: c.Action, Text: text, Done: true, Elapsed: r.since(began)}
	r.report(e)
	if p.left == 0 {
		e.Object, e.Action, e.Text, e.Elapsed = object.Ref{}, "", p.text, r.since(p.began)
		r.report(e)
	}
}

// wrote counts a change.
func (r *run) wrote(c plan.Change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.set.Done = append(r.set.Done, Done{Cluster: c.Cluster, Object: c.Object, Action: c.Action})
}

func (r *run) says(wave int, c plan.Change, began time.Time, text string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report(Event{Wave: wave + 1, Cluster: c.Cluster, Stage: c.Stage, Part: c.Part, Object: c.Object, Action: c.Action, Text: text, Err: err, Elapsed: r.since(began)})
}

// order puts what was done in the plan's order, whichever request came back first.
func (r *run) order(p plan.Plan) {
	at := map[Done]int{}
	for _, w := range p.Waves {
		for _, c := range w.Changes {
			at[Done{c.Cluster, c.Object, c.Action}] = len(at)
		}
	}
	slices.SortFunc(r.set.Done, func(a, b Done) int { return cmp.Compare(at[a], at[b]) })
}
