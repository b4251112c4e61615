package edit

import "testing"

func TestDistance(t *testing.T) {
	cases := []struct {
		reason, a, b string
		want         int
	}{
		{"the same", "networks", "networks", 0},
		{"one letter too few", "network", "networks", 1},
		{"one letter wrong", "istiod", "istiot", 1},
		{"two neighbours swapped are one slip", "wset", "west", 1},
		{"letters, not bytes", "größe", "grösse", 2},
		{"nothing in common", "abc", "xyz", 3},
		{"from nothing", "", "abc", 3},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			if got := Distance(c.a, c.b); got != c.want {
				t.Errorf("Distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
			}
			if got := Distance(c.b, c.a); got != c.want {
				t.Errorf("Distance(%q, %q) = %d, want %d", c.b, c.a, got, c.want)
			}
		})
	}
}
