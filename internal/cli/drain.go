package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"isthmus.dev/isthmus/internal/engine"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/screen"
	"isthmus.dev/isthmus/internal/status"
	"isthmus.dev/isthmus/internal/view"
)

type drainFlags struct {
	dryRun, force, with, skipUnreachable bool
	within                               time.Duration
	lockFlags
}

func newDrain(e *env) *cobra.Command {
	var flags drainFlags
	c := &cobra.Command{
		Use:   "drain CLUSTER...",
		Short: "Keep calls away from a cluster, so that it is safe to work on it",
		Long: `Drain keeps calls away from a cluster: the istiods of the others lose sight of it, so that nobody calls its
pods, and its own callers, its ingress gateways among them, go to another cluster for every service that is there too.
Calls that are under way end by themselves. It returns when all proxies know, and says so; from then on no new call
reaches the cluster's workloads from anywhere in the mesh.

Nothing in the cluster is stopped, and what is not in the mesh does not know: take its ingress addresses out of your
DNS or global load balancer too. That a cluster is drained is kept in all clusters and not in the document: apply keeps
it so, status shows it, and isthmus undrain ends it.

It is refused while a service has pods in that cluster alone: its callers would have nobody (--force). It does only
this: where the document wants more by now it is refused too (--with-changes does both).`,
		Args: someClusters,
		RunE: func(c *cobra.Command, args []string) error { return e.drain(c.Context(), args, nil, flags) },
	}
	addDrainFlags(c, &flags)
	c.Flags().BoolVar(&flags.force, "force", false, "go on though services have pods in that cluster alone")
	return c
}

func newUndrain(e *env) *cobra.Command {
	var flags drainFlags
	c := &cobra.Command{
		Use:   "undrain CLUSTER...",
		Short: "Let calls reach a drained cluster again",
		Args:  someClusters,
		RunE:  func(c *cobra.Command, args []string) error { return e.drain(c.Context(), nil, args, flags) },
	}
	addDrainFlags(c, &flags)
	return c
}

func someClusters(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usagef("which cluster? isthmus %s CLUSTER; the mesh and its clusters: isthmus status", c.Name())
	}
	return nil
}

func addDrainFlags(c *cobra.Command, f *drainFlags) {
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "show what it would do, and do nothing")
	c.Flags().BoolVar(&f.with, "with-changes", false, "do what else the document wants by now too")
	c.Flags().BoolVar(&f.skipUnreachable, "skip-unreachable", false, "leave clusters that do not answer as they are, and change the others")
	c.Flags().DurationVar(&f.within, "within", 3*time.Minute, "how long the proxies may take to know")
	f.add(c)
}

func (e *env) drain(ctx context.Context, drain, undrain []string, flags drainFlags) error {
	command := "drain " + strings.Join(drain, " ")
	if len(undrain) > 0 {
		command = "undrain " + strings.Join(undrain, " ")
	}
	eng, err := e.charted(ctx)
	if err != nil {
		return err
	}
	if err := mayDrain(eng.Mesh, slices.Concat(drain, undrain)); err != nil {
		return err
	}
	who := holder("")
	eng.Options.By = who.String()
	aside := 0
	prospect, err := e.prospect(ctx, func(ctx context.Context) (engine.Prospect, error) {
		p, n, err := eng.PlanDrain(ctx, drain, undrain)
		aside = n
		return p, err
	})
	if err != nil {
		return err
	}
	eng.Options = prospect.Plan.Options
	if flags.dryRun {
		err := e.show(prospect.Plan, func(p *screen.Page) {
			view.Plan(p, prospect.Plan, view.PlanOptions{Now: time.Now()})
			fmt.Fprintf(p, "Nothing was changed. Do it: isthmus %s\n", command)
		})
		if err == nil && nothingRead(prospect) {
			return unknown()
		}
		return err
	}
	if err := e.wouldDrain(ctx, eng, prospect, aside, command, flags); err != nil {
		return err
	}
	eng.Lock = flags.lock(eng, "isthmus "+command)
	since := eng.HowFar(ctx, prospect)
	if err := e.apply(ctx, eng, prospect, nil, "isthmus status", "isthmus "+command); err != nil {
		return err
	}
	return e.drained(ctx, eng, prospect, since, drain, command, flags.within)
}

// mayDrain refuses clusters that there are not.
func mayDrain(m mesh.Mesh, names []string) error {
	all := m.Names()
	for _, name := range names {
		if !slices.Contains(all, name) {
			return usagef("there is no cluster %q; there are: %s", name, strings.Join(all, ", "))
		}
	}
	return nil
}

// wouldDrain refuses what would do more than it says, or leave callers with nobody.
func (e *env) wouldDrain(ctx context.Context, eng engine.Engine, p engine.Prospect, aside int, command string, flags drainFlags) error {
	if err := mayApply(eng, p, flags.skipUnreachable, true); err != nil {
		return err
	}
	if aside > 0 && !flags.with {
		return fmt.Errorf("the clusters are not as the document wants them (%d changes), and this is to do nothing but to %s\n  See them: isthmus plan   Do both: isthmus %s --with-changes", aside, command, command)
	}
	for _, d := range eng.Drained(p.Facts) {
		if d.To == "" && slices.Contains(eng.Options.Drain, d.Name) {
			return fmt.Errorf("%s cannot be drained: no other cluster is left that answers and is not drained itself", d.Name)
		}
	}
	if len(eng.Options.Drain) == 0 || flags.force {
		return nil
	}
	alone, err := eng.OnlyIn(ctx, p.Facts)
	switch {
	case err != nil:
		return fmt.Errorf("nobody could be asked whether services have pods in %s alone: %w\n  Go on without: isthmus %s --force", strings.Join(eng.Options.Drain, ", "), err, command)
	case len(alone) > 0:
		return fmt.Errorf("these have pods in %s alone, and calls to them would fail:\n    %s\n  Nothing was changed. Run them elsewhere too, or go on: isthmus %s --force",
			strings.Join(eng.Options.Drain, ", "), strings.Join(alone, "\n    "), command)
	}
	return nil
}

// drained waits until everybody knows, and says what holds then.
func (e *env) drained(ctx context.Context, eng engine.Engine, p engine.Prospect, since map[string]status.Pushed, drain []string, command string, within time.Duration) error {
	if len(drain) == 0 {
		return nil
	}
	wait := screen.NewProgress(e.Streams)
	wait.Set("drain", "waiting until all proxies know")
	left, err := eng.AwaitDrained(ctx, p.Facts, since, within, func(s string) { wait.Set("drain", s) })
	wait.Close()
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("interrupted; it is under way\n  Wait for it again: isthmus %s", command)
	case err != nil:
		return fmt.Errorf("it was done, and not all proxies know after %s: %w\n  Wait for it again: isthmus %s", within, err, command)
	}
	if e.output != "" { // the change set has been shown
		return nil
	}
	page := e.page()
	for _, d := range eng.Drained(p.Facts) {
		if !slices.Contains(drain, d.Name) {
			continue
		}
		fmt.Fprintf(page, "%s %s is drained: nobody in the mesh sends new calls there, and its own callers go to %s. End it: isthmus undrain %s\n",
			page.Mark(screen.Yes), d.Name, d.To, d.Name)
	}
	if len(left) > 0 {
		fmt.Fprintf(page, "%s %s could not be asked: what is called from there is not known\n", page.Mark(screen.Hmm), strings.Join(left, ", "))
	}
	return nil
}
