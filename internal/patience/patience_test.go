package patience

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestSleepEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if err := Sleep(t.Context(), time.Second); err != nil || time.Since(began) != time.Second {
			t.Errorf("woke with %v after %s of the test's clock", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := Sleep(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("its context ended, and it says %v", err)
		}
	})
}

func TestPauseGrowsWithinItsBounds(t *testing.T) {
	for waited, want := range map[time.Duration]time.Duration{
		0: 200 * time.Millisecond, time.Second: 200 * time.Millisecond, 4 * time.Second: 500 * time.Millisecond, time.Hour: time.Second,
	} {
		if got := Pause(waited, 200*time.Millisecond, time.Second); got != want {
			t.Errorf("after %s: %s, want %s", waited, got, want)
		}
	}
}
