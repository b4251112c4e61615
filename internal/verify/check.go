// Package verify holds what is asked of clusters and of a mesh, as data in lists, and runs it: preflight checks
// judge facts, probes judge real calls. A check gathers nothing by itself.
package verify

import (
	"iter"
	"net/netip"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/plan"
)

// A Severity says what a finding means for the one who runs the command.
type Severity string

// The severities: an error stops apply and makes check exit 4; a warning and a note do not. What apply itself
// mends is never an error, or it could not be mended.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
	Note    Severity = "note"
)

// rank orders severities; "" is the least.
func (s Severity) rank() int { return map[Severity]int{Error: 3, Warning: 2, Note: 1}[s] }

// A Check asks one question of a mesh. It judges what it is given and gathers nothing.
type Check struct {
	ID       string // stable: "CHK014"
	Question string // "Does every node that may run istiod have memory for it?"
	// Severity is the worst that a finding of it can be, and what one is that says nothing else.
	Severity Severity
	// Needs are ids whose failure makes this one meaningless; it is then skipped, and said to be. They stand
	// before it in the list.
	Needs []string
	// Why is what goes wrong where this is not so; for isthmus help ID and the docs.
	Why string
	// Fix is what to do in general; a finding's Do is about the very thing that was found.
	Fix string
	Run func(Input) []Finding
}

// Input is all that a check may look at.
type Input struct {
	Mesh mesh.Mesh
	Now  facts.Snapshot
	// Options are what the plan that is asked about may take from others.
	Options plan.Options

	// leave are clusters that a check this one needs has found wanting; Members leaves them out.
	leave map[string]string
}

// A Member is a cluster of the document together with what was seen of it.
type Member struct {
	mesh.Cluster
	Facts *facts.Cluster
	// pods are the ranges of its pods, parsed and in order: pairs are many.
	pods []netip.Prefix
}

// Members are the clusters to judge, in document order: those that answered, without those that an earlier
// check has ruled out.
func (in Input) Members() []Member {
	var out []Member
	for _, c := range in.Mesh.Clusters {
		f := in.Now.Clusters[c.Name]
		if _, left := in.leave[c.Name]; left || !f.Answered() {
			continue
		}
		out = append(out, Member{c, f, podRanges(f)})
	}
	return out
}

// Couples are the unordered pairs of Members, each once, in document order.
func (in Input) Couples() iter.Seq2[*Member, *Member] {
	members := in.Members()
	return func(yield func(a, b *Member) bool) {
		for i := range members {
			for j := i + 1; j < len(members); j++ {
				if !yield(&members[i], &members[j]) {
					return
				}
			}
		}
	}
}

// A Finding is what was seen, on what, and what to do about it.
type Finding struct {
	Cluster string `json:"cluster,omitempty"` // "" for the mesh as a whole
	Other   string `json:"other,omitempty"`   // the second cluster, for checks of pairs
	Object  string `json:"object,omitempty"`
	// Severity is the check's where a check leaves it empty.
	Severity Severity `json:"severity"`
	Seen     string   `json:"seen"`
	Do       string   `json:"do"`
}

// A Result is a check and what it found.
type Result struct {
	ID       string `json:"id"`
	Question string `json:"question"`
	// Severity is the worst of the findings; where there are none, the worst that there could be.
	Severity Severity  `json:"severity"`
	Skipped  string    `json:"skipped,omitempty"` // id of the failed check that made this one meaningless
	Findings []Finding `json:"findings,omitempty"`
	// SkippedOn are clusters that were left out, when others were judged.
	SkippedOn []Skip `json:"skippedOn,omitempty"`
}

// A Skip is a cluster that a check did not judge, and the id of the failed check that is the reason.
type Skip struct {
	Cluster string `json:"cluster"`
	Need    string `json:"need"`
}

// Worst is the highest severity among the findings; "" when there are none.
func (r Result) Worst() Severity {
	var worst Severity
	for _, f := range r.Findings {
		if f.Severity.rank() > worst.rank() {
			worst = f.Severity
		}
	}
	return worst
}
