package object

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func TestOpenSecrets(t *testing.T) {
	for _, tt := range []struct {
		text string
		want int
	}{
		{"{apiVersion: v1, kind: Secret, metadata: {name: a}, data: {a: Yg==}}", 1},
		{"{apiVersion: v1, kind: Secret, metadata: {name: a}, stringData: {a: b}}", 1},
		{"{apiVersion: v1, kind: Secret, metadata: {name: a}, data: {}, stringData: {a: b}}", 1},
		{"{apiVersion: v1, kind: Secret, metadata: {name: a}, data: b}", 1},
		{"{apiVersion: v1, kind: Secret, metadata: {name: a, annotations: {kubectl.kubernetes.io/last-applied-configuration: b}}}", 1},
		{"{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Secret, data: {a: b}}, {apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Secret, data: {a: b}}]}]}", 2},
		{"{apiVersion: v1, kind: SecretList, items: [{data: {a: b}}, {}, x]}", 1},
		{"{apiVersion: v1, kind: Secret, metadata: {name: a}, type: kubernetes.io/service-account-token}", 0},
		{"{apiVersion: v1, kind: Secret, metadata: {name: a}, data: {}}", 0},
		{"{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {a: b}}", 0},
		{"{apiVersion: bitnami.com/v1, kind: Secret, metadata: {name: a}, data: {a: b}}", 0},
		{"{apiVersion: v1, kind: ConfigMapList, items: [{data: {a: b}}]}", 0},
		{"{}", 0},
	} {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(tt.text), &u.Object); err != nil {
			t.Fatal(err)
		}
		if got := OpenSecrets(u); len(got) != tt.want {
			t.Errorf("%s: %v, want %d", tt.text, got, tt.want)
		}
	}
}
