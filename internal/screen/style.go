package screen

import (
	"io"
	"strings"
	"unicode/utf8"
)

// Marks begin a line that says how something ended.
const (
	Yes  = "✔"
	No   = "✘"
	Hmm  = "!"
	Info = "·"
)

// A Page is where the human form of a result is written: it knows whether colours are wanted. What a terminal would obey
// is shown instead, see Clean.
type Page struct {
	io.Writer
	colour bool
}

// NewPage makes a page; colour as Streams.Colour says.
func NewPage(w io.Writer, colour bool) *Page { return &Page{people{w}, colour} }

func (p *Page) paint(code, s string) string {
	if !p.colour {
		return s
	}
	return ours + code + "m" + s + ours + "0m"
}

// Good paints what is well.
func (p *Page) Good(s string) string { return p.paint("32", s) }

// Bad paints what is wrong.
func (p *Page) Bad(s string) string { return p.paint("31", s) }

// Warn paints what wants a look.
func (p *Page) Warn(s string) string { return p.paint("33", s) }

// Dim paints what may be read last.
func (p *Page) Dim(s string) string { return p.paint("2", s) }

// Bold paints headings.
func (p *Page) Bold(s string) string { return p.paint("1", s) }

// Mark paints one of the marks in its colour.
func (p *Page) Mark(mark string) string {
	switch mark {
	case Yes:
		return p.Good(mark)
	case No:
		return p.Bad(mark)
	case Hmm:
		return p.Warn(mark)
	}
	return p.Dim(mark)
}

// Columns lays rows out so that columns line up, two spaces between them. Escape sequences have no width.
func Columns(rows [][]string) string {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], Width(cell))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell)
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", widths[i]-Width(cell)+2))
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " "))
		b.WriteByte('\n')
	}
	return b.String()
}

// Width is how many columns a terminal needs for s: escape sequences for none, every other rune for one.
func Width(s string) int {
	n := 0
	for {
		i := strings.Index(s, "\x1b[")
		if i < 0 {
			return n + utf8.RuneCountInString(s)
		}
		n += utf8.RuneCountInString(s[:i])
		end := strings.IndexByte(s[i:], 'm')
		if end < 0 {
			return n
		}
		s = s[i+end+1:]
	}
}
