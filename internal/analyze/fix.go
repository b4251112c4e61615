package analyze

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Apply makes edits in a text and leaves every other byte as it is. Edits that overlap an earlier one in the text
// are left out; the same edit twice is made once. It returns how many were made.
func Apply(data []byte, edits []Edit) (out []byte, made int) {
	edits = slices.Clone(edits)
	slices.SortStableFunc(edits, func(a, b Edit) int { return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End)) })
	edits = slices.Compact(edits)
	at := 0
	for _, e := range edits {
		if e.Start < at || e.End < e.Start || e.End > len(data) {
			continue
		}
		out = append(out, data[at:e.Start]...)
		out = append(out, e.New...)
		at = e.End
		made++
	}
	return append(out, data[at:]...), made
}

// Edits are the edits of findings, by file: the sure ones, and those that are guesses where they are wanted.
func Edits(findings []Finding, guess bool) map[string][]Edit {
	edits := map[string][]Edit{}
	for _, f := range findings {
		if f.Fix != nil && (guess || !f.Fix.Guess) {
			edits[f.Fix.File] = append(edits[f.Fix.File], *f.Fix)
		}
	}
	return edits
}

// maxRounds is far more than edits can call for one another: an edit may bring to light what it hid.
const maxRounds = 20

// ErrUnsettled is what Fix returns when edits never come to an end.
var ErrUnsettled = errors.New("the fixes call for one another without end")

// Fix mends what can be mended, again and again until nothing is left to mend, and returns the sources with their
// new content and how many edits were made. read makes the input of sources; Fix writes no file.
func Fix(sources []Source, read func([]Source) Input, guess bool) (fixed []Source, made int, err error) {
	fixed = slices.Clone(sources)
	for range maxRounds {
		edits := Edits(Run(read(fixed)), guess)
		round := 0
		for i, s := range fixed {
			out, n := Apply(s.Data, edits[s.Name])
			if n > 0 {
				fixed[i].Data = out
			}
			round += n
		}
		if round == 0 {
			return fixed, made, nil
		}
		made += round
	}
	return fixed, made, fmt.Errorf("after %d rounds: %w", maxRounds, ErrUnsettled)
}

// plainText is what may stand in YAML without quotes, and is then a text and nothing else.
var plainText = regexp.MustCompile(`^[a-zA-Z][-a-zA-Z0-9._/]*$`)

// replace is the edit that writes another text where a scalar stands, in the quotes that it has; nil where the
// place cannot be edited safely, such as an alias.
func (o *Object) replace(v Value, with string, guess bool) *Edit {
	if o.File == nil || v.node == nil || v.node.Kind != yaml.ScalarNode {
		return nil
	}
	start, end, quote, ok := o.File.text.scalarAt(v.node)
	if !ok || with == v.node.Value || strings.ContainsAny(with, "\"'\\\r\n") {
		return nil
	}
	if quote == "" && (!plainText.MatchString(with) || scalar(&yaml.Node{Kind: yaml.ScalarNode, Value: with}) != with) {
		quote = `"`
	}
	return &Edit{File: o.File.Name, Start: start, End: end, New: quote + with + quote, Guess: guess}
}
