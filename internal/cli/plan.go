package cli

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"isthmus.dev/isthmus/internal/charts"
	"isthmus.dev/isthmus/internal/engine"
	"isthmus.dev/isthmus/internal/plan"
	"isthmus.dev/isthmus/internal/screen"
	"isthmus.dev/isthmus/internal/view"
)

// engine loads the document and puts the engine together for it.
func (e *env) engine() (engine.Engine, error) {
	m, err := e.mesh()
	if err != nil {
		return engine.Engine{}, err
	}
	return engine.Engine{
		Mesh: m, Dial: e.dial, Now: time.Now, Rand: rand.Reader,
		Charts: charts.Reader{Registry: e.registry()}, Renderings: charts.Renderings{},
	}, nil
}

func newPlan(e *env) *cobra.Command {
	var o planOptions
	c := &cobra.Command{
		Use:   "plan",
		Short: "What would change, where and why; nothing is written",
		Long: `Plan reads every cluster and shows what apply would do: no more, no less. It writes nothing to a cluster.

An object that somebody changed by hand is shown with who did it and when. What is somebody else's stands in the way, and
is shown with its owner; --adopt shows what taking over an Istio that istioctl or Helm installed would change. A cluster
that is no longer in the document is shown with what goes there and in the others: --leave NAME=CONTEXT, or spec.former, says
how it is reached, since a record in a cluster is not obeyed; one that does not answer is pending until it does. A cluster
of the document that is not the one that records know stops everything, until --new-cluster says that it was made anew.

Charts of a registry are shown with the digest that they were read by, and who vouches for it: the document, its lock
(isthmus lock), or nobody but the registry. With a lock the images are looked up as well, and those whose tag has moved
are named; a registry that does not answer leaves that open.

With --out FILE (or -o FILE, where FILE has a dot or a slash in it) the plan is kept: isthmus apply FILE does that very
plan, or refuses and says what has moved since. With --from FILE it is made from facts that isthmus facts recorded,
with no cluster, and is the same, byte for byte, as it would have been then.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return e.plan(c.Context(), o) },
	}
	c.Flags().StringVar(&o.show, "show", "", `"all" shows every object`)
	c.Flags().BoolVar(&o.detailed, "detailed-exitcode", false, "exit 3 if something would change, and 5 if that is not known of a cluster")
	c.Flags().StringVar(&o.out, "out", "", "keep the plan in a file, for: isthmus apply FILE")
	c.Flags().StringVar(&o.from, "from", "", "make the plan from recorded facts (isthmus facts), with no cluster; - is standard input")
	takeOverFlags(c, &o.Options)
	o.members.add(c, &o.Options)
	return c
}

type planOptions struct {
	show, out, from string
	detailed        bool
	members         memberFlags
	plan.Options
}

func (e *env) plan(ctx context.Context, o planOptions) error {
	if o.show != "" && o.show != "all" {
		return usagef("--show takes only: all")
	}
	if err := e.outFile(&o.out); err != nil {
		return err
	}
	if _, err := e.format(screen.JSON, screen.YAML); err != nil {
		return err
	}
	eng, err := e.charted(ctx)
	if err != nil {
		return err
	}
	eng.Options = o.Options
	if eng.Mesh, err = o.members.former(eng.Mesh); err != nil {
		return err
	}
	decide := eng.Plan
	if o.from != "" {
		now, err := e.recorded(o.from, eng.Mesh)
		if err != nil {
			return err
		}
		decide = func(context.Context) (engine.Prospect, error) { return eng.PlanFrom(now) }
	}
	images, err := e.lockedImages(ctx, eng, o.from == "")
	if err != nil {
		return err
	}
	prospect, err := e.prospect(ctx, decide)
	if err != nil {
		return err
	}
	prospect.Plan.Images = images()
	if err := o.members.known(eng.Mesh, prospect); err != nil {
		return err
	}
	if o.out != "" {
		if err := toFile(o.out, func(w io.Writer) error { return eng.Save(w, prospect, program()) }); err != nil {
			return fmt.Errorf("save the plan: %w", err)
		}
	}
	err = e.show(prospect.Plan, func(p *screen.Page) {
		view.Plan(p, prospect.Plan, view.PlanOptions{All: o.show == "all", Now: prospect.Facts.Taken})
		planNext(p, prospect.Plan, o)
	})
	if err == nil && len(prospect.Plan.Unknown) > 0 && (o.detailed || nothingRead(prospect)) {
		return unknown()
	}
	if err == nil && o.detailed && (view.Changes(prospect.Plan) > 0 || prospect.Plan.Again()) {
		return &exitError{code: exitChanges}
	}
	return err
}

// nothingRead tells that no cluster answered: then a plan says nothing.
func nothingRead(p engine.Prospect) bool {
	for _, c := range p.Facts.Clusters {
		if c.Answered() {
			return false
		}
	}
	return true
}

// lockedImages begins to ask registries whether the images of the document's lock have moved, while clusters are read,
// and returns what waits for the answer.
func (e *env) lockedImages(ctx context.Context, eng engine.Engine, ask bool) (func() []plan.LockedImage, error) {
	lock, err := e.locked()
	if err != nil {
		return nil, err
	}
	if lock == nil || !ask {
		return func() []plan.LockedImage { return nil }, nil
	}
	answer := make(chan []plan.LockedImage, 1)
	go func() { answer <- eng.LockedImages(ctx, lock.Images) }()
	return func() []plan.LockedImage { return <-answer }, nil
}

func planNext(p *screen.Page, pl plan.Plan, o planOptions) {
	switch {
	case len(pl.Conflicts) > 0:
		fmt.Fprintln(p, "Apply would stop here. Nothing is written before what is in the way is settled.")
		return
	case view.Changes(pl) == 0 && !pl.Again():
		return
	}
	if o.show == "" {
		fmt.Fprint(p, "Details: isthmus plan --show all   ")
	}
	if o.out != "" {
		fmt.Fprintln(p, "Do it: isthmus apply "+o.out+o.members.flags())
		return
	}
	fmt.Fprintln(p, "Do it: isthmus apply"+flagsOf(pl.Options)+o.members.flags())
}

// flagsOf repeats the flags that a plan was made with.
func flagsOf(o plan.Options) string {
	var flags strings.Builder
	if o.Adopt {
		flags.WriteString(" --adopt")
	}
	for _, t := range o.TakeOver {
		fmt.Fprintf(&flags, " --take-over=%q", t)
	}
	for _, name := range o.Forget {
		flags.WriteString(" --forget " + name)
	}
	for _, name := range o.NewClusters {
		flags.WriteString(" --new-cluster " + name)
	}
	return flags.String()
}
