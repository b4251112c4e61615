package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"isthmus.dev/isthmus/internal/cluster"
	"isthmus.dev/isthmus/internal/input"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/registry"
	"isthmus.dev/isthmus/internal/screen"
)

// env is what every command is given: streams and the flags that all share.
type env struct {
	screen.Streams
	file       string
	kubeconfig string
	output     string
	set        []string

	dialers   sync.Once
	dialer    cluster.Dialer
	plainHTTP []string
}

// registry reads from registries and writes to them, as the flags say.
func (e *env) registry() registry.Client { return registry.Client{PlainHTTP: e.plainHTTP} }

// mesh loads the document that -f names, with --set applied.
func (e *env) mesh() (mesh.Mesh, error) {
	if e.file != "-" {
		return mesh.LoadFile(e.file, e.set)
	}
	data, err := input.All(e.In, input.Document)
	if err != nil {
		return mesh.Mesh{}, fmt.Errorf("read the document from standard input: %w", err)
	}
	return mesh.Load("-", data, e.set)
}

// dial connects to clusters as the flags say. A command has one dialer, so that all of it sees the same kubeconfigs.
func (e *env) dial(c mesh.Cluster) (*cluster.Conn, error) {
	e.dialers.Do(func() { e.dialer = cluster.Options{Kubeconfig: e.kubeconfig}.Dialer() })
	return e.dialer(c)
}

// format is the output format, which must be one of those that the command has.
func (e *env) format(have ...screen.Format) (screen.Format, error) {
	f := screen.Format(e.output)
	if f == screen.Human || slices.Contains(have, f) {
		return f, nil
	}
	return "", usagef("no output format %q here; there are: %v", e.output, have)
}

// show prints a result: v for programs, or what human writes for people.
func (e *env) show(v any, human func(*screen.Page)) error {
	f, err := e.format(screen.JSON, screen.YAML)
	if err != nil {
		return err
	}
	if f == screen.Human {
		human(e.page())
		return nil
	}
	return screen.Machine(e.Out, f, v)
}

// outFile lets -o name a file too, as people expect of a plan: what is no format and looks like a file's name.
func (e *env) outFile(out *string) error {
	switch {
	case e.output == "" || slices.Contains([]screen.Format{screen.JSON, screen.YAML, screen.JUnit}, screen.Format(e.output)):
		return nil
	case !strings.ContainsAny(e.output, "./"+string(filepath.Separator)):
		return usagef("no output format %q here; for a file of that name: --out %s", e.output, e.output)
	case *out != "" && *out != e.output:
		return usagef("-o %s and --out %s name two files", e.output, *out)
	}
	*out, e.output = e.output, ""
	return nil
}

// toFile writes a file that is whole or not there, for this user's eyes: it says much of a mesh.
func toFile(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // it is not there any more when all went well
	err = write(f)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// page is Out for people.
func (e *env) page() *screen.Page { return screen.NewPage(e.Out, e.Colour(e.Out)) }

// An exitError ends a command with a code of its own. Err may be nil: everything has been said.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// Exit codes; they are part of the interface (README.md).
const (
	exitDone    = 0
	exitFailed  = 1
	exitUsage   = 2
	exitChanges = 3 // plan --detailed-exitcode has changes
	exitChecks  = 4 // check or verify found errors
	exitUnknown = 5 // what the command was to tell is not known: a cluster could not be read
)

func usagef(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// unknown ends a command that has shown what it could read, and could not read all that it is about.
func unknown() error { return &exitError{code: exitUnknown} }

// checksFailed ends a command whose result, already shown, is bad.
func checksFailed() error { return &exitError{code: exitChecks} }

func codeOf(err error) int {
	var ee *exitError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &ee):
		return ee.code
	}
	return exitFailed
}
