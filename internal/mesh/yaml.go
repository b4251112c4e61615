package mesh

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"isthmus.dev/isthmus/internal/yamldoc"
)

// limits are what one document may hold; far above any real one, far below what would hurt.
var limits = yamldoc.Limits{Values: 200_000, Depth: 200}

// parseYAML reads one YAML document into a tree. What kubectl and istioctl read from a text, this reads too: YAML
// 1.1's yes and on are booleans, and dates are texts. A tree is returned even where there are problems, except
// where the text is no YAML at all.
func parseYAML(file string, text []byte) (*tree, []Problem) {
	r := &reader{tree: newTree(file)}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var first *yaml.Node
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, []Problem{syntax(file, text, err)}
		}
		if len(doc.Content) == 0 {
			continue
		}
		body := doc.Content[0]
		if body.Kind == yaml.ScalarNode && body.ShortTag() == "!!null" {
			continue // nothing but comments, as before a leading "---"
		}
		if first != nil {
			r.add(body, "", "a second document begins here; a mesh is one document", "take it out, or keep it in a file of its own")
			break
		}
		first = body
	}
	if first == nil {
		return nil, []Problem{{File: file, Message: "there is nothing in it", Hint: "to write one: isthmus init --force"}}
	}
	if first.Kind == yaml.AliasNode || first.Kind != yaml.MappingNode {
		r.add(first, "", fmt.Sprintf("a mesh document is a map of fields, and this is %s", kindOf(first)), "see: isthmus init")
		return nil, r.found
	}
	if fault := yamldoc.Unfold(first, limits); fault != nil {
		r.add(fault.Node, "", fault.Message, "")
		return nil, r.found
	}
	r.root, _ = r.read(first, "").(map[string]any)
	return r.tree, r.found
}

// A reader turns YAML nodes into a tree.
type reader struct {
	*tree
	found []Problem
}

func (r *reader) add(n *yaml.Node, path, message, hint string) {
	r.found = append(r.found, r.problem(place(n), path, message, hint))
}

func place(n *yaml.Node) spot { return spot{line: n.Line, column: n.Column} }

// read converts a node and notes where it is.
func (r *reader) read(n *yaml.Node, path string) any {
	r.vals[path] = place(n)
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch n.Kind {
	case yaml.MappingNode:
		return r.entries(n, path)
	case yaml.SequenceNode:
		l := make([]any, 0, len(n.Content))
		for i, c := range n.Content {
			l = append(l, r.read(c, item(path, i)))
		}
		return l
	}
	v, err := scalar(n)
	if err != nil {
		r.add(n, path, err.Error(), "")
	}
	r.text[path] = n.Value
	return v
}

// entries are a map's, those that "<<" merged in last.
func (r *reader) entries(n *yaml.Node, path string) map[string]any {
	m, lines := map[string]any{}, map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		name, err := keyText(k)
		if err != nil {
			r.add(k, path, err.Error(), "")
			continue
		}
		p := child(path, name)
		if line, twice := lines[name]; twice {
			r.add(k, p, fmt.Sprintf("%s is written twice, first in line %d", name, line), "keep one")
			continue
		}
		lines[name] = k.Line
		r.keys[p] = place(k)
		m[name] = r.read(v, p)
	}
	return m
}

// keyText is a map key as JSON has it.
func keyText(n *yaml.Node) (string, error) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.ScalarNode {
		return "", fmt.Errorf("a field's name is a text, and this is %s", kindOf(n))
	}
	v, err := scalar(n)
	switch v := v.(type) {
	case bool:
		return strconv.FormatBool(v), err
	case int64:
		return strconv.FormatInt(v, 10), err
	case nil:
		return "null", err
	}
	return n.Value, err
}

var (
	yes = []string{"y", "Y", "yes", "Yes", "YES", "on", "On", "ON"}
	no  = []string{"n", "N", "no", "No", "NO", "off", "Off", "OFF"}
)

// scalar is a scalar's value as sigs.k8s.io/yaml reads it, which kubectl and istioctl use.
func scalar(n *yaml.Node) (any, error) {
	plain := n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle|yaml.TaggedStyle) == 0
	switch tag := n.ShortTag(); tag {
	case "!!null":
		return nil, nil
	case "!!bool":
		var b bool
		err := n.Decode(&b)
		return b, plainWords(err)
	case "!!int":
		var i int64
		if err := n.Decode(&i); err == nil {
			return i, nil
		}
		return number(n)
	case "!!float":
		return number(n)
	case "!!str", "!!timestamp", "!!merge":
		if plain && slices.Contains(yes, n.Value) {
			return true, nil
		}
		if plain && slices.Contains(no, n.Value) {
			return false, nil
		}
		return n.Value, nil
	case "!!binary":
		var s string
		err := n.Decode(&s)
		return s, plainWords(err)
	default:
		return n.Value, fmt.Errorf("the tag %s means nothing here", tag)
	}
}

func number(n *yaml.Node) (any, error) {
	var f float64
	if err := n.Decode(&f); err != nil {
		return n.Value, plainWords(err)
	}
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return n.Value, fmt.Errorf("%s is no number that JSON knows", n.Value)
	}
	return f, nil
}

func plainWords(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(strings.TrimPrefix(strings.Join(strings.Fields(err.Error()), " "), "yaml: "))
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a map"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return kindOf(n.Alias)
	}
	v, _ := scalar(n)
	return typeName(v)
}

// typeName is a JSON type in words.
func typeName(v any) string {
	switch v := v.(type) {
	case nil:
		return "empty"
	case map[string]any:
		return "a map"
	case []any:
		return "a list"
	case string:
		return "a text"
	case bool:
		return strconv.FormatBool(v)
	}
	return "a number"
}

var syntaxError = regexp.MustCompile(`(?s)^yaml: (?:line \d+: )?(.*)$`)

// syntax turns the words of the YAML parser into a place and a cure.
func syntax(file string, text []byte, err error) Problem {
	p := Problem{File: file, Line: 1, Column: 1, Message: err.Error()}
	m := syntaxError.FindStringSubmatch(err.Error())
	if m == nil {
		return p
	}
	p.Message = m[1]
	lines := strings.Split(string(text), "\n")
	p.Line = breaks(lines, err)
	if anchor, ok := strings.CutPrefix(p.Message, "unknown anchor '"); ok {
		name, _, _ := strings.Cut(anchor, "'")
		p.Hint = fmt.Sprintf("an alias such as *%s needs an anchor, &%s, above it", name, name)
	}
	line := lines[p.Line-1]
	p.Column = 1 + len(line) - len(strings.TrimLeft(line, " "))
	if p.Hint == "" {
		p.Hint = cure(p.Message, line)
	}
	p.Message = "no valid YAML: " + p.Message
	return p
}

// breaks is the line, from 1, at which a text stops being YAML. The line that the parser itself gives is where the
// block around it begins, if it gives one, and counted now from 0 and now from 1. YAML is read from the front, so
// all that is broken up to a line is broken in the same words up to every later line.
func breaks(lines []string, whole error) int {
	return 1 + sort.Search(len(lines)-1, func(i int) bool {
		dec := yaml.NewDecoder(strings.NewReader(strings.Join(lines[:i+1], "\n") + "\n"))
		for {
			var n yaml.Node
			if err := dec.Decode(&n); err != nil {
				return err.Error() == whole.Error()
			}
		}
	})
}

func cure(message, line string) string {
	indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
	switch {
	case strings.Contains(indent, "\t"):
		return "the line is indented with a tab; YAML takes spaces only"
	case strings.Contains(message, "mapping values are not allowed"):
		return `a value that holds ": " needs quotes`
	case strings.Contains(message, "cannot start any token"):
		return "a value that begins with @, ` or % needs quotes"
	case strings.Contains(message, "end of stream"):
		return "a quote is not closed"
	case strings.Contains(message, "did not find expected"):
		return "look at the indentation, and for a bracket that is not closed"
	}
	return ""
}
