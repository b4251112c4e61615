// Package lab runs several real Kubernetes clusters on one Linux machine, as root, without containers around them: each
// node is a network namespace with its own containerd and kubelet. What a lab is made of follows from its document and
// its name alone, so that any later process can find it, go on with it, or take it down, whatever happened before.
package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"isthmus.dev/isthmus/lab/config"
	"isthmus.dev/isthmus/lab/layout"
	"isthmus.dev/isthmus/lab/registry"
	"isthmus.dev/isthmus/lab/supervise"
	"isthmus.dev/isthmus/lab/sweep"
)

// The words of a lab's document and state.
type (
	// Config is the document.
	Config = config.Config
	// Cluster is a cluster in the document.
	Cluster = config.Cluster
	// Link is the distance between two clusters.
	Link = config.Link
	// Status is what is known of a running lab.
	Status = supervise.Status
	// Fault is something broken on purpose.
	Fault = supervise.Fault
	// Trace is one thing that a lab left on the machine.
	Trace = sweep.Trace
)

// SeedDir is the folder that keeps unpacked images for all labs. It is on the same disk as DefaultDir, so that nodes
// share files with it.
const SeedDir = "/var/cache/isthmus-lab"

// DefaultDir is the folder below which labs keep their files.
const DefaultDir = "/var/lib/isthmus-lab"

// A Lab is one that has been laid out; it may or may not run.
type Lab struct {
	layout.Lab
}

// ErrNotFound says that there is no lab of that name.
var ErrNotFound = errors.New("there is no such lab on this machine")

// Open finds a lab by its name.
func Open(name string) (*Lab, error) {
	record, err := registry.Read()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(DefaultDir, name)
	if e, ok := record.Labs[name]; ok {
		dir = e.Dir
	}
	l, err := load(dir)
	if errors.Is(err, fs.ErrNotExist) {
		do := "isthmus-lab up" + flag(name) + " starts it"
		if names := record.Names(); len(names) > 0 {
			do += "; there are " + strings.Join(names, ", ")
		}
		return nil, &Error{Problem: fmt.Sprintf("there is no lab %q on this machine", name), Do: do, Err: ErrNotFound}
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, &Error{Problem: fmt.Sprintf("lab %q belongs to root", name), Do: "run it with sudo", Err: err}
	}
	if err != nil {
		return nil, err
	}
	return &Lab{l}, nil
}

// ProgramDirs are the folders of the programs that the labs of this machine run, whether they run now or not.
func ProgramDirs() ([]string, error) {
	record, err := registry.Read()
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, name := range record.Names() {
		l, err := load(record.Labs[name].Dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue // down is half way
		}
		if err != nil {
			return nil, err
		}
		dirs = append(dirs, filepath.Dir(l.Programs.Bin))
	}
	return dirs, nil
}

// Status asks the lab's supervisor.
func (l *Lab) Status(ctx context.Context) (Status, error) {
	s, err := l.client().Status(ctx)
	return s, l.unanswered(err)
}

// Begin makes a fault happen; what came of it is in Seen. Without an ID it is over already.
func (l *Lab) Begin(ctx context.Context, f Fault) (Fault, error) {
	f, err := l.client().Begin(ctx, f)
	return f, l.unanswered(err)
}

// Mend ends the fault with that id, or all if id is empty, and returns what it mended.
func (l *Lab) Mend(ctx context.Context, id string) ([]Fault, error) {
	list, err := l.client().End(ctx, id)
	return list, l.unanswered(err)
}

// LoadImage loads a docker or OCI archive into every node of the named clusters, of all when none is named.
func (l *Lab) LoadImage(ctx context.Context, archive string, clusters ...string) error {
	list := l.Clusters
	if len(clusters) > 0 {
		list = nil
		for _, n := range clusters {
			c, err := l.Find(n)
			if err != nil {
				return err
			}
			list = append(list, c)
		}
	}
	return supervise.ImportAll(ctx, l.Programs, list, archive)
}

// Find returns the cluster called name, or an error that lists those there are.
func (l *Lab) Find(name string) (layout.Cluster, error) {
	if c, ok := l.Cluster(name); ok {
		return c, nil
	}
	var names []string
	for _, c := range l.Clusters {
		names = append(names, c.Name)
	}
	return layout.Cluster{}, fmt.Errorf("lab %s has no cluster %q, only %v", l.Name, name, names)
}

func (l *Lab) client() *supervise.Client { return supervise.NewClient(l.Socket()) }

// unanswered says what to do when the supervisor is not there.
func (l *Lab) unanswered(err error) error {
	var refused *os.SyscallError
	if err == nil || !errors.As(err, &refused) {
		return err
	}
	return &Error{
		Problem: fmt.Sprintf("the supervisor of lab %q does not run", l.Name),
		Do:      "isthmus-lab up" + flag(l.Name) + " goes on with it, isthmus-lab down" + flag(l.Name) + " takes it down", Err: err,
	}
}

// flag is how a command names the lab.
func flag(name string) string {
	if name == config.DefaultName {
		return ""
	}
	return " --name " + name
}

func load(dir string) (layout.Lab, error) {
	var l layout.Lab
	data, err := os.ReadFile(layout.StateFile(dir))
	if err != nil {
		return l, err
	}
	if err := json.Unmarshal(data, &l); err != nil {
		return l, fmt.Errorf("read %s: %w", layout.StateFile(dir), err)
	}
	return l, nil
}

func save(l layout.Lab) error {
	data, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(l.Dir, 0o755); err != nil {
		return fmt.Errorf("make folder of lab %s: %w", l.Name, err)
	}
	if err := os.WriteFile(l.StateFile()+".new", data, 0o600); err != nil {
		return fmt.Errorf("write state of lab %s: %w", l.Name, err)
	}
	return os.Rename(l.StateFile()+".new", l.StateFile())
}

// An Error is one that a person can mend.
type Error struct {
	Problem string // cause and object, one line
	Do      string // the next step
	Err     error
}

// Error is the problem and, on a line of its own, what to do.
func (e *Error) Error() string { return e.Problem + "\n  " + e.Do }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
