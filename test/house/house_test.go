// Package house_test keeps the house's law: who may import whom, how long a file may be, and that every
// package says in its first lines what holds there. The rules are data; CONTRIBUTING.md explains them.
package house_test

import (
	"bufio"
	"bytes"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const module = "isthmus.dev/isthmus/"

// A rule forbids packages under From to import packages under any of Not.
type rule struct {
	From string
	Not  []string
	Why  string
}

var rules = []rule{
	{From: "api", Not: []string{module + "internal", module + "lab", "k8s.io/client-go", "istio.io"}, Why: "the vocabulary stands on apimachinery alone"},
	{From: "internal", Not: []string{module + "lab"}, Why: "the product does not know the lab"},
	{From: "lab", Not: []string{module + "internal"}, Why: "the lab is a library of its own"},
	{From: "oci", Not: []string{module + "internal", module + "lab"}, Why: "the product and the lab both stand on it"},
	{From: "internal/object", Not: []string{module + "internal", "k8s.io/client-go"}, Why: "everything passes it around"},
	{From: "internal/plan", Not: []string{"k8s.io/client-go", module + "internal/cluster", module + "internal/apply", module + "internal/seal"}, Why: "a plan is decided without a client"},
	{From: "internal/record", Not: []string{module + "internal", "k8s.io"}, Why: "it knows not what it keeps"},
	{From: "internal/trust", Not: []string{"k8s.io/client-go", module + "internal/cluster", module + "internal/apply"}, Why: "what should be there is values in, objects out"},
	{From: "internal/discovery", Not: []string{"k8s.io/client-go", module + "internal/cluster", module + "internal/apply"}, Why: "what should be there is values in, objects out"},
	{From: "internal/traffic", Not: []string{"k8s.io/client-go", module + "internal/cluster", module + "internal/apply"}, Why: "what should be there is values in, objects out"},
	{From: "internal/istio", Not: []string{module + "internal/cluster", module + "internal/apply"}, Why: "what should be there is values in, objects out"},
	{From: "internal/facts", Not: []string{module + "internal/apply", module + "internal/seal"}, Why: "facts are read, never written"},
	{From: "internal/explain", Not: []string{"k8s.io/client-go", module + "internal/cluster", module + "internal/apply", module + "internal/evidence"}, Why: "a path is judged from evidence, without a client"},
	{From: "internal/evidence", Not: []string{module + "internal/apply"}, Why: "evidence is read; what a probe places goes through the one that writes"},
	{From: "internal/live", Not: []string{module + "internal/apply", module + "internal/seal"}, Why: "configuration is read, never written"},
	{From: "internal/screen", Not: []string{module + "internal", module + "lab", "k8s.io"}, Why: "both programs look through it"},
	{From: "internal/verify", Not: []string{module + "internal/cli", module + "internal/view", module + "internal/screen"}, Why: "what is printed is decided in view"},
	{From: "internal/engine", Not: []string{module + "internal/cli", "github.com/spf13/cobra"}, Why: "the controller will stand on the same engine"},
}

func TestImports(t *testing.T) {
	packages := imports(t)
	for _, r := range rules {
		matched := 0
		for pkg, deps := range packages {
			if !under(pkg, module+r.From) {
				continue
			}
			matched++
			for _, dep := range deps {
				for _, not := range r.Not {
					if under(dep, not) && !under(dep, module+r.From) {
						t.Errorf("%s imports %s: %s", pkg, dep, r.Why)
					}
				}
			}
		}
		if matched == 0 {
			t.Errorf("the rule for %s matches no package: it protects nothing", r.From)
		}
	}
}

// imports maps every package of the module to what it imports directly, tests apart.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	cmd := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...")
	cmd.Dir = root(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	packages := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		packages[fields[0]] = fields[1:]
	}
	return packages
}

func under(pkg, prefix string) bool {
	prefix = strings.TrimSuffix(prefix, "/")
	return pkg == prefix || strings.HasPrefix(pkg, prefix+"/")
}

// TestOnlyMainExits: a library that ends the process takes every defer and every caller's cleanup with it.
func TestOnlyMainExits(t *testing.T) {
	eachFile(t, func(path string, src []byte) {
		if !strings.HasSuffix(path, "main.go") && !strings.HasSuffix(path, "_test.go") && bytes.Contains(src, []byte("os.Exit(")) {
			t.Errorf("%s calls os.Exit; only main does", path)
		}
	})
}

// TestFilesFitOnAFewScreens: 400 lines, generated code and tests apart.
func TestFilesFitOnAFewScreens(t *testing.T) {
	eachFile(t, func(path string, src []byte) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		if n := bytes.Count(src, []byte("\n")); n > 400 {
			t.Errorf("%s has %d lines: two ideas, two files", path, n)
		}
	})
}

// TestPackagesSayWhatHolds: every package has a package comment.
func TestPackagesSayWhatHolds(t *testing.T) {
	said := map[string]bool{}
	eachFile(t, func(path string, src []byte) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, src, parser.ParseComments|parser.PackageClauseOnly)
		if err != nil {
			t.Errorf("parse %s: %v", path, err)
			return
		}
		dir := filepath.Dir(path)
		said[dir] = said[dir] || f.Doc.Text() != ""
	})
	for dir, ok := range said {
		if !ok {
			t.Errorf("no file of %s says what the package is and what holds in it", dir)
		}
	}
}

// TestNoDebt: what is not done is said in an issue, not in the code.
func TestNoDebt(t *testing.T) {
	words := []string{"TO" + "DO", "FIX" + "ME", "not imple" + "mented"}
	eachFile(t, func(path string, src []byte) {
		lines := bufio.NewScanner(bytes.NewReader(src))
		for n := 1; lines.Scan(); n++ {
			for _, w := range words {
				if strings.Contains(lines.Text(), w) {
					t.Errorf("%s:%d says %s", path, n, w)
				}
			}
		}
	})
}

func eachFile(t *testing.T, do func(path string, src []byte)) {
	t.Helper()
	seen := 0
	err := filepath.WalkDir(root(t), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "bin") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		seen++
		rel, _ := filepath.Rel(root(t), path)
		do(rel, src)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen == 0 {
		t.Fatal("no Go file was read")
	}
}

// root is the repository's top folder.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
