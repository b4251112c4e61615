// Package plan decides what will change, and in which order. It is pure: the same facts and the same wanted
// objects give the same plan, byte for byte, and no client is in sight. What a plan lists is what apply does.
package plan

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// An Action is what happens to an object; it is printed as it is.
type Action string

// The actions.
const (
	Create    Action = "create"
	Configure Action = "configure"
	Replace   Action = "replace" // a field that cannot be changed: delete, then create
	Delete    Action = "delete"
	Unchanged Action = "unchanged"
)

// A FieldDiff is one field's change. Values of Secrets never get here.
type FieldDiff struct {
	Path string `json:"path"`
	From string `json:"from"` // "" where the field is not there
	To   string `json:"to"`   // "" where the field goes
	// By is the field manager that made From what it is, when that is not Isthmus.
	By string `json:"by,omitempty"`
	// At is when By did it.
	At time.Time `json:"at,omitzero"`
	// Kept tells that By applies the field again by itself.
	Kept bool `json:"kept,omitempty"`
}

// A Change is one object in one cluster, why it changes, and what that disturbs.
type Change struct {
	Cluster string      `json:"cluster"`
	Object  object.Ref  `json:"object"`
	Part    object.Part `json:"part"`
	Stage   Stage       `json:"stage"`
	Action  Action      `json:"action"`
	Reason  string      `json:"reason"`
	Fields  []FieldDiff `json:"fields,omitempty"`
	Impact  []string    `json:"impact,omitempty"` // "restarts istiod (1 pod)"
	// UID is the live object's: apply refuses when the name has come to mean another object since.
	UID string `json:"uid,omitempty"`
	// Seal tells that the secret content is made anew; a sealed object without it keeps what it holds.
	Seal bool `json:"seal,omitempty"`
	// Adopt tells that the object is not ours yet, so nothing in it may be overruled.
	Adopt bool `json:"adopt,omitempty"`
	// TakeOver tells that the object is somebody else's and becomes ours as it is wanted.
	TakeOver bool `json:"takeOver,omitempty"`
	// MovedTo is the cluster in which the same Secret must hold the same content before this one is deleted.
	MovedTo string `json:"movedTo,omitempty"`
	// Inherit are field managers whose fields become ours when an object is taken over.
	Inherit []string `json:"inherit,omitempty"`
	// Beside tells that the object is somebody else's, does what is wanted, and is left to them.
	Beside bool `json:"beside,omitempty"`
	// Restarted tells that the object is an istiod that starts anew for the root in its cacerts: it is ready when that
	// is the root that it tells workloads to trust.
	Restarted bool `json:"restarted,omitempty"`
	// Want is the object to apply; nil for Delete. Its sealed content is not in it.
	Want *object.Object `json:"-"`
	// First is applied before all other changes of the cluster; only the inventory has one. It lists what is ours
	// and what will be, so that nothing is orphaned however apply ends. nil where the list in place does already.
	First *object.Object `json:"-"`
	// Reclaim are items of lists that somebody put in the place of ours, and fields that somebody added to the mesh's
	// configuration, see Reclaimed.
	Reclaim []fieldpath.Path `json:"-"`
	// Late tells that the last word of an inventory waits for the end of the plan: it takes clusters off the list of
	// members, and nothing may be left in them by then.
	Late bool `json:"-"`
	// Settled tells that the live object was ready when it was seen: an unchanged one needs no waiting.
	Settled bool `json:"-"`
}

// A Wave is clusters changed together; the next begins when this one is ready.
type Wave struct {
	Clusters []string `json:"clusters"`
	// LetGo is what must hold before the first change; nil: nothing.
	LetGo *LetGo `json:"letGo,omitempty"`
	// Changes are in the order in which they are made: by stage, cluster and object, then deletions in
	// reverse stage order. Unchanged objects are listed too. A change may be in a cluster of an earlier wave
	// when it is about a cluster of this one (a remote secret).
	Changes []Change `json:"changes"`
}

// A Conflict is an object that is in the way and not ours to change.
type Conflict struct {
	Cluster string     `json:"cluster"`
	Object  object.Ref `json:"object"`
	Owner   string     `json:"owner"` // whose it is, as far as that can be told
	Why     string     `json:"why"`
	Do      string     `json:"do,omitempty"` // what to do about it, as a person would type or write it
}

func (c Conflict) String() string {
	return fmt.Sprintf("cluster %s: %s %s", c.Cluster, c.Object, c.Why)
}

// A Plan is what apply will do: no more, no less.
type Plan struct {
	Mesh  string `json:"mesh"`
	Waves []Wave `json:"waves"`
	// Unknown are the clusters that could not be read: what would change there nobody knows.
	Unknown []string `json:"unknown,omitempty"`
	// Pending are clusters that are left as they are because what they need cannot be known now.
	Pending []Pending `json:"pending,omitempty"`
	// Left are the clusters that something goes from though the document does not name them any more.
	Left []string `json:"left,omitempty"`
	// UIDs are kube-system's of all clusters that were read, by name: apply writes to no other cluster.
	UIDs map[string]string `json:"uids,omitempty"`
	// Skew is the home cluster's clock minus the planner's: by its clock certificates begin and end.
	Skew time.Duration `json:"-"`
	// Doubted is what records say of drained clusters and is not believed.
	Doubted []facts.DoubtedDrain `json:"doubted,omitempty"`
	// Conflicts stop apply before the first write.
	Conflicts []Conflict `json:"conflicts,omitempty"`
	// Options are what the plan was allowed to take from others.
	Options Options `json:"options,omitzero"`
	// Root is told where the root moves; nil where it stays.
	Root         *RootMove     `json:"root,omitempty"`
	DoubtedRoots []DoubtedRoot `json:"doubtedRoots,omitempty"`
	// Stays are namespaces that stay though all that is Isthmus's goes from them.
	Stays []Stay `json:"stays,omitempty"`
	// Charts are what the control planes are rendered from, where that is not what the program carries.
	Charts []mesh.Chart `json:"charts,omitempty"`
	// Images are those of the document's lock, and whether their tags have moved; none where nobody asked.
	Images []LockedImage `json:"images,omitempty"`
	// Leftovers belong to an Istio that somebody else installed and to nothing in the document: they are left alone.
	Leftovers []Leftover `json:"leftovers,omitempty"`
}

// A RootMove says that the mesh's root goes from one cluster's keeping into another's.
type RootMove struct {
	From string `json:"from"`
	To   string `json:"to"`
	// Fingerprint is the root's: SHA-256 of its DER form, hex. InUse are those of the roots that workloads trust now.
	Fingerprint string   `json:"fingerprint"`
	InUse       []string `json:"inUse"`
}

// A DoubtedRoot is a Secret that says it is the mesh's root, in a cluster that is not its home, and is left alone.
type DoubtedRoot struct {
	Cluster     string `json:"cluster"`
	Fingerprint string `json:"fingerprint"`
	Why         string `json:"why"`
}

// A Stay is a namespace that Isthmus made and does not delete, because it holds what is not Isthmus's.
type Stay struct {
	Cluster   string `json:"cluster"`
	Namespace string `json:"namespace"`
	Why       string `json:"why"` // what is in it, as a sentence
}

// A LockedImage is an image whose digest the document's lock has. What a plan writes does not depend on it: nodes pull by
// the tag.
type LockedImage struct {
	Image  string `json:"image"`
	Locked string `json:"locked"`
	// Now is where the tag leads, "" where that is not known; Unknown says why then.
	Now     string `json:"now,omitempty"`
	Unknown string `json:"unknown,omitempty"`
}

// Moved tells whether the tag leads elsewhere than the lock says.
func (i LockedImage) Moved() bool { return i.Now != "" && i.Now != i.Locked }

// chartsOf are the charts that the clusters of a mesh are rendered from, sorted.
func chartsOf(m mesh.Mesh) []mesh.Chart {
	var all []mesh.Chart
	for _, c := range m.Clusters {
		for _, chart := range c.Istio.Charts.Read {
			if !slices.Contains(all, chart) {
				all = append(all, chart)
			}
		}
	}
	slices.SortFunc(all, func(a, b mesh.Chart) int {
		return cmp.Or(strings.Compare(a.Reference, b.Reference), strings.Compare(a.Digest, b.Digest))
	})
	return all
}

// A Pending cluster and why.
type Pending struct {
	Cluster string `json:"cluster"`
	Why     string `json:"why"`
	// Left tells that it is no longer in the document.
	Left bool `json:"left,omitempty"`
	// Next tells that what is missing comes with this plan, so that the cluster is in the next round of an apply.
	Next bool `json:"next,omitempty"`
}

// A Judge says whether a sealed object that exists is still right: "" if so, else why not, in words for people.
// An error means that going on would do harm (the root is lost, say). It is asked about objects that do not
// exist too, since only it can tell a root that was never made from one that was lost.
type Judge func(m mesh.Mesh, cluster string, o object.Object, now facts.Snapshot) (stale string, err error)

// A Guard says of a cluster as a whole what stands in the way of changing it at all, on which object, and what to do;
// why is "" where nothing does.
type Guard func(m mesh.Mesh, cluster string, now facts.Snapshot) (ref object.Ref, why, do string)

// Again tells whether there is more to plan once this plan is done: clusters that wait for what it brings.
func (p Plan) Again() bool {
	return slices.ContainsFunc(p.Pending, func(x Pending) bool { return x.Next })
}

// Counts are a plan's changes by action.
func (p Plan) Counts() map[Action]int {
	n := map[Action]int{}
	for _, w := range p.Waves {
		for _, c := range w.Changes {
			n[c.Action]++
		}
	}
	return n
}

// Writes is how many objects will be written: everything that is not unchanged.
func (p Plan) Writes() int {
	n := 0
	for a, k := range p.Counts() {
		if a != Unchanged {
			n += k
		}
	}
	return n
}

// Digest changes whenever anything that this plan would do, or do it to, changes: SHA-256, hex.
func (p Plan) Digest() (string, error) {
	h := sha256.New()
	enc := json.NewEncoder(h)
	if err := enc.Encode(p); err != nil {
		return "", fmt.Errorf("digest plan: %w", err)
	}
	for _, w := range p.Waves {
		for _, c := range w.Changes {
			if c.Want == nil {
				continue
			}
			if err := enc.Encode(c.Want.Body.GetAnnotations()[object.AnnotationApplied]); err != nil {
				return "", fmt.Errorf("digest plan: %w", err)
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
