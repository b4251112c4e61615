package apply_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/apply"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/plan"
)

func ref(group, kind, namespace, name string) object.Ref {
	return object.Ref{Group: group, Kind: kind, Namespace: namespace, Name: name}
}

// changes are the plan's changes that write, by "cluster object".
func changes(p plan.Plan) map[string]plan.Change {
	all := map[string]plan.Change{}
	for _, w := range p.Waves {
		for _, c := range w.Changes {
			if c.Action != plan.Unchanged {
				all[c.Cluster+" "+c.Object.String()] = c
			}
		}
	}
	return all
}

func only(t *testing.T, p plan.Plan, want string) plan.Change {
	t.Helper()
	all := changes(p)
	c, ok := all[want]
	if !ok || len(all) != 1 {
		var got []string
		for k, c := range all {
			got = append(got, string(c.Action)+" "+k)
		}
		slices.Sort(got)
		t.Fatalf("the plan changes %q, want only %s", got, want)
	}
	return c
}

// drifts are edits that somebody else makes to what Isthmus applied.
var drifts = []struct {
	reason  string
	object  object.Ref
	manager string
	patch   string
	// path, from and to are the FieldDiff that the plan shows; none: the edit is nobody's business.
	path, from, to string
	impact         string
}{
	{
		reason: "a port of a keyed list, edited by hand", object: ref("", "Service", "drift", "gateway"), manager: "kubectl-edit",
		patch: `{"spec": {"ports": [{"name": "tls", "port": 15444, "protocol": "TCP", "targetPort": 15443}, {"name": "status", "port": 15021, "targetPort": 15021, "protocol": "TCP"}]}}`,
		path:  "spec.ports[name=tls].port", from: "15444", to: "15443",
	},
	{
		reason: "a value of a ConfigMap", object: ref("", "ConfigMap", "drift", "istio"), manager: "kubectl-edit",
		patch: `{"data": {"mesh": "a: c\n"}}`, path: "data.mesh", from: "a: c", to: "a: b c: d",
	},
	{
		reason: "a label taken away", object: ref("", "Namespace", "", "drift"), manager: "kubectl-label",
		patch: `{"metadata": {"labels": {"topology.istio.io/network": null}}}`, path: "metadata.labels.topology.istio.io/network", from: "", to: "east",
	},
	{
		reason: "a whole atomic list", object: ref("rbac.authorization.k8s.io", "ClusterRole", "", "istiod-drift"), manager: "kubectl-edit",
		patch: `{"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}`, path: "rules",
		from: `[{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}]`, to: `[{"apiGroups":[""],"resources":["pods","nodes"],"verbs":["get","list"]}]`,
	},
	{
		reason: "an image, which restarts pods", object: ref("apps", "Deployment", "drift", "istiod"), manager: "kubectl-set",
		patch: `{"spec": {"template": {"spec": {"containers": [{"name": "discovery", "image": "hub.test/pilot:1.0", "env": [{"name": "CLUSTER_ID", "value": "east"}]}]}}}}`,
		path:  "spec.template.spec.containers[name=discovery].image", from: "hub.test/pilot:1.0", to: "hub.test/pilot:1.31.1",
		impact: "restarts istiod (1 pod)",
	},
	{
		reason: "an object of a kind without a schema of its own", object: ref("drift.istio.io", "Thing", "drift", "a"), manager: "kubectl-edit",
		patch: `{"spec": {"size": 4}}`, path: "spec.size", from: "4", to: "3",
	},
	{
		reason: "a field that nobody wanted to be anything", object: ref("", "ConfigMap", "drift", "istio"), manager: "kubectl-edit",
		patch: `{"data": {"mine": "x"}, "metadata": {"labels": {"team": "a"}}}`,
	},
	{
		reason: "istiod serves its webhook now", object: ref("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", "", "istiod-drift"), manager: "pilot-discovery",
		patch: `{"webhooks": [{"name": "rev.validation.istio.io", "sideEffects": "None", "admissionReviewVersions": ["v1"], "failurePolicy": "Fail", "clientConfig": {"caBundle": "` + testCA + `", "service": {"name": "istiod", "namespace": "drift", "path": "/validate"}}, "rules": [{"operations": ["CREATE"], "apiGroups": ["none.istio.io"], "apiVersions": ["*"], "resources": ["*"]}]}]}`,
	},
	{
		reason: "the same field, changed by a person", object: ref("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", "", "istiod-drift"), manager: "kubectl-edit",
		patch: `{"webhooks": [{"name": "rev.validation.istio.io", "sideEffects": "None", "admissionReviewVersions": ["v1"], "failurePolicy": "Ignore", "clientConfig": {"caBundle": "` + testCA + `", "service": {"name": "other", "namespace": "drift", "path": "/validate"}}, "rules": [{"operations": ["CREATE"], "apiGroups": ["none.istio.io"], "apiVersions": ["*"], "resources": ["*"]}]}]}`,
		path:  "webhooks[name=rev.validation.istio.io].clientConfig.service.name", from: "other", to: "istiod",
	},
}

func TestDriftIsShownAndMended(t *testing.T) {
	b := newBench(t, "drift")
	b.converge()
	for _, d := range drifts {
		t.Run(d.reason, func(t *testing.T) {
			patch(t, "east", d.object, d.manager, d.patch)
			p := b.mustPlan()
			if d.path == "" {
				if n := p.Writes(); n != 0 {
					t.Fatalf("%d changes, want none: %v", n, changes(p))
				}
				return
			}
			c := only(t, p, "east "+d.object.String())
			i := slices.IndexFunc(c.Fields, func(f plan.FieldDiff) bool { return f.Path == d.path })
			if c.Action != plan.Configure || i < 0 {
				t.Fatalf("%s with %+v; want configure with %s", c.Action, c.Fields, d.path)
			}
			if f := c.Fields[i]; f.From != d.from || f.To != d.to {
				t.Errorf("%s: %q → %q, want %q → %q", f.Path, f.From, f.To, d.from, d.to)
			}
			if f := c.Fields[i]; f.From != "" && (f.By != d.manager || f.At.IsZero()) {
				t.Errorf("%s was changed by %q at %v, want %s", f.Path, f.By, f.At, d.manager)
			}
			if d.impact != "" && !slices.Contains(c.Impact, d.impact) {
				t.Errorf("impact %q, want %q", c.Impact, d.impact)
			}
			if _, err := b.apply(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			if n := b.mustPlan().Writes(); n != 0 {
				t.Errorf("%d changes are left after it was mended: %v", n, changes(b.mustPlan()))
			}
		})
	}
	if u := get(t, "east", ref("", "ConfigMap", "drift", "istio")); u.Object["data"].(map[string]any)["mine"] != "x" {
		t.Error("a field that is somebody else's was taken away")
	}
	u := get(t, "east", ref("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", "", "istiod-drift"))
	hooks := u.Object["webhooks"].([]any)[0].(map[string]any)
	if hooks["clientConfig"].(map[string]any)["caBundle"] == nil {
		t.Error("mending the webhook took its CA away, which is istiod's")
	}
}

func TestWhatIsNotOursIsRefused(t *testing.T) {
	b := newBench(t, "foreign")
	create(t, "west", "kubectl-create", `{apiVersion: v1, kind: Namespace, metadata: {name: foreign, labels: {team: x}}}`)
	create(t, "west", "kubectl-create", `{apiVersion: v1, kind: ConfigMap, metadata: {name: istio, namespace: foreign}, data: {mine: x}}`)
	create(t, "west", "helm", `{apiVersion: v1, kind: Secret, metadata: {name: cacerts, namespace: foreign, annotations: {meta.helm.sh/release-name: base}}, data: {}}`)
	p := b.mustPlan()
	var got []string
	for _, c := range p.Conflicts {
		got = append(got, c.String())
	}
	want := []string{
		"cluster west: ConfigMap foreign/istio exists and is not Isthmus's (kubectl-create)",
		"cluster west: Secret foreign/cacerts is a certificate authority that Isthmus did not make: workloads trust its root, and would refuse those of another",
	}
	if !slices.Equal(got, want) {
		t.Errorf("conflicts %q, want %q", got, want)
	}
	before := b.versions()
	_, err := b.apply(t.Context(), p)
	if _, ok := errors.AsType[*apply.ConflictError](err); !ok {
		t.Fatalf("apply: %v, want a refusal", err)
	}
	if after := b.versions(); len(after) != len(before) || len(before) == 0 {
		t.Errorf("objects before %v, after %v", before, after)
	}
}

func TestNamespacesAreAdoptedAndNeverDeleted(t *testing.T) {
	b := newBench(t, "adopted")
	create(t, "west", "kubectl-create", `{apiVersion: v1, kind: Namespace, metadata: {name: adopted, labels: {team: x}}}`)
	b.converge()
	u := get(t, "west", ref("", "Namespace", "", "adopted"))
	if u.GetLabels()["topology.istio.io/network"] != "west" || u.GetLabels()["team"] != "x" {
		t.Errorf("labels of the adopted namespace: %v", u.GetLabels())
	}
	b.want = object.Objects{}
	b.converge()
	if u := get(t, "west", ref("", "Namespace", "", "adopted")); u == nil || u.GetDeletionTimestamp() != nil {
		t.Error("a namespace that was there before is gone")
	} else if _, labelled := u.GetLabels()[object.LabelMesh]; labelled || u.GetLabels()["team"] != "x" || len(u.GetAnnotations()) > 0 {
		t.Errorf("its labels are %v, its annotations %v; want only the team's", u.GetLabels(), u.GetAnnotations())
	}
	if u := get(t, "east", ref("", "Namespace", "", "adopted")); u != nil && u.GetDeletionTimestamp() == nil {
		t.Error("a namespace that Isthmus made stays")
	}
	if n := b.mustPlan().Writes(); n != 0 {
		t.Errorf("%d changes after everything was removed: %v", n, changes(b.mustPlan()))
	}
}

func TestAdoptingOverrulesNobody(t *testing.T) {
	b := newBench(t, "overruled")
	create(t, "east", "kubectl-create", `{apiVersion: v1, kind: Namespace, metadata: {name: overruled, labels: {topology.istio.io/network: mine}}}`)
	p := b.mustPlan()
	want := "cluster east: Namespace overruled has metadata.labels.topology.istio.io/network mine, set by kubectl-create, and east is wanted"
	if len(p.Conflicts) != 1 || p.Conflicts[0].String() != want {
		t.Errorf("conflicts %v, want %s", p.Conflicts, want)
	}
}

func TestWhatIsNoLongerWantedIsPruned(t *testing.T) {
	b := newBench(t, "pruned")
	b.converge()
	gone := ref("", "Service", "pruned", "gateway")
	b.want["east"] = slices.DeleteFunc(b.want["east"], func(o object.Object) bool { return o.Ref() == gone })
	p := b.mustPlan()
	all := changes(p)
	if c := all["east "+gone.String()]; c.Action != plan.Delete || len(all) != 2 {
		t.Fatalf("changes %v, want one deletion and the inventory", all)
	}
	if _, err := b.apply(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if b.get("east", gone) != nil {
		t.Error("it is still there")
	}
	if b.get("west", gone) == nil {
		t.Error("the other cluster's is gone too")
	}
	inventory := b.get("east", ref("", "ConfigMap", object.SystemNamespace, "isthmus-inventory-pruned"))
	if text, _, _ := unstructured.NestedString(inventory.Object, "data", "objects"); strings.Contains(text, "gateway") {
		t.Errorf("the inventory still lists it:\n%s", text)
	}
}

func TestWhatCannotBeChangedIsReplaced(t *testing.T) {
	b := newBench(t, "replaced")
	b.converge()
	for _, o := range b.want["east"] {
		if o.Body.GetKind() == "ClusterRoleBinding" {
			_ = unstructured.SetNestedField(o.Body.Object, "view", "roleRef", "name")
		}
		if o.Body.GetKind() == "Deployment" {
			_ = unstructured.SetNestedField(o.Body.Object, "b", "spec", "selector", "matchLabels", "new")
			_ = unstructured.SetNestedField(o.Body.Object, "b", "spec", "template", "metadata", "labels", "new")
		}
	}
	p := b.mustPlan()
	for k, c := range changes(p) {
		if c.Action != plan.Replace || !strings.Contains(c.Reason, "cannot be changed in place") {
			t.Errorf("%s: %s, %s; want replace", k, c.Action, c.Reason)
		}
	}
	if n := p.Counts()[plan.Replace]; n != 2 {
		t.Errorf("%d are replaced, want 2", n)
	}
	if _, err := b.apply(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	u := b.get("east", ref("rbac.authorization.k8s.io", "ClusterRoleBinding", "", "istiod-replaced"))
	if name, _, _ := unstructured.NestedString(u.Object, "roleRef", "name"); name != "view" {
		t.Errorf("roleRef is %q", name)
	}
	if n := b.mustPlan().Writes(); n != 0 {
		t.Errorf("%d changes are left: %v", n, changes(b.mustPlan()))
	}
}

func TestASealedSecretKeepsItsContentWhenItsLabelsChange(t *testing.T) {
	b := newBench(t, "kept")
	b.converge()
	key := ref("", "Secret", "kept", "remote")
	before := b.get("east", key).Object["data"]
	for _, o := range b.want["east"] {
		if o.Ref() == key {
			o.Body.SetLabels(map[string]string{"istio/multiCluster": "true", "more": "x"})
		}
	}
	p := b.mustPlan()
	if c := only(t, p, "east "+key.String()); c.Seal {
		t.Error("its content would be made anew")
	}
	sealed := b.sealN
	if _, err := b.apply(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	u := b.get("east", key)
	if u.GetLabels()["more"] != "x" || b.sealN != sealed || before == nil || before.(map[string]any)["key"] != u.Object["data"].(map[string]any)["key"] {
		t.Errorf("labels %v, sealed %d times more, content kept: %v", u.GetLabels(), b.sealN-sealed, before != nil)
	}
	if strings.Contains(b.all.String(), canary) {
		t.Error("an event holds secret content")
	}
}

// testCA is a certificate in PEM, in base64, as caBundle wants it.
var testCA = makeCA()
