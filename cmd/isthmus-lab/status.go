package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"isthmus.dev/isthmus/internal/screen"
	"isthmus.dev/isthmus/lab"
	"isthmus.dev/isthmus/lab/supervise"
)

func newStatus(e *env) *cobra.Command {
	c := &cobra.Command{
		Use:   "status",
		Short: "What runs, and where",
		Args:  args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := e.lab()
			if err != nil {
				return err
			}
			s, err := l.Status(c.Context())
			if err != nil {
				return err
			}
			return e.show(s, func(w io.Writer) { e.printStatus(w, s, time.Now()) })
		},
	}
	e.outputFlag(c)
	return c
}

func (e *env) printStatus(p io.Writer, s lab.Status, now time.Time) {
	fmt.Fprintf(p, "lab %s · %d clusters · %s · supervised by process %d for %s\n", s.Lab, len(s.Clusters), megabytes(s.Memory), s.PID, screen.Seconds(now.Sub(s.Since)))
	rows := [][]string{{"CLUSTER", "STATE", "API SERVER", "NETWORK", "REGION", "NODES", "MEMORY", "RESTARTS", "LOADBALANCERS"}}
	for _, c := range s.Clusters {
		restarts := 0
		for _, k := range c.Components {
			restarts += k.Restarts
		}
		var balancers []string
		for _, b := range c.LoadBalancers {
			balancers = append(balancers, b.Address+" "+b.Service)
		}
		rows = append(rows, []string{
			c.Name, state(c), c.Server, c.Network, c.Region, nodes(c), megabytes(c.Memory), strconv.Itoa(restarts),
			cmp.Or(strings.Join(balancers, ", "), "-"),
		})
	}
	fmt.Fprint(p, screen.Columns(rows))
	for _, c := range s.Clusters {
		for _, k := range c.Components {
			if k.State == supervise.Ready {
				continue
			}
			end := ""
			if k.LastEnd != "" {
				end = ": " + k.LastEnd
			}
			fmt.Fprintf(p, "%s %s %s%s is %s%s\n  Log: %s\n", e.Mark(p, screen.No), c.Name, k.Name, on(k.Node), k.State, end, k.Log)
		}
	}
	for _, f := range s.Faults {
		fmt.Fprintf(p, "%s fault %s: %s, for %s\n", e.Mark(p, screen.Hmm), f.ID, f.Seen, screen.Seconds(now.Sub(f.Since)))
	}
	if len(s.Faults) > 0 {
		fmt.Fprintln(p, "Mend: isthmus-lab fault clear")
	}
}

func state(c supervise.ClusterStatus) string {
	switch {
	case c.Ready:
		return "ready"
	case c.Problem != "":
		return c.Problem
	case c.Doing != "":
		return "waiting for " + c.Doing
	}
	return "degraded"
}

func nodes(c supervise.ClusterStatus) string {
	if c.Hollow {
		return "hollow"
	}
	ready := len(slices.DeleteFunc(slices.Clone(c.Nodes), func(n supervise.NodeStatus) bool { return !n.Ready }))
	return fmt.Sprintf("%d/%d", ready, len(c.Nodes))
}

func readyLine(c supervise.ClusterStatus) string {
	size := nodes(c) + " nodes"
	if c.Hollow {
		size = "hollow"
	}
	return fmt.Sprintf("%s · %s · %s · %s", screen.Seconds(time.Duration(c.ReadyAfter*float64(time.Second))), c.Server, size, megabytes(c.Memory))
}

func on(node string) string {
	if node == "" {
		return ""
	}
	return " on " + node
}

func megabytes(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }
