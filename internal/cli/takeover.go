package cli

import (
	"github.com/spf13/cobra"

	"isthmus.dev/isthmus/internal/plan"
)

// takeOverFlags are the flags of plan and apply that say what may be taken from others.
func takeOverFlags(c *cobra.Command, o *plan.Options) {
	c.Flags().BoolVar(&o.Adopt, "adopt", false, "take over an Istio that istioctl, Helm or kubectl installed")
	c.Flags().StringSliceVar(&o.TakeOver, "take-over", nil,
		`overrule who keeps a field or an object: a field manager, an owner, or an object ("Deployment istio-system/istiod"); without a value everybody`)
	c.Flags().Lookup("take-over").NoOptDefVal = plan.TakeOverAll
}
