// Package analyze judges Istio configuration, of one cluster or of many at once, from what it is given and nothing
// else. Analysers are data in one table. What holds here: an analyser claims only what its input can show. Where
// something would be known only from what is not in the input, it stays quiet, or says less loudly what it saw and
// on what that rests; and a fix is offered as sure only where there is one thing that can have been meant.
package analyze

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Severity says what a finding means for the one who runs the command.
type Severity string

// The severities: an error is configuration that does not do what it says; a warning is likely to be one, or will
// become one; a note is worth knowing.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
	Note    Severity = "note"
)

// Input is what is judged: sets of objects, one for each cluster, and the files that they were read from, if they
// were. Files fill it today; whoever can list a cluster's objects can fill it the same way (see NewObject).
type Input struct {
	Clusters []Cluster
	Files    []*File
	// TrustDomain is the mesh's, where the caller knows it; otherwise a Mesh document or a mesh configuration in
	// the input may name it, and if none does no domain is called wrong.
	TrustDomain string
	// Failover tells that the mesh has calls leave endpoints that stop answering, by a DestinationRule of its own for all
	// services, where the caller knows it; otherwise a Mesh document in the input says so.
	Failover bool
}

// A Cluster is what is known of one cluster. Objects that are meant for several clusters are in each of them.
type Cluster struct {
	Name    string // "" where there is one cluster and nobody named it
	Objects []*Object
	// Whole says that Objects are all there is, as when they were read from the cluster itself: what is not among
	// them does not exist. Files hardly ever are the whole of a cluster.
	Whole bool
	// Away says why the cluster could not be read, and Unread which kinds could not, where it was to be.
	Away   string
	Unread map[string]string
}

// NewObject makes an Object of one that was read from a cluster, with no places in it.
func NewObject(content map[string]any) (*Object, error) {
	node, err := nodeOf(content)
	if err != nil {
		return nil, err
	}
	return newObject(Value{node: node}, nil, ""), nil
}

// An Analyser asks one question of an input.
type Analyser struct {
	ID       string // stable: "ANA001"
	Question string // "Does every YAML document begin with a separator?"
	// Severity is that of its findings where they say nothing else.
	Severity Severity
	// Why is what goes wrong where this is not so.
	Why string
	// Do is what to do in general; a finding's Do is about the very thing that was found.
	Do string
	// Fixes says what --fix does about it; "" where that is left to people.
	Fixes string
	Run   func(*World) []Finding
}

// A Finding is what was seen, where, on what it rests and what to do about it.
type Finding struct {
	ID       string   `json:"id"`
	Severity Severity `json:"severity"`
	// File, Line and Col are where; Line and Col count from 1 and are 0 for what was read from a cluster.
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	Col  int    `json:"column,omitempty"`
	// Clusters are those that it is about, where the input names clusters.
	Clusters []string `json:"clusters,omitempty"`
	Object   string   `json:"object,omitempty"` // "Gateway default/gateway"
	Seen     string   `json:"seen"`
	// Evidence is on what Seen rests, where that is more than the place itself.
	Evidence string `json:"evidence,omitempty"`
	Do       string `json:"do"`
	// Fix is the edit that mends it, where there is one.
	Fix *Edit `json:"fix,omitempty"`

	about *Object
}

// An Edit replaces the bytes of a file from Start to before End.
type Edit struct {
	File  string `json:"file"`
	Start int    `json:"start"`
	End   int    `json:"end"`
	New   string `json:"new"`
	// Guess marks an edit that is likely and not sure: --fix leaves it to people unless they say --guess.
	Guess bool `json:"guess,omitempty"`
}

// Run asks every analyser of the table, and Istio's own. Findings come in the order of files and lines, each once,
// however many clusters it concerns.
func Run(in Input) []Finding { return RunWith(in, Analysers) }

// RunWith asks the analysers of a table of the caller's.
func RunWith(in Input, table []Analyser) []Finding {
	w := newWorld(in)
	var all []Finding
	for _, a := range table {
		for _, f := range a.Run(w) {
			f.ID = cmp.Or(f.ID, a.ID)
			f.Severity = cmp.Or(f.Severity, a.Severity)
			if !suppressed(f) {
				all = append(all, f)
			}
		}
	}
	return w.order(merge(echoes(all)))
}

// suppressed tells that an object says, in Istio's own annotation, that a finding about it is not wanted: a list of
// ids, or "*".
func suppressed(f Finding) bool {
	if f.about == nil {
		return false
	}
	for id := range strings.SplitSeq(f.about.Annotation("galley.istio.io/analyze-suppress"), ",") {
		if id = strings.TrimSpace(id); id == "*" || id == f.ID {
			return true
		}
	}
	return false
}

// Errors counts the findings that are errors.
func Errors(findings []Finding) int {
	n := 0
	for _, f := range findings {
		if f.Severity == Error {
			n++
		}
	}
	return n
}

// merge makes one finding of those that differ in their cluster alone.
func merge(all []Finding) []Finding {
	type key struct {
		id, file, object, seen string
		line, col              int
	}
	at := map[key]int{}
	var out []Finding
	for _, f := range all {
		k := key{f.ID, f.File, f.Object, f.Seen, f.Line, f.Col}
		i, have := at[k]
		if !have {
			at[k] = len(out)
			out = append(out, f)
			continue
		}
		for _, c := range f.Clusters {
			if !slices.Contains(out[i].Clusters, c) {
				out[i].Clusters = append(out[i].Clusters, c)
			}
		}
	}
	return out
}

// order sorts findings by the order of files, then by place and id.
func (w *World) order(all []Finding) []Finding {
	place := map[string]int{}
	for i, f := range w.Files {
		place[f.Name] = i + 1
	}
	slices.SortStableFunc(all, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(place[a.File], place[b.File]), strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Col, b.Col), strings.Compare(a.ID, b.ID), strings.Compare(a.Object, b.Object), strings.Compare(a.Seen, b.Seen))
	})
	return all
}

// find begins a finding on an object, at a value of it: where the value stands, or where the object does.
func (o *Object) find(cluster string, v Value) Finding {
	f := Finding{Object: o.Ref.String(), about: o}
	if cluster != "" {
		f.Clusters = []string{cluster}
	}
	if o.File == nil {
		return f
	}
	f.File = o.File.Name
	p := v.Pos()
	if p.Line == 0 {
		p = o.Root.Pos()
	}
	f.Line, f.Col = p.Line, p.Col
	return f
}

// where names an object for somebody who reads about another one: with its file and line, if it has them.
func where(o *Object, v Value) string {
	p := v.Pos()
	if p.Line == 0 {
		p = o.Root.Pos()
	}
	if o.File == nil || p.Line == 0 {
		return o.Ref.String()
	}
	return fmt.Sprintf("%s (%s:%d)", o.Ref, o.File.Name, p.Line)
}
