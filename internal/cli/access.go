package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"isthmus.dev/isthmus/internal/dryrun"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/screen"
)

func newAccess(e *env) *cobra.Command {
	c := &cobra.Command{
		Use:   "access",
		Short: "Who may call what: what the document's rules would refuse",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newAccessReport(e))
	return c
}

func newAccessReport(e *env) *cobra.Command {
	since, timeout := time.Hour, 30*time.Second
	c := &cobra.Command{
		Use:   "report",
		Short: "Callers that would be refused, before anybody is",
		Long: `Report shows the calls that the rules of spec.access would have refused. With spec.access.mode: dryRun every proxy
judges by them without obeying, and writes down whom it would have refused; report reads that from the logs of all
proxies. It writes nothing.

Give the callers that may call a rule, apply, and look again; when nobody is left, set mode: enforce.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			eng, err := e.engine()
			if err != nil {
				return err
			}
			if !eng.Mesh.AsksAccess() {
				return usagef("spec.access of %s has no rules and denies nobody: nothing would be refused", e.file)
			}
			if !eng.Mesh.DryRun() {
				return usagef("spec.access.mode of %s is enforce: who is refused is refused\n  To look first: set it to dryRun, then isthmus apply", e.file)
			}
			conns, err := eng.Conns()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context(), timeout)
			defer cancel()
			report := dryrun.Gather(ctx, eng.Mesh, conns, eng.Now().Add(-since))
			err = e.show(report, func(p *screen.Page) { refusalsPage(p, eng.Mesh, report, since) })
			if err == nil && len(report.Unread) > 0 {
				return unknown()
			}
			return err
		},
	}
	c.Flags().DurationVar(&since, "since", since, "how far back to look")
	c.Flags().DurationVar(&timeout, "timeout", timeout, "bounds everything")
	return c
}

func refusalsPage(p *screen.Page, m mesh.Mesh, r dryrun.Report, since time.Duration) {
	rows := make([][]string, 0, len(r.Refusals))
	for _, x := range r.Refusals {
		what := strings.TrimSpace(x.Method + " " + x.Path)
		rows = append(rows, []string{
			p.Mark(screen.Hmm), cmp.Or(strings.TrimPrefix(x.Caller, "spiffe://"+m.Trust.Domain+"/"), "no identity"), "→",
			fmt.Sprintf("%s/%s in %s", x.Namespace, x.Workload, x.Cluster), fmt.Sprintf("port %d", x.Port), cmp.Or(what, "TCP"), counted(x.Count, "call"),
		})
	}
	fmt.Fprint(p, screen.Columns(rows))
	for _, why := range r.Unread {
		fmt.Fprintf(p, "%s not read: %s\n", p.Mark(screen.Hmm), why)
	}
	if len(r.Refusals) == 0 && r.Pods == 0 && len(r.Unread) > 0 {
		fmt.Fprintln(p, "Whether anybody would have been refused is not known.")
		return
	}
	if len(r.Refusals) == 0 {
		fmt.Fprintf(p, "Nobody would have been refused in the last %s, by the logs of %s.\n", since, counted(r.Pods, "pod"))
		if len(r.Unread) == 0 {
			fmt.Fprintln(p, "Next: set spec.access.mode: enforce, then isthmus apply")
		}
		return
	}
	fmt.Fprintf(p, "In the last %s these would have been refused. Those that may call need a rule: spec.access.rules\n", since)
}
