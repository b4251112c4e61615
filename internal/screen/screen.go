// Package view decides how things look: for a person at a terminal, for a log, for a program. Nothing else in
// Isthmus prints. What a command prints for people it builds from the same value that -o json prints.
package view

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
