package main

import "slices"

// An expectedSkip is a test or subtest that may skip itself in make test, and when.
type expectedSkip struct {
	Package, Name string
	Why           string
}

// expectedSkips are all skips that do not fail make test.
var expectedSkips = []expectedSkip{
	{"isthmus.dev/isthmus/lab", "TestClusters/pods_weigh_more_than_what_runs_them", "a machine without the cpu controller of cgroup v1 has no weights to look at"},
}

// unexpected are the skipped tests that no entry names.
func unexpected(skipped []Test) []Test {
	return slices.DeleteFunc(slices.Clone(skipped), func(t Test) bool {
		return slices.ContainsFunc(expectedSkips, func(e expectedSkip) bool { return e.Package == t.Package && e.Name == t.Name })
	})
}
