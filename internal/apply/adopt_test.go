package apply_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/apply"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/plan"
)

// applied is an object that somebody applies server-side, and by force.
func applied(t *testing.T, name, manager, text string) {
	t.Helper()
	u := body(t, text)
	c := conn(t, name)
	r, err := c.Resource(u.GroupVersionKind(), u.GetNamespace())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Apply(t.Context(), u.GetName(), u, metav1.ApplyOptions{FieldManager: manager, Force: true}); err != nil {
		t.Fatal(err)
	}
}

func managersOf(u *unstructured.Unstructured) []string {
	var all []string
	for _, e := range u.GetManagedFields() {
		if e.Subresource == "" && !slices.Contains(all, e.Manager) {
			all = append(all, e.Manager)
		}
	}
	return all
}

// installations are ways in which an object came to be there before Isthmus.
var installations = []struct {
	reason, manager, marks string
	make                   func(t *testing.T, name, manager, text string)
}{
	{"istioctl, server-side", "istio-operator", `labels: {operator.istio.io/managed: Reconcile, operator.istio.io/component: Pilot}`, applied},
	{"Helm 3, by create", "helm", `labels: {app.kubernetes.io/managed-by: Helm}, annotations: {meta.helm.sh/release-name: istiod, meta.helm.sh/release-namespace: NS}`, create},
	{"Helm 4, server-side", "helm", `labels: {app.kubernetes.io/managed-by: Helm}, annotations: {meta.helm.sh/release-name: istiod, meta.helm.sh/release-namespace: NS}`, applied},
	{"Helm as a library of another program", "terraform-provider-helm_v3", `annotations: {meta.helm.sh/release-name: istiod, meta.helm.sh/release-namespace: NS}`, create},
}

// TestTakingOver: what an installer left becomes ours without a change that restarts anything, what it set and nobody
// wants goes, what a controller set stays, and nothing of its ownership is left that would keep a field alive.
func TestTakingOver(t *testing.T) {
	for i, in := range installations {
		t.Run(in.reason, func(t *testing.T) {
			ns := "taken-" + string(rune('a'+i))
			text := func(s string) string { return strings.NewReplacer("MARKS", in.marks, "NS", ns).Replace(s) }
			b := newBench(t, ns)
			create(t, "east", "kubectl-create", text(`{apiVersion: v1, kind: Namespace, metadata: {name: NS}}`))
			const deployment = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: istiod, namespace: NS, MARKS}, spec: {selector: {matchLabels: {app: istiod}}, template: {metadata: {labels: {app: istiod, app.kubernetes.io/instance: INSTANCE}}, spec: {containers: [{name: discovery, image: "hub.test/pilot:1", env: [ENV], ports: [{containerPort: 8080}]}]}}}}`
			in.make(t, "east", in.manager, text(strings.NewReplacer("INSTANCE", "istiod", "ENV", `{name: B, value: "2"}, {name: A, value: "1"}`).Replace(deployment)))
			in.make(t, "east", in.manager, text(`{apiVersion: v1, kind: ConfigMap, metadata: {name: istio, namespace: NS, MARKS}, data: {mesh: "a: b", old: gone}}`))
			patch(t, "east", ref("", "ConfigMap", ns, "istio"), "some-controller", `{"data": {"theirs": "stays"}}`)

			b.want = object.Objects{}
			want := func(s string) {
				b.want.Add("east", object.Object{Part: object.PartControlPlane, Reason: "for a test", Body: body(t, text(s))})
			}
			want(strings.NewReplacer(", MARKS", "", "INSTANCE", "istio", "ENV", `{name: A, value: "1"}, {name: B, value: "2"}`).Replace(deployment))
			want(`{apiVersion: v1, kind: ConfigMap, metadata: {name: istio, namespace: NS}, data: {mesh: "a: b"}}`)

			if p := b.mustPlan(); len(p.Conflicts) != 2 || !strings.Contains(p.Conflicts[0].Do, "--adopt") {
				t.Fatalf("without being asked: %+v", p.Conflicts)
			}
			before := get(t, "east", ref("apps", "Deployment", ns, "istiod"))
			b.take = plan.Options{Adopt: true}
			p := b.mustPlan()
			for _, c := range changes(p) {
				if len(c.Impact) > 0 {
					t.Errorf("%s: %q: %+v", c.Object, c.Impact, c.Fields)
				}
			}
			if _, err := b.apply(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			after := get(t, "east", ref("apps", "Deployment", ns, "istiod"))
			if was, is := marshal(t, before.Object["spec"]), marshal(t, after.Object["spec"]); was != is {
				t.Errorf("the Deployment's spec changed:\n%s\n%s", was, is)
			}
			cm := get(t, "east", ref("", "ConfigMap", ns, "istio"))
			if data := cm.Object["data"].(map[string]any); data["old"] != nil || data["theirs"] != "stays" {
				t.Errorf("data %v: want what the installer set gone, and what a controller set there", data)
			}
			for _, u := range []*unstructured.Unstructured{after, cm} {
				if who := managersOf(u); slices.Contains(who, in.manager) || !slices.Contains(who, object.Manager) {
					t.Errorf("%s is kept by %v", u.GetKind(), who)
				}
			}
			b.take = plan.Options{}
			if n := b.mustPlan().Writes(); n != 0 {
				t.Errorf("%d changes are left: %v", n, changes(b.mustPlan()))
			}
		})
	}
}

// TestWhoAppliesAgainIsNotFought: a person's edit is mended, but a field that another applier keeps is a conflict with
// its owner's name, until it is named.
func TestWhoAppliesAgainIsNotFought(t *testing.T) {
	b := newBench(t, "applier")
	b.small()
	b.converge()
	config := ref("", "ConfigMap", "applier", "istio")
	edit := `{apiVersion: v1, kind: ConfigMap, metadata: {name: istio, namespace: applier}, data: {mesh: other}}`
	applied(t, "east", "kubectl", edit)
	if c := only(t, b.mustPlan(), "east "+config.String()); c.Action != plan.Configure {
		t.Errorf("an edit with kubectl apply --server-side: %s, want it mended", c.Action)
	}
	b.converge()
	applied(t, "east", "kustomize-controller", edit)
	p := b.mustPlan()
	if len(p.Conflicts) != 1 || p.Conflicts[0].Owner != "kustomize-controller" || !strings.Contains(p.Conflicts[0].Why, "data.mesh") {
		t.Fatalf("conflicts %+v", p.Conflicts)
	}
	var conflict *apply.ConflictError
	if _, err := b.apply(t.Context(), p); !errors.As(err, &conflict) {
		t.Fatalf("apply: %v, want a conflict", err)
	}
	for _, name := range []string{"kustomize-controller", config.String(), plan.TakeOverAll} {
		b.take = plan.Options{TakeOver: []string{name}}
		if p := b.mustPlan(); len(p.Conflicts) != 0 || p.Writes() != 1 {
			t.Errorf("--take-over=%s: conflicts %v, %d writes", name, p.Conflicts, p.Writes())
		}
	}
	b.converge()
	b.take = plan.Options{}
	if n := b.mustPlan().Writes(); n != 0 {
		t.Errorf("%d changes are left", n)
	}
}

// TestKindsOfOthersStayTheirs: a CRD that another owner keeps is left to it where it serves what is wanted, also when it
// is newer, and is in the way where it does not.
func TestKindsOfOthersStayTheirs(t *testing.T) {
	const crd = `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: things.NS.istio.io, annotations: {meta.helm.sh/release-name: istio-base}},
      spec: {group: NS.istio.io, scope: Namespaced, names: {kind: Thing, plural: things}, versions: [{name: v1, served: true, storage: true,
      schema: {openAPIV3Schema: {type: object, properties: {PROPERTIES}}}}]}}`
	cases := []struct{ reason, theirs, ours, conflict string }{
		{"the same", "a: {type: string}", "a: {type: string}", ""},
		{"newer", "a: {type: string}, b: {type: string}", "a: {type: string}", ""},
		{"older", "a: {type: string}", "a: {type: string}, b: {type: string}", "lacks v1.schema.properties.b"},
		{"another", "a: {type: integer}", "a: {type: string}", "lacks v1.schema.properties.a.type"},
	}
	for i, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			ns := "kinds-" + string(rune('a'+i))
			b := newBench(t, ns)
			create(t, "east", "helm", strings.NewReplacer("NS", ns, "PROPERTIES", c.theirs).Replace(crd))
			b.want = object.Objects{}
			b.want.Add("east", object.Object{Part: object.PartControlPlane, Reason: "for a test", Body: body(t, strings.NewReplacer("NS", ns, "PROPERTIES", c.ours, "annotations: {meta.helm.sh/release-name: istio-base}", "").Replace(crd))})
			p := b.mustPlan()
			if c.conflict != "" {
				if len(p.Conflicts) != 1 || !strings.Contains(p.Conflicts[0].Why, c.conflict) || p.Conflicts[0].Owner != "helm:istio-base" {
					t.Errorf("conflicts %+v, want one that says %q", p.Conflicts, c.conflict)
				}
				return
			}
			if len(p.Conflicts) != 0 {
				t.Fatalf("conflicts %+v", p.Conflicts)
			}
			if _, err := b.apply(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			live := get(t, "east", ref("apiextensions.k8s.io", "CustomResourceDefinition", "", "things."+ns+".istio.io"))
			if slices.Contains(managersOf(live), object.Manager) || live.GetLabels()[object.LabelMesh] != "" {
				t.Errorf("it was written: %v, %v", managersOf(live), live.GetLabels())
			}
			if n := b.mustPlan().Writes(); n != 0 {
				t.Errorf("%d changes are left", n)
			}
		})
	}
}
