package analyze

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestIstiosSamples: what Istio itself shows people has no error in it. Each folder of its samples is analysed as
// somebody would who applies it.
func TestIstiosSamples(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "istio.io/istio").Output()
	if err != nil {
		t.Skipf("the module's folder is not known: %v", err)
	}
	root := filepath.Join(strings.TrimSpace(string(out)), "samples")
	if _, err := os.Stat(root); err != nil {
		t.Skipf("the module has no samples here: %v", err)
	}
	tops, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	files, objects, others := 0, 0, 0
	for _, top := range tops {
		if !top.IsDir() {
			continue
		}
		t.Run(top.Name(), func(t *testing.T) {
			sources, _, err := Read([]string{filepath.Join(root, top.Name())}, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			r := NewReport(NewInput(sources, nil, Options{}))
			files, objects, others = files+r.Files, objects+r.Objects, others+r.Warnings+r.Notes
			for _, f := range r.Findings {
				if f.Severity == Error {
					t.Errorf("%s:%d:%d %s %s %s", strings.TrimPrefix(f.File, root), f.Line, f.Col, f.ID, f.Object, f.Text())
				} else {
					t.Logf("%s:%d:%d %s %s %s", strings.TrimPrefix(f.File, root), f.Line, f.Col, f.ID, f.Object, f.Text())
				}
			}
		})
	}
	t.Run("each file alone", func(t *testing.T) {
		sources, _, err := Read([]string{root}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range sources {
			for _, f := range Run(NewInput([]Source{s}, nil, Options{})) {
				if f.Severity == Error {
					t.Errorf("%s:%d:%d %s %s %s", strings.TrimPrefix(f.File, root), f.Line, f.Col, f.ID, f.Object, f.Text())
				}
			}
		}
	})
	t.Logf("%d files, %d objects, %d warnings and notes", files, objects, others)
	if objects < 100 {
		t.Errorf("only %d objects were read", objects)
	}
}
