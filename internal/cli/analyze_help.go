package cli

import (
	"fmt"

	"isthmus.dev/isthmus/internal/analyze"
	"isthmus.dev/isthmus/internal/screen"
)

// analyserHelp shows what an analyser asks, why and what --fix does, by the id of a finding, ANA001 or IST0101; shown
// is false where there is none of that id.
func (e *env) analyserHelp(id string) (shown bool, err error) {
	a, ok := analyze.Lookup(id)
	if !ok {
		return false, nil
	}
	v := struct {
		ID       string           `json:"id"`
		Severity analyze.Severity `json:"severity"`
		Question string           `json:"question"`
		Why      string           `json:"why"`
		Do       string           `json:"do"`
		Fixes    string           `json:"fixes,omitempty"`
	}{a.ID, a.Severity, a.Question, a.Why, a.Do, a.Fixes}
	return true, e.show(v, func(p *screen.Page) {
		fmt.Fprintf(p, "%s  %s  %s\n\n", p.Bold(a.ID), a.Question, p.Dim(string(a.Severity)))
		fmt.Fprint(p, wrapped("Why", a.Why), wrapped("Do", a.Do))
		if a.Fixes != "" {
			fmt.Fprint(p, wrapped("--fix", a.Fixes))
		}
	})
}
