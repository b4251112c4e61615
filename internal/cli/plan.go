package cli

import (
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

func newPlan(e *env) *cobra.Command {
	var show string
	var detailed bool
	var forget []string
	c := &cobra.Command{
		Use:   "plan",
		Short: "What would change, where and why; nothing is written",
		Long: `Plan reads every cluster and shows what apply would do: no more, no less. It writes nothing.

An object that somebody changed by hand is shown with who did it and when. A cluster that is no longer in the document
is shown with what goes there and in the others; one that does not answer is pending until it does.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if show != "" && show != "all" {
				return usagef("--show takes only: all")
			}
			eng, err := e.engine()
			if err != nil {
				return err
			}
			eng.Forget = forget
			prospect, err := e.prospect(c.Context(), eng.Plan)
			if err != nil {
				return err
			}
			if err := mayForget(prospect, forget); err != nil {
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
	addForget(c, &forget)
	c.Flags().BoolVar(&detailed, "detailed-exitcode", false, "exit 3 if something would change")
	return c
}

func planNext(p *screen.Page, pl plan.Plan, show string) {
	if view.Changes(pl) == 0 {
		return
	}
	if show == "" {
		fmt.Fprint(p, "Details: isthmus plan --show all   ")
	}
	fmt.Fprintln(p, "Do it: isthmus apply")
}
