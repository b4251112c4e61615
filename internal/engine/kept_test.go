package engine

import (
	"fmt"
	"os"
	"testing"

	"isthmus.dev/isthmus/internal/charts"
)

// Kept are renderings that all tests of this package share, as runs of the program do: charts take most of their time.
var Kept charts.Renderings

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "isthmus-renderings-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	Kept.Dir = dir
	code := m.Run()
	_ = os.RemoveAll(dir) // a temporary folder, after the tests' last word
	os.Exit(code)
}
