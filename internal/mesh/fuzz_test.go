package mesh_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isthmus.dev/isthmus/internal/mesh"
)

// FuzzLoad: whatever the bytes, Load ends, gives a mesh or problems, and every problem has words and a place that is
// in the text.
func FuzzLoad(f *testing.F) {
	bad, err := filepath.Glob("testdata/bad/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range bad {
		c := readCase(f, file)
		f.Add([]byte(c.text), strings.Join(c.set, "\n"))
	}
	good, err := filepath.Glob("../../examples/*/mesh.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(good, "testdata/every-field.yaml") {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, "values.a[0].b=1")
	}
	f.Add([]byte("a: &a [*a]\n"), "")
	f.Add([]byte("? {a: b}\n: c\n<<: [{a: 1}, *x]\n"), "")
	f.Add([]byte("\xef\xbb\xbfspec: {clusters: [{name: \xff}]}\r\n"), `spec.clusters[name:a].istio.values.a\.b=1`)
	f.Fuzz(func(t *testing.T, text []byte, flags string) {
		var set []string
		if flags != "" {
			set = strings.Split(flags, "\n")
		}
		m, err := mesh.Load("mesh.yaml", text, set)
		if err == nil {
			if m.Name == "" || len(m.Clusters) == 0 || m.Trust.IntermediateTTL > m.Trust.RootTTL || m.Clusters[0].Context == "" {
				t.Errorf("no problem, and the mesh is %+v", m)
			}
			return
		}
		var p *mesh.Problems
		if !errors.As(err, &p) {
			t.Fatalf("not *Problems: %v", err)
		}
		if len(p.List) == 0 {
			t.Fatal("an error without problems")
		}
		lines := 1 + bytes.Count(text, []byte("\n")) + bytes.Count(text, []byte("\r")) + bytes.Count(text, []byte("\u2028")) +
			bytes.Count(text, []byte("\u2029")) + bytes.Count(text, []byte("\u0085"))
		for _, x := range p.List {
			if x.Message == "" || x.File == "" || x.Line > lines+1 || (x.Line == 0) != (x.Column == 0) {
				t.Errorf("a problem without words or place: %+v", x)
			}
		}
	})
}
