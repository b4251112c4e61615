package screen

import (
	"fmt"

	"github.com/spf13/cobra"
)

// Root makes a command the root of a program of ours: it speaks on the streams, without a command it helps, and leaves
// it to the caller to say what went wrong. usage makes the error that tells a command line which cannot be understood.
func (s Streams) Root(root *cobra.Command, args []string, usage func(error) error) {
	root.SetArgs(args)
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.HiddenDefaultCmd = true
	Parent(root, usage)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage(fmt.Errorf("%w\n  See: %s --help", err, c.CommandPath()))
	})
}

// Parent makes a command one that only has others below it: it helps, and names the nearest to one that is none.
func Parent(c *cobra.Command, usage func(error) error) {
	c.SuggestionsMinimumDistance = 2
	c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		if near := c.SuggestionsFor(args[0]); len(near) > 0 {
			return usage(fmt.Errorf("no command %q; did you mean %q?", args[0], near[0]))
		}
		return usage(fmt.Errorf("no command %q; see: %s --help", args[0], c.CommandPath()))
	}
}
