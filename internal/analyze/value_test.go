package analyze

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"
	kube "sigs.k8s.io/yaml"

	"isthmus.dev/isthmus/internal/yamldoc"
)

func valueOf(t *testing.T, text string) Value {
	t.Helper()
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(text), &n); err != nil {
		t.Fatal(err)
	}
	if fault := yamldoc.Unfold(n.Content[0], yamldoc.Limits{Values: maxValues, Depth: maxDepth}); fault != nil {
		t.Fatal(fault.Message)
	}
	return Value{node: n.Content[0]}
}

// TestPlainIsWhatKubectlReads holds Plain against the library that kubectl uses.
func TestPlainIsWhatKubectlReads(t *testing.T) {
	texts := []string{
		"a: yes\nb: 'yes'\nc: on\nd: Off\ne: y\nf: N\ng: true\nh: \"true\"",
		"a: 1\nb: 0x1f\nc: 1.5\nd: 1e3\ne: '1'\nf: 9007199254740993",
		"a: 2026-01-02\nb: 2026-01-02T03:04:05Z\nc: 12:30\nd: ~\ne: null\nf:\ng: ''",
		"a: &x {b: 1, c: [1, 2]}\nd: *x\ne: {<<: *x, b: 2}\nf:\n  <<: [*x, {z: 1}]\n  c: 3",
		"1: a\ntrue: b\n\"x y\": c",
		"a: |\n  one\n  two\nb: >\n  one\n  two",
		"a: !!str 1\nb: !!int \"1\"",
	}
	for _, s := range specimens(t) {
		f := ParseFile("x", s, "default")
		if len(f.broken)+len(f.joined)+len(f.twice) == 0 && !strings.Contains(string(s), "\n---") {
			texts = append(texts, string(s))
		}
	}
	compared := 0
	for _, text := range texts {
		if strings.Contains(text, "%YAML") || strings.TrimSpace(text) == "" {
			continue
		}
		var want any
		data, err := kube.YAMLToJSON([]byte(text))
		if err != nil {
			continue
		}
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatal(err)
		}
		var got any
		data, err = json.Marshal(valueOf(t, text).Plain())
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s\n(-kubectl +Plain):\n%s", text, diff)
		}
		compared++
	}
	if compared < 40 {
		t.Errorf("only %d texts were compared", compared)
	}
}

func TestValuePlaces(t *testing.T) {
	v := valueOf(t, "a:\n  b: [x, {c: d}]\n  e:\n  f: # nothing\nä: {g: \"h\"}\n")
	cases := []struct {
		reason string
		got    Value
		want   Pos
	}{
		{"a map stands where its key does", v.Get("a"), Pos{1, 1}},
		{"so does a list", v.Get("a", "b"), Pos{2, 3}},
		{"an item stands where it is written", v.Get("a", "b").Items()[0], Pos{2, 7}},
		{"a scalar stands where it is written", v.Get("a", "b").Items()[1].Get("c"), Pos{2, 14}},
		{"null stands where its key does", v.Get("a", "f"), Pos{4, 3}},
		{"columns are letters", v.Get("ä", "g"), Pos{5, 8}},
		{"what is not there stands nowhere", v.Get("a", "x", "y"), Pos{}},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			if c.got.Pos() != c.want {
				t.Errorf("at %v, want %v", c.got.Pos(), c.want)
			}
		})
	}
}

func TestPathNode(t *testing.T) {
	v := valueOf(t, "spec:\n  servers:\n  - port: {number: 80}\nmetadata:\n  labels:\n    a.b/c: x\n    \"0\": y\n")
	cases := []struct{ reason, path, want string }{
		{"fields and items", "spec.servers[0].port.number", "80"},
		{"a key with dots", "metadata.labels[a.b/c]", "x"},
		{"a key that looks like a number", "metadata.labels[0]", "y"},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			if got := v.pathNode(c.path).Str(); got != c.want {
				t.Errorf("%s is %q, want %q", c.path, got, c.want)
			}
		})
	}
	if got := v.pathNode("spec.servers[3].port").Pos(); got != (Pos{2, 3}) {
		t.Errorf("what is not there is looked for at %v, want the list's place", got)
	}
}

func TestTexts(t *testing.T) {
	x := newText([]byte("\uFEFFa: ü\r\nb: x\u2028c\rd"))
	if len(x.lines) != 4 {
		t.Fatalf("%d lines, want 4: %v", len(x.lines), x.lines)
	}
	for n, want := range []string{"\uFEFFa: ü", "b: x", "c", "d"} {
		if got := string(x.line(n + 1)); got != want {
			t.Errorf("line %d is %q, want %q", n+1, got, want)
		}
	}
	if at, ok := x.offset(Pos{1, 4}); !ok || string(x.data[at:at+2]) != "ü" {
		t.Errorf("1:4 is at %d (%v)", at, ok)
	}
	if _, ok := x.offset(Pos{3, 9}); ok {
		t.Error("a place behind the end of a line is none")
	}
}

// TestAliasesDoNotExplode: a few lines that would unfold into gigabytes, and an alias inside what it names.
func TestAliasesDoNotExplode(t *testing.T) {
	bomb := "apiVersion: v1\nkind: ConfigMap\na: &a [x, x, x, x, x, x, x, x, x, x]\n"
	for c := 'b'; c < 'k'; c++ {
		p := string(c - 1)
		bomb += string(c) + ": &" + string(c) + " [" + strings.Repeat("*"+p+", ", 9) + "*" + p + "]\n"
	}
	for _, text := range []string{bomb, "apiVersion: v1\nkind: X\nspec: &a {b: *a}\n"} {
		f := ParseFile("x", []byte(text), "default")
		if len(f.Objects) != 0 || len(f.broken) != 1 {
			t.Errorf("%d objects, %d faults of:\n%s", len(f.Objects), len(f.broken), text)
		}
	}
}
