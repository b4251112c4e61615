package analyze

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// A Pos is a place in a file. Line and Col count from 1, Col in characters; the zero Pos is no place at all, as
// in an object that was read from a cluster.
type Pos struct{ Line, Col int }

// A Value is what stands somewhere in an object, and where. The zero Value is something that is not there; every
// method works on it, so that an analyser may ask for a path without looking at each step.
type Value struct{ key, node *yaml.Node }

// body is the node with aliases followed.
func (v Value) body() *yaml.Node {
	n := v.node
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// Exists tells whether something is written there, null included.
func (v Value) Exists() bool { return v.node != nil }

// IsNull tells whether there is nothing, or null.
func (v Value) IsNull() bool {
	n := v.body()
	return n == nil || n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// Pos is where a scalar stands. Of a map or list that is the place of its key; and so of null, which may have no
// letter of its own.
func (v Value) Pos() Pos {
	if v.key != nil && (v.node == nil || v.IsNull() || v.node.Kind == yaml.MappingNode || v.node.Kind == yaml.SequenceNode) {
		return v.KeyPos()
	}
	if v.node == nil {
		return Pos{}
	}
	return Pos{v.node.Line, v.node.Column}
}

// KeyPos is where the value's key stands; for an item of a list, where the item stands.
func (v Value) KeyPos() Pos {
	if v.key == nil {
		if v.node == nil {
			return Pos{}
		}
		return Pos{v.node.Line, v.node.Column}
	}
	return Pos{v.key.Line, v.key.Column}
}

// Get follows keys into maps. Of a key that is written twice the last counts, as for kubectl.
func (v Value) Get(path ...string) Value {
	for _, name := range path {
		v = v.entry(name)
	}
	return v
}

func (v Value) entry(name string) Value {
	n := v.body()
	if n == nil || n.Kind != yaml.MappingNode {
		return Value{}
	}
	for i := len(n.Content) - 2; i >= 0; i -= 2 {
		if keyText(n.Content[i]) == name {
			return Value{n.Content[i], n.Content[i+1]}
		}
	}
	return Value{}
}

// A Field is an entry of a map.
type Field struct {
	Key string
	Value
}

// Fields are a map's entries as they are written; those that "<<" merged in follow.
func (v Value) Fields() []Field {
	n := v.body()
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	own := make([]Field, 0, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		own = append(own, Field{keyText(n.Content[i]), Value{n.Content[i], n.Content[i+1]}})
	}
	return own
}

// keyText is a key as kubectl reads it: "on" without quotes is the key "true".
func keyText(k *yaml.Node) string {
	if k.Kind == yaml.AliasNode {
		k = k.Alias
	}
	if k.Kind == yaml.ScalarNode && k.Style&quotedStyles == 0 {
		if b, ok := scalar(k).(bool); ok {
			return strconv.FormatBool(b)
		}
	}
	return k.Value
}

// Items are a list's items.
func (v Value) Items() []Value {
	n := v.body()
	if n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	items := make([]Value, len(n.Content))
	for i, c := range n.Content {
		items[i] = Value{node: c}
	}
	return items
}

// Str is a scalar's text, "" for anything else and for null.
func (v Value) Str() string {
	n := v.body()
	if n == nil || n.Kind != yaml.ScalarNode || v.IsNull() {
		return ""
	}
	return n.Value
}

// Int is a whole number; ok is false where none stands there.
func (v Value) Int() (n int, ok bool) {
	i, err := strconv.Atoi(v.Str())
	return i, err == nil && v.Str() != ""
}

// First is a map's first value, or the value itself if it has none.
func (v Value) First() Value {
	if f := v.Fields(); len(f) > 0 {
		return f[0].Value
	}
	return v
}

// Strings are the texts of a list's items.
func (v Value) Strings() []string {
	var all []string
	for _, x := range v.Items() {
		all = append(all, x.Str())
	}
	return all
}

// Map is a map of texts, such as labels; never nil.
func (v Value) Map() map[string]string {
	m := map[string]string{}
	for _, f := range v.Fields() {
		m[f.Key] = f.Str()
	}
	return m
}

// Plain is the value as JSON has it, read as kubectl reads YAML: yes and on are booleans, dates are texts, of a
// key that is written twice the last counts.
func (v Value) Plain() any {
	n := v.body()
	if n == nil {
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		for _, f := range v.Fields() {
			m[f.Key] = f.Plain()
		}
		return m
	case yaml.SequenceNode:
		l := make([]any, 0, len(n.Content))
		for _, x := range v.Items() {
			l = append(l, x.Plain())
		}
		return l
	}
	return scalar(n)
}

// What YAML 1.1 calls true and false besides these two words: sigs.k8s.io/yaml, which kubectl uses, stands on
// go-yaml v2 (its resolve.go).
var (
	yes = []string{"y", "Y", "yes", "Yes", "YES", "on", "On", "ON"}
	no  = []string{"n", "N", "no", "No", "NO", "off", "Off", "OFF"}
)

const quotedStyles = yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle | yaml.TaggedStyle

func scalar(n *yaml.Node) any {
	switch n.ShortTag() {
	case "!!null":
		return nil
	case "!!bool":
		var b bool
		if n.Decode(&b) == nil {
			return b
		}
	case "!!int":
		var i int64
		if n.Decode(&i) == nil {
			return i
		}
		fallthrough
	case "!!float":
		var f float64
		if n.Decode(&f) == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f
		}
	}
	if n.Style&quotedStyles == 0 && slices.Contains(yes, n.Value) {
		return true
	}
	if n.Style&quotedStyles == 0 && slices.Contains(no, n.Value) {
		return false
	}
	return n.Value
}

// What an object may hold; far above any real one, far below what would hurt. API servers take 3 MiB of JSON.
const (
	maxValues = 500_000
	maxDepth  = 200
)

// pathNode finds the value at a path as Kubernetes' validation writes it, "spec.servers[0].port" or
// "metadata.labels[a.b/c]", and if it is not there the nearest value above it.
func (v Value) pathNode(path string) Value {
	for path != "" {
		var next Value
		rest := strings.TrimPrefix(path, ".")
		if inner, after, ok := strings.Cut(rest, "]"); ok && strings.HasPrefix(inner, "[") {
			name := inner[1:]
			if i, err := strconv.Atoi(name); err == nil && len(v.Items()) > 0 {
				if i >= 0 && i < len(v.Items()) {
					next = v.Items()[i]
				}
			} else {
				next = v.Get(name)
			}
			rest = after
		} else {
			end := strings.IndexAny(rest, ".[")
			if end < 0 {
				end = len(rest)
			}
			next, rest = v.Get(rest[:end]), rest[end:]
		}
		if !next.Exists() {
			return v
		}
		v, path = next, rest
	}
	return v
}
