package yamldoc

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"
	"pgregory.net/rapid"
	kyaml "sigs.k8s.io/yaml"
)

var small = Limits{Values: 2000, Depth: 30}

func parse(t testing.TB, text string) *yaml.Node {
	t.Helper()
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(text), &n); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return n.Content[0]
}

func TestWhatCannotBeWalkedIsRefused(t *testing.T) {
	deep := strings.Repeat("{a: ", 40) + "1" + strings.Repeat("}", 40)
	doubled := "m0: &m0 {k: v}\n"
	for i := 1; i < 30; i++ {
		doubled += fmt.Sprintf("m%d: &m%d {<<: [*m%d, *m%d], k%d: v}\n", i, i, i-1, i-1, i)
	}
	laughs := "a0: &a0 [x, x, x, x]\n"
	for i := 1; i < 12; i++ {
		laughs += fmt.Sprintf("a%d: &a%d [*a%d, *a%d, *a%d]\n", i, i, i-1, i-1, i-1)
	}
	for _, c := range []struct {
		reason, text string
		line         int
		want         string
	}{
		{"a merge of itself", "x: 1\nspec: &a {<<: [*a, *a]}\n", 2, "*a stands inside what it names"},
		{"a merge of itself, alone", "&a {<<: *a}\n", 1, "*a stands inside what it names"},
		{"a merge of itself two steps on", "a: &a\n  b: &b\n    c: 1\n    d:\n      <<: [*a]\n", 5, "*a stands inside what it names"},
		{"a list in itself", "x: &x [1, *x]\n", 1, "*x stands inside what it names"},
		{"a map in itself", "x: &x\n  y: *x\n", 2, "*x stands inside what it names"},
		{"a key that is its own map", "x: &x\n  ? *x\n  : 1\n", 2, "*x stands inside what it names"},
		{"merges that double", doubled, 0, "more than 2000 values"},
		{"aliases that treble", laughs, 0, "more than 2000 values"},
		{"too deep", deep, 1, "30 levels"},
		{"too deep by aliases", "a: &a {b: {b: {b: {b: {b: {b: {b: {b: {b: 1}}}}}}}}}\nc: &c {b: {b: {b: {b: {b: {b: {b: {b: {b: *a}}}}}}}}}\nd: {b: {b: {b: {b: {b: {b: {b: {b: {b: {b: {b: {b: {b: *c}}}}}}}}}}}}}\n", 0, "30 levels"},
		{"a merge of a number", "a: {<<: 1}\n", 1, "<< merges a map, and this is none"},
		{"a merge of a list of numbers", "a: {<<: [1]}\n", 1, "<< merges maps"},
	} {
		fault := Unfold(parse(t, c.text), small)
		if fault == nil || !strings.Contains(fault.Message, c.want) || c.line > 0 && fault.Node.Line != c.line {
			t.Errorf("%s: %+v", c.reason, fault)
		}
	}
}

// a document made by the grammar of what makes parsers run away: anchors, aliases and merges of what was before, and of
// what they stand in.
type maker struct {
	t       *rapid.T
	anchors []string
	left    int
}

func (m *maker) value(depth int) string {
	m.left--
	kinds := []string{"text", "text", "map", "list", "alias"}
	if depth > 4 || m.left < 0 {
		kinds = []string{"text", "alias"}
	}
	switch rapid.SampledFrom(kinds).Draw(m.t, "kind") {
	case "map":
		anchor, parts := m.anchor(), []string{}
		for i := range rapid.IntRange(0, 3).Draw(m.t, "entries") {
			parts = append(parts, fmt.Sprintf("k%d: %s", rapid.IntRange(0, 5).Draw(m.t, "key")+10*i, m.value(depth+1)))
		}
		if len(m.anchors) > 0 && rapid.Bool().Draw(m.t, "merges") {
			parts = append(parts, "<<: "+m.brought(depth))
		}
		return anchor + "{" + strings.Join(parts, ", ") + "}"
	case "list":
		anchor, parts := m.anchor(), []string{}
		for range rapid.IntRange(0, 3).Draw(m.t, "items") {
			parts = append(parts, m.value(depth+1))
		}
		return anchor + "[" + strings.Join(parts, ", ") + "]"
	case "alias":
		if len(m.anchors) > 0 {
			return "*" + rapid.SampledFrom(m.anchors).Draw(m.t, "alias") + " "
		}
	}
	return "v"
}

func (m *maker) anchor() string {
	name := fmt.Sprintf("a%d", len(m.anchors))
	m.anchors = append(m.anchors, name)
	return "&" + name + " "
}

func (m *maker) brought(depth int) string {
	if rapid.Bool().Draw(m.t, "one") {
		return "*" + rapid.SampledFrom(m.anchors).Draw(m.t, "merged") + " "
	}
	var all []string
	for range rapid.IntRange(1, 3).Draw(m.t, "several") {
		all = append(all, "*"+rapid.SampledFrom(m.anchors).Draw(m.t, "merged")+" ")
	}
	return "[" + strings.Join(all, ", ") + "]"
}

// TestUnfoldedIsWhatKubectlReads: a document that passes is finite and means what kubectl's parser says; one that kubectl
// takes is refused for its size alone.
func TestUnfoldedIsWhatKubectlReads(t *testing.T) {
	passed := 0
	rapid.Check(t, func(r *rapid.T) {
		m := &maker{t: r, left: 30}
		text := "top: " + m.value(0) + "\nnext: " + m.value(0) + "\n"
		root := parse(t, text)
		fault := Unfold(root, small)
		if fault != nil {
			if fault.Node.Line < 1 || fault.Message == "" {
				r.Fatalf("no place or no words: %+v\n%s", fault, text)
			}
			return
		}
		var want any
		if err := kyaml.Unmarshal([]byte(text), &want); err != nil {
			return // two keys alike, say: others say that
		}
		passed++
		if d := cmp.Diff(want, plain(root)); d != "" {
			r.Fatalf("-kubectl +here:\n%s\n%s", d, text)
		}
	})
	if passed < 10 {
		t.Errorf("only %d documents were compared", passed)
	}
}

func plain(n *yaml.Node) any {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch n.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			m[n.Content[i].Value] = plain(n.Content[i+1])
		}
		return m
	case yaml.SequenceNode:
		l := []any{}
		for _, c := range n.Content {
			l = append(l, plain(c))
		}
		return l
	}
	return n.Value
}
