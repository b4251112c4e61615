package verify

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"isthmus.dev/isthmus/internal/facts"
)

// Nobody but itself calls a cluster that is drained, its own calls of others are proved, and no stranger gets in.
func TestADrainedClusterIsNotCalled(t *testing.T) {
	f := newFake(twoClusters())
	f.evidence = func(e *Evidence) {
		e.Now.Clusters["east"].Members = []facts.Member{{Name: "west", Drain: &facts.Drain{On: true, Since: time.Unix(1, 0), To: "east"}}}
	}
	p, err := f.prover().Prove(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for call := range f.seen {
		if strings.HasPrefix(call, "east west/") {
			t.Errorf("east called west: %s", call)
		}
	}
	var drained []string
	for _, c := range p.Cells {
		if c.Drained {
			drained = append(drained, c.From+" "+c.To)
		}
	}
	if !p.Passed || !cmp.Equal(drained, []string{"east west"}) {
		t.Errorf("passed %t, drained %v: %+v", p.Passed, drained, p.Failures)
	}
	if d := p.Tallies().Delivered; d != (Tally{3, 3}) {
		t.Errorf("delivered %v, want 3 of 3: what is not asked is not counted", d)
	}
	for _, c := range p.JUnit().Cases {
		if strings.HasPrefix(c.Name, "east → west") {
			t.Errorf("a case for what was not asked: %s", c.Name)
		}
	}
}
