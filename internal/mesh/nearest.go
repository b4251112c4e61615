package mesh

import (
	"fmt"
	"slices"
	"strings"

	"isthmus.dev/isthmus/internal/edit"
)

// nearest finds the name that a person most likely meant: the one at the least edit distance, if that is at most
// a third of the longer name's length (one edit at least), else none. Of two equally near the first in order wins.
func nearest(name string, known []string) (string, bool) {
	known = slices.Sorted(slices.Values(known))
	best, found := "", false
	least := 0
	for _, k := range known {
		d := edit.Distance(strings.ToLower(name), strings.ToLower(k))
		if d > max(1, max(len(name), len(k))/3) {
			continue
		}
		if !found || d < least {
			best, least, found = k, d, true
		}
	}
	return best, found
}

// didYouMean is a hint for a name that is not known: the nearest, else all of a few, else nothing.
func didYouMean(name string, known []string) string {
	if near, ok := nearest(name, known); ok {
		return fmt.Sprintf("did you mean %s?", near)
	}
	if len(known) == 0 || len(known) > 16 {
		return ""
	}
	return "there are: " + strings.Join(slices.Sorted(slices.Values(known)), ", ")
}
