package explain

import (
	"fmt"
	"slices"
	"strings"
)

// Lookup finds a cause by its id or its code, whatever the case.
func Lookup(word string) (Cause, bool) {
	i := slices.IndexFunc(Causes, func(c Cause) bool { return strings.EqualFold(c.ID, word) || strings.EqualFold(c.Code, word) })
	if i < 0 {
		return Cause{}, false
	}
	return Causes[i], true
}

// Markdown is the catalogue as a part of docs/explain.md, and a test says so.
func Markdown(causes []Cause) string {
	var b strings.Builder
	b.WriteString("| id | code | breaks | cause |\n|---|---|---|---|\n")
	for _, c := range causes {
		fmt.Fprintf(&b, "| [%s](#%s) | %s | %s | %s |\n", c.ID, strings.ToLower(c.ID), c.Code, c.Link, c.Title)
	}
	for _, c := range causes {
		fmt.Fprintf(&b, "\n### %s\n\n**%s** · `%s`", c.ID, c.Title, c.Code)
		if c.Symptom {
			b.WriteString(" · a symptom: any other cause that is found comes first")
		}
		fmt.Fprintf(&b, "\n\nWhy: %s\n\nDo: %s\n", c.Why, c.Do)
	}
	return b.String()
}
