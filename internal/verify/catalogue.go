package verify

import (
	"fmt"
	"slices"
	"strings"
)

// Lookup finds a check of the catalogue by its id, whatever its case.
func Lookup(id string) (Check, bool) {
	i := slices.IndexFunc(Preflight, func(c Check) bool { return strings.EqualFold(c.ID, id) })
	if i < 0 {
		return Check{}, false
	}
	return Preflight[i], true
}

// Markdown is the catalogue as a page: docs/checks.md is this, and a test says so.
func Markdown(checks []Check) string {
	var b strings.Builder
	b.WriteString(`# Checks

What ` + "`isthmus check`" + ` asks before anything is written, and ` + "`isthmus apply`" + ` again before it writes.
An error stops apply and makes check exit 4; warnings and notes do not. What apply itself mends is never an error.
The same text at a prompt: ` + "`isthmus help CHK001`" + `.

This page is made from the table in internal/verify; change it there.

| id | severity | question |
|---|---|---|
`)
	for _, c := range checks {
		fmt.Fprintf(&b, "| [%s](#%s) | %s | %s |\n", c.ID, strings.ToLower(c.ID), c.Severity, c.Question)
	}
	for _, c := range checks {
		fmt.Fprintf(&b, "\n## %s\n\n**%s** · %s", c.ID, c.Question, c.Severity)
		if len(c.Needs) > 0 {
			fmt.Fprintf(&b, " · only where %s found no error", strings.Join(c.Needs, ", "))
		}
		fmt.Fprintf(&b, "\n\nWhy: %s\n\nFix: %s\n", c.Why, c.Fix)
	}
	return b.String()
}
