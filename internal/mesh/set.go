package mesh

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"

	"isthmus.dev/isthmus/internal/yamldoc"
)

// override lays one "path=value" over the document, as istioctl's --set does:
//
//	spec.trust.domain=shop.example         any field of the document
//	spec.clusters[0].network=vpc-1         an item by number; the number of items, or -1, adds one
//	spec.clusters[name:west].network=vpc-1 an item by one of its fields
//	profile=demo                           istioctl's own paths: profile, hub, tag, revision, values, meshConfig are
//	values.pilot.env.PILOT_X=true          under spec.istio; components go to spec.istio.set
//
// A dot within a key is written "\.". The value has the type that the document's schema gives the field; where that
// leaves it open, whole numbers, numbers and booleans are what they look like and all else is a text. Quotes around
// a value keep it a text. Lists and maps of the document are written in YAML's short form: [[east], [west]].
func (j *judge) override(flag string) {
	path, value, ok := strings.Cut(flag, "=")
	path, value = strings.TrimSpace(path), strings.TrimSpace(value)
	at := spot{flag: flag}
	if !ok {
		j.refuse(at, "", "there is no = in it", "write path=value")
		return
	}
	steps, err := splitPath(path)
	if err != nil {
		j.refuse(at, "", err.Error(), "")
		return
	}
	steps, ok = j.abbreviated(at, steps, flag)
	if !ok {
		return
	}
	j.set(at, steps, value)
}

// A step is one part of a path: a map key, or an item by number or by a field of it.
type step struct {
	key        string
	list       bool
	index      int
	name, want string // list item whose field name is want, where name is not ""
}

var bracket = regexp.MustCompile(`^\[([^\]]*)\]`)

// splitPath reads "spec.clusters[0].name", and istioctl's other form of it, "spec.clusters.[0].name".
func splitPath(path string) ([]step, error) {
	var steps []step
	for rest := strings.TrimPrefix(path, "."); rest != ""; {
		if m := bracket.FindStringSubmatch(rest); m != nil {
			rest = strings.TrimPrefix(rest[len(m[0]):], ".")
			name, want, byField := strings.Cut(m[1], ":")
			i, err := strconv.Atoi(m[1])
			switch {
			case len(steps) == 0:
				return nil, fmt.Errorf("a path begins with a field, not with %s", m[0])
			case byField:
				steps = append(steps, step{list: true, name: name, want: unescape(want)})
			case err != nil:
				return nil, fmt.Errorf("%s is no item: write [0], or [name:west]", m[0])
			default:
				steps = append(steps, step{list: true, index: i})
			}
			continue
		}
		end := keyEnd(rest)
		if end == 0 {
			return nil, fmt.Errorf("%q has an empty part", path)
		}
		steps = append(steps, step{key: unescape(rest[:end])})
		rest = rest[end:]
		if strings.HasPrefix(rest, ".") {
			if rest = rest[1:]; rest == "" {
				return nil, fmt.Errorf("%q ends with a dot", path)
			}
		}
	}
	if len(steps) == 0 {
		return nil, fmt.Errorf("there is no path before the =")
	}
	return steps, nil
}

// keyEnd is where the first key of a path ends: at a dot or bracket that no backslash precedes.
func keyEnd(s string) int {
	for i := range len(s) {
		if (s[i] == '.' || s[i] == '[') && (i == 0 || s[i-1] != '\\') {
			return i
		}
	}
	return len(s)
}

func unescape(s string) string { return strings.NewReplacer(`\.`, ".", `\[`, "[").Replace(s) }

// operator are the fields of an IstioOperator's spec that a document has no field for; they go to spec.istio.set.
var operator = []string{"components", "compatibilityVersion", "unvalidatedValues"}

// abbreviated gives istioctl's paths their place in the document. It returns false when nothing is left to do.
func (j *judge) abbreviated(at spot, steps []step, flag string) ([]step, bool) {
	root, spec, istio := j.law.root(), j.law.at("spec"), j.law.at("spec.istio")
	first := steps[0].key
	under := func(keys ...string) []step {
		var all []step
		for _, k := range keys {
			all = append(all, step{key: k})
		}
		return append(all, steps...)
	}
	_, isRoot := root.Properties[first]
	_, isIstio := istio.Properties[first]
	_, isSpec := spec.Properties[first]
	switch {
	case isRoot:
		return steps, true
	case isIstio:
		j.sameInSet(flag)
		return under("spec", "istio"), true
	case slices.Contains(operator, first):
		j.set(at, append(under("spec", "istio", "set")[:3], step{list: true, index: -1}), flag)
		return nil, false
	case isSpec:
		j.refuse(at, first, "no such field", "did you mean spec."+first+"?")
		return nil, false
	}
	known := slices.Concat(keysOf(root), keysOf(istio), operator)
	j.refuse(at, first, "no such field", didYouMean(first, known))
	return nil, false
}

// sameInSet takes out the entries of spec.istio.set that have the flag's path: they would win over it otherwise.
func (j *judge) sameInSet(flag string) {
	set, isList := at(j.root, "spec", "istio", "set").([]any)
	if !isList {
		return
	}
	path, _, _ := strings.Cut(flag, "=")
	kept := []any{}
	for i, s := range set {
		text, _ := s.(string)
		if p, _, _ := strings.Cut(text, "="); strings.TrimSpace(p) == strings.TrimSpace(path) {
			continue
		}
		j.vals[item("spec.istio.set", len(kept))] = j.vals[item("spec.istio.set", i)]
		kept = append(kept, s)
	}
	j.root["spec"].(map[string]any)["istio"].(map[string]any)["set"] = kept
}

// set puts a value at a path, making what is missing on the way.
func (j *judge) set(at spot, steps []step, value string) {
	var put func(v any, s *schema.Structural, path string, steps []step) any
	put = func(v any, s *schema.Structural, path string, steps []step) any {
		if len(steps) == 0 {
			j.forget(path)
			j.vals[path], j.keys[path] = at, at
			return j.typedValue(at, path, value, s)
		}
		if !j.written(path) {
			j.vals[path], j.keys[path] = at, at
		}
		next := steps[0]
		if !next.list {
			m, isMap := v.(map[string]any)
			if v != nil && !isMap {
				j.refuse(at, path, fmt.Sprintf("is %s, and has no field %s", typeName(v), next.key), "")
				return v
			}
			if m == nil {
				m = map[string]any{}
			}
			sub, _ := entry(s, next.key)
			m[next.key] = put(m[next.key], sub, child(path, next.key), steps[1:])
			return m
		}
		l, isList := v.([]any)
		if v != nil && !isList {
			j.refuse(at, path, fmt.Sprintf("is %s, and has no items", typeName(v)), "")
			return v
		}
		i, err := next.find(l, path)
		if err != nil {
			j.refuse(at, path, err.Error(), "")
			return v
		}
		if i == len(l) {
			l = append(l, nil)
		}
		var items *schema.Structural
		if s != nil {
			items = s.Items
		}
		l[i] = put(l[i], items, item(path, i), steps[1:])
		return l
	}
	put(j.root, j.law.root(), "", steps)
}

// find is the number of the item that a step means; the number of items for one to add.
func (s step) find(l []any, path string) (int, error) {
	if s.name == "" {
		switch {
		case s.index == -1:
			return len(l), nil
		case s.index < 0 || s.index > len(l):
			return 0, fmt.Errorf("there is no item %d: it has %d; [%d] adds one", s.index, len(l), len(l))
		}
		return s.index, nil
	}
	var have []string
	for i, x := range l {
		v := fmt.Sprint(at(x, s.name))
		if v == s.want {
			return i, nil
		}
		have = append(have, v)
	}
	return 0, fmt.Errorf("no item of %s has %s: %s; %s", path, s.name, s.want, cmp.Or(didYouMean(s.want, have), "it is empty"))
}

// always are free-form settings that are texts whatever they look like (istio: operator/pkg/values, alwaysString).
var always = []string{
	"spec.istio.values.global.tag",
	"spec.istio.values.compatibilityVersion",
	"spec.istio.values.revision",
	"spec.istio.meshConfig.defaultConfig.proxyMetadata.",
	"spec.istio.values.meshConfig.defaultConfig.proxyMetadata.",
}

// typedValue reads a value as the schema wants it, or as istioctl would (operator/pkg/values, parseValue).
func (j *judge) typedValue(at spot, path, value string, s *schema.Structural) any {
	j.text[path] = value
	if text, ok := unquoted(value); ok {
		return text
	}
	kind := ""
	if s != nil {
		kind = s.Type
	}
	isText := slices.ContainsFunc(always, func(p string) bool { return strings.HasPrefix(clusterless(path), p) })
	switch {
	case kind == "string" || isText:
		return value
	case kind == "object" || kind == "array":
		return j.shortForm(at, path, value)
	}
	if n, err := strconv.ParseInt(value, 10, 64); err == nil {
		return n
	}
	if f, err := strconv.ParseFloat(value, 64); err == nil && f-f == 0 { // f-f is no number for infinities
		return f
	}
	if b, err := strconv.ParseBool(value); err == nil {
		return b
	}
	return strings.ReplaceAll(value, `\,`, ",")
}

// clusterless is a path under a cluster's istio as it would be under the mesh's.
func clusterless(path string) string {
	if rest, ok := strings.CutPrefix(generic(path), "spec.clusters[].istio."); ok {
		return "spec.istio." + rest
	}
	return path
}

// unquoted takes quotes of either kind off a value.
func unquoted(v string) (string, bool) {
	if len(v) < 2 || v[0] != v[len(v)-1] || v[0] != '"' && v[0] != '\'' {
		return "", false
	}
	return v[1 : len(v)-1], true
}

// shortForm reads YAML's short form of lists and maps.
func (j *judge) shortForm(at spot, path, value string) any {
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(value), &n); err != nil || len(n.Content) != 1 {
		return value // the shape of it is complained of later
	}
	if fault := yamldoc.Unfold(n.Content[0], limits); fault != nil {
		j.refuse(at, path, fault.Message, "")
		return nil
	}
	r := &reader{tree: newTree(j.file)}
	v := r.read(n.Content[0], path)
	for p := range r.vals {
		j.vals[p], j.keys[p] = at, at
	}
	for _, p := range r.found {
		j.refuse(at, p.Path, p.Message, p.Hint)
	}
	return v
}
