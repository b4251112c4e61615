package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"isthmus.dev/isthmus/internal/engine"
	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/input"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/plan"
	"isthmus.dev/isthmus/internal/record"
	"isthmus.dev/isthmus/internal/screen"
)

func newFacts(e *env) *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:   "facts",
		Short: "Record what is true now: plan --from and check --from need no cluster then",
		Long: `Facts reads every cluster, as plan does, and records what it saw: with -o FILE (or --out FILE) in a file, with
-o json on standard output. isthmus plan --from FILE gives the same plan from it, with no cluster.

The record holds no private key and no token: of a Secret it has what its certificates and addresses say, and digests.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := e.outFile(&out); err != nil {
				return err
			}
			f, err := e.format(screen.JSON)
			if err != nil {
				return err
			}
			eng, err := e.charted(c.Context())
			if err != nil {
				return err
			}
			now, err := e.facts(c.Context(), eng, "facts")
			if err != nil {
				return err
			}
			return e.showFacts(eng.Mesh, now, f, out)
		},
	}
	c.Flags().StringVar(&out, "out", "", "record them in a file")
	return c
}

// showFacts records facts, and shows people what is in them.
func (e *env) showFacts(m mesh.Mesh, now facts.Snapshot, f screen.Format, out string) error {
	write := func(w io.Writer) error {
		_, err := now.Write(w, m.Name, program())
		return err
	}
	if out != "" {
		if err := toFile(out, write); err != nil {
			return fmt.Errorf("record the facts: %w", err)
		}
	}
	if f == screen.JSON {
		if err := write(e.Out); err != nil {
			return err
		}
	} else {
		factsPage(e.page(), m, now, out)
	}
	for _, c := range now.Clusters {
		if c.Err == "" {
			return nil
		}
	}
	return &exitError{exitUnknown, errors.New("no cluster answers\n  Why: isthmus check")}
}

func factsPage(p *screen.Page, m mesh.Mesh, now facts.Snapshot, out string) {
	rows := make([][]string, 0, len(m.Clusters))
	for _, c := range m.Clusters {
		f := now.Clusters[c.Name]
		if f.Err != "" {
			rows = append(rows, []string{c.Name, p.Mark(screen.No) + " does not answer: " + f.Err})
			continue
		}
		workloads := 0
		for _, x := range f.Meshed {
			workloads += x.Workloads
		}
		more := ""
		if f.MeshedMore {
			more = "at least "
		}
		rows = append(rows, []string{
			c.Name, "k8s " + f.Version, counted(len(f.Nodes), "node"), counted(len(f.Inventory), "object") + " of Isthmus",
			counted(len(f.Services), "service"), more + counted(workloads, "workload") + " with a sidecar",
		})
	}
	fmt.Fprint(p, screen.Columns(rows))
	if out == "" {
		fmt.Fprintln(p, "Record them: isthmus facts -o facts.json")
		return
	}
	fmt.Fprintf(p, "Recorded in %s. A plan from them: isthmus plan --from %s\n", out, out)
}

// recorded reads facts of a mesh from a file.
func (e *env) recorded(path string, m mesh.Mesh) (facts.Snapshot, error) {
	again := "\n  Record them again: isthmus facts -o FILE"
	in, name, done, err := e.open(path)
	if err != nil {
		return facts.Snapshot{}, fmt.Errorf("read the facts: %w", err)
	}
	defer done()
	now, h, _, err := facts.Read(in)
	if err != nil {
		return facts.Snapshot{}, fmt.Errorf("%s%s", unusable(name, err), again)
	}
	if h.Mesh != m.Name {
		return facts.Snapshot{}, fmt.Errorf("%s holds facts of mesh %s, and the document is mesh %s%s", name, h.Mesh, m.Name, again)
	}
	return now, nil
}

// mostRecord bounds a file of facts or a plan, in bytes: those of 500 clusters are some 500 MiB.
const mostRecord = 4 << 30

// open opens a file, or standard input for "-"; name is what messages call it.
func (e *env) open(path string) (in io.Reader, name string, done func(), err error) {
	if path == "-" {
		if e.file == "-" {
			return nil, "", nil, usagef("-f - and --from - both read standard input")
		}
		return input.Limit(io.NopCloser(e.In), mostRecord), "standard input", func() {}, nil
	}
	f, err := input.Open(path, mostRecord)
	if err != nil {
		return nil, "", nil, err
	}
	return f, path, func() { _ = f.Close() }, nil // read only
}

// unusable says why a record cannot be used.
func unusable(name string, err error) string {
	if r, ok := errors.AsType[*record.Error](err); ok {
		return name + " " + r.Why
	}
	return fmt.Sprintf("%s cannot be read: %v", name, err)
}

const planAnew = "\n  Nothing was changed. Make a plan anew: isthmus plan --out FILE"

// readPlan reads a saved plan.
func readPlan(path string) (plan.Saved, error) {
	f, err := input.Open(path, mostRecord)
	if err != nil {
		return plan.Saved{}, fmt.Errorf("read the plan: %w", err)
	}
	defer f.Close() // read only
	saved, _, err := plan.Read(f)
	if err != nil {
		return plan.Saved{}, fmt.Errorf("%s%s", unusable(path, err), planAnew)
	}
	return saved, nil
}

// resume makes a saved plan's rest while saying why not where it may not be done.
func resume(eng engine.Engine, path string, saved plan.Saved) func(context.Context) (engine.Prospect, error) {
	return func(ctx context.Context) (engine.Prospect, error) {
		p, err := eng.Resume(ctx, saved)
		var moved *engine.MovedError
		switch {
		case errors.As(err, &moved):
			return p, fmt.Errorf("%s cannot be done any more, since something moved:\n  %w%s", path, err, planAnew)
		case err != nil && ctx.Err() == nil:
			return p, fmt.Errorf("%s: %w%s", path, err, planAnew)
		}
		return p, err
	}
}

func atMostOneFile(_ *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usagef("apply takes one file, of a saved plan; got %d", len(args))
	}
	return nil
}
