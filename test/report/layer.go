package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// slowest is how many tests the summary names.
const slowest = 20

// A Layer is what one run of go test came to.
type Layer struct {
	Name string `json:"name"`
	// Seconds is the time of the whole run, of compiling too.
	Seconds  float64 `json:"seconds"`
	Passed   int     `json:"passed"`
	Failed   []Test  `json:"failed,omitempty"`
	Skipped  []Test  `json:"skipped,omitempty"`
	Tests    []Test  `json:"tests"`
	Packages int     `json:"packages"`
	// Unexpected are the skipped tests that no entry of skips.go expects.
	Unexpected []Test `json:"unexpected,omitempty"`
}

// A Test is one test or benchmark that ended; subtests are part of theirs. Name is empty for a package that failed
// by itself, as where it does not compile.
type Test struct {
	Package string `json:"package"`
	Name    string `json:"name,omitempty"`
	// Seconds is the time that go test gives it: tests that run side by side count their whole time each.
	Seconds float64 `json:"seconds,omitempty"`
	// Why is what a skipped test said.
	Why string `json:"why,omitempty"`
}

func (t Test) String() string {
	short := strings.TrimPrefix(t.Package, "isthmus.dev/isthmus/")
	return strings.TrimSuffix(short+" "+t.Name, " ")
}

// An event is a line of go test -json (cmd/test2json).
type event struct {
	Action, Package, Test, Output string
	ImportPath                    string // of build-output
	Elapsed                       float64
}

// A reader turns events into a layer and prints what a person should see meanwhile.
type reader struct {
	layer  *Layer
	out    io.Writer
	stream bool

	output map[[2]string][]string // of tests that run, by package and test
	open   map[string]bool        // packages that began and did not end
}

// read reads events to their end. Lines that are none are shown as they are: go prints some errors so.
// Errors: the stream ended before every package had, or no package ran at all.
func (r *reader) read(in io.Reader) error {
	r.output, r.open = map[[2]string][]string{}, map[string]bool{}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil || e.Action == "" {
			fmt.Fprintln(r.out, lines.Text())
			continue
		}
		r.event(e)
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read go test's events: %w", err)
	}
	if len(r.open) > 0 {
		return fmt.Errorf("go test ended before these packages did: %s", strings.Join(slices.Sorted(maps.Keys(r.open)), ", "))
	}
	if r.layer.Packages == 0 {
		return errors.New("no package was tested")
	}
	return nil
}

func (r *reader) event(e event) {
	key := [2]string{e.Package, e.Test}
	switch e.Action {
	case "start":
		r.open[e.Package] = true
	case "build-output":
		fmt.Fprint(r.out, e.Output)
	case "output":
		r.output[key] = append(r.output[key], e.Output)
		if r.stream && e.Test != "" {
			fmt.Fprint(r.out, e.Output)
		}
	case "pass", "fail", "skip":
		r.ended(e, key)
	}
}

// ended counts a test or a package. A subtest's output belongs to its parent's, which fails with it.
func (r *reader) ended(e event, key [2]string) {
	text := r.output[key]
	delete(r.output, key)
	top, _, sub := strings.Cut(e.Test, "/")
	test := Test{Package: e.Package, Name: e.Test, Seconds: e.Elapsed}
	if e.Action == "skip" && e.Test != "" {
		test.Why = skipReason(text)
		r.layer.Skipped = append(r.layer.Skipped, test)
	}
	switch {
	case sub:
		parent := [2]string{e.Package, top}
		r.output[parent] = append(r.output[parent], text...)
	case e.Test == "":
		r.packageEnded(e, text)
	case e.Action == "fail":
		r.layer.Failed = append(r.layer.Failed, test)
		r.layer.Tests = append(r.layer.Tests, test)
		if !r.stream {
			fmt.Fprint(r.out, strings.Join(text, ""))
		}
	default:
		r.layer.Tests = append(r.layer.Tests, test)
		if e.Action == "pass" {
			r.layer.Passed++
		}
	}
}

func (r *reader) packageEnded(e event, text []string) {
	delete(r.open, e.Package)
	r.layer.Packages++
	if e.Action == "fail" {
		named := slices.ContainsFunc(r.layer.Failed, func(t Test) bool { return t.Package == e.Package })
		if !named {
			r.layer.Failed = append(r.layer.Failed, Test{Package: e.Package})
		}
		for key, lines := range r.output { // a test that panicked or ran out of time never ended
			if key[0] == e.Package && !r.stream {
				fmt.Fprint(r.out, strings.Join(lines, ""))
			}
		}
		fmt.Fprint(r.out, strings.Join(text, ""))
		return
	}
	for _, line := range text {
		if strings.HasPrefix(line, "ok ") || strings.HasPrefix(line, "?  ") {
			fmt.Fprint(r.out, line)
		}
	}
}

// skipReason is what a test said when it skipped itself: the last line of its own.
func skipReason(output []string) string {
	for _, line := range slices.Backward(output) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "--- SKIP") || strings.HasPrefix(line, "=== ") {
			continue
		}
		if _, why, ok := strings.Cut(line, ".go:"); ok {
			_, line, _ = strings.Cut(why, ": ")
		}
		return line
	}
	return ""
}

// verdict is an error where the layer may not count as passed.
func (l Layer) verdict() error {
	var errs []error
	if len(l.Failed) > 0 {
		errs = append(errs, fmt.Errorf("%s: %d failed", l.Name, len(l.Failed)))
	}
	if len(l.Unexpected) > 0 {
		errs = append(errs, fmt.Errorf("%s: %d skipped that test/report/skips.go does not expect", l.Name, len(l.Unexpected)))
	}
	return errors.Join(errs...)
}

// print says how a layer went: what failed, and what did not run and why.
func (l Layer) print(out io.Writer) {
	for _, t := range l.Failed {
		fmt.Fprintf(out, "FAILED      %s\n", t)
	}
	for _, t := range l.Unexpected {
		fmt.Fprintf(out, "UNEXPECTED  skip of %s: %s\n", t, t.Why)
	}
	if len(l.Skipped) == 0 {
		return
	}
	byWhy := map[string]int{}
	for _, t := range l.Skipped {
		byWhy[t.Why]++
	}
	for _, why := range slices.Sorted(maps.Keys(byWhy)) {
		fmt.Fprintf(out, "skipped     %d: %s\n", byWhy[why], why)
	}
}

// printSum prints the time of each layer and the slowest tests of all.
func printSum(out io.Writer, layers []Layer) {
	var all []Test
	total := 0.0
	fmt.Fprintln(out, "\nlayers")
	for _, l := range layers {
		total += l.Seconds
		all = append(all, l.Tests...)
		fmt.Fprintf(out, "  %7.1f s  %-30s %d passed, %d failed, %d skipped, %d packages\n", l.Seconds, l.Name, l.Passed, len(l.Failed), len(l.Skipped), l.Packages)
	}
	fmt.Fprintf(out, "  %7.1f s  in all\n", total)
	slices.SortStableFunc(all, func(a, b Test) int { return cmp.Compare(b.Seconds, a.Seconds) })
	fmt.Fprintln(out, "slowest tests")
	for _, t := range all[:min(slowest, len(all))] {
		fmt.Fprintf(out, "  %7.1f s  %s\n", t.Seconds, t)
	}
}
