package analyze

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/yamldoc"
)

// A File is a text that was read, the objects in it, and what is wrong with it as a text. Whatever the bytes are,
// ParseFile returns a File.
type File struct {
	Name    string
	Objects []*Object

	text   text
	broken []fault // documents that are no YAML
	joined []fault // documents that begin without a separator; Pos is their first key
	twice  []fault // keys that are written twice in one map
}

// Data is the file's bytes.
func (f *File) Data() []byte { return f.text.data }

// A fault is a place in a text, and words about it.
type fault struct {
	Pos
	seen, do string
	severity Severity // "" is the analyser's
	object   string
	edit     *Edit
}

// An Object is a Kubernetes object as somebody wrote it. File is nil for one that was read from a cluster.
type Object struct {
	object.Ref
	Version string // of its API group: "v1"
	Root    Value
	File    *File
}

// APIVersion is the group and version as they are written.
func (o *Object) APIVersion() string {
	if o.Group == "" {
		return o.Version
	}
	return o.Group + "/" + o.Version
}

// Is tells an object's group and kind, at whatever version.
func (o *Object) Is(group, kind string) bool { return o.Kind == kind && o.Group == group }

// Spec is the value at a path under spec.
func (o *Object) Spec(path ...string) Value { return o.Root.Get("spec").Get(path...) }

// Labels are those of the object itself.
func (o *Object) Labels() map[string]string { return o.Root.Get("metadata", "labels").Map() }

// Annotation is an annotation's value, "" where there is none.
func (o *Object) Annotation(name string) string {
	return o.Root.Get("metadata", "annotations", name).Str()
}

// ParseFile reads a file of YAML or JSON documents. defaultNamespace is that of objects which name none.
func ParseFile(name string, data []byte, defaultNamespace string) *File {
	f := &File{Name: name, text: newText(data)}
	template := false
	for _, c := range f.chunks() {
		for _, root := range f.documents(c) {
			template = template || hasBraces(root)
			f.document(root, defaultNamespace)
		}
	}
	if at := bytes.Index(data, []byte("{{")); at >= 0 && (template || len(f.broken) > 0 && action.Match(data)) {
		return &File{Name: name, text: f.text, broken: []fault{{
			Pos: Pos{f.text.lineAt(at), 1}, severity: Warning,
			seen: "this is a template, and nothing in it was judged", do: "render it first (helm template, isthmus render) and analyse the result",
		}}}
	}
	return f
}

// action finds what templates of Go, Helm and Jinja have and YAML has not.
var action = regexp.MustCompile(`\{\{-?\s*[.$a-zA-Z]`)

// hasBraces tells whether a value was written {{ … }}, which YAML reads as a map whose key is a map.
func hasBraces(n *yaml.Node) bool {
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 && c.Kind == yaml.MappingNode || hasBraces(c) {
			return true
		}
	}
	return false
}

// A chunk is the part of a text between two separators.
type chunk struct{ start, end int }

var separator = regexp.MustCompile(`^---([ \t].*)?$`)

// chunks cuts a text at its separators, so that one document which is no YAML does not hide the others. A
// separator is "---" at the start of a line, wherever it stands (YAML 1.1, 4.5.3).
func (f *File) chunks() []chunk {
	var all []chunk
	start, begun := 0, false
	for n := 1; n <= len(f.text.lines); n++ {
		line := f.text.line(n)
		at := f.text.lines[n-1]
		if separator.Match(line) {
			if begun {
				all = append(all, chunk{start, at})
				start = at
			}
			begun = true
			continue
		}
		trimmed := bytes.TrimSpace(bytes.TrimPrefix(line, []byte("\uFEFF")))
		begun = begun || len(trimmed) > 0 && trimmed[0] != '#' && trimmed[0] != '%'
	}
	return append(all, chunk{start, len(f.text.data)})
}

// kubernetes finds what every object of Kubernetes has. A text without it is something else, and nobody's concern.
var kubernetes = regexp.MustCompile(`(?m)^[ \t{]*"?(apiVersion|kind)"?[ \t]*:`)

// documents reads a chunk; what is no YAML is noted.
func (f *File) documents(c chunk) (roots []*yaml.Node) {
	first := f.text.lineAt(c.start) - 1
	breaks := func(x fault) {
		if kubernetes.Match(f.text.data[c.start:c.end]) {
			f.broken = append(f.broken, x)
		}
	}
	defer func() {
		if p := recover(); p != nil {
			breaks(fault{Pos: Pos{first + 1, 1}, seen: fmt.Sprintf("this is no YAML that can be read: %v", p), do: "write it anew"})
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(f.text.data[c.start:c.end]))
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return roots
		}
		if err != nil {
			breaks(f.syntax(first, err))
			return roots
		}
		shift(&doc, first)
		root := doc.Content[0]
		if bad := yamldoc.Unfold(root, yamldoc.Limits{Values: maxValues, Depth: maxDepth}); bad != nil {
			breaks(fault{Pos: Pos{bad.Node.Line, bad.Node.Column}, seen: "this document cannot be used: " + bad.Message, do: "write it without aliases and merges, and less deep"})
			continue
		}
		roots = append(roots, root)
	}
}

func shift(n *yaml.Node, by int) {
	n.Line += by
	for _, c := range n.Content {
		shift(c, by)
	}
}

// document cuts a document that holds several, and keeps the objects in it.
func (f *File) document(root *yaml.Node, ns string) {
	if root.Kind != yaml.MappingNode {
		return
	}
	for i, part := range f.cut(root) {
		o := f.object(part, ns)
		if i > 0 {
			f.join(part, o)
		}
		if o == nil {
			continue
		}
		before := len(f.twice)
		f.twins(part, map[*yaml.Node]bool{})
		for j := before; j < len(f.twice); j++ {
			f.twice[j].object = o.String()
		}
		items := o.Root.Get("items").Items()
		if !strings.HasSuffix(o.Kind, "List") || len(items) == 0 {
			f.Objects = append(f.Objects, o)
			continue
		}
		for _, x := range items {
			if item := f.object(x.body(), ns); item != nil {
				f.Objects = append(f.Objects, item)
			}
		}
	}
}

// cut splits a map in which apiVersion and kind are written again: a separator is missing there.
func (f *File) cut(root *yaml.Node) []*yaml.Node {
	if root.Style&yaml.FlowStyle != 0 {
		return []*yaml.Node{root}
	}
	names := make([]string, 0, len(root.Content)/2)
	for i := 0; i+1 < len(root.Content); i += 2 {
		names = append(names, root.Content[i].Value)
	}
	parts := []*yaml.Node{part(root)}
	seen := map[string]bool{}
	for i, name := range names {
		again := seen[name] && (name == "apiVersion" || name == "kind")
		if again && seen["apiVersion"] && seen["kind"] && slices.Contains(names[i:], "apiVersion") && slices.Contains(names[i:], "kind") {
			parts = append(parts, part(root))
			seen = map[string]bool{}
		}
		seen[name] = true
		last := parts[len(parts)-1]
		last.Content = append(last.Content, root.Content[2*i], root.Content[2*i+1])
	}
	for _, p := range parts[1:] {
		p.Line, p.Column = p.Content[0].Line, p.Content[0].Column
	}
	return parts
}

func part(root *yaml.Node) *yaml.Node {
	p := *root
	p.Content = nil
	return &p
}

// join notes a document that begins without a separator.
func (f *File) join(part *yaml.Node, o *Object) {
	x := fault{Pos: Pos{part.Line, part.Column}, do: `write "---" on a line of its own above this one`}
	x.seen = `a second document begins here without "---": its keys replace those above, which kubectl drops without a word`
	if o != nil {
		x.object = o.String()
	}
	if n := len(f.Objects); n > 0 && f.Objects[n-1].File == f {
		x.seen = fmt.Sprintf(`a second document begins here without "---": its keys replace those of %s, which kubectl drops without a word`, f.Objects[n-1])
	}
	if at, ok := f.text.offset(x.Pos); ok && part.Column == 1 {
		x.edit = &Edit{File: f.Name, Start: at, End: at, New: "---" + f.text.newline()}
	}
	f.joined = append(f.joined, x)
}

// object makes an Object of a map that has an apiVersion and a kind; nil of any other.
func (f *File) object(n *yaml.Node, ns string) *Object {
	return newObject(Value{node: n}, f, ns)
}

func newObject(root Value, f *File, ns string) *Object {
	version, kind := root.Get("apiVersion").Str(), root.Get("kind").Str()
	if version == "" || kind == "" {
		return nil
	}
	o := &Object{Root: root, File: f, Version: version}
	if group, v, ok := strings.Cut(version, "/"); ok {
		o.Group, o.Version = group, v
	}
	o.Kind = kind
	meta := root.Get("metadata")
	o.Name = meta.Get("name").Str()
	if o.Name == "" {
		o.Name = meta.Get("generateName").Str()
	}
	if !clusterScoped[kind] {
		o.Namespace = meta.Get("namespace").Str()
		if o.Namespace == "" {
			o.Namespace = ns
		}
	}
	return o
}

// clusterScoped are the kinds that live in no namespace, of those that an analyser or a message may meet.
var clusterScoped = map[string]bool{
	"Namespace": true, "Node": true, "CustomResourceDefinition": true, "ClusterRole": true, "ClusterRoleBinding": true,
	"GatewayClass": true, "MutatingWebhookConfiguration": true, "ValidatingWebhookConfiguration": true, "IngressClass": true,
	"PersistentVolume": true, "PriorityClass": true, "StorageClass": true, "APIService": true, "Mesh": true,
}

// twins notes keys that are written twice in one map.
func (f *File) twins(n *yaml.Node, done map[*yaml.Node]bool) {
	if done[n] {
		return
	}
	done[n] = true
	first := map[string]int{}
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 && c.Kind == yaml.ScalarNode && c.ShortTag() != "!!merge" {
			if line, ok := first[c.Value]; ok {
				f.twice = append(f.twice, fault{
					Pos: Pos{c.Line, c.Column}, do: "keep one of them",
					seen: fmt.Sprintf("%s is written twice, first in line %d; kubectl takes the last and drops the other without a word", c.Value, line),
				})
			} else {
				first[c.Value] = c.Line
			}
		}
		f.twins(c, done)
	}
}

var syntaxError = regexp.MustCompile(`(?s)^yaml: (?:line (\d+): )?(.*)$`)

// syntax turns the words of the YAML parser into a place and a cure. first is how many lines stand before the
// chunk that was parsed.
func (f *File) syntax(first int, err error) fault {
	x := fault{Pos: Pos{first + 1, 1}, seen: "this is no YAML: " + err.Error(), do: "correct it; until then nothing in this document takes part"}
	m := syntaxError.FindStringSubmatch(err.Error())
	if m == nil {
		return x
	}
	n, _ := strconv.Atoi(m[1])
	// yaml.v3 counts the lines of parser errors from 0, those of scanner errors from 1, and leaves out line 0.
	if strings.HasPrefix(m[2], "did not find expected") || n == 0 {
		n++
	}
	x.Line = min(first+n, len(f.text.lines))
	line := string(f.text.line(x.Line))
	x.Col = 1 + len(line) - len(strings.TrimLeft(line, " "))
	x.seen = "this is no YAML: " + m[2]
	switch indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]; {
	case strings.Contains(indent, "\t"):
		x.do = "the line is indented with a tab; YAML takes spaces only"
	case strings.Contains(m[2], "mapping values are not allowed"):
		x.do = `quote a value that holds ": ", or look at the indentation of this line`
	case strings.Contains(m[2], "cannot start any token"):
		x.do = "quote a value that begins with @, ` or %"
	case strings.Contains(m[2], "did not find expected"):
		x.do = "look at the indentation here and above, and for a bracket or quote that is not closed"
	}
	return x
}
