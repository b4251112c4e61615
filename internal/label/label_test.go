package label

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/object"
)

func TestOwn(t *testing.T) {
	tests := []struct {
		reason string
		have   map[string]any
		want   map[string]string
	}{
		{"an object without labels gets both", nil, map[string]string{object.LabelMesh: "shop", object.LabelPart: "east-west-gateway"}},
		{
			"labels that it has stay",
			map[string]any{"app": "x", object.LabelMesh: "other"},
			map[string]string{"app": "x", object.LabelMesh: "shop", object.LabelPart: "east-west-gateway"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			metadata := map[string]any{"name": "x"}
			if tt.have != nil {
				metadata["labels"] = tt.have
			}
			template := map[string]any{"template": map[string]any{"metadata": map[string]any{}}}
			o := Own("shop", object.Object{Part: object.PartGateway, Body: &unstructured.Unstructured{Object: map[string]any{"metadata": metadata, "spec": template}}})
			if diff := cmp.Diff(tt.want, o.Body.GetLabels()); diff != "" {
				t.Errorf("labels (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(map[string]any{"template": map[string]any{"metadata": map[string]any{}}}, o.Body.Object["spec"]); diff != "" {
				t.Errorf("a label in the template would restart pods:\n%s", diff)
			}
		})
	}
}
