package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"isthmus.dev/isthmus/internal/engine"
	"isthmus.dev/isthmus/internal/screen"
	"isthmus.dev/isthmus/internal/view"
)

func newUninstall(e *env) *cobra.Command {
	var yes bool
	var clusters, forget []string
	var lock lockFlags
	c := &cobra.Command{
		Use:   "uninstall",
		Short: "Take away what Isthmus made, and nothing else",
		Long: `Uninstall deletes what the inventories of this mesh list, in the reverse of the order in which it was made. CRDs stay:
with a CRD goes everybody's configuration of that kind. So do the ConfigMaps istio-ca-root-cert and istio-ca-crl, which
istiod itself puts into every namespace. Without --yes it shows what it would delete and does nothing.

With --cluster only the clusters that it names leave, and the rest goes on working: first the others forget them, and
when none of their proxies sends there any more, gateway, control plane and trust go. If the first cluster of the
document leaves, which keeps the self-signed root, the root moves to the next one before. Take the clusters out of the
document afterwards: the next apply would bring them back.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			load := func(context.Context) (engine.Engine, error) { return e.engine() }
			if len(clusters) > 0 {
				load = e.charted // what the others want is computed
			}
			whole, err := load(c.Context())
			if err != nil {
				return err
			}
			r := removal{eng: whole, again: "isthmus uninstall --yes"}
			if len(clusters) > 0 {
				if whole, err = whole.LoadCharts(c.Context()); err != nil {
					return err
				}
				if r.eng, err = whole.Without(clusters...); err != nil {
					return usagef("%w\n  To take the whole mesh away: isthmus uninstall", err)
				}
				r.again = "isthmus uninstall --cluster " + strings.Join(clusters, " --cluster ") + " --yes"
			}
			r.eng.Options.Forget, r.eng.Lock = forget, lock.lock(r.eng, strings.TrimSuffix(r.again, " --yes"))
			plan := r.eng.PlanRemoval
			if len(clusters) > 0 {
				plan = r.eng.Plan
			}
			prospect, err := e.prospect(c.Context(), plan)
			if err != nil {
				return err
			}
			if err := r.may(prospect, forget); err != nil {
				return err
			}
			if !yes {
				return e.show(prospect.Plan, func(p *screen.Page) {
					view.Plan(p, prospect.Plan, view.PlanOptions{Now: time.Now()})
					fmt.Fprintf(p, "Nothing was deleted. Do it: %s\n", r.again)
				})
			}
			return e.apply(c.Context(), r.eng, prospect, nil, r.next(whole, clusters), r.again)
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do it")
	c.Flags().StringSliceVar(&clusters, "cluster", nil, "only this cluster leaves the mesh; may be repeated")
	addForget(c, &forget)
	lock.add(c)
	return c
}

// A removal is what uninstall does: of the whole mesh, or of some clusters.
type removal struct {
	eng   engine.Engine
	again string // the command that does it, or goes on
}

// may refuses what would leave something behind unseen: with the last inventory goes the memory of who was a member.
func (r removal) may(p engine.Prospect, forget []string) error {
	if err := mayForget(p, forget); err != nil {
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
func (r removal) next(whole engine.Engine, clusters []string) string {
	if len(clusters) == 0 {
		return ""
	}
	document := whole.Mesh.Source
	if document == "-" {
		document = "the document"
	}
	return fmt.Sprintf("take %s out of spec.clusters of %s, then isthmus verify", strings.Join(clusters, ", "), document)
}
