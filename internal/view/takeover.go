package view

import (
	"fmt"
	"slices"
	"strings"

	"isthmus.dev/isthmus/internal/plan"
	"isthmus.dev/isthmus/internal/screen"
)

// onlyMarks tells of an object that is taken over that nothing of it changes but its labels and annotations.
func onlyMarks(c plan.Change) bool {
	return c.TakeOver && !c.Seal && c.Action == plan.Configure && !slices.ContainsFunc(c.Fields, func(f plan.FieldDiff) bool { return !mark(f) })
}

// mark tells of a field that it is a label or an annotation of the object itself.
func mark(f plan.FieldDiff) bool {
	return strings.HasPrefix(f.Path, "metadata.labels") || strings.HasPrefix(f.Path, "metadata.annotations")
}

// InTheWay says what is in the way and what to do about it. Many objects of one cluster, one owner and one cure are one
// line, unless all are to be shown.
func InTheWay(conflicts []plan.Conflict, all bool) []string {
	type group struct{ cluster, owner, do string }
	of := func(c plan.Conflict) group { return group{c.Cluster, c.Owner, c.Do} }
	count := map[group]int{}
	for _, c := range conflicts {
		count[of(c)]++
	}
	var lines []string
	said := map[group]bool{}
	for _, c := range conflicts {
		g := of(c)
		line := c.String() + " is in the way"
		if count[g] > few && !all {
			if said[g] {
				continue
			}
			said[g] = true
			line = fmt.Sprintf("cluster %s: %d objects of %s are in the way, such as %s", c.Cluster, count[g], c.Owner, c.Object)
		}
		if c.Do != "" {
			line += "\n  " + strings.ToUpper(c.Do[:1]) + c.Do[1:]
		}
		lines = append(lines, line)
	}
	return lines
}

// leftovers says what is left alone of an Istio that somebody else installed.
func leftovers(p *screen.Page, list []plan.Leftover, all bool) {
	type group struct{ cluster, owner, do string }
	groups := map[group][]string{}
	var order []group
	for _, l := range list {
		g := group{l.Cluster, l.Owner, l.Do}
		if groups[g] == nil {
			order = append(order, g)
		}
		groups[g] = append(groups[g], l.Object.String())
	}
	for _, g := range order {
		objects := groups[g]
		more := ""
		if len(objects) > few && !all {
			objects, more = objects[:few], fmt.Sprintf(" and %d more", len(objects)-few)
		}
		fmt.Fprintf(p, "%s %s, %s's: %s%s\n  %s\n", p.Mark(screen.Info), g.cluster, g.owner, strings.Join(objects, ", "), more, g.do)
	}
}
