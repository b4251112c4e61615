package istio

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"isthmus.dev/isthmus/internal/object"
)

// TestChartsMayNotMakeSecrets: what a chart makes stands in plans and in rendered files.
func TestChartsMayNotMakeSecrets(t *testing.T) {
	const canary = "c4n4ry-do-not-print"
	for _, c := range []struct {
		reason, text, holds string
	}{
		{"data", "{apiVersion: v1, kind: Secret, metadata: {name: a, namespace: istio-system}, data: {key: " + canary + "}}", "key"},
		{"text", "{apiVersion: v1, kind: Secret, metadata: {name: a, namespace: istio-system}, stringData: {b: " + canary + ", a: x}}", "a, b"},
		{"data that is no map", "{apiVersion: v1, kind: Secret, metadata: {name: a, namespace: istio-system}, data: " + canary + "}", "data"},
		{"one that a controller fills", "{apiVersion: v1, kind: Secret, type: kubernetes.io/service-account-token, metadata: {name: a, namespace: istio-system}}", ""},
		{"another kind of that name", "{apiVersion: example.org/v1, kind: Secret, metadata: {name: a}, data: {key: x}}", ""},
		{"a ConfigMap", "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {key: x}}", ""},
	} {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(c.text), &u.Object); err != nil {
			t.Fatal(err)
		}
		err := withoutSecrets("east", []object.Object{{Body: u}})
		if (err == nil) != (c.holds == "") || err != nil && (!strings.Contains(err.Error(), "Secret istio-system/a, which holds "+c.holds+":") || strings.Contains(err.Error(), canary)) {
			t.Errorf("%s: %v", c.reason, err)
		}
	}
}
