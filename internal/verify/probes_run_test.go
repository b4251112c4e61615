package verify

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"isthmus.dev/isthmus/internal/facts"
)

// Clusters whose pods start at the same time share a look at the mesh, however long one takes.
func TestClustersThatWaitShareALook(t *testing.T) {
	var looks, seconds atomic.Int64
	r := &proving{Prover: &Prover{
		Now: func() time.Time { return time.Unix(seconds.Load(), 0) },
		Facts: func(context.Context) facts.Snapshot {
			looks.Add(1)
			seconds.Add(10)
			return facts.Snapshot{}
		},
	}}
	for want := range int64(2) {
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { r.glance(t.Context(), 3*time.Second) })
		}
		wg.Wait()
		if n := looks.Load(); n != want+1 {
			t.Errorf("three clusters that ask at once, the %d. time: %d looks in all", want+1, n)
		}
		seconds.Add(4)
	}
}
