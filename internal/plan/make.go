package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// Input is all that a plan is made from.
type Input struct {
	Mesh   mesh.Mesh
	Want   object.Objects
	Now    facts.Snapshot
	Judges map[object.SealKind]Judge
	// Restart says why a workload that exists must start anew although nothing in it is wanted otherwise: what it read
	// when it started has changed. "" if it need not; nil for nothing ever must.
	Restart Judge
	// Options are what a person lets the plan do.
	Options Options
	// Guards are asked about every cluster that answers.
	Guards []Guard
	// Waiting are clusters of which some wanted object cannot be written down yet, and why (see istio.Resolve).
	Waiting map[string]string
	// Drains are what is said of keeping calls from members, once the plan is done.
	Drains map[string]facts.Drain
	// RootFrom is the cluster whose root moves to the home cluster; "" for none. RootsInUse are the fingerprints of the
	// roots that workloads trust, DoubtedRoots what else is kept as a root and nobody relies on.
	RootFrom     string
	RootsInUse   []string
	DoubtedRoots []DoubtedRoot
	// Dropped are objects that are not wanted for now, by cluster, and why.
	Dropped map[string]map[object.Ref]string
}

// removal tells that nothing is wanted anywhere: the whole mesh goes.
func (in Input) removal() bool {
	for _, c := range in.Mesh.Clusters {
		if len(in.Want[c.Name]) > 0 {
			return false
		}
	}
	return true
}

// Make decides what will change in every cluster of a mesh. Errors: two wanted objects of one name, a wanted
// object without a name, a Secret with content, a judge that says that going on would do harm.
func Make(in Input) (Plan, error) {
	p := Plan{Mesh: in.Mesh.Name, Options: in.Options, UIDs: uids(in.Now), Conflicts: otherClusters(in), Charts: chartsOf(in.Mesh)}
	passed, disputed := doubted(in)
	p.Doubted, p.Conflicts = passed, append(p.Conflicts, disputed...)
	if home := in.Now.Clusters[in.Mesh.Home().Name]; home.Answered() {
		p.Skew = home.ClockSkew
	}
	for _, c := range in.Mesh.Clusters {
		if !in.Now.Clusters[c.Name].Answered() {
			p.Unknown = append(p.Unknown, c.Name)
		}
	}
	for _, f := range in.Now.Left {
		if x := in.Now.Clusters[f.Name]; f.Named && !x.Answered() && !slices.Contains(in.Options.Forget, f.Name) {
			p.Unknown = append(p.Unknown, f.Name)
		}
	}
	pending := pendingClusters(in)
	left, err := leave(in, pending)
	if err != nil {
		return Plan{}, err
	}
	decided, err := decideEach(in, pending, members(in, left.staying))
	if err != nil {
		return Plan{}, err
	}
	all := gathered(decided)
	for i := range decided {
		d := &decided[i]
		d.guard()
		p.Conflicts = append(p.Conflicts, d.conflicts...)
		p.Leftovers = append(p.Leftovers, d.leftovers()...)
		p.Stays = append(p.Stays, d.stays...)
	}
	for _, c := range in.Mesh.Clusters {
		if why := pending[c.Name]; why != "" {
			p.Pending = append(p.Pending, Pending{Cluster: c.Name, Why: why, Next: in.next(c, pending)})
		}
	}
	p.Pending, p.Stays = append(p.Pending, left.notes...), append(p.Stays, left.stays...)
	slices.SortFunc(p.Conflicts, func(a, b Conflict) int {
		return cmp.Or(strings.Compare(a.Cluster, b.Cluster), a.Object.Compare(b.Object))
	})
	p.Root, p.DoubtedRoots = moveRoot(in, all), in.DoubtedRoots
	if in.removal() {
		p.DoubtedRoots = nil
	}
	p.Waves, p.Left = waves(in, pending, all), left.going
	if w, ok := left.wave(); ok {
		p.Waves = append(p.Waves, w)
	}
	if in.removal() {
		p.Waves = farewell(p.Waves)
	}
	return p, nil
}

// MakeSet decides about objects of one cluster that are no part of a mesh document but live and die together, such
// as the workloads of a proof. The name of the set is written as their owner.
func MakeSet(set, cluster string, want []object.Object, now facts.Snapshot) (Plan, error) {
	judges := map[object.SealKind]Judge{object.SealPullSecret: copiedAnew}
	d := decider{in: Input{Now: now, Judges: judges}, cluster: cluster, now: now.Clusters[cluster], owner: set, prepared: &prepared{}}
	changes, err := d.decide(want)
	if err != nil {
		return Plan{}, err
	}
	sortChanges(changes)
	return Plan{Mesh: set, Waves: []Wave{{Clusters: []string{cluster}, Changes: changes}}, Conflicts: d.conflicts}, nil
}

// copiedAnew is the judge of copies: what they were made of may have changed, and nobody here can tell.
func copiedAnew(mesh.Mesh, string, object.Object, facts.Snapshot) (string, error) {
	return "copied anew for every proof", nil
}

func pendingClusters(in Input) map[string]string {
	pending := map[string]string{}
	for _, c := range in.Mesh.Clusters {
		switch f := in.Now.Clusters[c.Name]; {
		case f == nil:
			pending[c.Name] = "nothing is known of it"
		case f.Err != "":
			pending[c.Name] = f.Err
		case in.Waiting[c.Name] != "":
			pending[c.Name] = in.Waiting[c.Name]
		}
	}
	return pending
}

// next tells whether a pending cluster waits for nothing but what this plan brings in the cluster that serves it.
func (in Input) next(c mesh.Cluster, pending map[string]string) bool {
	return pending[c.Name] == in.Waiting[c.Name] && pending[in.Mesh.Host(c).Name] == ""
}

// A decider decides about one cluster.
type decider struct {
	in        Input
	cluster   string
	now       *facts.Cluster
	owner     string // the mesh's or the set's name, written as label isthmus.dev/mesh
	pending   map[string]string
	members   []facts.Member // of the mesh, when everything is done; none for a set
	listed    string         // members, as inventories have them
	why       string         // of what goes; empty: it is no longer wanted
	prepared  *prepared
	room      []Change // for so many changes there is room
	changes   []Change
	conflicts []Conflict
	stays     []Stay
	kept      []object.Ref // no longer wanted or not to be judged now, but still ours
}

// unlisted is how many objects a cluster has that nobody listed as wanted: the inventory, and its namespace.
const unlisted = 2

// fit refuses a wanted object that no plan can hold.
func fit(o object.Object) error {
	ref := o.Ref()
	switch {
	case ref.Name == "" || ref.Kind == "":
		return fmt.Errorf("a wanted object of part %q has no kind or no name", o.Part)
	case ref.Kind == "Secret" && len(object.OpenSecrets(o.Body)) > 0:
		return fmt.Errorf("%s has its content in it, and a plan holds no secret", ref)
	}
	return nil
}

func (d *decider) decide(want []object.Object) ([]Change, error) {
	want = d.withSystem(want)
	wanted := make(map[object.Ref]bool, len(want))
	changes := d.room[:0:len(d.room)]
	for _, o := range want {
		ref := o.Ref()
		if err := fit(o); err != nil {
			return nil, fmt.Errorf("cluster %s: %w", d.cluster, err)
		}
		if wanted[ref] {
			return nil, fmt.Errorf("cluster %s: %s is wanted twice", d.cluster, ref)
		}
		homeless := d.homeless(o, want)
		if homeless && o.IfNamespace && !d.servedNamespace(o.Body.GetNamespace()) {
			continue
		}
		wanted[ref] = true
		if homeless {
			d.withoutNamespace(o)
			continue
		}
		if d.unserved(o, want) {
			d.withoutKind(o)
			continue
		}
		c, err := d.alike(o)
		if c == nil && err == nil {
			c, err = d.change(o)
		}
		if err != nil {
			return nil, err
		}
		if c != nil {
			changes = append(changes, *c)
		}
	}
	for _, ref := range d.now.Inventory {
		if !wanted[ref] {
			if c := d.unwanted(ref); c != nil {
				changes = append(changes, *c)
			}
		}
	}
	inv, err := d.inventory(changes)
	if err != nil {
		return nil, err
	}
	if inv != nil {
		changes = append(changes, *inv)
	}
	if c := d.withoutSystem(want); c != nil {
		changes = append(changes, *c)
	}
	return changes, nil
}

// withoutSystem deletes the namespace that the inventories live in when a mesh goes and its inventory was the last.
func (d *decider) withoutSystem(want []object.Object) *Change {
	ref := object.Ref{Kind: "Namespace", Name: object.SystemNamespace}
	live, uid := d.now.Find(ref)
	if len(want) > 0 || d.in.Mesh.Name == "" || live == nil || !d.ours(ref, live) || live.GetAnnotations()[AnnotationAdopted] != "" {
		return nil
	}
	if slices.ContainsFunc(d.now.Inventories, func(owner string) bool { return owner != d.owner }) {
		return nil
	}
	if slices.Contains(d.kept, rootRef) || d.holds(ref.Name) {
		return nil
	}
	return &Change{
		Cluster: d.cluster, Object: ref, Part: object.PartFoundation, Stage: StageSystem, UID: string(uid),
		Action: Delete, Reason: "nothing of Isthmus is left in it",
	}
}

// withSystem adds the namespace that the inventory lives in. All meshes and sets of a cluster share it: it is in no
// inventory, and its label names none of them.
func (d *decider) withSystem(want []object.Object) []object.Object {
	ref := object.Ref{Kind: "Namespace", Name: object.SystemNamespace}
	if len(want) == 0 || slices.ContainsFunc(want, func(o object.Object) bool { return o.Ref() == ref }) {
		return want
	}
	body := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": object.SystemNamespace},
	}}
	system := object.Object{Part: object.PartFoundation, Reason: "holds what Isthmus keeps in a cluster", Body: body}
	return append(slices.Clone(want), system)
}

// change decides about one wanted object; nil means that nothing about it can be said or done now.
func (d *decider) change(o object.Object) (*Change, error) {
	ref := o.Ref()
	live, uid := d.now.Find(ref)
	if d.terminating(ref.Namespace) {
		live = nil // it goes with its namespace before it is made
	}
	c := &Change{
		Cluster: d.cluster, Object: ref, Part: o.Part, Stage: StageOf(ref, o.Part, o.Sealed),
		Reason: o.Reason, Action: Create, Seal: o.Sealed != nil,
	}
	if d.tooLarge(o) {
		return nil, nil
	}
	if why := d.now.Unread[ref]; why != "" {
		d.conflict(ref, "", "cannot be read: "+why)
		return nil, nil
	}
	aboutPending := o.Sealed != nil && o.Sealed.About != "" && d.pending[o.Sealed.About] != ""
	if live == nil && (aboutPending || d.pending[o.For] != "") {
		return nil, nil
	}
	ours := live != nil && d.ours(ref, live)
	adopt := live != nil && ref.Kind == "Namespace" && (!ours || live.GetAnnotations()[AnnotationAdopted] != "")
	owner := d.owner
	if isSystem(ref) {
		owner = shared
	}
	o, restart, err := d.withRestart(o, live)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %s: %w", d.cluster, ref, err)
	}
	prepared, err := d.prepared.prepare(o, owner, adopt)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %w", d.cluster, err)
	}
	c.Want = prepared
	if !d.mayTake(c, live, ours || adopt) {
		return nil, nil
	}
	if c.Beside {
		return c, nil
	}
	if live != nil {
		c.UID = string(uid)
		c.Adopt = adopt && !ours
		if err := d.compareOnce(c, live); err != nil {
			return nil, err
		}
		if c.Action == "" {
			return nil, nil
		}
		if restart != "" && c.Action == Configure {
			c.Reason, c.Restarted = restart, true
		}
	}
	if o.Sealed != nil && !aboutPending && (!c.TakeOver || !authority(o.Sealed)) {
		return d.judge(c)
	}
	c.Seal = c.Seal && live == nil
	return c, nil
}

// terminating tells whether a namespace is being deleted: then everything in it is.
func (d *decider) terminating(namespace string) bool {
	if namespace == "" {
		return false
	}
	if live, _ := d.now.Find(object.Ref{Kind: "Namespace", Name: namespace}); live != nil {
		return live.GetDeletionTimestamp() != nil
	}
	return slices.ContainsFunc(d.now.Namespaces, func(n facts.Namespace) bool { return n.Name == namespace && n.Terminating })
}

// ours tells whether a live object is ours to change: it says so, or it is listed as ours and we set fields of it.
// Being listed alone is not enough, since the list is written before the object is made.
func (d *decider) ours(ref object.Ref, live *unstructured.Unstructured) bool {
	if live.GetLabels()[object.LabelMesh] == d.owner {
		return true
	}
	if isSystem(ref) {
		return live.GetLabels()[object.LabelMesh] != ""
	}
	if !slices.Contains(d.now.Inventory, ref) {
		return false
	}
	for _, e := range live.GetManagedFields() {
		if e.Manager == object.Manager {
			return true
		}
	}
	return false
}

// shared stands for a mesh's name on the namespace that all meshes of a cluster share.
const shared = "shared"

func isSystem(ref object.Ref) bool {
	return ref.Kind == "Namespace" && ref.Name == object.SystemNamespace
}

// conflict notes an object that is in the way, and what to do about it if that can be said.
func (d *decider) conflict(ref object.Ref, owner, why string, do ...string) {
	d.conflicts = append(d.conflicts, Conflict{Cluster: d.cluster, Object: ref, Owner: owner, Why: why, Do: strings.Join(do, "; ")})
}
