package mesh

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"

	"isthmus.dev/isthmus/api/v1alpha1"
)

// A judge gathers what is wrong with one document.
type judge struct {
	*tree
	law   *law
	found []Problem
	// bad are paths whose value has been found wrong already; what else is said of them is noise.
	bad map[string]bool
}

func (j *judge) refuse(s spot, path, message, hint string) {
	j.found = append(j.found, j.problem(s, path, message, hint))
	j.bad[path] = true
}

// spoiled tells whether a path or something around it is bad already.
func (j *judge) spoiled(path string) bool {
	for ; path != ""; path = parent(path) {
		if j.bad[path] {
			return true
		}
	}
	return false
}

// kind looks whether this is a mesh document at all, and tells whether to read on: a Service or a list of words
// would only earn a page of complaints.
func (j *judge) kind() bool {
	version, isText := textOf(j.root["apiVersion"])
	kind, isTextToo := textOf(j.root["kind"])
	looksRight := at(j.root, "spec", "clusters") != nil
	switch {
	case !isText || !isTextToo: // the wrong type is said with all the others
	case kind == "" && version == "":
		j.refuse(spot{line: 1, column: 1}, "", "apiVersion and kind are missing", "begin with "+opening)
		return looksRight
	case kind == "":
		j.refuse(spot{line: 1, column: 1}, "kind", "is missing", "write kind: "+v1alpha1.Kind)
		return looksRight
	case kind != v1alpha1.Kind:
		message := fmt.Sprintf("this is %s (%s), not a %s", withArticle(kind), cmp.Or(version, "without apiVersion"), v1alpha1.Kind)
		j.refuse(j.value("kind"), "kind", message, "a mesh document begins with "+opening)
		return false
	case version == "":
		j.refuse(spot{line: 1, column: 1}, "apiVersion", "is missing", "write apiVersion: "+v1alpha1.APIVersion)
	case version != v1alpha1.APIVersion:
		j.refuse(j.value("apiVersion"), "apiVersion", fmt.Sprintf("%q is not known to this program", version),
			"write "+v1alpha1.APIVersion)
	}
	return true
}

const opening = "apiVersion: " + v1alpha1.APIVersion + " and kind: " + v1alpha1.Kind

func withArticle(noun string) string {
	if strings.ContainsAny(noun[:1], "AEIOUaeiou") {
		return "an " + noun
	}
	return "a " + noun
}

// textOf is a text, "" where there is nothing; false for a value of another type.
func textOf(v any) (string, bool) {
	s, ok := v.(string)
	return s, ok || v == nil
}

// shape compares a value with its schema: unknown fields, wrong types, missing fields. It returns the value with
// what is wrong taken out, or emptied where it is an item of a list, so that the rest can be judged as well.
func (j *judge) shape(v any, s *schema.Structural, path string) any {
	if s == nil || s.Type == "" {
		return v
	}
	if !fits(v, s.Type) {
		is := typeName(v)
		if _, broken := v.(float64); broken && s.Type == "integer" {
			is = "a fraction"
		}
		j.refuse(j.value(path), path, fmt.Sprintf("%s, and is %s", wanted(s.Type), is), j.typeHint(v, s, path))
		return empty(s.Type)
	}
	switch v := v.(type) {
	case map[string]any:
		return j.mapShape(v, s, path)
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = j.shape(x, s.Items, item(path, i))
		}
		return out
	}
	return v
}

func (j *judge) mapShape(m map[string]any, s *schema.Structural, path string) map[string]any {
	out := make(map[string]any, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		p := child(path, k)
		sub, known := entry(s, k)
		switch {
		case !known:
			j.refuse(j.key(p), p, "no such field", cmp.Or(noField[generic(p)], j.elsewhere(k, s)))
			if near, ok := nearest(k, keysOf(s)); ok && m[near] == nil {
				j.bad[child(path, near)] = true // it is there, under another name: it is not missing too
			}
		case m[k] == nil && sub != nil:
			// A field with nothing behind it is a field that is not set; below it is missed where it is needed.
		default:
			if x := j.shape(m[k], sub, p); !j.bad[p] {
				out[k] = x
			}
		}
	}
	if s.ValueValidation == nil {
		return out
	}
	for _, k := range s.ValueValidation.Required {
		p := child(path, k)
		if _, have := out[k]; !have && !j.bad[p] {
			j.refuse(j.key(p), p, "is missing", missing[strings.TrimPrefix(generic(p), "spec.")])
		}
	}
	return out
}

// elsewhere is a hint for an unknown field: where the document has a field of that very name, the one nearest to the
// top where there are several, else the nearest name.
func (j *judge) elsewhere(name string, s *schema.Structural) string {
	paths := j.law.paths(name)
	depth := func(path string) int { return strings.Count(path, ".") }
	slices.SortStableFunc(paths, func(a, b string) int { return cmp.Compare(depth(a), depth(b)) })
	if len(paths) == 1 || len(paths) > 1 && depth(paths[0]) == 1 && depth(paths[1]) > 1 {
		return "did you mean " + paths[0] + "?"
	}
	return didYouMean(name, keysOf(s))
}

// missing are hints for fields that a document must have, by generic path under spec.
var missing = map[string]string{
	"metadata":              "a mesh has a name: metadata: {name: shop}",
	"metadata.name":         "a mesh has a name: metadata: {name: shop}",
	"spec":                  "to see a whole document: isthmus init",
	"clusters":              "name the members: clusters: [{name: east, access: {context: EAST}}]",
	"clusters[].name":       "every cluster has a name of its own",
	"trust.root.selfSigned": "write selfSigned: {}, or take root out",
}

var itemNumber = regexp.MustCompile(`\[\d+\]`)

// generic is a path without the numbers of items.
func generic(path string) string { return itemNumber.ReplaceAllString(path, "[]") }

func fits(v any, kind string) bool {
	switch v.(type) {
	case map[string]any:
		return kind == "object"
	case []any:
		return kind == "array"
	case string:
		return kind == "string"
	case bool:
		return kind == "boolean"
	case int64:
		return kind == "integer" || kind == "number"
	case float64:
		return kind == "number"
	}
	return false
}

// wanted says what a type of the schema must be.
func wanted(kind string) string {
	return "must be " + map[string]string{
		"object": "a map", "array": "a list", "string": "a text", "boolean": "true or false",
		"integer": "a whole number", "number": "a number",
	}[kind]
}

func empty(kind string) any {
	switch kind {
	case "object":
		return map[string]any{}
	case "array":
		return []any{}
	case "string":
		return ""
	case "boolean":
		return false
	}
	return int64(0)
}

// durations is how the pattern of a duration begins.
const durations = "^([0-9]{1,6}h)"

// typeHint says how the value would have to be written.
func (j *judge) typeHint(v any, s *schema.Structural, path string) string {
	text := cmp.Or(j.text[path], fmt.Sprint(v))
	switch v.(type) {
	case int64, float64:
		if s.ValueValidation != nil && strings.HasPrefix(s.ValueValidation.Pattern, durations) {
			return fmt.Sprintf("a duration has units: %sh, %sm or %ss", text, text, text)
		}
		if s.Type == "string" {
			return fmt.Sprintf("write it in quotes: %q", text)
		}
	case bool:
		if s.Type == "string" {
			return fmt.Sprintf("write it in quotes: %q", text)
		}
	case map[string]any:
		if s.Type == "array" && j.value(path).flag == "" {
			return `an item of a list begins with "- "`
		}
	case string:
		if s.Type == "array" && !strings.ContainsAny(text, "[]{}") {
			return fmt.Sprintf("write [%v]", v)
		}
	}
	return ""
}
