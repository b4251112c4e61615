package analyze

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
)

// metadataFields are those that an object's metadata may have (k8s.io/apimachinery, ObjectMeta).
var metadataFields = []string{
	"name", "generateName", "namespace", "labels", "annotations", "uid", "resourceVersion", "generation", "creationTimestamp",
	"deletionTimestamp", "deletionGracePeriodSeconds", "ownerReferences", "finalizers", "managedFields", "selfLink",
}

// judged calls do for each object whose schema is known, once.
func (w *World) judged(do func(m *member, o *Object, l *law)) {
	w.configs(func(m *member, o *Object) {
		c := crdOf(o)
		if c == nil {
			return
		}
		if l, err := c.law(o.Version); err == nil {
			do(m, o, l)
		}
	})
}

// unknownField finds fields that no schema knows. An API server drops them without a word, or refuses the object.
func unknownField(w *World) []Finding {
	var all []Finding
	w.judged(func(m *member, o *Object, l *law) {
		report := func(f Field, known []string, siblings []Field) {
			x := o.find(m.Name, Value{node: f.key})
			x.Seen = fmt.Sprintf("no field is called %s here", f.Key)
			x.Do = "take it out, or see the fields there are: " + strings.Join(few(known, 12), ", ")
			if name, ok := near(f.Key, known); ok {
				x.Do = "write " + name
				if !slices.ContainsFunc(siblings, func(s Field) bool { return s.Key == name }) {
					x.Fix = o.replace(Value{node: f.key}, name, true)
				}
			}
			all = append(all, x)
		}
		for _, f := range o.Root.Fields() {
			if !slices.Contains([]string{"apiVersion", "kind", "metadata", "spec", "status"}, f.Key) {
				report(f, []string{"apiVersion", "kind", "metadata", "spec"}, o.Root.Fields())
			}
		}
		meta := o.Root.Get("metadata").Fields()
		for _, f := range meta {
			if !slices.Contains(metadataFields, f.Key) {
				report(f, metadataFields[:5], meta)
			}
		}
		if spec, ok := l.shape.Properties["spec"]; ok {
			strays(o.Spec(), &spec, report)
		}
	})
	return all
}

// strays reports fields under v that s does not have.
func strays(v Value, s *schema.Structural, report func(f Field, known []string, siblings []Field)) {
	if s == nil || s.XPreserveUnknownFields {
		return
	}
	fields := v.Fields()
	for _, f := range fields {
		sub, ok := s.Properties[f.Key]
		switch {
		case ok:
			strays(f.Value, &sub, report)
		case s.AdditionalProperties != nil:
			strays(f.Value, s.AdditionalProperties.Structural, report)
		case len(s.Properties) > 0:
			report(f, slices.Sorted(maps.Keys(s.Properties)), fields)
		}
	}
	for _, x := range v.Items() {
		strays(x, s.Items, report)
	}
}

// notAllowed finds values that an API server would refuse: of the wrong type, out of bounds, against a rule.
func notAllowed(w *World) []Finding {
	var all []Finding
	w.judged(func(m *member, o *Object, l *law) {
		body, ok := o.Root.Plain().(map[string]any)
		if !ok {
			return
		}
		all = append(all, w.labelTypes(m, o)...)
		delete(body, "metadata")
		errs := validation.ValidateCustomResource(nil, body, l.values)
		if len(errs) == 0 {
			broken, _ := l.rules.Validate(context.Background(), nil, l.shape, body, nil, celconfig.RuntimeCELCostBudget)
			errs = append(errs, broken...)
		}
		for _, e := range specific(errs) {
			v := o.Root.pathNode(strings.TrimPrefix(e.Field, "<nil>"))
			if o.File != nil && v.Exists() && v.IsNull() && v.key != nil && len(o.File.commented(v)) > 0 {
				continue // a list whose items are commented out has a finding of its own
			}
			all = append(all, o.refused(m, v, l, e))
		}
	})
	return all
}

// specific drops what only says again, further up, that something further down is wrong: "oneOf" and its like.
func specific(errs field.ErrorList) field.ErrorList {
	var out field.ErrorList
	for _, e := range errs {
		vague := alternatives.MatchString(e.Detail)
		below := slices.ContainsFunc(errs, func(x *field.Error) bool {
			return x != e && strings.HasPrefix(x.Field, strings.TrimPrefix(e.Field, "<nil>")) && !alternatives.MatchString(x.Detail)
		})
		if !vague || !below {
			out = append(out, e)
		}
	}
	return out
}

var alternatives = regexp.MustCompile(`\((oneOf|anyOf|allOf|not)\)`)

func (o *Object) refused(m *member, v Value, l *law, e *field.Error) Finding {
	f := o.find(m.Name, v)
	path := strings.TrimPrefix(e.Field, "<nil>")
	if path == "" {
		path = o.Kind
	}
	s := at(l.shape, path)
	f.Do = "correct it"
	detail := e.Detail
	if _, after, ok := strings.Cut(detail, " in body "); ok {
		detail = after
	}
	switch {
	case e.Type == field.ErrorTypeRequired:
		f.Seen, f.Do = fmt.Sprintf("%s is missing", path), "write it"
	case e.Type == field.ErrorTypeNotSupported:
		have := enums(s)
		f.Seen = fmt.Sprintf("%s is %q, which is none of its values", path, v.Str())
		f.Do = "its values are " + strings.Join(have, ", ")
		if name, ok := near(v.Str(), have); ok {
			f.Do, f.Fix = "write "+name, o.replace(v, name, !strings.EqualFold(name, v.Str()))
		}
	case alternatives.MatchString(detail):
		f.Seen = fmt.Sprintf("%s has fields that exclude one another, or lacks one that it needs", path)
		f.Do = "keep one of the alternatives: see the kind's reference"
	case v.Exists() && v.IsNull():
		f.Seen, f.Do = fmt.Sprintf("%s is empty, and must be %s", path, typeOf(s)), "write its value, or take it out"
	case e.Type == field.ErrorTypeTypeInvalid || strings.Contains(detail, "must be of type"):
		f.Seen = fmt.Sprintf("%s must be %s, and is %s", path, typeOf(s), kindOf(v))
		f.Do, f.Fix = o.retype(v, s)
	default:
		f.Seen = fmt.Sprintf("%s is refused: %s", path, detail)
	}
	return f
}

// retype is what to do about a value of the wrong type: a number or a boolean that must be a text needs quotes, a
// text that holds a number must lose them.
func (o *Object) retype(v Value, s *schema.Structural) (string, *Edit) {
	n := v.node
	if n == nil || n.Kind != yaml.ScalarNode || s == nil || o.File == nil {
		return "correct it", nil
	}
	start, end, quote, ok := o.File.text.scalarAt(n)
	edit := func(with string) *Edit {
		if !ok {
			return nil
		}
		return &Edit{File: o.File.Name, Start: start, End: end, New: with}
	}
	whole := regexp.MustCompile(`^[0-9]+$`).MatchString(n.Value)
	switch {
	case s.Type == "string" && quote == "":
		return "put it in quotes", edit(`"` + n.Value + `"`)
	case s.Type == "integer" && quote != "" && whole, s.Type == "boolean" && quote != "" && (n.Value == "true" || n.Value == "false"):
		return "take the quotes off", edit(n.Value)
	}
	return "write " + typeOf(s), nil
}

// labelTypes finds labels and annotations that are no texts; the API server refuses the whole object.
func (w *World) labelTypes(m *member, o *Object) []Finding {
	var all []Finding
	text := &schema.Structural{Generic: schema.Generic{Type: "string"}}
	for _, where := range []string{"labels", "annotations"} {
		for _, x := range o.Root.Get("metadata", where).Fields() {
			if _, ok := x.Plain().(string); ok || x.IsNull() {
				continue
			}
			f := o.find(m.Name, x.Value)
			f.Seen = fmt.Sprintf("metadata.%s: %s must be a text, and is %s", where, x.Key, kindOf(x.Value))
			f.Do, f.Fix = o.retype(x.Value, text)
			all = append(all, f)
		}
	}
	return all
}

// at is the schema at a path, nil where there is none.
func at(s *schema.Structural, path string) *schema.Structural {
	for _, name := range strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' }) {
		switch {
		case s == nil:
			return nil
		case s.Items != nil:
			s = s.Items
		case s.AdditionalProperties != nil:
			s = s.AdditionalProperties.Structural
		default:
			sub, ok := s.Properties[name]
			if !ok {
				return nil
			}
			s = &sub
		}
	}
	return s
}

func enums(s *schema.Structural) []string {
	if s == nil || s.ValueValidation == nil {
		return nil
	}
	var have []string
	for _, v := range s.ValueValidation.Enum {
		have = append(have, fmt.Sprint(v.Object))
	}
	return have
}

func typeOf(s *schema.Structural) string {
	if s == nil {
		return "something else"
	}
	names := map[string]string{"array": "a list", "object": "a map", "string": "a text", "integer": "a whole number", "number": "a number", "boolean": "true or false"}
	if n, ok := names[s.Type]; ok {
		return n
	}
	return "something else"
}

func kindOf(v Value) string {
	switch x := v.Plain().(type) {
	case nil:
		return "empty"
	case map[string]any:
		return "a map"
	case []any:
		return "a list"
	case string:
		return fmt.Sprintf("the text %q", x)
	case bool:
		return fmt.Sprintf("a boolean, %s", v.Str())
	default:
		return fmt.Sprintf("the number %s", v.Str())
	}
}

func few(names []string, n int) []string {
	if len(names) > n {
		return append(slices.Clone(names[:n]), "…")
	}
	return names
}
