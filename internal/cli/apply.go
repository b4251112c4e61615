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

type applyFlags struct {
	skipUnreachable, skipChecks bool
	members                     memberFlags
	plan.Options
	lockFlags
}

func newApply(e *env) *cobra.Command {
	var flags applyFlags
	c := &cobra.Command{
		Use:   "apply [PLAN]",
		Short: "Make it so; safe to run again, safe to interrupt",
		Long: `Apply does what plan shows: no more, no less. It asks the preflight questions first and writes nothing if one of
them finds an error. Run it again at any time, after an interruption too: it goes on where it was, and when nothing
is to be done it writes nothing. A cluster that another's istiod serves waits for the address of the gateway in front of
that one: once it is there, apply plans again and does a second round.

With a file that isthmus plan --out made it does that very plan. It reads the clusters again first, and refuses when
the plan would now do something else, naming what moved; what does not matter for the plan does not matter. After an
interruption the same command does what is left of the plan.

What is not Isthmus's is never taken without being asked. --adopt takes over an Istio that istioctl or Helm installed; no
proxy restarts where nothing needs to change, and no certificate authority is replaced. --take-over overrules who keeps
applying a field or an object: look at the plan with the same flags first. A saved plan has its own.

A cluster that is no longer in the document is forgotten by the others. With --leave NAME=CONTEXT, or an entry in
spec.former, it is cleaned too: once none of the others' proxies sends to it any more, everything that Isthmus made there
goes. Without it stays pending, as one does that does not answer, until --forget gives it up. What a cluster's record says
of how another is reached is never used, and one that cannot be proved to be that former member is left alone.

A cluster of the document which is not the one that the others know by its name stops everything: let its context lead
to the right one, or say with --new-cluster that it was made anew.

While something is written, a Lease in each of the clusters keeps a second run away.`,
		Args: atMostOneFile,
		RunE: func(c *cobra.Command, args []string) error { return e.applyDocument(c.Context(), args, flags) },
	}
	c.Flags().BoolVar(&flags.skipUnreachable, "skip-unreachable", false, "leave clusters that do not answer as they are, and change the others")
	c.Flags().BoolVar(&flags.skipChecks, "skip-checks", false, "go on where a preflight check finds an error")
	takeOverFlags(c, &flags.Options)
	flags.members.add(c, &flags.Options)
	flags.add(c)
	return c
}

// applyDocument does what the document wants, or a saved plan of it that args names.
func (e *env) applyDocument(ctx context.Context, args []string, flags applyFlags) error {
	eng, err := e.charted(ctx)
	if err != nil {
		return err
	}
	eng.Options = flags.Options
	if eng.Mesh, err = flags.members.former(eng.Mesh); err != nil {
		return err
	}
	decide, again := eng.Plan, "isthmus apply"+flagsOf(flags.Options)+flags.members.flags()
	next := "isthmus verify"
	if len(args) == 1 {
		again = "isthmus apply " + args[0] + flags.members.flags()
		saved, err := savedPlan(eng, args[0])
		if err != nil {
			return err
		}
		if len(saved.Leaves) > 0 || saved.Uninstall {
			return e.applyRemoval(ctx, eng, saved, args[0], flags.members, flags.lockFlags)
		}
		decide = resume(eng, args[0], saved)
	}
	eng.Lock = flags.lock(eng, again)
	prospect, err := e.prospect(ctx, decide)
	if err != nil {
		return err
	}
	if err := flags.members.known(eng.Mesh, prospect); err != nil {
		return err
	}
	may := func(p engine.Prospect) error { return mayApply(eng, p, flags.skipUnreachable, flags.skipChecks) }
	if err := may(prospect); err != nil {
		return err
	}
	if len(args) == 1 { // that plan, and none that nobody has seen
		if may = nil; prospect.Plan.Again() {
			next = "isthmus apply, for the clusters that waited for what this plan brought"
		}
	}
	return e.apply(ctx, eng, prospect, may, next, again)
}

// savedPlan reads a saved plan, which says itself what it may take from others.
func savedPlan(eng engine.Engine, path string) (plan.Saved, error) {
	if flags := flagsOf(eng.Options); flags != "" {
		return plan.Saved{}, usagef("%s was decided when the plan was made; give%s to isthmus plan", path, flags)
	}
	return readPlan(path)
}

// prospect makes a plan while saying that clusters are being read.
func (e *env) prospect(ctx context.Context, decide func(context.Context) (engine.Prospect, error)) (engine.Prospect, error) {
	wait := screen.NewProgress(e.Streams)
	wait.Set("facts", "reading clusters")
	p, err := decide(ctx)
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
		for _, r := range verify.Run(verify.Preflight, verify.Input{Mesh: eng.Mesh, Now: p.Facts, Options: p.Plan.Options}) {
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

// apply does a plan, and those of the rounds after it, shows it being done, and says how to go on.
func (e *env) apply(ctx context.Context, eng engine.Engine, p engine.Prospect, may func(engine.Prospect) error, next, again string) error {
	if _, err := e.format(screen.JSON, screen.YAML); err != nil {
		return err
	}
	progress := screen.NewProgress(e.Streams)
	applying := view.NewApplying(progress)
	set, err := eng.ApplyRounds(ctx, p.Plan, may, applying.Event)
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
		return fmt.Errorf("%s\n  Nothing was changed. More: isthmus plan%s", strings.Join(view.InTheWay(conflict.Conflicts, false), "\n"), flagsOf(p.Plan.Options))
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted\n  Go on: %s", again)
	}
	return fmt.Errorf("%w\n  Go on when that is mended: %s", err, again)
}
