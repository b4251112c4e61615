// Package garbage lets a command that lives for a second leave its garbage uncollected. A main package imports it for
// that effect, which begins before most other packages have made what they make when a program starts: a quarter of the
// processor time of isthmus --help, and of a small plan, went into collecting what was hardly there yet.
package garbage

import (
	"os"
	"runtime"
	"runtime/debug"
)

// Enough is when collecting begins, in bytes: what a command on a few clusters takes at most.
const Enough = 128 << 20

// What importing the package does.
var _ = begin()

// begin leaves it to whoever says in the environment when to collect.
func begin() struct{} {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		LeaveUntil(Enough)
	}
	return struct{}{}
}

// LeaveUntil stops the collection of garbage until the program takes so many bytes, and puts everything back to what it
// was when that, or somebody who wants it, begins the first one.
func LeaveUntil(bytes int64) {
	percent, limit := debug.SetGCPercent(-1), debug.SetMemoryLimit(bytes)
	canary := &struct{ sings *int }{new(int)} // with a pointer in it: small things without one share their fate
	runtime.AddCleanup(canary, func(struct{}) {
		debug.SetMemoryLimit(limit)
		debug.SetGCPercent(percent)
	}, struct{}{})
}
