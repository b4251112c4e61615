package analyze

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func seed(t *testing.T) []Source {
	t.Helper()
	sources, _, err := Read([]string{"testdata/seed"}, nil, nil)
	if err != nil || len(sources) != 2 {
		t.Fatalf("%d files: %v", len(sources), err)
	}
	for i := range sources {
		sources[i].Name = filepath.Base(sources[i].Name)
	}
	return sources
}

func placesOf(findings []Finding) []string {
	var all []string
	for _, f := range findings {
		fix := "by hand"
		if f.Fix != nil {
			fix = map[bool]string{false: "fix", true: "guess"}[f.Fix.Guess]
		}
		all = append(all, fmt.Sprintf("%s:%d:%d %s %s %s %s", f.File, f.Line, f.Col, f.Severity, f.ID, f.Object, fix))
	}
	return all
}

// TestSeed: every fault of the document that this project began with, each on its line.
func TestSeed(t *testing.T) {
	findings := Run(readOne(seed(t)))
	want := []string{
		"authorizationpolicy.yaml:1:13 warning ANA007 AuthorizationPolicy default/cluster-a-allow fix",
		"authorizationpolicy.yaml:13:11 error ANA020 AuthorizationPolicy default/cluster-a-allow guess",
		"gateway-and-virtualservice.yaml:1:13 warning ANA007 Gateway default/gateway fix",
		"gateway-and-virtualservice.yaml:13:5 error ANA002 Gateway default/gateway fix",
		"gateway-and-virtualservice.yaml:15:1 error ANA001 VirtualService default/example-vs fix",
		"gateway-and-virtualservice.yaml:15:13 warning ANA007 VirtualService default/example-vs fix",
		"gateway-and-virtualservice.yaml:30:15 error ANA010 VirtualService default/example-vs fix",
		"gateway-and-virtualservice.yaml:31:17 warning ANA011 VirtualService default/example-vs guess",
	}
	if diff := cmp.Diff(want, placesOf(findings)); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

// TestSeedFixed: --fix leaves what only people can know, --fix --guess leaves nothing.
func TestSeedFixed(t *testing.T) {
	cases := []struct {
		reason string
		guess  bool
		left   []string
		golden string
	}{
		{reason: "without guesses the caller's identity and the subset are left", golden: "testdata/seed.fixed", left: []string{
			"authorizationpolicy.yaml:13:11 error ANA020 AuthorizationPolicy default/cluster-a-allow guess",
			"gateway-and-virtualservice.yaml:32:17 warning ANA011 VirtualService default/example-vs guess",
		}},
		{reason: "with guesses everything passes", guess: true, golden: "testdata/seed.guessed"},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			fixed, _, err := Fix(seed(t), readOne, c.guess)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.left, placesOf(Run(readOne(fixed)))); diff != "" {
				t.Errorf("findings that are left (-want +got):\n%s", diff)
			}
			for _, f := range fixed {
				golden(t, filepath.Join(c.golden, f.Name), f.Data)
			}
		})
	}
}

// TestSeedFixedWithKnowledge: given the workloads of the fixed example to read, --fix knows the subset and who calls.
func TestSeedFixedWithKnowledge(t *testing.T) {
	workloads, err := os.ReadFile("../../examples/original/workloads.yaml")
	if err != nil {
		t.Fatal(err)
	}
	sources := append(seed(t), Source{Name: "workloads.yaml", Data: workloads})
	fixed, made, err := Fix(sources, readOne, false)
	if err != nil {
		t.Fatal(err)
	}
	if made < 7 {
		t.Errorf("only %d edits", made)
	}
	if left := placesOf(Run(readOne(fixed))); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// golden compares with a file; ANALYZE_GOLDEN=write writes it anew.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if os.Getenv("ANALYZE_GOLDEN") == "write" {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// TestCatalogueIsCurrent: docs/analyzers.md is made from the table.
func TestCatalogueIsCurrent(t *testing.T) {
	golden(t, "../../docs/analyzers.md", []byte(Markdown(Analysers)))
}

// TestExampleIsRight: the fixed form of the original document has nothing wrong with it.
func TestExampleIsRight(t *testing.T) {
	sources, _, err := Read([]string{"../../examples/original"}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := NewReport(NewInput(sources, nil, Options{}))
	for _, f := range r.Findings {
		t.Errorf("%s:%d:%d %s %s", f.File, f.Line, f.Col, f.ID, f.Text())
	}
	if r.Objects < 8 {
		t.Errorf("only %d objects were read", r.Objects)
	}
}
