// Package verify holds what is asked of clusters and of a mesh, as data in lists, and runs it: preflight checks
// judge facts, probes judge real calls. A check gathers nothing by itself.
package verify

import (
	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
)

// A Severity says what a finding means for the one who runs the command.
type Severity string

// The severities: an error stops apply and makes check exit 4; a warning and a note do not.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
	Note    Severity = "note"
)

// A Check asks one question of a mesh. It judges what it is given and gathers nothing.
type Check struct {
	ID       string // stable: "CHK014"
	Question string // "Does every node that may run istiod have memory for it?"
	Severity Severity
	// Needs are ids whose failure makes this one meaningless; it is then skipped, and said to be.
	Needs []string
	// Why is what goes wrong where this is not so; for isthmus help ID and the docs.
	Why string
	Run func(Input) []Finding
}

// Input is all that a check may look at.
type Input struct {
	Mesh mesh.Mesh
	Now  facts.Snapshot
}

// A Finding is what was seen, on what, and what to do about it.
type Finding struct {
	Cluster string `json:"cluster,omitempty"` // "" for the mesh as a whole
	Other   string `json:"other,omitempty"`   // the second cluster, for checks of pairs
	Object  string `json:"object,omitempty"`
	Seen    string `json:"seen"`
	Do      string `json:"do"`
}

// A Result is a check and what it found.
type Result struct {
	ID       string    `json:"id"`
	Question string    `json:"question"`
	Severity Severity  `json:"severity"`
	Skipped  string    `json:"skipped,omitempty"` // id of the failed check that made this one meaningless
	Findings []Finding `json:"findings,omitempty"`
}
