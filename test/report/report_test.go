package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// stream is what go test -json prints of a package with a test that passes, one that fails in a subtest, and one that
// skips itself.
const stream = `{"Action":"start","Package":"m/a"}
{"Action":"run","Package":"m/a","Test":"TestGood"}
{"Action":"output","Package":"m/a","Test":"TestGood","Output":"=== RUN   TestGood\n"}
{"Action":"pass","Package":"m/a","Test":"TestGood","Elapsed":0.5}
{"Action":"run","Package":"m/a","Test":"TestBad"}
{"Action":"output","Package":"m/a","Test":"TestBad/sub","Output":"    a_test.go:7: got 1, want 2\n"}
{"Action":"fail","Package":"m/a","Test":"TestBad/sub","Elapsed":0.1}
{"Action":"fail","Package":"m/a","Test":"TestBad","Elapsed":0.2}
{"Action":"output","Package":"m/a","Test":"TestIdle","Output":"    a_test.go:9: needs a moon\n"}
{"Action":"output","Package":"m/a","Test":"TestIdle","Output":"--- SKIP: TestIdle (0.00s)\n"}
{"Action":"skip","Package":"m/a","Test":"TestIdle","Elapsed":0}
{"Action":"output","Package":"m/a","Output":"FAIL\tm/a\t0.8s\n"}
{"Action":"fail","Package":"m/a","Elapsed":0.8}
`

func TestReadsWhatGoTestPrints(t *testing.T) {
	var out bytes.Buffer
	l := Layer{Name: "unit"}
	if err := (&reader{layer: &l, out: &out}).read(strings.NewReader(stream)); err != nil {
		t.Fatal(err)
	}
	want := Layer{
		Name: "unit", Passed: 1, Packages: 1,
		Failed:  []Test{{Package: "m/a", Name: "TestBad", Seconds: 0.2}},
		Skipped: []Test{{Package: "m/a", Name: "TestIdle", Why: "needs a moon"}},
		Tests: []Test{
			{Package: "m/a", Name: "TestGood", Seconds: 0.5}, {Package: "m/a", Name: "TestBad", Seconds: 0.2}, {Package: "m/a", Name: "TestIdle", Why: "needs a moon"},
		},
	}
	if diff := cmp.Diff(want, l); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(out.String(), "got 1, want 2") || strings.Contains(out.String(), "RUN   TestGood") {
		t.Errorf("printed %q: the output of what failed, and nothing of what passed", out.String())
	}
}

// TestWhatFailsARun: each of these must not look like a run that passed.
func TestWhatFailsARun(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		reason, text, exit, skips, want string
	}{
		{reason: "a failed test", text: stream, exit: "1", skips: "any", want: "1 failed"},
		{reason: "a failed test, and a command that hides it", text: stream, exit: "0", skips: "any", want: "1 failed"},
		{reason: "nothing was tested", text: "no packages to test\n", exit: "0", skips: "any", want: "no package was tested"},
		{reason: "the run ended in the middle", text: `{"Action":"start","Package":"m/a"}` + "\n", exit: "0", skips: "any", want: "ended before these packages did: m/a"},
		{reason: "a package that does not compile", text: `{"Action":"start","Package":"m/a"}` + "\n" + `{"Action":"fail","Package":"m/a","FailedBuild":"m/a"}` + "\n", exit: "1", skips: "any", want: "1 failed"},
		{
			reason: "a skip that nobody expects", exit: "0", skips: "expected", want: "1 skipped that test/report/skips.go does not expect",
			text: `{"Action":"start","Package":"m/a"}` + "\n" + `{"Action":"skip","Package":"m/a","Test":"TestIdle"}` + "\n" + `{"Action":"pass","Package":"m/a"}` + "\n",
		},
	} {
		file := filepath.Join(dir, "stream")
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		err := command(t.Context(), []string{"run", "-layer", "unit", "-skips", c.skips, "-out", filepath.Join(dir, "summary"), "sh", "-c", "cat " + file + "; exit " + c.exit}, &out)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.reason, err, c.want)
		}
	}
}

func TestASkipThatIsExpectedPasses(t *testing.T) {
	e := expectedSkips[0]
	if got := unexpected([]Test{{Package: e.Package, Name: e.Name}, {Package: e.Package, Name: "TestOther"}}); len(got) != 1 || got[0].Name != "TestOther" {
		t.Errorf("unexpected are %v, want TestOther alone", got)
	}
	for _, e := range expectedSkips {
		if e.Why == "" {
			t.Errorf("%s may be skipped, and no reason is given", e.Name)
		}
	}
}

func TestSumNamesTheSlowest(t *testing.T) {
	var out bytes.Buffer
	printSum(&out, []Layer{
		{Name: "unit", Seconds: 10, Passed: 2, Tests: []Test{{Package: "m/a", Name: "TestQuick", Seconds: 1}, {Package: "m/a", Name: "TestSlow", Seconds: 9}}},
		{Name: "lab", Seconds: 100, Passed: 1, Tests: []Test{{Package: "m/lab", Name: "TestMesh", Seconds: 95}}},
	})
	text := out.String()
	if !strings.Contains(text, "110.0 s  in all") {
		t.Errorf("no sum of the layers in:\n%s", text)
	}
	mesh, slow, quick := strings.Index(text, "TestMesh"), strings.Index(text, "TestSlow"), strings.Index(text, "TestQuick")
	if mesh < 0 || mesh > slow || slow > quick {
		t.Errorf("tests are not in order, slowest first:\n%s", text)
	}
}
