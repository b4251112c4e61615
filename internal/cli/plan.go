package cli

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/spf13/cobra"

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
	return engine.Engine{Mesh: m, Dial: e.dial, Now: time.Now, Rand: rand.Reader}, nil
}

// charted is engine for what computes wanted objects: with the charts that the document names.
func (e *env) charted(ctx context.Context) (engine.Engine, error) {
	eng, err := e.engine()
	if err != nil {
		return engine.Engine{}, err
	}
	return eng.LoadCharts(ctx)
}

func newPlan(e *env) *cobra.Command {
	var show string
	var detailed bool
	var options plan.Options
	c := &cobra.Command{
		Use:   "plan",
		Short: "What would change, where and why; nothing is written",
		Long: `Plan reads every cluster and shows what apply would do: no more, no less. It writes nothing.

An object that somebody changed by hand is shown with who did it and when. What is somebody else's stands in the way, and
is shown with its owner; --adopt shows what taking over an Istio that istioctl or Helm installed would change.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if show != "" && show != "all" {
				return usagef("--show takes only: all")
			}
			eng, err := e.charted(c.Context())
			if err != nil {
				return err
			}
			eng.Options = options
			prospect, err := e.prospect(c.Context(), eng.Plan)
			if err != nil {
				return err
			}
			err = e.show(prospect.Plan, func(p *screen.Page) {
				view.Plan(p, prospect.Plan, view.PlanOptions{All: show == "all", Now: time.Now()})
				planNext(p, prospect.Plan, show)
			})
			if err == nil && detailed && view.Changes(prospect.Plan) > 0 {
				return &exitError{code: exitChanges}
			}
			return err
		},
	}
	c.Flags().StringVar(&show, "show", "", `"all" shows every object`)
	c.Flags().BoolVar(&detailed, "detailed-exitcode", false, "exit 3 if something would change")
	takeOverFlags(c, &options)
	return c
}

func planNext(p *screen.Page, pl plan.Plan, show string) {
	switch {
	case len(pl.Conflicts) > 0:
		fmt.Fprintln(p, "Apply would stop here. Nothing is written before what is in the way is settled.")
		return
	case view.Changes(pl) == 0:
		return
	}
	if show == "" {
		fmt.Fprint(p, "Details: isthmus plan --show all   ")
	}
	fmt.Fprintln(p, "Do it: isthmus apply"+flagsOf(pl.Options))
}

// flagsOf repeats the flags that a plan was made with.
func flagsOf(o plan.Options) string {
	flags := ""
	if o.Adopt {
		flags += " --adopt"
	}
	for _, t := range o.TakeOver {
		flags += fmt.Sprintf(" --take-over=%q", t)
	}
	return flags
}
