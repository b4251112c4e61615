package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"isthmus.dev/isthmus/internal/analyze"
	"isthmus.dev/isthmus/internal/apply"
	"isthmus.dev/isthmus/internal/engine"
	"isthmus.dev/isthmus/internal/plan"
	"isthmus.dev/isthmus/internal/screen"
	"isthmus.dev/isthmus/internal/verify"
	"isthmus.dev/isthmus/internal/view"
)

func newApply(e *env) *cobra.Command {
	var skipUnreachable, skipChecks bool
	var options plan.Options
	var lock lockFlags
	c := &cobra.Command{
		Use:   "apply [PLAN]",
		Short: "Make it so; safe to run again, safe to interrupt",
		Long: `Apply does what plan shows: no more, no less. It asks the preflight questions first and writes nothing if one of
them finds an error. Run it again at any time, after an interruption too: it goes on where it was, and when nothing
is to be done it writes nothing.

With a file that isthmus plan --out made it does that very plan. It reads the clusters again first, and refuses when
the plan would now do something else, naming what moved; what does not matter for the plan does not matter. After an
interruption the same command does what is left of the plan.

What is not Isthmus's is never taken without being asked. --adopt takes over an Istio that istioctl or Helm installed; no
proxy restarts where nothing needs to change, and no certificate authority is replaced. --take-over overrules who keeps
applying a field or an object: look at the plan with the same flags first. A saved plan has its own.

A cluster that is no longer in the document is cleaned: the others forget it, and once none of their proxies sends to
it any more, everything that Isthmus made there goes. One that does not answer stays pending until it does, or until
--forget gives it up.

While something is written, a Lease in each of the clusters keeps a second run away.`,
		Args: atMostOneFile,
		RunE: func(c *cobra.Command, args []string) error {
			eng, err := e.charted(c.Context())
			if err != nil {
				return err
			}
			eng.Options = options
			make, again := eng.Plan, "isthmus apply"+flagsOf(options)
			if len(args) == 1 {
				if flags := flagsOf(options); flags != "" {
					return usagef("%s was decided when the plan was made; give%s to isthmus plan", args[0], flags)
				}
				saved, err := readPlan(args[0])
				if err != nil {
					return err
				}
				make, again = resume(eng, args[0], saved), "isthmus apply "+args[0]
			}
			eng.Lock = lock.lock(eng, again)
			prospect, err := e.prospect(c.Context(), make)
			if err != nil {
				return err
			}
			if err := mayForget(prospect, options.Forget); err != nil {
				return err
			}
			if err := mayApply(eng, prospect, skipUnreachable, skipChecks); err != nil {
				return err
			}
			return e.apply(c.Context(), eng, prospect, "isthmus verify", again)
		},
	}
	c.Flags().BoolVar(&skipUnreachable, "skip-unreachable", false, "leave clusters that do not answer as they are, and change the others")
	c.Flags().BoolVar(&skipChecks, "skip-checks", false, "go on where a preflight check finds an error")
	takeOverFlags(c, &options)
	addForget(c, &options.Forget)
	lock.add(c)
	return c
}

// prospect makes a plan while saying that clusters are being read.
func (e *env) prospect(ctx context.Context, make func(context.Context) (engine.Prospect, error)) (engine.Prospect, error) {
	wait := screen.NewProgress(e.Streams)
	wait.Set("facts", "reading clusters")
	p, err := make(ctx)
	wait.Close()
	e.warn(p.Findings)
	return p, err
}

// warn tells of what is worth knowing of files and stops nothing; programs read standard output, so not there.
func (e *env) warn(findings []analyze.Finding) {
	page := screen.NewPage(e.Err, e.Colour(e.Err))
	for _, f := range findings {
		if f.Severity == analyze.Warning {
			fmt.Fprintf(page, "%s %s:%d:%d  %s  %s\n  %s\n", page.Mark(screen.Hmm), f.File, f.Line, f.Col, f.ID, f.Seen, f.Do)
		}
	}
}

// mayApply refuses before the first write: a cluster that does not answer, or a preflight check that finds an error.
func mayApply(eng engine.Engine, p engine.Prospect, skipUnreachable, skipChecks bool) error {
	var why []string
	for _, name := range p.Unreachable(eng.Mesh) {
		if !skipUnreachable {
			why = append(why, fmt.Sprintf("cluster %s does not answer: %s\n  To change the others without it: --skip-unreachable", name, p.Facts.Clusters[name].Err))
		}
	}
	if len(why) == 0 && !skipChecks {
		for _, r := range verify.Run(verify.Preflight, verify.Input{Mesh: eng.Mesh, Now: p.Facts, Options: eng.Options}) {
			for _, f := range r.Findings {
				if f.Severity != verify.Error {
					continue
				}
				if unreachable := p.Facts.Clusters[f.Cluster]; unreachable != nil && unreachable.Err != "" {
					continue // said to be skipped
				}
				why = append(why, fmt.Sprintf("%s %s: %s\n  %s", r.ID, f.Cluster, f.Seen, f.Do))
			}
		}
	}
	if len(why) == 0 {
		return nil
	}
	return fmt.Errorf("%s\n  Nothing was changed. More: isthmus check", strings.Join(why, "\n"))
}

// apply does a plan, shows it being done, and says how to go on.
func (e *env) apply(ctx context.Context, eng engine.Engine, p engine.Prospect, next, again string) error {
	if _, err := e.format(screen.JSON, screen.YAML); err != nil {
		return err
	}
	progress := screen.NewProgress(e.Streams)
	applying := view.NewApplying(progress)
	set, err := eng.Apply(ctx, p.Plan, applying.Event)
	applying.Close(err == nil)
	if shown := e.show(set, func(page *screen.Page) {
		view.ChangeSet(page, eng.Mesh, set, err != nil)
		if err == nil && next != "" {
			fmt.Fprintf(page, "Next: %s\n", next)
		}
	}); shown != nil {
		return errors.Join(err, shown)
	}
	var conflict *apply.ConflictError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &conflict):
		return fmt.Errorf("%s\n  Nothing was changed. More: isthmus plan%s", strings.Join(view.InTheWay(conflict.Conflicts, false), "\n"), flagsOf(eng.Options))
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted\n  Go on: %s", again)
	}
	return fmt.Errorf("%w\n  Go on when that is mended: %s", err, again)
}
