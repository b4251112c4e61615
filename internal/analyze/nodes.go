package analyze

import (
	"slices"

	"gopkg.in/yaml.v3"
)

// nodeOf is a tree of nodes, without places, for content as a client reads it from a cluster.
func nodeOf(content any) (*yaml.Node, error) {
	var n yaml.Node
	if err := n.Encode(content); err != nil {
		return nil, err
	}
	return &n, nil
}

// written is an object as plain YAML, block style, without comments, aliases and keys that are written twice,
// together with the places of its lines: what other people's code says about line 7 of it is about places[7].
func written(v Value) (out []byte, places map[int]Pos, err error) {
	out, err = yaml.Marshal(copyOf(v))
	if err != nil {
		return nil, nil, err
	}
	var again yaml.Node
	if err := yaml.Unmarshal(out, &again); err != nil {
		return nil, nil, err
	}
	places = map[int]Pos{}
	if len(again.Content) == 1 {
		pair(Value{node: again.Content[0]}, v, places)
	}
	return out, places, nil
}

func copyOf(v Value) *yaml.Node {
	n := v.body()
	if n == nil {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}
	}
	c := &yaml.Node{Kind: n.Kind, Tag: n.Tag, Value: n.Value, Style: n.Style &^ yaml.FlowStyle}
	switch n.Kind {
	case yaml.MappingNode:
		for _, f := range once(v.Fields()) {
			key := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: f.Key}
			c.Content = append(c.Content, key, copyOf(f.Value))
		}
	case yaml.SequenceNode:
		for _, x := range v.Items() {
			c.Content = append(c.Content, copyOf(x))
		}
	}
	return c
}

// once leaves out all but the last of the fields with one name.
func once(fields []Field) []Field {
	last := map[string]int{}
	for i, f := range fields {
		last[f.Key] = i
	}
	if len(last) == len(fields) {
		return fields
	}
	var out []Field
	for i, f := range fields {
		if last[f.Key] == i {
			out = append(out, f)
		}
	}
	return slices.Clip(out)
}

// pair walks two trees of one shape and notes, for each line of the first, where its first value is in the second.
func pair(a, b Value, places map[int]Pos) {
	note := func(line int, p Pos) {
		if _, have := places[line]; !have && p.Line > 0 {
			places[line] = p
		}
	}
	note(a.KeyPos().Line, b.KeyPos())
	theirs := once(b.Fields())
	for i, f := range a.Fields() {
		if i < len(theirs) {
			pair(f.Value, theirs[i].Value, places)
		}
	}
	items := b.Items()
	for i, x := range a.Items() {
		if i < len(items) {
			pair(x, items[i], places)
		}
	}
}
