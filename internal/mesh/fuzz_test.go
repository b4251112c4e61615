package mesh_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"isthmus.dev/isthmus/internal/mesh"
)

// FuzzLoad: whatever the bytes, Load ends, gives a mesh or problems, and every problem has words and a place that is
// in the text.
func FuzzLoad(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s.text, s.flags)
	}
	f.Fuzz(func(t *testing.T, text []byte, flags string) {
		if why := unsound(text, flags); why != "" {
			t.Error(why)
		}
	})
}

// TestMutatedDocumentsEndWell is FuzzLoad for everyday: documents with bytes changed, taken out, doubled and swapped.
func TestMutatedDocumentsEndWell(t *testing.T) {
	all := seeds(t)
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.SampledFrom(all).Draw(t, "seed")
		text := bytes.Clone(s.text)
		for range rapid.IntRange(1, 6).Draw(t, "changes") {
			if len(text) < 2 || len(text) > 1<<14 {
				break
			}
			a := rapid.IntRange(0, len(text)-1).Draw(t, "from")
			b := min(len(text), a+rapid.IntRange(1, 40).Draw(t, "length"))
			at := rapid.IntRange(0, len(text)-1).Draw(t, "to")
			switch rapid.IntRange(0, 3).Draw(t, "change") {
			case 0:
				text = slices.Concat(text[:a], text[b:])
			case 1:
				text = slices.Concat(text[:at], text[a:b], text[at:])
			case 2:
				text[a] = rapid.SampledFrom([]byte(" \n\t:-[]{}&*#!|>'\"%@`,?~<0aA\x00\xff")).Draw(t, "byte")
			default:
				text = slices.Concat(text[:a], rapid.SliceOfN(rapid.Byte(), 1, 4).Draw(t, "bytes"), text[a:])
			}
		}
		if why := unsound(text, s.flags); why != "" {
			t.Fatalf("%s\n%q", why, text)
		}
	})
}

// A seed is a text and flags, one a line.
type seed struct {
	text  []byte
	flags string
}

func seeds(t testing.TB) []seed {
	t.Helper()
	bad, errBad := filepath.Glob("testdata/bad/*.txtar")
	good, errGood := filepath.Glob("../../examples/*/mesh.yaml")
	if errBad != nil || errGood != nil || len(bad) == 0 || len(good) == 0 {
		t.Fatalf("no seeds: %v, %v", errBad, errGood)
	}
	all := []seed{
		{[]byte("a: &a [*a]\n"), ""},
		{[]byte("? {a: b}\n: c\n<<: [{a: 1}, *x]\n"), ""},
		{[]byte("\xef\xbb\xbfspec: {clusters: [{name: \xff}]}\r\n"), `spec.clusters[name:a].istio.values.a\.b=1`},
	}
	for _, file := range bad {
		if c := readCase(t, file); !strings.Contains(file, "billion") {
			all = append(all, seed{[]byte(c.text), strings.Join(c.set, "\n")})
		}
	}
	for _, file := range append(good, "testdata/every-field.yaml") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, seed{text, "values.a[0].b=1"})
	}
	return all
}

// unsound loads a document and says what is wrong with the outcome; "" is well.
func unsound(text []byte, flags string) string {
	var set []string
	if flags != "" {
		set = strings.Split(flags, "\n")
	}
	m, err := mesh.Load("mesh.yaml", text, set)
	if err == nil {
		if m.Name == "" || len(m.Clusters) == 0 || m.Trust.IntermediateTTL > m.Trust.RootTTL || m.Clusters[0].Context == "" {
			return fmt.Sprintf("no problem, and the mesh is %+v", m)
		}
		return ""
	}
	var p *mesh.Problems
	if !errors.As(err, &p) || len(p.List) == 0 {
		return fmt.Sprintf("not *Problems, or none: %v", err)
	}
	lines := 1
	for _, br := range []string{"\n", "\r", "\u2028", "\u2029", "\u0085"} { // YAML 1.1's line breaks
		lines += bytes.Count(text, []byte(br))
	}
	for _, x := range p.List {
		if x.Message == "" || x.File == "" || x.Line > lines+1 || (x.Line == 0) != (x.Column == 0) {
			return fmt.Sprintf("a problem without words or place: %+v", x)
		}
	}
	return ""
}
