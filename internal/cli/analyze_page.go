package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"isthmus.dev/isthmus/internal/analyze"
	"isthmus.dev/isthmus/internal/screen"
	"isthmus.dev/isthmus/internal/verify"
)

func (e *env) showAnalysis(r analyze.Report, a analysis) error {
	switch screen.Format(e.output) {
	case screen.JUnit:
		return writeSuite(e.Out, analysisSuite(r))
	case sarif:
		return screen.Machine(e.Out, screen.JSON, r.Sarif())
	}
	return e.show(r, func(p *screen.Page) { analysisPage(p, r, a, columns(e.Out)) })
}

// columns is a terminal's width; 0 for anything else, where lines are not broken.
func columns(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// narrow is how many columns a text must have beside its place; with fewer it goes below.
const narrow = 40

func analysisPage(p *screen.Page, r analyze.Report, a analysis, width int) {
	place, severity := 0, 0
	for _, f := range r.Findings {
		place, severity = max(place, screen.Width(placeOf(f))), max(severity, len(f.Severity))
	}
	for _, f := range r.Findings {
		head := fmt.Sprintf("%-*s  %s%s  %s  ", place, placeOf(f), severityWord(p, f.Severity), strings.Repeat(" ", severity-len(f.Severity)), p.Bold(f.ID))
		indent := screen.Width(head)
		if width > 0 && width-indent < narrow {
			head, indent = head+"\n    ", 4
		}
		seen := f.Seen
		if len(f.Clusters) > 0 {
			seen = names(f.Clusters) + ": " + seen
		}
		fmt.Fprintln(p, head+hang(seen, indent, width))
		if f.Evidence != "" {
			fmt.Fprintln(p, strings.Repeat(" ", indent)+p.Dim(hang("since: "+f.Evidence, indent, width)))
		}
		do := "do: "
		if f.Fix != nil {
			do = "--fix: "
			if f.Fix.Guess {
				do = "--fix --guess: "
			}
		}
		fmt.Fprintln(p, strings.Repeat(" ", indent)+hang(do+f.Do, indent, width))
	}
	for _, s := range r.Skipped {
		fmt.Fprintf(p, "%s %s was not read: it holds templates; render them first\n", p.Mark(screen.Info), s)
	}
	if r.Fixed > 0 {
		fmt.Fprintf(p, "%s %s made in %s\n", p.Mark(screen.Yes), counted(r.Fixed, "edit"), strings.Join(r.Changed, ", "))
	}
	analysisEnd(p, r, a)
}

func placeOf(f analyze.Finding) string {
	switch {
	case f.File == "":
		return f.Object
	case f.Line == 0:
		return f.File
	}
	return fmt.Sprintf("%s:%d:%d", f.File, f.Line, f.Col)
}

func severityWord(p *screen.Page, s analyze.Severity) string {
	switch s {
	case analyze.Error:
		return p.Bad(string(s))
	case analyze.Warning:
		return p.Warn(string(s))
	}
	return p.Dim(string(s))
}

func analysisEnd(p *screen.Page, r analyze.Report, a analysis) {
	read := fmt.Sprintf("%s in %s", counted(r.Objects, "object"), counted(r.Files, "file"))
	if len(r.Clusters) > 0 {
		read += " of " + clusters(len(r.Clusters))
	}
	if len(r.Findings) == 0 {
		fmt.Fprintf(p, "%s %s: nothing is wrong with them.\n", p.Mark(screen.Yes), read)
		return
	}
	var counts []string
	for _, c := range []struct {
		n    int
		noun string
	}{{r.Errors, "error"}, {r.Warnings, "warning"}, {r.Notes, "note"}} {
		if c.n > 0 {
			counts = append(counts, counted(c.n, c.noun))
		}
	}
	fmt.Fprintf(p, "%s: %s.", read, strings.Join(counts, ", "))
	switch args := strings.Join(a.words(), " "); {
	case r.Fixable > 0 && r.Guessable > 0:
		fmt.Fprintf(p, " %d can be fixed, %d more by a guess: isthmus analyze --fix [--guess] %s", r.Fixable, r.Guessable, args)
	case r.Fixable > 0:
		fmt.Fprintf(p, " %d can be fixed: isthmus analyze --fix %s", r.Fixable, args)
	case r.Guessable > 0:
		fmt.Fprintf(p, " %d can be fixed by a guess: isthmus analyze --fix --guess %s", r.Guessable, args)
	}
	fmt.Fprintln(p)
	fmt.Fprintln(p, p.Dim("More about one of them: isthmus help "+r.Findings[0].ID))
}

// hang breaks a text between words so that it fits beside an indent.
func hang(text string, indent, width int) string {
	if width == 0 {
		return text
	}
	var b strings.Builder
	at := indent
	for i, word := range strings.Fields(text) {
		n := screen.Width(word)
		switch {
		case i > 0 && at+1+n > width:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			at = indent
		case i > 0:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += n
	}
	return b.String()
}

// analysisSuite is the report as a suite with a case for each finding. Errors fail it; the rest is its output.
func analysisSuite(r analyze.Report) verify.TestSuite {
	s := verify.TestSuite{Name: "isthmus analyze", Tests: max(1, len(r.Findings)), Failures: r.Errors, Time: "0"}
	for _, f := range r.Findings {
		c := verify.TestCase{Class: placeOf(f), Name: f.ID + " " + f.Seen}
		if f.Severity == analyze.Error {
			c.Failure = &verify.TestMessage{Message: f.Seen, Text: f.Text()}
		} else {
			c.Output = f.Text()
		}
		s.Cases = append(s.Cases, c)
	}
	if len(r.Findings) == 0 {
		s.Cases = []verify.TestCase{{Class: "analyze", Name: fmt.Sprintf("%d objects", r.Objects)}}
	}
	return s
}
