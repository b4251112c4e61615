package mesh

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Problem is one thing that is wrong with a document, where, and what to do about it.
type Problem struct {
	// File is where it was written: the document, or the --set flag that wrote it.
	File string `json:"file"`
	// Line and Column count from 1; both are 0 where the file as a whole is meant, or a flag.
	Line   int `json:"line,omitempty"`
	Column int `json:"column,omitempty"`
	// Path is the field: "spec.clusters[1].name"; empty for the document as a whole.
	Path    string `json:"path,omitempty"`
	Message string `json:"message"`
	// Hint says what to do; it may be empty where the message leaves no doubt.
	Hint string `json:"hint,omitempty"`
}

// String is one line: "mesh.yaml:7:5: spec.clusters[1].netwk: no such field; did you mean network?".
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	b.WriteString(": ")
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Message)
	if p.Hint != "" {
		b.WriteString("; " + p.Hint)
	}
	return b.String()
}

// Problems are all that is wrong with a document, in the order of the file; those of flags come last. Load
// returns it as its error, and it is never empty.
type Problems struct {
	File string    `json:"file"`
	List []Problem `json:"problems"`
}

// Error is one line for one problem, and a list under a line that counts them for more.
func (p *Problems) Error() string {
	if len(p.List) == 1 {
		return p.List[0].String()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s has %d problems", p.File, len(p.List))
	for _, x := range p.List {
		b.WriteString("\n  " + x.String())
	}
	return b.String()
}

// Refuse is the error that says what is wrong with a document and with the files that it names; nil where nothing is.
func Refuse(file string, list []Problem) error { return asError(file, list) }

// asError sorts what was found; nothing found is no error.
func asError(file string, list []Problem) error {
	if len(list) == 0 {
		return nil
	}
	slices.SortStableFunc(list, func(a, b Problem) int {
		return cmp.Or(cmpFlag(a, b), cmpFile(a, b), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return &Problems{File: file, List: slices.Compact(list)}
}

// cmpFile orders what files say; what flags wrote stays in the order of the flags.
func cmpFile(a, b Problem) int {
	if strings.HasPrefix(a.File, "--set ") {
		return 0
	}
	return strings.Compare(a.File, b.File)
}

// cmpFlag puts what flags wrote behind what the file says.
func cmpFlag(a, b Problem) int {
	return cmp.Compare(strings.Count(a.File, "--set "), strings.Count(b.File, "--set "))
}
