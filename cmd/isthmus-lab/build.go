package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"isthmus.dev/isthmus/internal/screen"
	"isthmus.dev/isthmus/lab"
	"isthmus.dev/isthmus/lab/build"
)

func newBuild(e *env) *cobra.Command {
	var prune bool
	c := &cobra.Command{
		Use:   "build",
		Short: "Build the lab's programs and images, once, and print the folder of the programs",
		Long: `Builds what up would build, starts nothing, and prints the folder in which kube-apiserver, etcd, kubectl, istioctl
and the others are. What is built is kept: a second time it only looks. --prune then takes away what was built for
versions that were pinned before, and that no lab on this machine runs.`,
		Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			progress := screen.NewProgress(e.Streams)
			shown := &upView{progress: progress, done: map[string]bool{}}
			set, err := build.Ensure(c.Context(), build.Options{Report: shown.build})
			progress.Close()
			if err != nil {
				return err
			}
			if prune {
				used, err := lab.ProgramDirs()
				if err != nil {
					return err
				}
				freed, err := set.Prune(c.Context(), used...)
				if err != nil {
					return err
				}
				fmt.Fprintf(e.Err, "freed %s of what was built before\n", megabytes(freed))
			}
			_, err = fmt.Fprintln(e.Out, set.BinDir())
			return err
		},
	}
	c.Flags().BoolVar(&prune, "prune", false, "take away what was built for other versions and no lab runs")
	return c
}
