package analyze

import (
	"cmp"
	"slices"
	"strings"
	"unicode"

	"isthmus.dev/isthmus/internal/edit"
)

// nearest are the names that somebody may have meant by name, nearest first: those within an edit distance of
// two letters, one for names under five letters, none for names under three. A name that differs in its
// digits alone is another name, not a slip: v1 and v2.
func nearest(name string, known []string) []string {
	type candidate struct {
		name     string
		distance int
	}
	var found []candidate
	for _, k := range slices.Compact(slices.Sorted(slices.Values(known))) {
		if k == name || k == "" || sameButDigits(name, k) {
			continue
		}
		if far := len(name) - len(k); far > 2 || far < -2 || len(name) > maxName {
			continue
		}
		d := edit.Distance(strings.ToLower(name), strings.ToLower(k))
		if d <= slack(name, k) {
			found = append(found, candidate{k, d})
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return cmp.Compare(a.distance, b.distance) })
	names := make([]string, len(found))
	for i, c := range found {
		names[i] = c.name
	}
	return names
}

// maxName is the longest name that is compared with others: that of a DNS name.
const maxName = 253

// slack is how many letters two names may differ by and still be thought the same.
func slack(a, b string) int {
	switch n := max(len(a), len(b)); {
	case n < 3:
		return 0
	case n < 5:
		return 1
	}
	return 2
}

// near is the one nearest name; ok is false where there is none, or two that are equally near.
func near(name string, known []string) (string, bool) {
	all := nearest(name, known)
	if len(all) == 0 {
		return "", false
	}
	lower := strings.ToLower(name)
	if len(all) > 1 && edit.Distance(lower, strings.ToLower(all[0])) == edit.Distance(lower, strings.ToLower(all[1])) {
		return "", false
	}
	return all[0], true
}

func sameButDigits(a, b string) bool {
	drop := func(r rune) rune {
		if unicode.IsDigit(r) {
			return -1
		}
		return r
	}
	return strings.Map(drop, a) == strings.Map(drop, b)
}
