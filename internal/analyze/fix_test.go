package analyze

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
	"pgregory.net/rapid"
)

// specimens are all texts of testdata.
func specimens(t testing.TB) [][]byte {
	t.Helper()
	var all [][]byte
	plain, err := filepath.Glob("testdata/seed/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range plain {
		data, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, data)
	}
	archives, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range archives {
		a, err := txtar.ParseFile(p)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range a.Files {
			all = append(all, f.Data)
		}
	}
	if len(all) < 100 {
		t.Fatalf("only %d specimens", len(all))
	}
	return all
}

func readOne(s []Source) Input { return NewInput(s, nil, Options{}) }

// checkText asks of any bytes: analysing them ends well, every finding is in the text, a fix changes nothing outside
// its edits, and fixing twice is fixing once.
func checkText(t interface{ Fatalf(string, ...any) }, data []byte) {
	source := []Source{{Name: "x.yaml", Data: data}}
	findings := Run(readOne(source))
	lines := len(newText(data).lines)
	for _, f := range findings {
		if f.Line < 0 || f.Line > lines || f.File != "x.yaml" || f.Seen == "" || f.Do == "" {
			t.Fatalf("finding %+v of a text of %d lines:\n%q", f, lines, data)
		}
	}
	for _, guess := range []bool{false, true} {
		edits := Edits(findings, guess)["x.yaml"]
		out, _ := Apply(data, edits)
		if !outside(data, out, edits) {
			t.Fatalf("edits %+v changed more than their places\nfrom %q\nto   %q", edits, data, out)
		}
		once, made, err := Fix(source, readOne, guess)
		if err != nil {
			t.Fatalf("%v in:\n%q\nto %q", err, data, once[0].Data)
		}
		if made == 0 && !bytes.Equal(once[0].Data, data) {
			t.Fatalf("no edit was made and the text changed:\n%q\n%q", data, once[0].Data)
		}
		twice, _, err := Fix(once, readOne, guess)
		if err != nil || !bytes.Equal(once[0].Data, twice[0].Data) {
			t.Fatalf("fixing twice differs (%v):\n%q\n%q\n%q", err, data, once[0].Data, twice[0].Data)
		}
	}
}

// outside tells whether what stands between edits is the same before and after. It knows nothing of how Apply works.
func outside(before, after []byte, edits []Edit) bool {
	edits = slices.Clone(edits)
	slices.SortFunc(edits, func(a, b Edit) int { return a.Start - b.Start })
	at := 0
	for _, e := range slices.Compact(edits) {
		if e.Start < at {
			continue
		}
		kept := before[at:e.Start]
		if !bytes.HasPrefix(after, kept) || !bytes.HasPrefix(after[len(kept):], []byte(e.New)) {
			return false
		}
		after, at = after[len(kept)+len(e.New):], e.End
	}
	return bytes.Equal(after, before[at:])
}

// TestFixOfDamagedTexts damages the texts of testdata line by line and letter by letter.
func TestFixOfDamagedTexts(t *testing.T) {
	all := specimens(t)
	rapid.Check(t, func(t *rapid.T) {
		data := slices.Clone(rapid.SampledFrom(all).Draw(t, "text"))
		for range rapid.IntRange(1, 4).Draw(t, "damages") {
			lines := strings.SplitAfter(string(data), "\n")
			i := rapid.IntRange(0, len(lines)-1).Draw(t, "line")
			j := rapid.IntRange(0, len(lines)-1).Draw(t, "other line")
			switch rapid.IntRange(0, 6).Draw(t, "damage") {
			case 0:
				lines = slices.Delete(lines, i, i+1)
			case 1:
				lines = slices.Insert(lines, i, lines[j])
			case 2:
				lines[i], lines[j] = lines[j], lines[i]
			case 3:
				lines[i] = "  " + lines[i]
			case 4:
				lines[i] = "# " + lines[i]
			case 5:
				lines[i] = strings.TrimLeft(lines[i], " ")
			case 6:
				k := rapid.IntRange(0, len(lines[i])).Draw(t, "column")
				lines[i] = lines[i][:k] + rapid.SampledFrom([]string{"\t", "\r", "é", "\u2028", "\"", "'", "&a ", "*a", "<<", "{", "]", ": ", "!!str ", "\x00", "|", "~", "---"}).Draw(t, "letters") + lines[i][k:]
			}
			data = []byte(strings.Join(lines, ""))
		}
		checkText(t, data)
	})
}

func FuzzFix(f *testing.F) {
	for _, s := range specimens(f) {
		f.Add(s)
	}
	f.Add([]byte("\xff\xfea\x00p\x00i\x00V\x00e\x00r\x00s\x00i\x00o\x00n\x00:\x00"))
	f.Add([]byte("\xef\xbb\xbfapiVersion: networking.istio.io/v1beta1\r\nkind: Gateway\r\nspec:\r\n  servers:\r\n  - hosts:\r\n    # - a\r\napiVersion: v1\r\nkind: Pod\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) { checkText(t, data) })
}

func TestApply(t *testing.T) {
	cases := []struct {
		reason, in, want string
		edits            []Edit
		made             int
	}{
		{reason: "edits are made from the end of the text's view, in whatever order they come", in: "abcdef", want: "aXdYf", edits: []Edit{{Start: 4, End: 5, New: "Y"}, {Start: 1, End: 3, New: "X"}}, made: 2},
		{reason: "the same edit twice is made once", in: "ab", want: "a-b", edits: []Edit{{Start: 1, End: 1, New: "-"}, {Start: 1, End: 1, New: "-"}}, made: 1},
		{reason: "of edits that overlap the first is made", in: "abcd", want: "Xd", edits: []Edit{{Start: 0, End: 3, New: "X"}, {Start: 2, End: 4, New: "Y"}}, made: 1},
		{reason: "an edit behind the end is none", in: "ab", want: "ab", edits: []Edit{{Start: 5, End: 6, New: "X"}}},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			got, made := Apply([]byte(c.in), c.edits)
			if string(got) != c.want || made != c.made {
				t.Errorf("got %q, %d edits; want %q, %d", got, made, c.want, c.made)
			}
		})
	}
}
