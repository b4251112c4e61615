package v1alpha1_test

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiext "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"isthmus.dev/isthmus/api/v1alpha1"
)

func readCRD(t *testing.T) apiextv1.CustomResourceDefinition {
	t.Helper()
	var crd apiextv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(v1alpha1.CRD, &crd); err != nil {
		t.Fatal(err)
	}
	return crd
}

// TestCRDIsAccepted runs what an API server runs when the CRD is created: structure, defaults against their own
// schemas, every CEL rule compiled, and what the rules may cost in the biggest document that is allowed.
func TestCRDIsAccepted(t *testing.T) {
	crd := readCRD(t)
	apiextv1.SetDefaults_CustomResourceDefinition(&crd)
	apiextv1.SetDefaults_CustomResourceDefinitionSpec(&crd.Spec)
	crd.Status.StoredVersions = []string{"v1alpha1"}
	var internal apiext.CustomResourceDefinition
	if err := apiextv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(&crd, &internal, nil); err != nil {
		t.Fatal(err)
	}
	for _, err := range validation.ValidateCustomResourceDefinition(context.Background(), &internal) {
		t.Error(err)
	}
}

// TestCRDAgreesWithTypes walks Go types and schema together: the same fields, of the same types, the same ones
// required, with the same words, and every rule that a marker asks for. So the CRD cannot be older than the types.
func TestCRDAgreesWithTypes(t *testing.T) {
	crd := readCRD(t)
	docs := comments(t)
	if crd.Spec.Group+"/"+crd.Spec.Versions[0].Name != v1alpha1.APIVersion || crd.Spec.Names.Kind != v1alpha1.Kind {
		t.Errorf("the CRD is of %s %s", crd.Spec.Group, crd.Spec.Names.Kind)
	}
	spec := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
	compare(t, docs, "spec", reflect.TypeFor[v1alpha1.MeshSpec](), spec)
}

func compare(t *testing.T, docs map[string]string, path string, typ reflect.Type, s apiextv1.JSONSchemaProps) {
	t.Helper()
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if typ == reflect.TypeFor[runtime.RawExtension]() {
		if s.Type != "object" || s.XPreserveUnknownFields == nil {
			t.Errorf("%s: anything goes in Go, and the schema says %s", path, s.Type)
		}
		return
	}
	switch typ.Kind() {
	case reflect.Struct:
		compareStruct(t, docs, path, typ, s)
	case reflect.Slice:
		if s.Type != "array" {
			t.Errorf("%s: a list in Go, %s in the schema", path, s.Type)
			return
		}
		compare(t, docs, path+"[]", typ.Elem(), *s.Items.Schema)
	case reflect.Map:
		if s.Type != "object" || s.AdditionalProperties == nil {
			t.Errorf("%s: a map in Go, %s in the schema", path, s.Type)
			return
		}
		compare(t, docs, path+"{}", typ.Elem(), *s.AdditionalProperties.Schema)
	case reflect.String:
		sameType(t, path, "string", s)
	case reflect.Int32:
		sameType(t, path, "integer", s)
	case reflect.Bool:
		sameType(t, path, "boolean", s)
	default:
		t.Errorf("%s: %s in Go: teach this test what the schema must say of it", path, typ)
	}
}

func sameType(t *testing.T, path, want string, s apiextv1.JSONSchemaProps) {
	t.Helper()
	if s.Type != want {
		t.Errorf("%s: the schema says %s, want %s", path, s.Type, want)
	}
}

func compareStruct(t *testing.T, docs map[string]string, path string, typ reflect.Type, s apiextv1.JSONSchemaProps) {
	t.Helper()
	var fields, required []string
	for f := range typ.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		p := path + "." + name
		fields = append(fields, name)
		if options == "" {
			required = append(required, name)
		}
		sub, known := s.Properties[name]
		if !known {
			t.Errorf("%s is in Go and not in the schema: run go generate ./api/...", p)
			continue
		}
		doc := docs[typ.Name()+"."+f.Name]
		if words(sub.Description) != words(withoutMarkers(doc)) || doc == "" {
			t.Errorf("%s is described as %q, and in Go as %q: run go generate ./api/...", p, sub.Description, withoutMarkers(doc))
		}
		sameRules(t, p, doc+docs[f.Type.Name()], sub)
		compare(t, docs, p, f.Type, sub)
	}
	slices.Sort(fields)
	slices.Sort(required)
	slices.Sort(s.Required)
	if diff := cmp.Diff(fields, slices.Sorted(maps.Keys(s.Properties))); diff != "" {
		t.Errorf("fields of %s (-Go +schema):\n%s", path, diff)
	}
	if diff := cmp.Diff(required, s.Required); diff != "" {
		t.Errorf("required fields of %s (-Go +schema):\n%s", path, diff)
	}
}

var (
	ruleMarker    = regexp.MustCompile(`(?m)^\+kubebuilder:validation:XValidation:rule="((?:[^"\\]|\\.)*)"`)
	enumMarker    = regexp.MustCompile(`(?m)^\+kubebuilder:validation:Enum=(.*)$`)
	defaultMarker = regexp.MustCompile(`(?m)^\+kubebuilder:default="?([^"\n]*)"?$`)
)

// sameRules compares the markers of a field, and of its type, with what the schema has of it.
func sameRules(t *testing.T, path, doc string, s apiextv1.JSONSchemaProps) {
	t.Helper()
	var want, got []string
	for _, m := range ruleMarker.FindAllStringSubmatch(doc, -1) {
		want = append(want, m[1])
	}
	for _, r := range s.XValidations {
		got = append(got, r.Rule)
		if r.Message == "" {
			t.Errorf("%s: a rule without a message: %s", path, r.Rule)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rules of %s (-Go +schema):\n%s", path, diff)
	}
	enum := ""
	for _, v := range s.Enum {
		enum += ";" + strings.Trim(string(v.Raw), `"`)
	}
	if m := enumMarker.FindStringSubmatch(doc); (m == nil) != (enum == "") || m != nil && ";"+m[1] != enum {
		t.Errorf("%s: values %v in Go, %s in the schema", path, m, enum)
	}
	m := defaultMarker.FindStringSubmatch(doc)
	if (m == nil) != (s.Default == nil) {
		t.Errorf("%s: default %v in Go, %v in the schema", path, m, s.Default)
	} else if m != nil && s.Type != "object" && m[1] != strings.Trim(string(s.Default.Raw), `"`) {
		t.Errorf("%s: default %q in Go, %s in the schema", path, m[1], s.Default.Raw)
	}
}

func withoutMarkers(doc string) string {
	var b strings.Builder
	for line := range strings.Lines(doc) {
		if !strings.HasPrefix(line, "+") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func words(s string) string { return strings.Join(strings.Fields(s), " ") }

// comments are the comments of every type, "Mesh", and of every field, "Mesh.Spec".
func comments(t *testing.T) map[string]string {
	t.Helper()
	docs := map[string]string{}
	files, err := filepath.Glob("*_types.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.TYPE {
				described(g, docs)
			}
		}
	}
	return docs
}

func described(g *ast.GenDecl, docs map[string]string) {
	for _, s := range g.Specs {
		ts := s.(*ast.TypeSpec)
		docs[ts.Name.Name] = g.Doc.Text()
		st, isStruct := ts.Type.(*ast.StructType)
		if !isStruct {
			continue
		}
		for _, f := range st.Fields.List {
			for _, n := range f.Names {
				docs[ts.Name.Name+"."+n.Name] = f.Doc.Text()
			}
		}
	}
}
