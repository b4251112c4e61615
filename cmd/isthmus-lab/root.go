package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"isthmus.dev/isthmus/internal/screen"
	"isthmus.dev/isthmus/lab"
	"isthmus.dev/isthmus/lab/config"
)

// Exit codes; those of isthmus too.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// env is what every command is given.
type env struct {
	screen.Streams
	name   string
	output string
}

// usageError is a command line that cannot be understood.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usage(err error) error { return usageError{err} }

func usagef(format string, args ...any) error { return usage(fmt.Errorf(format, args...)) }

// exitCode ends the program with the code of a program that it ran; that has said everything.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// Run runs one command line and returns the process's exit code: 0 done, 1 failed, 2 usage.
func Run(ctx context.Context, s screen.Streams, args []string) int {
	root := newRoot(&env{Streams: s})
	s.Root(root, args, usage)
	err := root.ExecuteContext(ctx)
	var code exitCode
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &code):
		return int(code)
	}
	fmt.Fprintf(s.Err, "%s %v\n", s.Mark(s.Err, screen.No), err)
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	return exitFailed
}

func newRoot(e *env) *cobra.Command {
	root := &cobra.Command{
		Use:   "isthmus-lab",
		Short: "Several real Kubernetes clusters on one Linux machine",
		Long: `isthmus-lab runs several real Kubernetes clusters on one Linux machine, as root, without Docker:
every node is a network namespace with its own containerd and kubelet.

  isthmus-lab up                     two clusters, east and west, each its own network
  isthmus-lab status                 what runs, and where
  isthmus-lab fault apiserver east   break something; isthmus-lab fault clear mends it
  isthmus-lab down                   leave nothing behind`,
	}
	root.PersistentFlags().StringVar(&e.name, "name", config.DefaultName, "the lab's name; labs of different names live side by side")
	for _, c := range []func(*env) *cobra.Command{
		newUp, newBuild, newDown, newStatus, newLogs, newKubeconfig, newLoadImage, newExec, newFault, newSupervise,
	} {
		root.AddCommand(c(e))
	}
	return root
}

// args turns cobra's complaint about arguments into a usage error.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, a []string) error {
		if err := check(c, a); err != nil {
			return usagef("%w\n  Usage: %s", err, c.UseLine())
		}
		return nil
	}
}

// lab opens the lab that --name names.
func (e *env) lab() (*lab.Lab, error) { return lab.Open(e.name) }

// outputFlag adds -o to a command that can speak to programs.
func (e *env) outputFlag(c *cobra.Command) {
	c.Flags().StringVarP(&e.output, "output", "o", "", "json or yaml instead of the form for people")
}

// show prints v for programs if -o asks for it, and for people by human otherwise.
func (e *env) show(v any, human func(io.Writer)) error {
	switch e.output {
	case "":
		human(e.Out)
		return nil
	case "json":
		enc := json.NewEncoder(e.Out)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	case "yaml":
		out, err := yaml.Marshal(v)
		if err != nil {
			return err
		}
		_, err = e.Out.Write(out)
		return err
	}
	return usagef("no output format %q here; there are json and yaml", e.output)
}

// flag is how a command names the lab.
func (e *env) flag() string {
	if e.name == config.DefaultName {
		return ""
	}
	return " --name " + e.name
}
