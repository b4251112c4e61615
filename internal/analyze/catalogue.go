package analyze

import (
	"fmt"
	"slices"
	"strings"
)

// Lookup finds an analyser of the table by its id, whatever its case, or makes one of Istio's code.
func Lookup(id string) (Analyser, bool) {
	i := slices.IndexFunc(Analysers, func(a Analyser) bool { return strings.EqualFold(a.ID, id) })
	if i >= 0 {
		return Analysers[i], true
	}
	t, ok := istioMessage(id)
	if !ok {
		return Analyser{}, false
	}
	return Analyser{
		ID: t.Code(), Question: "Istio's own analysers: " + oneLine(t.Template()), Severity: severityOf(t.Level()),
		Why: "Istio explains it at " + istioDocs + strings.ToLower(t.Code()) + "/", Do: "see there",
	}, true
}

// Markdown is the catalogue as a page: docs/analyzers.md is this, and a test says so.
func Markdown(table []Analyser) string {
	var b strings.Builder
	b.WriteString(`# Analysers

What ` + "`isthmus analyze`" + ` asks of configuration, in files, of one cluster or of several at once. An error makes it exit 4;
warnings and notes do not. ` + "`--fix`" + ` writes what is sure; ` + "`--fix --guess`" + ` also what is likely.

An analyser claims only what its input can show. Files are hardly ever the whole of a cluster: where a thing may
exist and was not given to read, nothing is said, or a warning says on what it rests. Whoever knows better than a
finding says so on the object: ` + "`galley.istio.io/analyze-suppress: \"ANA040\"`" + ` (Istio's own annotation; a list of ids, or ` + "`*`" + `).

This page is made from the table in internal/analyze; change it there.

| id | severity | question | --fix |
|---|---|---|---|
`)
	for _, a := range table {
		fixes := a.Fixes
		if fixes == "" {
			fixes = "-"
		}
		fmt.Fprintf(&b, "| [%s](#%s) | %s | %s | %s |\n", a.ID, strings.ToLower(a.ID), a.Severity, a.Question, fixes)
	}
	for _, a := range table {
		fmt.Fprintf(&b, "\n## %s\n\n**%s** · %s\n\nWhy: %s\n\nDo: %s\n", a.ID, a.Question, a.Severity, a.Why, a.Do)
		if a.Fixes != "" {
			fmt.Fprintf(&b, "\n`--fix`: %s\n", a.Fixes)
		}
	}
	return b.String()
}
