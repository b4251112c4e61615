//go:build lab

package build_test

import (
	"context"
	"os"
	"testing"

	"isthmus.dev/isthmus/lab/build"
)

func TestEnsureMakesEverythingOnce(t *testing.T) {
	for range 2 {
		set, err := build.Ensure(context.Background(), build.Options{Cache: os.Getenv("ISTHMUS_TEST_CACHE"), Report: func(e build.Event) {
			if e.Done || e.Detail == "" {
				t.Logf("%8s %s %s %s %d/%d cached=%v", e.Elapsed, e.Doing, e.Program, e.Detail, e.Index, e.Total, e.Cached)
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		t.Log(set)
	}
}
