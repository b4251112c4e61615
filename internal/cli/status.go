package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/screen"
	"isthmus.dev/isthmus/internal/status"
)

func newStatus(e *env) *cobra.Command {
	var deadline time.Duration
	c := &cobra.Command{
		Use:   "status",
		Short: "One page: clusters, control planes, proxies, trust, gateways, expiry dates",
		Long: `Status shows what the mesh looks like now. It reads only, and is done within the deadline: a cluster that does
not answer by then is shown as such, with the reason, beside the others.

It is a view, not a judge: it exits 0 when it could show every cluster, whatever it shows, and 5 when one does not
answer. For scripts: isthmus status -o json has "healthy"; isthmus check and isthmus verify exit 4 on errors.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if _, err := e.format(screen.JSON, screen.YAML); err != nil {
				return err
			}
			m, err := e.mesh()
			if err != nil {
				return err
			}
			wait := screen.NewProgress(e.Streams)
			wait.Set("status", "reading "+clusters(len(m.Clusters)))
			report := status.Gather(c.Context(), m, e.dial, deadline, time.Now)
			wait.Close()
			if err := c.Context().Err(); err != nil {
				return fmt.Errorf("stopped; again: isthmus status: %w", err)
			}
			if err := e.show(report, func(p *screen.Page) { statusPage(p, report) }); err != nil {
				return err
			}
			if report.Answered() < len(report.Clusters) {
				return unknown()
			}
			return nil
		},
	}
	c.Flags().DurationVar(&deadline, "deadline", status.DefaultDeadline, "how long everything may take")
	return c
}

func statusPage(p *screen.Page, r status.Report) {
	head := []string{p.Bold(r.Mesh), clusters(len(r.Clusters))}
	if r.Istio != "" { // charts of one's own say it themselves, and nobody has read them here
		head = append(head, "Istio "+r.Istio)
	}
	if r.Root != nil {
		head = append(head, "root "+until(r.Root.NotAfter, r.Taken))
	}
	fmt.Fprintln(p, strings.Join(head, " · "))
	titles := []string{"CLUSTER", "REACH", "K8S", "CONTROL PLANE", "PROXIES", "REMOTES", "GATEWAY", "INTERMEDIATE", "CREDENTIAL"}
	for i, t := range titles {
		titles[i] = p.Dim(t)
	}
	rows := [][]string{titles}
	for _, c := range r.Clusters {
		rows = append(rows, statusRow(p, r, c))
	}
	fmt.Fprint(p, screen.Columns(rows))
	for _, d := range r.Doubted {
		fmt.Fprintf(p, "%s %s. Say which it is: isthmus drain %s, or isthmus undrain %[3]s\n", p.Mark(screen.Hmm), d.Seen(), d.Cluster)
	}
	for _, c := range r.Clusters {
		if c.Err != "" {
			fmt.Fprintf(p, "%s %s does not answer: %s\n", p.Mark(screen.No), c.Name, c.Err)
		}
		if d := c.Drained; d != nil {
			fmt.Fprintf(p, "%s %s is drained for %s%s: no calls reach it, and its own callers go to %s. End it: isthmus undrain %s\n",
				p.Mark(screen.Hmm), c.Name, lasting(r.Taken.Sub(d.Since)), by(d.By), d.To, c.Name)
		}
		for _, problem := range c.Problems {
			fmt.Fprintf(p, "%s %s: %s\n", p.Mark(screen.Hmm), c.Name, problem)
		}
	}
	switch {
	case r.Healthy:
		fmt.Fprintln(p, "All is well. Prove it with real calls: isthmus verify")
	default:
		fmt.Fprintln(p, "What is in the way: isthmus check   What would change: isthmus plan")
	}
}

// by names who did something, where that is known.
func by(who string) string {
	if who == "" {
		return ""
	}
	return " by " + who
}

func statusRow(p *screen.Page, r status.Report, c status.Cluster) []string {
	if c.Err != "" {
		return []string{c.Name, p.Mark(screen.No) + " " + p.Bad("no answer")}
	}
	row := []string{c.Name, milliseconds(c.LatencyMilliseconds), c.Kubernetes, controlPlaneCell(p, r, c), "-", "-", gatewayCell(p, c)}
	switch {
	case len(c.ControlPlanes) == 0 && c.ServedBy == "": // nobody to ask
	case c.Proxies.Err != "":
		row[4], row[5] = p.Warn("?"), p.Warn("?")
	default:
		row[4] = ratio(p, c.Proxies.Synced, c.Proxies.Total) + " synced"
		if c.Remotes.Wanted > 0 || c.ServedBy == "" {
			row[5] = ratio(p, c.Remotes.Synced, c.Remotes.Wanted)
		}
	}
	return append(row, endCell(p, c.Intermediate, r.Taken), endCell(p, c.Credential, r.Taken))
}

func ratio(p *screen.Page, have, want int) string {
	s := fmt.Sprintf("%d/%d", have, want)
	if have < want {
		return p.Warn(s)
	}
	return s
}

func controlPlaneCell(p *screen.Page, r status.Report, c status.Cluster) string {
	var all []string
	switch {
	case c.ServedBy != "":
		all = append(all, "at "+c.ServedBy)
	case len(c.ControlPlanes) == 0:
		return p.Warn("none")
	}
	for _, i := range c.ControlPlanes {
		s := ratio(p, int(i.Ready), int(i.Wanted)) + " " + i.Name
		if i.Namespace != object.IstioNamespace { // of another cluster, or somebody else's
			s += "." + i.Namespace
		}
		if i.Version != r.Istio && i.Version != "" {
			s += " " + i.Version
		}
		all = append(all, s)
	}
	return strings.Join(all, ", ")
}

func gatewayCell(p *screen.Page, c status.Cluster) string {
	if len(c.Gateways) == 0 {
		return "-"
	}
	var all []string
	for _, g := range c.Gateways {
		address := p.Warn("no address")
		if len(g.Addresses) > 0 {
			address = strings.Join(g.Addresses, ",")
		}
		mark := p.Mark(screen.Yes)
		switch {
		case g.Wanted == 0:
			mark = p.Mark(screen.No) + " scaled to 0"
		case g.Ready < g.Wanted:
			mark = p.Mark(screen.No) + fmt.Sprintf(" %d/%d", g.Ready, g.Wanted)
		}
		all = append(all, address+" "+mark)
	}
	return strings.Join(all, ", ")
}

func endCell(p *screen.Page, e *status.End, now time.Time) string {
	switch {
	case e == nil:
		return "-"
	case e.NotAfter.IsZero():
		return p.Warn("never ends")
	case !e.NotAfter.After(now):
		return p.Bad(until(e.NotAfter, now))
	}
	return until(e.NotAfter, now)
}

// until says how long something lasts yet: "ends in 9 y 364 d", "ends in 23 h", "ended 3 d ago".
func until(end, now time.Time) string {
	if end.After(now) {
		return "ends in " + lasting(end.Sub(now))
	}
	return "ended " + lasting(now.Sub(end)) + " ago"
}

func lasting(d time.Duration) string {
	const day, year = 24 * time.Hour, 365 * 24 * time.Hour
	switch {
	case d >= year:
		return fmt.Sprintf("%d y %d d", d/year, d%year/day)
	case d >= 2*day:
		return fmt.Sprintf("%d d", d/day)
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d min", d/time.Minute)
}
