// Package patience waits between looks at what takes a while: no longer than its context, and no longer than is sensible.
package patience

import (
	"context"
	"time"
)

// Sleep waits, or returns ctx's error when that ends first.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Pause is how long to wait before the next look at what was waited for that long: an eighth of it within bounds, so that
// nobody waits much longer than it takes, and what takes long is not asked for all the time.
func Pause(waited, least, most time.Duration) time.Duration {
	return min(max(least, waited/8), most)
}
