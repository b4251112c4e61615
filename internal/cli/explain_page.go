package cli

import (
	"fmt"

	"isthmus.dev/isthmus/internal/explain"
	"isthmus.dev/isthmus/internal/screen"
)

var stateMarks = map[explain.State]string{explain.OK: screen.Yes, explain.Warning: screen.Hmm, explain.Broken: screen.No, explain.Unknown: "?"}

// pathPage: the hops, the first broken link in one sentence, and what mends it.
func pathPage(p *screen.Page, path explain.Path, probed bool) {
	width := columns(p.Writer)
	head := path.From + " → " + path.To
	if path.Call != "" {
		head += "   " + p.Dim(path.Call)
	}
	fmt.Fprintln(p, p.Bold(head))
	name := 0
	for _, h := range path.Hops {
		name = max(name, screen.Width(h.Name+" "+h.Cluster))
	}
	for i, h := range path.Hops {
		indent := name + 7
		fmt.Fprintf(p, "%2d %s %-*s  %s\n", i+1, p.Mark(stateMarks[h.State]), name, h.Name+" "+h.Cluster, hang(h.Seen, indent, width))
		for _, d := range h.Decides {
			fmt.Fprintf(p, "%*s%s\n", indent, "", p.Dim(hang(d, indent, width)))
		}
	}
	if path.Cause != nil {
		pathFinding(p, screen.No, *path.Cause, width)
	}
	for _, f := range path.Others {
		pathFinding(p, screen.Hmm, f, width)
	}
	pathEnd(p, path, probed)
}

func pathFinding(p *screen.Page, mark string, f explain.Finding, width int) {
	fmt.Fprintf(p, "%s %s %s\n", p.Mark(mark), p.Bold(f.ID), hang(f.Text, 9, width))
	fmt.Fprintf(p, "  Mend: %s   %s\n", hang(f.Mend, 8, width), p.Dim("more: isthmus help "+f.ID))
}

func pathEnd(p *screen.Page, path explain.Path, probed bool) {
	switch {
	case path.Probe != nil:
		probeLine(p, *path.Probe)
	case path.Cause != nil && path.Call != "" && !probed:
		fmt.Fprintln(p, p.Dim("When it is mended, prove it: add --probe"))
	case path.Cause != nil:
	case path.Delivered && path.Call != "":
		fmt.Fprintln(p, p.Good("Nothing is broken on the way.")+" Prove it: add --probe")
	case path.Delivered:
		fmt.Fprintln(p, p.Good("Nothing is broken on the way.")+" Prove it: isthmus verify")
	default:
		fmt.Fprintln(p, "Nothing was seen to be broken, and not everything could be read (see ?).")
	}
}

func probeLine(p *screen.Page, b explain.Probe) {
	switch {
	case b.Err != "":
		fmt.Fprintf(p, "%s no call could be made: %s\n", p.Mark(screen.Hmm), b.Err)
	case b.Delivered:
		fmt.Fprintf(p, "%s a real call was answered with %d (%s)\n", p.Mark(screen.Yes), b.Status, b.How)
	case b.Status != 0:
		fmt.Fprintf(p, "%s a real call was answered with %d: %s (%s)\n", p.Mark(screen.No), b.Status, b.Said, b.How)
	default:
		fmt.Fprintf(p, "%s a real call was not answered: %s (%s)\n", p.Mark(screen.No), b.Said, b.How)
	}
	if b.Err == "" && !b.Agrees {
		fmt.Fprintln(p, p.Warn("That is not what was predicted.")+" Something may be on its way still; ask again, and if it stays so, the evidence is in: --record FILE")
	}
}
