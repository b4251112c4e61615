package cli

import (
	"fmt"

	"isthmus.dev/isthmus/internal/explain"
	"isthmus.dev/isthmus/internal/screen"
)

// causeHelp shows what a cause of explain's is, by its id (EXP030) or its code (remote-secret-missing); shown is false
// where there is none.
func (e *env) causeHelp(word string) (shown bool, err error) {
	c, ok := explain.Lookup(word)
	if !ok {
		return false, nil
	}
	return true, e.show(c, func(p *screen.Page) {
		fmt.Fprintf(p, "%s  %s  %s\n\n", p.Bold(c.ID), c.Title, p.Dim(c.Code+", breaks: "+c.Link))
		fmt.Fprint(p, wrapped("Why", c.Why), wrapped("Do", c.Do))
		if c.Symptom {
			fmt.Fprint(p, wrapped("", "A symptom: where any other cause is found, that one is named first."))
		}
	})
}
