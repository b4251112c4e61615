package patience

import (
	"time"

	"golang.org/x/sys/unix"
)

// Elapsed is the time since some moment in the past, by a clock that nobody sets and that goes on while the machine is
// suspended (CLOCK_BOOTTIME). Go's own monotonic clock stands still then.
func Elapsed() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil { // every Linux that Go runs on has it
		panic(err)
	}
	return time.Duration(t.Nano())
}
