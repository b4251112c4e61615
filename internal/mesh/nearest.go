package mesh

import (
	"fmt"
	"slices"
	"strings"
)

// nearest finds the name that a person most likely meant: the one at the least edit distance, if that is at most
// a third of the longer name's length (one edit at least), else none. Of two equally near the first in order wins.
func nearest(name string, known []string) (string, bool) {
	known = slices.Sorted(slices.Values(known))
	best, found := "", false
	least := 0
	for _, k := range known {
		d := distance(strings.ToLower(name), strings.ToLower(k))
		if d > max(1, max(len(name), len(k))/3) {
			continue
		}
		if !found || d < least {
			best, least, found = k, d, true
		}
	}
	return best, found
}

// distance is the number of single letters to insert, take out, change or swap with their neighbour that turn a
// into b (optimal string alignment).
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	before, last := make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := range x {
		row := make([]int, len(y)+1)
		row[0] = i + 1
		for j := range y {
			change := last[j]
			if x[i] != y[j] {
				change++
			}
			row[j+1] = min(change, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && x[i] == y[j-1] && x[i-1] == y[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(y)]
}

// didYouMean is a hint for a name that is not known: the nearest, else all of a few, else nothing.
func didYouMean(name string, known []string) string {
	if near, ok := nearest(name, known); ok {
		return fmt.Sprintf("did you mean %s?", near)
	}
	if len(known) == 0 || len(known) > 12 {
		return ""
	}
	return "there are: " + strings.Join(slices.Sorted(slices.Values(known)), ", ")
}
