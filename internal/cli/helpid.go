package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"isthmus.dev/isthmus/internal/screen"
	"isthmus.dev/isthmus/internal/verify"
)

// newHelp is cobra's help command, which also knows the ids of checks: isthmus help CHK014.
func newHelp(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "help [command | CHK000 | ANA000 | EXP000 | checks]",
		Short: "Help about a command, or about a check by its id",
		Long: `Help about a command (isthmus help plan), about a check by the id that its finding shows (isthmus help CHK014),
or a list of all checks (isthmus help checks).`,
		ValidArgsFunction: completeHelp,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				if args[0] == "checks" {
					return e.show(entries(), func(p *screen.Page) { catalogue(p, verify.Preflight) })
				}
				if check, ok := verify.Lookup(args[0]); ok {
					return e.show(entryOf(check), func(p *screen.Page) { checkHelp(p, check) })
				}
				if shown, err := e.analyserHelp(args[0]); shown || err != nil {
					return err
				}
				if shown, err := e.causeHelp(args[0]); shown || err != nil {
					return err
				}
				if strings.HasPrefix(strings.ToUpper(args[0]), "CHK") {
					return usagef("no check %q; all of them: isthmus help checks", args[0])
				}
			}
			about, rest, err := c.Root().Find(args)
			if about == nil || err != nil || len(rest) > 0 {
				return usagef("no help about %q; see: isthmus --help", strings.Join(args, " "))
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

func completeHelp(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	words := []string{"checks"}
	for _, sub := range c.Root().Commands() {
		if sub.IsAvailableCommand() {
			words = append(words, sub.Name())
		}
	}
	for _, check := range verify.Preflight {
		words = append(words, check.ID)
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

// An entry is a check of the catalogue as programs read it.
type entry struct {
	ID       string          `json:"id"`
	Severity verify.Severity `json:"severity"`
	Question string          `json:"question"`
	Why      string          `json:"why"`
	Fix      string          `json:"fix"`
	Needs    []string        `json:"needs,omitempty"`
}

func entryOf(c verify.Check) entry { return entry{c.ID, c.Severity, c.Question, c.Why, c.Fix, c.Needs} }

func entries() []entry {
	out := make([]entry, 0, len(verify.Preflight))
	for _, c := range verify.Preflight {
		out = append(out, entryOf(c))
	}
	return out
}

func catalogue(p *screen.Page, checks []verify.Check) {
	rows := make([][]string, 0, len(checks))
	for _, c := range checks {
		rows = append(rows, []string{p.Bold(c.ID), string(c.Severity), c.Question})
	}
	fmt.Fprint(p, screen.Columns(rows))
	fmt.Fprintln(p, p.Dim("One of them in full: isthmus help "+checks[0].ID))
}

func checkHelp(p *screen.Page, c verify.Check) {
	fmt.Fprintf(p, "%s  %s  %s\n\n", p.Bold(c.ID), c.Question, p.Dim(meaning(c.Severity)))
	fmt.Fprint(p, wrapped("Why", c.Why), wrapped("Fix", c.Fix))
	if len(c.Needs) > 0 {
		fmt.Fprint(p, wrapped("Needs", strings.Join(c.Needs, ", ")+": asked only where these found no error"))
	}
}

func meaning(s verify.Severity) string {
	if s == verify.Error {
		return "error: stops apply"
	}
	return string(s) + ": stops nothing"
}

// helpWidth is where help text breaks: fits a terminal of 80 columns, and reads well on a wider one.
const helpWidth = 79

// wrapped is a heading and a text beside it, broken between words.
func wrapped(heading, text string) string {
	const indent = 7
	var b strings.Builder
	fmt.Fprintf(&b, "%-*s", indent, heading)
	at := indent
	for i, word := range strings.Fields(text) {
		if i > 0 {
			if at+1+screen.Width(word) > helpWidth {
				b.WriteString("\n" + strings.Repeat(" ", indent))
				at = indent
			} else {
				b.WriteByte(' ')
				at++
			}
		}
		b.WriteString(word)
		at += screen.Width(word)
	}
	b.WriteByte('\n')
	return b.String()
}
