// Package screen is how a program of ours looks, at a terminal, in a log and to another program: streams, marks,
// columns, living lines. It knows nothing of clusters or meshes; internal/view and the commands build on it.
package screen

import (
	"io"
	"os"

	"golang.org/x/term"
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

// IsTerminal tells whether w is a terminal.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Colour tells whether w wants colours: a terminal, and NO_COLOR not set (no-color.org).
func (s Streams) Colour(w io.Writer) bool {
	return IsTerminal(w) && s.Env("NO_COLOR") == "" && s.Env("TERM") != "dumb"
}

// Mark returns a mark, coloured where w wants colours.
func (s Streams) Mark(w io.Writer, mark string) string { return NewPage(w, s.Colour(w)).Mark(mark) }
