// Package screen is how isthmus-lab looks: marks, columns, and a living line for each thing under way. It prints what it
// is told and decides nothing. The lab does not share the product's view, so as not to carry the product with it.
package screen

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// Marks begin a line that says how something ended.
const (
	Yes    = "✔"
	No     = "✘"
	Beware = "!"
)

// Streams are where a command reads and writes. Out holds results, Err progress and errors.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	// Env looks up an environment variable.
	Env func(string) string
}

// Std are the streams of this process.
func Std() Streams { return Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Env: os.Getenv} }

// Terminal tells whether w is a terminal.
func Terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Mark returns the mark, coloured if w wants colours: a terminal, and NO_COLOR not set (no-color.org).
func (s Streams) Mark(w io.Writer, mark string) string {
	code, ok := map[string]string{Yes: "32", No: "31", Beware: "33"}[mark]
	if !ok || !Terminal(w) || s.Env("NO_COLOR") != "" || s.Env("TERM") == "dumb" {
		return mark
	}
	return "\x1b[" + code + "m" + mark + "\x1b[0m"
}

// Columns lines rows up, two blanks between columns.
func Columns(rows [][]string) string {
	var widths []int
	for _, r := range rows {
		for i, cell := range r {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, r := range rows {
		var line strings.Builder
		for i, cell := range r {
			line.WriteString(cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}

// Seconds is a duration as people read it: "0.4 s", "12 s", "2:41".
func Seconds(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	return fmt.Sprintf("%d:%02d", int(d.Minutes()), int(d.Seconds())%60)
}
