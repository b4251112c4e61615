package main

import (
	"errors"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"isthmus.dev/isthmus/lab"
	"isthmus.dev/isthmus/lab/supervise"
)

// newSupervise is the command that up starts in the background; people have no use for it.
func newSupervise(e *env) *cobra.Command {
	return &cobra.Command{
		Use:    "supervise DIR",
		Short:  "Keep the lab in DIR running",
		Hidden: true,
		Args:   args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			log := slog.New(slog.NewTextHandler(e.Err, nil))
			err := lab.Supervise(c.Context(), a[0], time.Now, log)
			if errors.Is(err, supervise.ErrRunning) {
				return nil
			}
			return err
		},
	}
}
