package explain

import (
	"flag"
	"os"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/explain.md anew")

func TestCatalogueIsWhole(t *testing.T) {
	ids, codes := map[string]bool{}, map[string]bool{}
	for _, c := range Causes {
		if !regexp.MustCompile(`^EXP\d{3}$`).MatchString(c.ID) || ids[c.ID] || codes[c.Code] {
			t.Errorf("%s %s: no id, or there twice", c.ID, c.Code)
		}
		ids[c.ID], codes[c.Code] = true, true
		if c.Title == "" || c.Why == "" || c.Do == "" || c.Link == "" {
			t.Errorf("%s lacks something: title, why, do or link", c.ID)
		}
	}
	// Each has evidence by which it is found.
	for _, b := range breakages {
		delete(codes, b.code)
	}
	delete(codes, "control-plane-not-ready") // TestWorksNow, TestWholeClusters
	for code := range codes {
		t.Errorf("no test finds %s", code)
	}
}

func TestDocsAreCurrent(t *testing.T) {
	const page = "../../docs/explain.md"
	got := Markdown(Causes)
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
		t.Errorf("docs/explain.md is old; write it anew: go test ./internal/explain -run Docs -update\n%s", diff)
	}
}
