package supervise

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"isthmus.dev/isthmus/lab/config"
)

func TestDistances(t *testing.T) {
	link := func(from, to string, loss float64) config.Link {
		return config.Link{From: from, To: to, Loss: loss}
	}
	fault := func(l config.Link) Fault { return Fault{Kind: "link", Link: &l} }
	cases := []struct {
		reason   string
		document []config.Link
		faults   []Fault
		want     []config.Link
	}{
		{"nothing said, nobody is far", nil, nil, nil},
		{"the document holds", []config.Link{link("a", "b", 1)}, nil, []config.Link{link("a", "b", 1)}},
		{"a fault takes the place of the document, in either order", []config.Link{link("a", "b", 1)}, []Fault{fault(link("b", "a", 2))}, []config.Link{link("b", "a", 2)}},
		{"the latest fault holds", nil, []Fault{fault(link("a", "b", 2)), fault(link("a", "b", 3))}, []config.Link{link("a", "b", 3)}},
		{"other pairs and other faults do not matter", []config.Link{link("a", "c", 1)}, []Fault{{Kind: "cut"}, fault(link("a", "b", 2))}, []config.Link{link("a", "c", 1), link("a", "b", 2)}},
	}
	for _, c := range cases {
		if diff := cmp.Diff(c.want, distances(c.document, c.faults)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", c.reason, diff)
		}
	}
}

func TestStartTime(t *testing.T) {
	if got := startTime(os.Getpid()); got == 0 {
		t.Error("this process has no start time")
	}
	if got := startTime(1 << 30); got != 0 {
		t.Errorf("a process that cannot exist began at %d", got)
	}
}

func TestEveryFaultCanBeginAndSomeEnd(t *testing.T) {
	over := map[string]bool{"kill-pods": true}
	for name, k := range kinds {
		if k.begin == nil {
			t.Errorf("fault %s cannot begin", name)
		}
		if (k.end == nil) != over[name] {
			t.Errorf("fault %s: has an end: %v", name, k.end != nil)
		}
	}
}
