package mesh_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"isthmus.dev/isthmus/internal/mesh"
)

var update = flag.Bool("update", false, "write what is said of testdata/bad into its files; read the diff before you commit it")

// TestBadDocuments loads every archive of testdata/bad: its comment is the reason it is there, mesh.yaml the
// document, set the --set flags, one a line, and problems all that must be said, word for word.
func TestBadDocuments(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.txtar")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d bad documents (%v), want at least 40", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			c := readCase(t, file)
			if strings.TrimSpace(c.reason) == "" {
				t.Errorf("%s gives no reason", file)
			}
			_, err := mesh.Load("mesh.yaml", []byte(c.text), c.set)
			var problems *mesh.Problems
			if !errors.As(err, &problems) {
				t.Fatalf("Load = %v, want *mesh.Problems", err)
			}
			var got strings.Builder
			for _, p := range problems.List {
				got.WriteString(p.String() + "\n")
			}
			if *update {
				c.archive.Files[len(c.archive.Files)-1].Data = []byte(got.String())
				if err := os.WriteFile(file, txtar.Format(c.archive), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(c.want, got.String()); diff != "" {
				t.Errorf("%s: problems (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

// A badCase is one archive of testdata/bad.
type badCase struct {
	archive            *txtar.Archive
	reason, text, want string
	set                []string
}

func readCase(t testing.TB, file string) badCase {
	t.Helper()
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c := badCase{archive: a, reason: string(a.Comment)}
	for _, f := range a.Files {
		switch f.Name {
		case "mesh.yaml":
			c.text = string(f.Data)
		case "set":
			c.set = strings.Split(strings.TrimSpace(string(f.Data)), "\n")
		case "problems":
			c.want = string(f.Data)
		default:
			t.Fatalf("%s holds %s, which means nothing here", file, f.Name)
		}
	}
	return c
}
