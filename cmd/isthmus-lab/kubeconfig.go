package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"isthmus.dev/isthmus/internal/screen"
)

func newKubeconfig(e *env) *cobra.Command {
	var path bool
	c := &cobra.Command{
		Use:   "kubeconfig",
		Short: "Print the lab's kubeconfig, with a context for each cluster",
		Args:  args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			l, err := e.lab()
			if err != nil {
				return err
			}
			if path {
				fmt.Fprintln(e.Out, l.Kubeconfig)
				return nil
			}
			data, err := os.ReadFile(l.Kubeconfig)
			if err != nil {
				return fmt.Errorf("read kubeconfig: %w", err)
			}
			_, err = e.Out.Write(data)
			return err
		},
	}
	c.Flags().BoolVar(&path, "path", false, "print where the file is")
	return c
}

func newLoadImage(e *env) *cobra.Command {
	var clusters []string
	c := &cobra.Command{
		Use:   "load-image FILE|-",
		Short: "Load a docker or OCI archive into every node",
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			l, err := e.lab()
			if err != nil {
				return err
			}
			path := a[0]
			if path == "-" {
				if path, err = spool(e.In); err != nil {
					return err
				}
				defer func() { _ = os.Remove(path) }()
			}
			progress := screen.NewProgress(e.Streams)
			defer progress.Close()
			progress.Set("loading", a[0])
			if err := l.LoadImage(c.Context(), path, clusters...); err != nil {
				return err
			}
			progress.Done("loaded", screen.Yes, a[0])
			return nil
		},
	}
	c.Flags().StringSliceVar(&clusters, "cluster", nil, "only into the nodes of these clusters")
	return c
}

// spool keeps standard input in a file: every node reads it.
func spool(r io.Reader) (string, error) {
	f, err := os.CreateTemp("", "isthmus-lab-image-*.tar")
	if err != nil {
		return "", fmt.Errorf("keep the image: %w", err)
	}
	if _, err := io.Copy(f, r); err != nil {
		_ = f.Close()
		_ = os.Remove(f.Name())
		return "", fmt.Errorf("keep the image: %w", err)
	}
	return f.Name(), f.Close()
}
