//go:build !linux

package patience

import "time"

var began = time.Now()

// Elapsed is the time since this process began, by the clock that has gone further: the wall clock goes on while the machine
// is suspended, and the monotonic one is set by nobody.
func Elapsed() time.Duration {
	return max(time.Since(began), time.Now().Round(0).Sub(began.Round(0)))
}
