package main

import (
	"errors"
	"os"
	"os/exec"

	"github.com/spf13/cobra"
)

func newExec(e *env) *cobra.Command {
	c := &cobra.Command{
		Use:   "exec CLUSTER|NODE [--] COMMAND [ARGUMENT]...",
		Short: "Run a command in a node's network namespace",
		Long: `Runs a command on this machine, but in the network of a node: CLUSTER means its first node. The lab's own programs
(kubectl, ctr, istioctl, ...) are in its PATH, KUBECONFIG is the lab's with the cluster as the current context, and
CONTAINERD_ADDRESS is the node's.`,
		Example: "  isthmus-lab exec east -- kubectl get pods -A\n  isthmus-lab exec west-1 -- curl -s http://100.65.0.5:8080",
		Args:    args(cobra.MinimumNArgs(2)),
		RunE: func(c *cobra.Command, a []string) error {
			l, err := e.lab()
			if err != nil {
				return err
			}
			if a[1] == "--" {
				a = append(a[:1], a[2:]...)
			}
			cmd, err := l.Command(c.Context(), a[0], a[1:])
			if err != nil {
				return err
			}
			cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, e.Out, e.Err
			err = l.Exec(a[0], cmd)
			if failed, ok := errors.AsType[*exec.ExitError](err); ok {
				return exitCode(failed.ExitCode())
			}
			return err
		},
	}
	c.Flags().SetInterspersed(false) // flags behind the command are the command's
	return c
}
