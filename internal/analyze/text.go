package analyze

import (
	"bytes"
	"sort"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// A text is a file's bytes with the places where its lines begin. Lines end as YAML says (YAML 1.1, 4.2): after
// CR LF, CR, LF, NEL, LS or PS.
type text struct {
	data  []byte
	lines []int // offset of each line's first byte; lines[0] is 0
}

func newText(data []byte) text {
	t := text{data: data, lines: []int{0}}
	for i := 0; i < len(data); {
		n := breakAt(data, i)
		if n == 0 {
			i++
			continue
		}
		i += n
		t.lines = append(t.lines, i)
	}
	return t
}

// breakAt is the length of the line break at i, 0 where there is none.
func breakAt(b []byte, i int) int {
	switch {
	case b[i] == '\n':
		return 1
	case b[i] == '\r':
		if i+1 < len(b) && b[i+1] == '\n' {
			return 2
		}
		return 1
	case b[i] == 0xC2 && i+1 < len(b) && b[i+1] == 0x85:
		return 2
	case b[i] == 0xE2 && i+2 < len(b) && b[i+1] == 0x80 && (b[i+2] == 0xA8 || b[i+2] == 0xA9):
		return 3
	}
	return 0
}

// line is a line's bytes without its break; n counts from 1.
func (t text) line(n int) []byte {
	if n < 1 || n > len(t.lines) {
		return nil
	}
	start, end := t.lines[n-1], len(t.data)
	if n < len(t.lines) {
		end = t.lines[n]
		for end > start && strings.ContainsRune("\n\r\u0085\u2028\u2029", lastRune(t.data[start:end])) {
			end -= utf8.RuneLen(lastRune(t.data[start:end]))
		}
	}
	return t.data[start:end]
}

func lastRune(b []byte) rune {
	r, _ := utf8.DecodeLastRune(b)
	if r == utf8.RuneError {
		return 'x' // ends no line
	}
	return r
}

// lineAt is the line that holds the byte at an offset.
func (t text) lineAt(offset int) int {
	return sort.Search(len(t.lines), func(i int) bool { return t.lines[i] > offset })
}

// offset is where a place is in the bytes; ok is false where the text has no such place.
func (t text) offset(p Pos) (at int, ok bool) {
	if p.Line < 1 || p.Line > len(t.lines) || p.Col < 1 {
		return 0, false
	}
	at = t.lines[p.Line-1]
	if p.Line == 1 {
		at += len(t.data) - len(bytes.TrimPrefix(t.data, []byte("\uFEFF")))
	}
	end := len(t.data)
	if p.Line < len(t.lines) {
		end = t.lines[p.Line]
	}
	for range p.Col - 1 {
		if at >= end {
			return 0, false
		}
		_, n := utf8.DecodeRune(t.data[at:end])
		at += n
	}
	return at, true
}

// newline is how the text ends its lines.
func (t text) newline() string {
	if bytes.Contains(t.data, []byte("\r\n")) {
		return "\r\n"
	}
	return "\n"
}

// scalarAt is where a one-line scalar stands, quotes included, and with which quote. ok is false where the text
// does not read there as the node says: then nothing may be edited.
func (t text) scalarAt(n *yaml.Node) (start, end int, quote string, ok bool) {
	if n == nil || n.Kind != yaml.ScalarNode {
		return 0, 0, "", false
	}
	start, ok = t.offset(Pos{n.Line, n.Column})
	if !ok {
		return 0, 0, "", false
	}
	switch {
	case n.Style&yaml.DoubleQuotedStyle != 0:
		quote = `"`
	case n.Style&yaml.SingleQuotedStyle != 0:
		quote = `'`
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle|yaml.TaggedStyle) != 0:
		return 0, 0, "", false
	}
	written := quote + n.Value + quote
	if n.Value == "" || strings.ContainsAny(n.Value, "\n\r\\\"'") || !bytes.HasPrefix(t.data[start:], []byte(written)) {
		return 0, 0, "", false
	}
	return start, start + len(written), quote, true
}
