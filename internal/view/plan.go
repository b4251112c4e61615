// Package view turns the values that the engine gives into pages for people: a plan, an apply that goes on. What
// -o json prints is the same value.
package view

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/plan"
	"isthmus.dev/isthmus/internal/screen"
)

// PlanOptions say how much of a plan to show.
type PlanOptions struct {
	All bool      // every object, the unchanged ones too
	Now time.Time // for "12 min ago"
}

// Changes is how many objects a plan writes.
func Changes(p plan.Plan) int {
	n := p.Counts()
	return n[plan.Create] + n[plan.Configure] + n[plan.Replace] + n[plan.Delete]
}

// Plan shows what would change, wave by wave, cluster by cluster.
func Plan(p *screen.Page, pl plan.Plan, o PlanOptions) {
	if r := pl.Root; r != nil {
		fmt.Fprintf(p, "%s the mesh's root moves from %s to %s: its fingerprint is %s, and workloads trust %s\n",
			p.Mark(screen.Hmm), r.From, r.To, r.Fingerprint, strings.Join(r.InUse, ", "))
	}
	for _, r := range pl.DoubtedRoots {
		fmt.Fprintf(p, "%s %s keeps what says that it is the mesh's root (fingerprint %s): %s\n", p.Mark(screen.Hmm), r.Cluster, r.Fingerprint, r.Why)
	}
	sources(p, pl)
	for i, w := range pl.Waves {
		if w.LetGo != nil {
			fmt.Fprintf(p, "%s begins when no proxy of %s sends to %s any more\n",
				p.Bold(fmt.Sprintf("wave %d", i+1)), strings.Join(w.LetGo.By, ", "), strings.Join(w.LetGo.Of, ", "))
		}
		for _, c := range w.Clusters {
			changes := slices.DeleteFunc(slices.Clone(w.Changes), func(x plan.Change) bool { return x.Cluster != c })
			fmt.Fprintf(p, "%s · %s\n", p.Bold(fmt.Sprintf("wave %d", i+1)), p.Bold(c))
			planCluster(p, changes, o)
		}
	}
	for _, x := range pl.Stays {
		fmt.Fprintf(p, "%s %s: namespace %s stays: %s\n", p.Mark(screen.Hmm), x.Cluster, x.Namespace, x.Why)
	}
	for _, x := range pl.Doubted {
		fmt.Fprintf(p, "%s %s\n", p.Mark(screen.Hmm), x.Seen())
	}
	for _, x := range pl.Pending {
		switch {
		case x.Left:
			fmt.Fprintf(p, "%s %s %s\n", p.Mark(screen.Hmm), x.Cluster, x.Why)
			continue
		case x.Next:
			fmt.Fprintf(p, "%s · %s\n  %s %s; apply plans it then\n", p.Bold("next round"), p.Bold(x.Cluster), p.Dim("…"), x.Why)
			continue
		}
		fmt.Fprintf(p, "%s %s is left as it is: %s\n", p.Mark(screen.Hmm), x.Cluster, x.Why)
	}
	for _, x := range InTheWay(pl.Conflicts, o.All) {
		fmt.Fprintf(p, "%s %s\n", p.Mark(screen.No), x)
	}
	leftovers(p, pl.Leftovers, o.All)
	n := pl.Counts()
	switch {
	case Changes(pl) > 0 || pl.Again():
		fmt.Fprintf(p, "%d to create, %d to change, %d to replace, %d to delete; %d stay as they are.\n",
			n[plan.Create], n[plan.Configure], n[plan.Replace], n[plan.Delete], n[plan.Unchanged])
	case n[plan.Unchanged] == 0 && len(pl.Unknown) > 0: // nothing was read
	case len(pl.Unknown) > 0:
		fmt.Fprintf(p, "Nothing to change in what could be read: %d objects are as they should be.\n", n[plan.Unchanged])
	default:
		fmt.Fprintf(p, "Nothing to change: %d objects are as they should be.\n", n[plan.Unchanged])
	}
	if len(pl.Unknown) > 0 {
		fmt.Fprintf(p, "%s What would change in %s is not known.\n", p.Mark(screen.No), strings.Join(pl.Unknown, ", "))
	}
}

// few is how many new objects are shown one by one; more are counted by part, as when a cluster joins.
const few = 5

func planCluster(p *screen.Page, changes []plan.Change, o PlanOptions) {
	creates := slices.DeleteFunc(slices.Clone(changes), func(c plan.Change) bool { return c.Action != plan.Create })
	counted := len(creates) > few && !o.All
	taken := slices.DeleteFunc(slices.Clone(changes), func(c plan.Change) bool { return !onlyMarks(c) || o.All })
	if len(taken) > 0 {
		fmt.Fprintf(p, "  %s %d adopt     %s: nothing but labels, annotations and whose fields they are changes\n", p.Warn("~"), len(taken), byPart(taken))
	}
	if beside := slices.DeleteFunc(slices.Clone(changes), func(c plan.Change) bool { return !c.Beside }); len(beside) > 0 && !o.All {
		fmt.Fprintf(p, "  %s %d beside    %s and %d more like it: %s\n", p.Dim("="), len(beside), beside[0].Object, len(beside)-1, beside[0].Reason)
	}
	if counted {
		fmt.Fprintf(p, "  %s %d create    %s\n", p.Good("+"), len(creates), byPart(creates))
	}
	shown := len(creates) + len(taken)
	for _, c := range changes {
		if c.Action == plan.Unchanged && !o.All || c.Action == plan.Create && counted || onlyMarks(c) && !o.All {
			continue
		}
		shown++
		fmt.Fprintf(p, "  %s %-60s %s\n", sign(p, c.Action), c.Object, p.Dim(c.Reason))
		for _, f := range c.Fields {
			if c.TakeOver && mark(f) && !o.All {
				continue
			}
			who := ""
			if f.By != "" {
				who = "  " + p.Warn("changed by "+f.By+ago(f.At, o.Now))
			}
			fmt.Fprintf(p, "      %s   %s → %s%s\n", f.Path, f.From, f.To, who)
		}
	}
	for _, impact := range impacts(changes) {
		fmt.Fprintf(p, "  %s %s\n", p.Warn("disturbs:"), impact)
	}
	if shown == 0 {
		fmt.Fprintf(p, "  %s nothing to change\n", p.Dim("="))
	}
}

func sign(p *screen.Page, a plan.Action) string {
	switch a {
	case plan.Create:
		return p.Good("+")
	case plan.Configure:
		return p.Warn("~")
	case plan.Replace:
		return p.Warn("±")
	case plan.Delete:
		return p.Bad("-")
	}
	return p.Dim("=")
}

// byPart counts objects by part, in the order in which parts are first made.
func byPart(changes []plan.Change) string {
	var parts []object.Part
	n := map[object.Part]int{}
	for _, c := range changes {
		if n[c.Part] == 0 {
			parts = append(parts, c.Part)
		}
		n[c.Part]++
	}
	words := make([]string, 0, len(parts))
	for _, part := range parts {
		words = append(words, fmt.Sprintf("%s %d", part, n[part]))
	}
	return strings.Join(words, " · ")
}

func impacts(changes []plan.Change) []string {
	var all []string
	for _, c := range changes {
		all = append(all, c.Impact...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func ago(at, now time.Time) string {
	if at.IsZero() {
		return ""
	}
	return ", " + cmp.Or(screen.Age(now.Sub(at)), "now") + " ago"
}
