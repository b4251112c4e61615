package yamldoc

import (
	"testing"

	"gopkg.in/yaml.v3"
)

// FuzzUnfold: whatever YAML it is, what passes can be walked to its end, and is no larger than it may be.
func FuzzUnfold(f *testing.F) {
	for _, text := range []string{
		"spec: &a {<<: [*a, *a]}", "a: &a {b: 1}\nc: {<<: *a, <<: *a}", "&a [*a]", "{<<: [[{a: 1}]]}", "? [a]\n: b", "<<: {<<: {a: 1}}",
		"a: &x {b: &y {<<: *x}}", "x: !!merge y", "\"<<\": {a: 1}",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var doc yaml.Node
		if yaml.Unmarshal([]byte(text), &doc) != nil || len(doc.Content) == 0 {
			return
		}
		if fault := Unfold(doc.Content[0], small); fault != nil {
			if fault.Node == nil || fault.Message == "" {
				t.Errorf("%+v", fault)
			}
			return
		}
		if n := walk(t, doc.Content[0], 0); n > 4*small.Values { // what is merged in counts where it comes from
			t.Errorf("%d values", n)
		}
	})
}

func walk(t *testing.T, n *yaml.Node, depth int) int {
	if depth > 4*small.Depth {
		t.Fatalf("deeper than %d", depth)
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	total := 1
	for _, c := range n.Content {
		total += walk(t, c, depth+1)
	}
	return total
}
