package verify

import (
	"flag"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write golden files and docs/checks.md anew")

func TestCatalogueIsWhole(t *testing.T) {
	var before []string
	for _, c := range Preflight {
		if !regexp.MustCompile(`^CHK\d{3}$`).MatchString(c.ID) {
			t.Errorf("%q is no id", c.ID)
		}
		if slices.Contains(before, c.ID) {
			t.Errorf("%s is there twice", c.ID)
		}
		if !strings.HasSuffix(c.Question, "?") || c.Why == "" || c.Fix == "" || c.Run == nil || c.Severity.rank() == 0 {
			t.Errorf("%s lacks something: a question, why, fix, severity or Run", c.ID)
		}
		for _, need := range c.Needs {
			if !slices.Contains(before, need) {
				t.Errorf("%s needs %s, which does not stand before it", c.ID, need)
			}
		}
		if got, ok := Lookup(strings.ToLower(c.ID)); !ok || got.ID != c.ID {
			t.Errorf("Lookup(%q) = %v, %v", strings.ToLower(c.ID), got.ID, ok)
		}
		before = append(before, c.ID)
	}
	if _, ok := Lookup("CHK999"); ok {
		t.Error("there is no CHK999")
	}
}

func TestDocsAreCurrent(t *testing.T) {
	const page = "../../docs/checks.md"
	got := Markdown(Preflight)
	if *update {
		if err := os.WriteFile(page, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("docs/checks.md is old; write it anew: go test ./internal/verify -run Docs -update\n%s", diff)
	}
}
