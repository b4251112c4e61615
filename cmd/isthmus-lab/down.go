package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"isthmus.dev/isthmus/internal/screen"
	"isthmus.dev/isthmus/lab"
)

func newDown(e *env) *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "down",
		Short: "Take the lab down and leave nothing of it",
		Long: `Ends every process of the lab and removes its mounts, namespaces, links, cgroups and files, in whatever state it is.
A lab that does not exist is down already.`,
		Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			progress := screen.NewProgress(e.Streams)
			defer progress.Close()
			progress.Set("down", "lab "+e.name)
			began := time.Now()
			if err := lab.Down(c.Context(), e.name, dir); err != nil {
				return err
			}
			progress.Done("down", screen.Yes, fmt.Sprintf("lab %s is gone · %s", e.name, screen.Seconds(time.Since(began))))
			return nil
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "folder that was given to up, if the machine has forgotten it")
	return c
}
