package plan

import (
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/object"
)

// TestACopiedSecretComesBetweenItsNamespaceAndPods: into a namespace that is not there yet nothing can be copied.
func TestACopiedSecretComesBetweenItsNamespaceAndPods(t *testing.T) {
	wanted := func(version, kind, namespace, name string, sealed *object.Sealed) object.Object {
		u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": version, "kind": kind}}
		u.SetNamespace(namespace)
		u.SetName(name)
		return object.Object{Part: object.PartProbes, Reason: "a proof needs it", Body: u, Sealed: sealed}
	}
	now := facts.Snapshot{Clusters: map[string]*facts.Cluster{"east": {Name: "east"}}}
	p, err := MakeSet("verify.shop", "east", []object.Object{
		wanted("apps/v1", "Deployment", "proof", "server", nil),
		wanted("v1", "Secret", "proof", "registry", &object.Sealed{Kind: object.SealPullSecret}),
		wanted("v1", "Namespace", "", "proof", nil),
	}, now)
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, c := range p.Waves[0].Changes {
		if c.Part == object.PartProbes {
			order = append(order, c.Object.Kind)
		}
		if c.Object.Kind == "Secret" && (c.Action != Create || !c.Seal) {
			t.Errorf("the copy: %s, sealed %t", c.Action, c.Seal)
		}
	}
	if want := []string{"Namespace", "Secret", "Deployment"}; !slices.Equal(order, want) {
		t.Errorf("made in the order %v, want %v", order, want)
	}
}
