package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/screen"
	"isthmus.dev/isthmus/internal/verify"
)

func (e *env) showProof(p verify.Proof, m mesh.Mesh) error {
	if screen.Format(e.output) == screen.JUnit {
		return writeSuite(e.Out, p.JUnit())
	}
	return e.show(p, func(page *screen.Page) { proofPage(page, p, m) })
}

// widestMatrix is how many clusters fit side by side; more are shown as rows that count.
const widestMatrix = 8

func proofPage(page *screen.Page, p verify.Proof, m mesh.Mesh) {
	if len(p.Clusters) <= widestMatrix {
		fmt.Fprint(page, screen.Columns(matrixRows(page, p)))
	} else {
		fmt.Fprint(page, screen.Columns(countRows(page, p)))
	}
	tallies(page, p)
	steadiness(page, p)
	if len(p.Clusters) <= widestMatrix {
		failovers(page, p)
	}
	for _, f := range p.Failures {
		fmt.Fprintf(page, "%s %s: %s\n", page.Mark(screen.No), f.Title(), f.Reason.Text)
		if f.Reason.Next != "" {
			fmt.Fprintf(page, "  Next: %s\n", f.Reason.Next)
		}
		if f.Why != "" {
			fmt.Fprintf(page, "  Why in full: %s\n", f.Why)
		}
	}
	switch {
	case len(p.Left) > 0:
		fmt.Fprintf(page, "%s namespace %s could not be taken away in: %s. When it answers again: isthmus verify\n",
			page.Mark(screen.Hmm), m.Verify.Namespace, strings.Join(p.Left, ", "))
	case p.Kept:
		fmt.Fprintf(page, "The workloads are left in namespace %s; isthmus verify without --keep takes them away.\n", m.Verify.Namespace)
	}
	if p.Passed {
		fmt.Fprintln(page, page.Good("The mesh works."))
	}
}

// matrixRows: a row for each calling cluster, a column for each called one.
func matrixRows(page *screen.Page, p verify.Proof) [][]string {
	head := []string{""}
	for _, c := range p.Clusters {
		head = append(head, "to "+c.Name)
	}
	rows := [][]string{head}
	n := len(p.Clusters)
	for i, c := range p.Clusters {
		row := []string{"from " + c.Name}
		for _, cell := range p.Cells[i*n : (i+1)*n] {
			row = append(row, cellText(page, cell))
		}
		rows = append(rows, row)
	}
	return rows
}

// cellText: "✔ 11 ms mTLS", "✔ 2 ms local", "✘ no healthy upstream".
func cellText(page *screen.Page, c verify.Cell) string {
	if !c.OK {
		return page.Mark(screen.No) + " " + page.Bad(c.Wrong)
	}
	if c.Drained {
		return page.Dim("drained")
	}
	how := "mTLS"
	if c.Path == verify.Local {
		how = "local"
	}
	return fmt.Sprintf("%s %s %s", page.Mark(screen.Yes), millis(c.LatencyMillis), page.Dim(how))
}

// countRows: for many clusters, how many calls from each and to each are good.
func countRows(page *screen.Page, p verify.Proof) [][]string {
	from, to := map[string]int{}, map[string]int{}
	for _, c := range p.Cells {
		if c.OK {
			from[c.From]++
			to[c.To]++
		}
	}
	count := func(n int) string {
		if n == len(p.Clusters) {
			return fmt.Sprintf("%s %d/%d", page.Mark(screen.Yes), n, len(p.Clusters))
		}
		return fmt.Sprintf("%s %d/%d", page.Mark(screen.No), n, len(p.Clusters))
	}
	rows := [][]string{{"", "from it", "to it"}}
	for _, c := range p.Clusters {
		rows = append(rows, []string{c.Name, count(from[c.Name]), count(to[c.Name])})
	}
	return rows
}

// steadiness says how often calls were made again, and which passed only after some tries.
func steadiness(page *screen.Page, p verify.Proof) {
	again, late := 0, []string(nil)
	for _, cell := range p.Cells {
		for _, c := range cell.Calls {
			again = max(again, c.Repeated)
			if c.Tries > 1 && c.OK {
				late = append(late, fmt.Sprintf("%s → %s %s (%d. try)", cell.From, cell.To, c.Protocol, c.Tries))
			}
		}
	}
	if again > 0 {
		fmt.Fprintln(page, page.Dim(fmt.Sprintf("each call that passed was made %d times more, and those must all pass", again)))
	}
	const few = 5
	if len(late) > few {
		late = append(late[:few], fmt.Sprintf("%d more", len(late)-few))
	}
	if len(late) > 0 {
		fmt.Fprintf(page, "%s passed only after some tries: %s\n", page.Mark(screen.Hmm), strings.Join(late, ", "))
	}
}

func tallies(page *screen.Page, p verify.Proof) {
	n := p.Tallies()
	var words []string
	for _, x := range []struct {
		name string
		n    verify.Tally
	}{
		{"delivered", n.Delivered},
		{"encrypted", n.Encrypted},
		{"strangers refused", n.Strangers},
		{"plaintext refused", n.Plain},
		{"not allowed refused", n.Unallowed},
		{"forged tokens refused", n.Tokens},
		{"own token", n.Own},
		{"kept local", n.Local},
		{"failover", n.Failover},
		{"through ingress", n.Ingress},
	} {
		if x.n.Asked == 0 {
			continue
		}
		text := fmt.Sprintf("%s %d/%d", x.name, x.n.Proved, x.n.Asked)
		if x.n.Proved < x.n.Asked {
			text = page.Bad(text)
		}
		words = append(words, text)
	}
	fmt.Fprintf(page, "%s   %s\n", strings.Join(words, " · "), page.Dim(screen.Seconds(time.Duration(p.TookMillis)*time.Millisecond)))
}

// failovers say where calls went when the caller's own cluster had no endpoint any more, and what that cost; or why
// nobody asked.
func failovers(page *screen.Page, p verify.Proof) {
	var words []string
	sent, failed := 0, 0
	for _, f := range p.Failover {
		switch {
		case f.Skipped != "":
			words = append(words, fmt.Sprintf("not asked from %s: %s", f.From, f.Skipped))
		case f.OK:
			words = append(words, fmt.Sprintf("%s → %s", f.From, strings.Join(slices.Sorted(maps.Keys(f.After)), ", ")))
		}
		sent, failed = sent+f.Sent, failed+f.Failed
	}
	if sent > 0 {
		words = append(words, fmt.Sprintf("%d of %d calls failed meanwhile", failed, sent))
	}
	if len(words) > 0 {
		fmt.Fprintln(page, page.Dim("failover: "+strings.Join(words, " · ")))
	}
}

// millis: "0.4 ms", "11 ms".
func millis(ms float64) string {
	if ms < 1 {
		return fmt.Sprintf("%.1f ms", ms)
	}
	return fmt.Sprintf("%.0f ms", ms)
}
