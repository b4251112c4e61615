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

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// exitCode ends the program with the code of a program that it ran; that has said everything.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// Run runs one command line and returns the process's exit code: 0 done, 1 failed, 2 usage.
func Run(ctx context.Context, s screen.Streams, args []string) int {
	root := newRoot(&env{Streams: s})
	root.SetArgs(args)
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
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
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noUnknownCommand,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usagef("%w\n  See: %s --help", err, c.CommandPath())
	})
	root.CompletionOptions.HiddenDefaultCmd = true
	root.PersistentFlags().StringVar(&e.name, "name", config.DefaultName, "the lab's name; labs of different names live side by side")
	for _, c := range []func(*env) *cobra.Command{
		newUp, newBuild, newDown, newStatus, newLogs, newKubeconfig, newLoadImage, newExec, newFault, newSupervise,
	} {
		root.AddCommand(c(e))
	}
	return root
}

func noUnknownCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	c.SuggestionsMinimumDistance = 2
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		return usagef("no command %q; did you mean %q?", args[0], near[0])
	}
	return usagef("no command %q; see: %s --help", args[0], c.CommandPath())
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
