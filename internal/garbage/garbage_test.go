package garbage

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// TestGarbageIsLeftUntilThereIsEnough fills memory: nothing is collected before the bound, and from then on as always.
func TestGarbageIsLeftUntilThereIsEnough(t *testing.T) {
	runtime.GC() // ends what importing the package began
	eventually(t, "collecting is as it was before", normal)
	const bound = 96 << 20
	LeaveUntil(bound)
	before := collections()
	var last []byte
	for range bound / 3 >> 20 {
		last = make([]byte, 1<<20)
	}
	if n := collections() - before; n != 0 {
		t.Errorf("%d collections with a third of the bound in use", n)
	}
	for range 2 * bound >> 20 {
		last = make([]byte, 1<<20)
	}
	runtime.KeepAlive(last)
	if collections() == before {
		t.Error("no collection beyond the bound")
	}
	eventually(t, "collecting is as it was before", normal)
}

func collections() uint32 {
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.NumGC
}

// normal tells that nothing but Go's own rule starts a collection.
func normal() bool {
	percent := debug.SetGCPercent(100)
	debug.SetGCPercent(percent)
	return percent == 100 && debug.SetMemoryLimit(-1) > 1<<60
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 1000 {
		if is() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("not: %s", what)
}
