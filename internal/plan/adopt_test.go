package plan

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/object"
)

// TestNoRootIsReplacedUnasked: neither a cacerts of others nor the root of an istiod without one gives way to --adopt, or
// to --take-over without its name.
func TestNoRootIsReplacedUnasked(t *testing.T) {
	secret := object.Ref{Kind: "Secret", Namespace: "istio-system", Name: "cacerts"}
	foreign := func(w *world) {
		w.now.Clusters["east"].Live[secret] = parse(`{apiVersion: v1, kind: Secret, metadata: {name: cacerts, namespace: istio-system, uid: u}}`)
	}
	self := func(w *world) {
		at := w.now.Clusters["east"]
		at.Istiods = []facts.Istiod{{Namespace: "istio-system", Name: "istiod", Owner: "istioctl"}}
		at.Secrets = map[string]*facts.Secret{"istio-system/istio-ca-secret": {Namespace: "istio-system", Name: "istio-ca-secret"}}
	}
	cases := []struct {
		reason   string
		world    func(*world)
		options  Options
		conflict string
	}{
		{"a cacerts, adopted", foreign, Options{Adopt: true}, "is a certificate authority that Isthmus did not make"},
		{"a cacerts, all taken over", foreign, Options{TakeOver: []string{TakeOverAll}}, "is a certificate authority that Isthmus did not make"},
		{"a cacerts, named", foreign, Options{TakeOver: []string{"Secret istio-system/cacerts"}}, ""},
		{"istiod's own root, adopted", self, Options{Adopt: true}, "would come in the place of the root that istiod made for itself"},
		{"istiod's own root, named", self, Options{TakeOver: []string{"Secret istio-system/cacerts"}}, ""},
	}
	for _, c := range cases {
		w := newWorld("east")
		c.world(w)
		in := w.input()
		in.Options = c.options
		p, err := Make(in)
		if err != nil {
			t.Fatalf("%s: %v", c.reason, err)
		}
		if c.conflict != "" {
			if len(p.Conflicts) != 1 || !strings.Contains(p.Conflicts[0].Why, c.conflict) || !strings.Contains(p.Conflicts[0].Do, "spec.trust.root") {
				t.Errorf("%s: conflicts %+v", c.reason, p.Conflicts)
			}
			continue
		}
		var impact []string
		for _, w := range p.Waves {
			for _, change := range w.Changes {
				if change.Object == secret {
					impact = change.Impact
				}
			}
		}
		if len(p.Conflicts) != 0 || len(impact) != 1 || !strings.Contains(impact[0], "calls fail") {
			t.Errorf("%s: conflicts %v, impact %q; want it allowed, and said what it disturbs", c.reason, p.Conflicts, impact)
		}
	}
}

func TestQuietKeepsWhatSaysNothing(t *testing.T) {
	const live = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: istiod}, spec: {selector: {matchLabels: {app: istiod}}, template: {metadata: {labels: {app: istiod, release: a}}, spec: {containers: [{name: d, image: "a:1", env: [{name: B, value: x}, {name: A, value: y}, {name: E}]}]}}}}`
	cases := []struct{ reason, want, label, order string }{
		{"another release's name, another order, and an empty text, which is not kept", strings.NewReplacer("release: a", "release: b", "{name: E}", `{name: E, value: ""}`, `{name: B, value: x}, {name: A, value: y}`, `{name: A, value: y}, {name: B, value: x}`).Replace(live), "a", "BAE"},
		{"another image too: pods restart anyway", strings.NewReplacer("release: a", "release: b", "a:1", "a:2").Replace(live), "b", "BAE"},
		{"a new variable comes last", strings.Replace(live, `{name: B, value: x},`, `{name: C, value: z}, {name: B, value: x},`, 1), "a", "BAEC"},
	}
	for _, c := range cases {
		want := parse(c.want)
		quiet(want, parse(live))
		label, _, _ := unstructured.NestedString(want.Object, "spec", "template", "metadata", "labels", "release")
		list, _, _ := unstructured.NestedSlice(want.Object, "spec", "template", "spec", "containers")
		order := ""
		for _, e := range list[0].(map[string]any)["env"].([]any) {
			order += e.(map[string]any)["name"].(string)
		}
		if label != c.label || order != c.order {
			t.Errorf("%s: label %q, order %q; want %q, %q", c.reason, label, order, c.label, c.order)
		}
	}
}

func TestWhatAKindLacks(t *testing.T) {
	cases := []struct{ reason, want, have, lacks string }{
		{"the same", `{a: {type: string}}`, `{a: {type: string}}`, ""},
		{"words for people differ", `{a: {type: string, description: x}}`, `{a: {type: string}}`, ""},
		{"more is there", `{a: {enum: [x]}}`, `{a: {enum: [x, z]}, b: {}}`, ""},
		{"a field is missing", `{a: {type: string}, b: {type: string}}`, `{a: {type: string}}`, "b"},
		{"a value is missing", `{a: {enum: [x, y]}}`, `{a: {enum: [x]}}`, "a.enum"},
		{"of another type", `{a: {type: string}}`, `{a: {type: integer}}`, "a.type"},
	}
	for _, c := range cases {
		if got := lacking(parse(`{apiVersion: v1, kind: X, x: ` + c.want + `}`).Object["x"], parse(`{apiVersion: v1, kind: X, x: ` + c.have + `}`).Object["x"], ""); got != c.lacks {
			t.Errorf("%s: lacks %q, want %q", c.reason, got, c.lacks)
		}
	}
}
