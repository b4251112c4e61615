package plan

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/record"
)

// RecordKind is what a saved plan says it is.
const RecordKind = "Plan"

// recordVersion is the format of a saved plan. In format 1 the UIDs of clusters were beside the plan, and former members
// had how they were reached.
const recordVersion = 2

// A Saved plan is one that is kept in a file, and what it was made from: apply does it later, or refuses.
type Saved struct {
	Plan Plan
	// Facts is the digest of the facts' record, Document that of the mesh document.
	Facts, Document string
	// Leaves are clusters of the document that leave the mesh by this plan; Uninstall tells that all of it goes.
	Leaves    []string
	Uninstall bool
}

// A savedItem is one line of the file: the head, a body that changes name by its number, or a change.
type savedItem struct {
	Head   *savedHead     `json:"head,omitempty"`
	Body   map[string]any `json:"body,omitempty"`
	Change *savedChange   `json:"change,omitempty"`
}

type savedHead struct {
	Facts    string   `json:"facts"`
	Document string   `json:"document"`
	Leaves   []string `json:"leaves,omitempty"`
	// Uninstall tells that everything goes.
	Uninstall bool `json:"uninstall,omitempty"`
	// Plan is all of the plan but the changes of its waves, which are lines of their own.
	Plan Plan `json:"plan"`
}

type savedChange struct {
	Change
	Wave    int          `json:"wave"`
	Want    *savedObject `json:"want,omitempty"`
	First   *savedObject `json:"first,omitempty"`
	Reclaim [][]string   `json:"reclaim,omitempty"`
	Settled bool         `json:"settled,omitempty"`
	Late    bool         `json:"late,omitempty"`
}

type savedObject struct {
	Part   object.Part    `json:"part"`
	Reason string         `json:"reason"`
	Sealed *object.Sealed `json:"sealed,omitempty"`
	Body   int            `json:"body"`
}

// Write saves a plan: everything that apply does, and nothing secret, since no plan has that.
func (s Saved) Write(w io.Writer, h record.Header) error {
	var wrong error
	items := func(yield func(any) bool) {
		b := &bodies{number: map[[sha256.Size]byte]int{}, yield: yield}
		head := savedHead{Facts: s.Facts, Document: s.Document, Leaves: s.Leaves, Uninstall: s.Uninstall, Plan: s.Plan}
		head.Plan.Waves = slices.Clone(s.Plan.Waves)
		for i := range head.Plan.Waves {
			head.Plan.Waves[i].Changes = []Change{}
		}
		if !yield(savedItem{Head: &head}) {
			return
		}
		for i, w := range s.Plan.Waves {
			for _, c := range w.Changes {
				x, err := b.change(i, c)
				if err != nil {
					wrong = fmt.Errorf("cluster %s: save %s: %w", c.Cluster, c.Object, err)
					return
				}
				if !yield(savedItem{Change: x}) {
					return
				}
			}
		}
	}
	h.Kind, h.Version, h.Mesh = RecordKind, recordVersion, s.Plan.Mesh
	if _, err := record.Write(w, h, iter.Seq[any](items)); err != nil {
		return err
	}
	return wrong
}

// bodies numbers bodies by what is in them, and yields each before the first change that names it: kinds are
// megabytes, and the same in every cluster.
type bodies struct {
	number map[[sha256.Size]byte]int
	yield  func(any) bool
}

func (b *bodies) change(wave int, c Change) (*savedChange, error) {
	out := &savedChange{Change: c, Wave: wave, Settled: c.Settled, Late: c.Late}
	var err error
	if out.Want, err = b.object(c.Want); err != nil {
		return nil, err
	}
	if out.First, err = b.object(c.First); err != nil {
		return nil, err
	}
	for _, p := range c.Reclaim {
		steps := make([]string, 0, len(p))
		for _, pe := range p {
			step, err := fieldpath.SerializePathElement(pe)
			if err != nil {
				return nil, err
			}
			steps = append(steps, step)
		}
		out.Reclaim = append(out.Reclaim, steps)
	}
	return out, nil
}

func (b *bodies) object(o *object.Object) (*savedObject, error) {
	if o == nil {
		return nil, nil
	}
	raw, err := json.Marshal(o.Body.Object)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(raw)
	n, known := b.number[sum]
	if !known {
		n = len(b.number)
		b.number[sum] = n
		b.yield(savedItem{Body: o.Body.Object})
	}
	return &savedObject{Part: o.Part, Reason: o.Reason, Sealed: o.Sealed, Body: n}, nil
}

// Read reads what Saved.Write wrote. Errors: *record.Error where the file is at fault.
func Read(r io.Reader) (Saved, record.Header, error) {
	reader := &savedReader{}
	h, _, err := record.Read(r, RecordKind, recordVersion, reader.item)
	if err != nil {
		return Saved{}, h, err
	}
	if reader.head == nil {
		return Saved{}, h, &record.Error{Why: "says not what it was made from"}
	}
	s := Saved{
		Plan: reader.plan, Facts: reader.head.Facts, Document: reader.head.Document,
		Leaves: reader.head.Leaves, Uninstall: reader.head.Uninstall,
	}
	s.Plan.Mesh = h.Mesh
	return s, h, nil
}

type savedReader struct {
	head   *savedHead
	plan   Plan
	bodies []*unstructured.Unstructured
}

func (r *savedReader) item(raw []byte) error {
	var it savedItem
	if err := utiljson.Unmarshal(raw, &it); err != nil {
		return fmt.Errorf("read a saved plan: %w", err)
	}
	switch {
	case it.Head != nil:
		r.head, r.plan = it.Head, it.Head.Plan
	case it.Body != nil:
		return r.body(raw)
	case it.Change != nil:
		c, err := r.change(it.Change)
		if err != nil {
			return fmt.Errorf("cluster %s: read the saved change of %s: %w", it.Change.Cluster, it.Change.Object, err)
		}
		w := &r.plan.Waves[it.Change.Wave]
		w.Changes = append(w.Changes, c)
	}
	return nil
}

// body reads a body by itself, since only the map of an unstructured object has whole numbers as int64.
func (r *savedReader) body(raw []byte) error {
	var content map[string]any
	if err := utiljson.Unmarshal(raw, &content); err != nil {
		return fmt.Errorf("read a saved body: %w", err)
	}
	body, _ := content["body"].(map[string]any)
	r.bodies = append(r.bodies, &unstructured.Unstructured{Object: body})
	return nil
}

func (r *savedReader) change(x *savedChange) (Change, error) {
	c := x.Change
	c.Settled, c.Late = x.Settled, x.Late
	if x.Wave < 0 || x.Wave >= len(r.plan.Waves) {
		return c, fmt.Errorf("there is no wave %d", x.Wave+1)
	}
	var err error
	if c.Want, err = r.object(x.Want); err != nil {
		return c, err
	}
	if c.First, err = r.object(x.First); err != nil {
		return c, err
	}
	for _, steps := range x.Reclaim {
		var p fieldpath.Path
		for _, step := range steps {
			pe, err := fieldpath.DeserializePathElement(step)
			if err != nil {
				return c, err
			}
			p = append(p, pe)
		}
		c.Reclaim = append(c.Reclaim, p)
	}
	return c, nil
}

func (r *savedReader) object(x *savedObject) (*object.Object, error) {
	if x == nil {
		return nil, nil
	}
	if x.Body < 0 || x.Body >= len(r.bodies) {
		return nil, fmt.Errorf("there is no body %d", x.Body)
	}
	return &object.Object{Part: x.Part, Reason: x.Reason, Sealed: x.Sealed, Body: r.bodies[x.Body]}, nil
}
