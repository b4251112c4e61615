package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"isthmus.dev/isthmus/internal/engine"
	"isthmus.dev/isthmus/internal/plan"
	"isthmus.dev/isthmus/internal/screen"
	"isthmus.dev/isthmus/internal/view"
)

func newUninstall(e *env) *cobra.Command {
	var yes bool
	var clusters []string
	var out string
	var o plan.Options
	members, lock := memberFlags{}, lockFlags{}
	c := &cobra.Command{
		Use:   "uninstall",
		Short: "Take away what Isthmus made, and nothing else",
		Long: `Uninstall deletes what the inventories of this mesh list, in the reverse of the order in which it was made. CRDs stay:
with a CRD goes everybody's configuration of that kind. So do the ConfigMaps istio-ca-root-cert and istio-ca-crl, which
istiod itself puts into every namespace. A namespace that holds anything of somebody else's stays, and the plan names it.
Without --yes it shows what it would delete and does nothing; with --out FILE it keeps that plan, and isthmus apply FILE
does it, or refuses and says what has moved since.

With --cluster only the clusters that it names leave, and the rest goes on working: first the others forget them, and
when none of their proxies sends there any more, gateway, control plane and trust go. If the first cluster of the
document leaves, which keeps the self-signed root, the root moves to the next one before. Take the clusters out of the
document afterwards: the next apply would bring them back.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			load := func(context.Context) (engine.Engine, error) { return e.engine() }
			if err := e.outFile(&out); err != nil {
				return err
			}
			switch {
			case out != "" && yes:
				return usagef("--yes does it, and --out keeps the plan for later: give one of them")
			case len(clusters) > 0 || out != "":
				load = e.charted // what the others want is computed; charts fill in what the document leaves to them
			}
			whole, err := load(c.Context())
			if err != nil {
				return err
			}
			if whole.Mesh, err = members.former(whole.Mesh); err != nil {
				return err
			}
			r := removal{eng: whole, members: members, again: "isthmus uninstall"}
			if len(clusters) > 0 {
				if r.eng, err = whole.Without(clusters...); err != nil {
					return usagef("%w\n  To take the whole mesh away: isthmus uninstall", err)
				}
				r.again = "isthmus uninstall --cluster " + strings.Join(clusters, " --cluster ")
			}
			r.eng.Options, r.eng.Lock = o, lock.lock(r.eng, r.again)
			r.again += flagsOf(o) + members.flags() + " --yes"
			if r.decide = r.eng.PlanRemoval; len(clusters) > 0 {
				r.decide = r.eng.Plan
			}
			if out != "" || !yes {
				return e.showRemoval(c.Context(), r, out)
			}
			return e.remove(c.Context(), r)
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do it")
	c.Flags().StringVar(&out, "out", "", "keep the plan in a file, for: isthmus apply FILE")
	c.Flags().StringSliceVar(&clusters, "cluster", nil, "only this cluster leaves the mesh; may be repeated")
	members.add(c, &o)
	lock.add(c)
	return c
}

// A removal is what uninstall does: of the whole mesh, or of some clusters.
type removal struct {
	eng    engine.Engine
	decide func(context.Context) (engine.Prospect, error)
	// members are what was said of clusters that have left.
	members memberFlags
	again   string // the command that does it, or goes on
}

// planRemoval decides what goes, and refuses what must not.
func (e *env) planRemoval(ctx context.Context, r removal) (engine.Prospect, error) {
	prospect, err := e.prospect(ctx, r.decide)
	if err != nil {
		return prospect, err
	}
	return prospect, r.may(prospect)
}

// showRemoval shows what would go, and keeps the plan in a file where it is given one.
func (e *env) showRemoval(ctx context.Context, r removal, out string) error {
	prospect, err := e.planRemoval(ctx, r)
	if err != nil {
		return err
	}
	if out != "" {
		r.again = "isthmus apply " + out + r.members.flags()
		if err := toFile(out, func(w io.Writer) error { return r.eng.Save(w, prospect, program()) }); err != nil {
			return fmt.Errorf("save the plan: %w", err)
		}
	}
	return e.show(prospect.Plan, func(p *screen.Page) {
		view.Plan(p, prospect.Plan, view.PlanOptions{Now: time.Now()})
		fmt.Fprintf(p, "Nothing was deleted. Do it: %s\n", r.again)
	})
}

// remove does it.
func (e *env) remove(ctx context.Context, r removal) error {
	prospect, err := e.planRemoval(ctx, r)
	if err != nil {
		return err
	}
	return e.apply(ctx, r.eng, prospect, nil, r.next(), r.again)
}

// applyRemoval does a saved plan by which clusters leave, or everything goes.
func (e *env) applyRemoval(ctx context.Context, eng engine.Engine, saved plan.Saved, path string, members memberFlags, lock lockFlags) error {
	r := removal{eng: eng, members: members, again: "isthmus apply " + path + members.flags()}
	if len(saved.Leaves) > 0 {
		var err error
		if r.eng, err = eng.Without(saved.Leaves...); err != nil {
			return fmt.Errorf("%s: it was made from another document: %w%s", path, err, planAnew)
		}
	}
	r.eng.Options, r.eng.Lock = saved.Plan.Options, lock.lock(r.eng, r.again)
	r.decide = resume(r.eng, path, saved)
	return e.remove(ctx, r)
}

// may refuses what would leave something behind unseen: with the last inventory goes the memory of who was a member.
func (r removal) may(p engine.Prospect) error {
	if err := r.members.known(r.eng.Mesh, p); err != nil {
		return err
	}
	if len(r.eng.Leaving) == 0 {
		for _, x := range p.Plan.Pending {
			if x.Left {
				return fmt.Errorf("cluster %s %s\n  Nothing was changed: once the mesh is gone nobody would know of that cluster", x.Cluster, x.Why)
			}
		}
	}
	return mayApply(r.eng, p, false, true)
}

// next is what there is to do afterwards.
func (r removal) next() string {
	if len(r.eng.Leaving) == 0 {
		return ""
	}
	document := r.eng.Mesh.Source
	if document == "-" {
		document = "the document"
	}
	names := make([]string, 0, len(r.eng.Leaving))
	for _, c := range r.eng.Leaving {
		names = append(names, c.Name)
	}
	return fmt.Sprintf("take %s out of spec.clusters of %s, then isthmus verify", strings.Join(names, ", "), document)
}
