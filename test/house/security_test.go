package house_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestSecurityPageIsProved: every row of a table of docs/security.md names tests that exist, or says that there is none.
func TestSecurityPageIsProved(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root(t), "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	tests := testNames(t)
	name := regexp.MustCompile(`\b(Test|Fuzz)[A-Z]\w*`)
	rows := 0
	for i, line := range strings.Split(string(page), "\n") {
		cells := strings.Split(strings.Trim(line, "|"), "|")
		proof := strings.TrimSpace(cells[len(cells)-1])
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(proof, "-") || proof == "proved by" {
			continue
		}
		rows++
		named := name.FindAllString(proof, -1)
		if len(named) == 0 && !strings.HasPrefix(proof, "no test") {
			t.Errorf("docs/security.md:%d: %q names no test and does not say that there is none", i+1, proof)
		}
		for _, n := range named {
			if !tests[n] {
				t.Errorf("docs/security.md:%d: there is no test %s", i+1, n)
			}
		}
	}
	if rows == 0 {
		t.Error("docs/security.md has no row: this test proves nothing")
	}
}

// testNames are all tests and fuzz targets of the tree.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	names := map[string]bool{}
	eachFile(t, func(path string, src []byte) {
		if !strings.HasSuffix(path, "_test.go") {
			return
		}
		for _, m := range declared.FindAllSubmatch(bytes.TrimSpace(src), -1) {
			names[string(m[1])] = true
		}
	})
	return names
}
