// Package plan decides what will change, and in which order. It is pure: the same facts and the same wanted
// objects give the same plan, byte for byte, and no client is in sight. What a plan lists is what apply does.
package plan

import (
	"time"

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

// A Stage orders the objects of one cluster; derived from the object, see StageOf.
type Stage int

// A FieldDiff is one field's change. Values of Secrets never get here.
type FieldDiff struct {
	Path string `json:"path"`
	From string `json:"from"`
	To   string `json:"to"`
	// By is the field manager that made From what it is, when that is not Isthmus.
	By string `json:"by,omitempty"`
	// At is when By did it.
	At time.Time `json:"at,omitzero"`
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
	Impact  []string    `json:"impact,omitempty"` // "restarts 12 workloads in shop"
	// Want is the object to apply; nil for Delete. Its sealed content is not in it.
	Want *object.Object `json:"-"`
}

// A Wave is clusters changed together; the next begins when this one is ready.
type Wave struct {
	Clusters []string `json:"clusters"`
	Changes  []Change `json:"changes"` // ordered by stage, cluster, object; unchanged ones too
}

// A Plan is what apply will do: no more, no less.
type Plan struct {
	Mesh  string `json:"mesh"`
	Waves []Wave `json:"waves"`
	// Pending are clusters that did not answer: what they need is not known now.
	Pending []Pending `json:"pending,omitempty"`
}

// A Pending cluster and why.
type Pending struct{ Cluster, Why string }

// A Judge says whether a sealed object that exists is still right: "" if so, else why not, in words for people.
// An error means that going on would do harm (the root is lost, say).
type Judge func(m mesh.Mesh, cluster string, o object.Object, now facts.Snapshot) (stale string, err error)
