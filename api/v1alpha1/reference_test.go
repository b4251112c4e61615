package v1alpha1_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

var update = flag.Bool("update", false, "write docs/document.md anew")

const reference = "../../docs/document.md"

// TestReferenceIsCurrent: docs/document.md lists every field, in the words of the type's own comments.
func TestReferenceIsCurrent(t *testing.T) {
	var b strings.Builder
	b.WriteString(`# The document

Every field of a Mesh, from the comments of ` + "`api/v1alpha1`" + ` (written by ` + "`go test ./api/v1alpha1 -update`" + `). Only
` + "`metadata.name` and `spec.clusters[].name`" + ` must be given; everything else has a default. ` + "`--set path=value`" + ` on the
command line overrides any of it, with istioctl's short paths too (` + "`profile`, `hub`, `tag`, `values.…`, `meshConfig.…`" + `).

| field | type | what it is |
|---|---|---|
`)
	spec := readCRD(t).Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
	rows(&b, "spec", spec)
	want := b.String()
	if *update {
		if err := os.WriteFile(reference, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("%s is not current; write it with -update (-want +got):\n%s", reference, diff)
	}
	if n := strings.Count(want, "\n| `"); n < 25 {
		t.Errorf("the reference has only %d fields", n)
	}
}

func rows(b *strings.Builder, path string, s apiextv1.JSONSchemaProps) {
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[name]
		field, kind := path+"."+name, p.Type
		inner := p
		if p.Items != nil && p.Items.Schema != nil {
			field, kind, inner = field+"[]", "list of "+p.Items.Schema.Type, *p.Items.Schema
		}
		if p.AdditionalProperties != nil {
			kind = "map"
		}
		words := strings.Join(strings.Fields(strings.ReplaceAll(p.Description, "|", `\|`)), " ")
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", field, kind, words)
		rows(b, field, inner)
	}
}
