package mesh

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	apiext "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"

	"isthmus.dev/isthmus/api/v1alpha1"
)

// A law is the CRD made ready to judge: the very code that an API server runs over a custom resource.
type law struct {
	shape  *schema.Structural
	values validation.SchemaValidator
	// messages are those of the rules, to tell a broken rule from a rule that could not be asked.
	messages map[string]bool
	// compiled are the rules of some fields, by the names of those fields: map[string]*cel.Validator.
	compiled sync.Map
}

// theLaw is made once, when the first document is loaded: no command that loads none should pay for it.
var theLaw = sync.OnceValues(func() (*law, error) {
	var crd apiextv1.CustomResourceDefinition
	if err := yaml.Unmarshal(v1alpha1.CRD, &crd); err != nil {
		return nil, fmt.Errorf("read the embedded CRD: %w", err)
	}
	var props apiext.JSONSchemaProps
	err := apiextv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(crd.Spec.Versions[0].Schema.OpenAPIV3Schema, &props, nil)
	if err != nil {
		return nil, fmt.Errorf("read the embedded CRD: %w", err)
	}
	shape, err := schema.NewStructural(&props)
	if err != nil {
		return nil, fmt.Errorf("read the embedded CRD: %w", err)
	}
	values, _, err := validation.NewSchemaValidator(&props)
	if err != nil {
		return nil, fmt.Errorf("read the embedded CRD: %w", err)
	}
	l := &law{shape: shape, values: values, messages: map[string]bool{}}
	collect(shape, l.messages)
	return l, nil
})

// rules are the CEL rules of the fields that a document writes, by their generic paths. To compile a rule takes
// most of a millisecond, and a short document concerns few of them. What is not written is a default, and defaults
// obey the rules: the API server's code looks at that in the tests of v1alpha1.
func (l *law) rules(written map[string]bool) *cel.Validator {
	some := l.shape.DeepCopy()
	var kept []string
	var strip func(s *schema.Structural, path string)
	strip = func(s *schema.Structural, path string) {
		switch {
		case len(s.XValidations) == 0:
		case path == "" || written[path]:
			kept = append(kept, path)
		default:
			s.XValidations = nil
		}
		for _, k := range keysOf(s) {
			sub := s.Properties[k]
			strip(&sub, child(path, k))
			s.Properties[k] = sub
		}
		if s.Items != nil {
			strip(s.Items, path+"[]")
		}
	}
	strip(some, "")
	key := strings.Join(kept, " ")
	if v, ok := l.compiled.Load(key); ok {
		return v.(*cel.Validator)
	}
	v := cel.NewValidator(some, true, celconfig.PerCallLimit)
	l.compiled.Store(key, v)
	return v
}

// collect gathers the messages of every rule.
func collect(s *schema.Structural, into map[string]bool) {
	for _, r := range s.XValidations {
		into[strings.TrimSpace(r.Message)] = true
	}
	for k := range s.Properties {
		p := s.Properties[k]
		collect(&p, into)
	}
	if s.Items != nil {
		collect(s.Items, into)
	}
}

// metadata is what a document may say in its metadata; a CRD's schema cannot hold it. What an API server adds to
// it is let through, so that a document read from a cluster can be used as it is.
var metadata = schema.Structural{
	Generic: schema.Generic{Type: "object"},
	Properties: map[string]schema.Structural{
		"name":                       {Generic: schema.Generic{Type: "string"}},
		"labels":                     texts,
		"annotations":                texts,
		"uid":                        anything,
		"resourceVersion":            anything,
		"generation":                 anything,
		"creationTimestamp":          anything,
		"deletionTimestamp":          anything,
		"deletionGracePeriodSeconds": anything,
		"managedFields":              anything,
		"ownerReferences":            anything,
		"finalizers":                 anything,
	},
	ValueValidation: &schema.ValueValidation{Required: []string{"name"}},
}

var (
	texts = schema.Structural{
		Generic:              schema.Generic{Type: "object"},
		AdditionalProperties: &schema.StructuralOrBool{Structural: &schema.Structural{Generic: schema.Generic{Type: "string"}}},
	}
	anything = schema.Structural{Extensions: schema.Extensions{XPreserveUnknownFields: true}}
)

// entry is the schema of an entry of a map that s describes; nil where s leaves open what it is.
func entry(s *schema.Structural, key string) (of *schema.Structural, known bool) {
	if s == nil || s.XPreserveUnknownFields && len(s.Properties) == 0 {
		return nil, true
	}
	if p, ok := s.Properties[key]; ok {
		return &p, true
	}
	if a := s.AdditionalProperties; a != nil {
		return a.Structural, true
	}
	return nil, false
}

// root is the CRD's schema with metadata spelled out.
func (l *law) root() *schema.Structural {
	root := *l.shape
	root.Properties = maps.Clone(l.shape.Properties)
	root.Properties["metadata"] = metadata
	return &root
}

// at is the schema at a path; nil where it leaves open what is there, or knows no such field.
func (l *law) at(path string) *schema.Structural {
	s := l.root()
	for _, m := range segment.FindAllStringSubmatch(path, -1) {
		switch {
		case s == nil:
			return nil
		case m[1] != "":
			s = s.Items
		default:
			s, _ = entry(s, segmentKey(m))
		}
	}
	return s
}

// paths are the generic paths of every field of a name in spec: "spec.clusters[].access.context".
func (l *law) paths(name string) []string {
	var found []string
	var walk func(s *schema.Structural, path string)
	walk = func(s *schema.Structural, path string) {
		for _, k := range keysOf(s) {
			p, sub := child(path, k), s.Properties[k]
			if k == name {
				found = append(found, p)
			}
			walk(&sub, p)
		}
		if s.Items != nil {
			walk(s.Items, path+"[]")
		}
	}
	spec := l.shape.Properties["spec"]
	walk(&spec, "spec")
	return found
}

// keysOf are the names of a schema's fields.
func keysOf(s *schema.Structural) []string { return slices.Sorted(maps.Keys(s.Properties)) }
