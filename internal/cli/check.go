package cli

import (
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"isthmus.dev/isthmus/internal/engine"
	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/screen"
	"isthmus.dev/isthmus/internal/verify"
)

func newCheck(e *env) *cobra.Command {
	var from string
	c := &cobra.Command{
		Use:   "check",
		Short: "Are these clusters fit to be joined? What is in the way, and what to do",
		Long: `Check reads every cluster and asks what would stand in the way of one mesh: it writes nothing.

An error stops apply and makes check exit 4; warnings and notes leave it at 0.
Every finding has an id: isthmus help CHK014 says why it matters and how to fix it; isthmus help checks lists all.

Output (-o): for people, json, yaml, or junit for CI systems.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if _, err := e.format(screen.JSON, screen.YAML, screen.JUnit); err != nil {
				return err
			}
			eng, err := e.charted(c.Context())
			if err != nil {
				return err
			}
			began := eng.Now()
			read := func() (facts.Snapshot, error) { return e.facts(c.Context(), eng, "check") }
			if from != "" {
				read = func() (facts.Snapshot, error) {
					if _, err := eng.Want(); err != nil { // a document that means nothing is an error here too
						return facts.Snapshot{}, err
					}
					return e.recorded(from, eng.Mesh)
				}
			}
			now, err := read()
			if err != nil {
				return err
			}
			report := verify.Preflighted(verify.Input{Mesh: eng.Mesh, Now: now}, eng.Now().Sub(began))
			if err := e.showCheck(report); err != nil {
				return err
			}
			if report.Errors > 0 {
				return checksFailed()
			}
			return nil
		},
	}
	c.Flags().StringVar(&from, "from", "", "judge recorded facts (isthmus facts), with no cluster; - is standard input")
	return c
}

// facts are those of the clusters as they are now. command is who reads them, for people who wait.
func (e *env) facts(ctx context.Context, eng engine.Engine, command string) (facts.Snapshot, error) {
	wait := screen.NewProgress(e.Streams)
	wait.Set(command, "reading "+clusters(len(eng.Mesh.Clusters)))
	look, err := eng.Look(ctx)
	wait.Close()
	if ctx.Err() != nil {
		return facts.Snapshot{}, fmt.Errorf("stopped; nothing was changed: %w", err)
	}
	return look.Now, err
}

func (e *env) showCheck(r verify.Report) error {
	if screen.Format(e.output) == screen.JUnit {
		return writeSuite(e.Out, r.JUnit())
	}
	return e.show(r, func(p *screen.Page) { checkPage(p, r) })
}

func writeSuite(w io.Writer, s verify.TestSuite) error {
	var b strings.Builder
	b.WriteString(xml.Header)
	enc := xml.NewEncoder(&b)
	enc.Indent("", "  ")
	if err := enc.Encode(s); err != nil {
		return err
	}
	_, err := io.WriteString(w, screen.Clean(b.String())+"\n")
	return err
}

// manyPairs is from how many pairs on only those are shown that have something to say.
const manyPairs = 7

func checkPage(p *screen.Page, r verify.Report) {
	n := len(r.Clusters)
	fmt.Fprintf(p, "%s · %s · %s   %s\n", p.Bold(r.Mesh), clusters(n), counted(n*(n-1)/2, "pair"),
		p.Dim(screen.Seconds(time.Duration(r.Seconds*float64(time.Second)))))
	var rows [][]string
	for _, c := range r.Clusters {
		rows = append(rows, []string{"  " + c.Name, clusterCell(p, c)})
	}
	for _, x := range r.Pairs {
		if len(r.Pairs) < manyPairs || x.ClocksApartSeconds > 1 || x.Networks == "shared" && x.PodRanges == "overlap" {
			rows = append(rows, []string{fmt.Sprintf("  %s ↔ %s", x.A, x.B), pairCell(x)})
		}
	}
	fmt.Fprint(p, screen.Columns(rows))
	passed := fmt.Sprintf("%s %s passed", p.Mark(screen.Yes), counted(r.Passed, "check"))
	if r.Skipped > 0 {
		passed += p.Dim(fmt.Sprintf(" · %d skipped, since what they need failed", r.Skipped))
	}
	fmt.Fprintln(p, passed)
	findings(p, r.Said())
	checkNext(p, r)
}

func clusterCell(p *screen.Page, c verify.ClusterLine) string {
	if c.Err != "" {
		return p.Mark(screen.No) + " " + p.Bad("does not answer")
	}
	lb := "LoadBalancer " + c.LoadBalancer
	if c.LoadBalancer == "not needed" {
		lb = "no LoadBalancer needed"
	}
	return fmt.Sprintf("k8s %s · %s · %s · %s", c.Kubernetes, milliseconds(c.LatencyMilliseconds), c.Istio, lb)
}

func milliseconds(n int64) string {
	if n < 1 {
		return "under 1 ms"
	}
	return fmt.Sprintf("%d ms", n)
}

func pairCell(x verify.PairLine) string {
	clocks := "clocks agree to 1 s"
	if x.ClocksApartSeconds > 1 {
		clocks = fmt.Sprintf("clocks %d s apart", x.ClocksApartSeconds)
	}
	networks := map[string]string{"differ": "networks differ", "shared": "one network"}[x.Networks]
	ranges := "pod ranges " + x.PodRanges
	switch {
	case x.Networks == "differ" && x.PodRanges == "overlap":
		ranges = "pod ranges overlap, and may"
	case x.Networks == "differ":
		ranges = "pod ranges may overlap"
	}
	return fmt.Sprintf("%s · %s · %s", clocks, networks, ranges)
}

// findings shows what was found, each with what to do about it. The way to more stands once for each id.
func findings(p *screen.Page, said []verify.Said) {
	marks := map[verify.Severity]string{verify.Error: screen.No, verify.Warning: screen.Hmm, verify.Note: screen.Info}
	for i, s := range said {
		who := ""
		if len(s.Clusters) > 0 {
			who = " " + names(s.Clusters) + ":"
		}
		fmt.Fprintf(p, "%s %s%s %s\n", p.Mark(marks[s.Severity]), p.Bold(s.ID), who, s.Seen)
		more := ""
		if !slices.ContainsFunc(said[i+1:], func(o verify.Said) bool { return o.ID == s.ID }) {
			more = p.Dim("   more: isthmus help " + s.ID)
		}
		fmt.Fprintf(p, "  %s%s\n", sentence(s.Do), more)
	}
}

// sentence gives advice a capital, unless it is a command to type.
func sentence(s string) string {
	for _, program := range []string{"isthmus ", "kubectl "} {
		if strings.HasPrefix(s, program) {
			return s
		}
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func checkNext(p *screen.Page, r verify.Report) {
	switch {
	case r.Errors > 0:
		fmt.Fprintf(p, "%s in the way. Next: mend what is marked %s, then: isthmus check\n", counted(r.Errors, "error"), p.Mark(screen.No))
	default:
		fmt.Fprintln(p, "Next: isthmus plan")
	}
}

// names lists clusters, the first few by name.
func names(all []string) string {
	const most = 4
	if len(all) <= most {
		return strings.Join(all, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(all[:most], ", "), len(all)-most)
}

func clusters(n int) string { return counted(n, "cluster") }

// counted is "1 check" or "31 checks".
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
