package plan

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"isthmus.dev/isthmus/internal/object"
)

func managed(name string, op metav1.ManagedFieldsOperationType, at time.Time, fields string) metav1.ManagedFieldsEntry {
	when := metav1.NewTime(at)
	return metav1.ManagedFieldsEntry{Manager: name, Operation: op, Time: &when, FieldsV1: metav1.NewFieldsV1(fields)}
}

const (
	ourPorts   = `{"f:spec": {"f:type": {}, "f:ports": {"k:{\"port\":443,\"protocol\":\"TCP\"}": {".": {}, "f:name": {}, "f:port": {}}}}}`
	otherPorts = `{"f:spec": {"f:ports": {"k:{\"port\":444,\"protocol\":\"TCP\"}": {".": {}, "f:name": {}, "f:port": {}}}}}`
)

func TestDiff(t *testing.T) {
	edited := now.Add(-12 * time.Minute)
	cases := []struct {
		reason     string
		want, live string
		ours       string
		other      string // fields of kubectl-edit
		changed    bool
		diffs      []FieldDiff
		reclaims   int
	}{
		{
			reason: "what is ours cannot have drifted, however the API server writes it",
			want:   `{kind: ConfigMap, data: {cpu: "1000m"}}`, live: `{kind: ConfigMap, data: {cpu: "other form"}}`, ours: `{"f:data": {"f:cpu": {}}}`,
		},
		{
			reason: "what somebody else set to what we want is as it should be",
			want:   `{kind: ConfigMap, data: {a: x}}`, live: `{kind: ConfigMap, data: {a: x}}`, ours: `{}`, other: `{"f:data": {"f:a": {}}}`,
		},
		{
			reason: "what somebody else set otherwise has drifted",
			want:   `{kind: ConfigMap, data: {a: x}}`, live: `{kind: ConfigMap, data: {a: q}}`, ours: `{}`, other: `{"f:data": {"f:a": {}}}`,
			diffs: []FieldDiff{{Path: "data.a", From: "q", To: "x", By: "kubectl-edit", At: edited}},
		},
		{
			reason: "what was taken away is missing",
			want:   `{kind: ConfigMap, data: {a: x, b: z}}`, live: `{kind: ConfigMap, data: {b: z}}`, ours: `{"f:data": {"f:b": {}}}`,
			diffs: []FieldDiff{{Path: "data.a", To: "x"}},
		},
		{
			reason: "an empty value that the API server leaves out is not missing",
			want:   `{kind: Deployment, metadata: {annotations: {}}, spec: {list: [], nothing: null, deep: {map: {}}}}`, live: `{kind: Deployment, spec: {replicas: 1}}`, ours: `{}`,
		},
		{
			reason: "defaults beside what is wanted are nobody's business",
			want:   `{kind: Service, spec: {type: ClusterIP, ports: [{name: a, port: 443}]}}`,
			live:   `{kind: Service, spec: {type: ClusterIP, clusterIP: 10.0.0.1, ports: [{name: a, port: 443, protocol: TCP, targetPort: 443}]}}`, ours: ourPorts,
		},
		{
			reason: "a port under another number is the same port, changed",
			want:   `{kind: Service, spec: {ports: [{name: a, port: 443}]}}`, live: `{kind: Service, spec: {ports: [{name: a, port: 444, protocol: TCP}]}}`,
			ours: `{"f:spec": {"f:type": {}}}`, other: otherPorts,
			diffs: []FieldDiff{{Path: "spec.ports[name=a].port", From: "444", To: "443", By: "kubectl-edit", At: edited}}, reclaims: 1,
		},
		{
			reason: "and stays so when only its ownership was reclaimed before a crash",
			want:   `{kind: Service, spec: {ports: [{name: a, port: 443}]}}`, live: `{kind: Service, spec: {ports: [{name: a, port: 444, protocol: TCP}]}}`,
			ours:  otherPorts,
			diffs: []FieldDiff{{Path: "spec.ports[name=a].port", From: "444", To: "443"}}, reclaims: 1,
		},
		{
			reason: "a port that somebody added is left alone",
			want:   `{kind: Service, spec: {ports: [{name: a, port: 443}]}}`, live: `{kind: Service, spec: {ports: [{name: a, port: 443}, {name: b, port: 444}]}}`,
			ours: ourPorts, other: otherPorts,
		},
		{
			reason: "a list that is one value is compared as one",
			want:   `{kind: ClusterRole, rules: [{verbs: [get]}]}`, live: `{kind: ClusterRole, rules: [{verbs: [get, list]}]}`, ours: `{}`, other: `{"f:rules": {}}`,
			diffs: []FieldDiff{{Path: "rules", From: `[{"verbs":["get","list"]}]`, To: `[{"verbs":["get"]}]`, By: "kubectl-edit", At: edited}},
		},
		{
			reason: "a set lacks an item",
			want:   `{kind: X, metadata: {finalizers: [a, b]}}`, live: `{kind: X, metadata: {finalizers: [a]}}`, ours: `{"f:metadata": {"f:finalizers": {"v:\"a\"": {}}}}`,
			diffs: []FieldDiff{{Path: `metadata.finalizers[1]`, To: "b"}},
		},
		{
			reason: "a map that is one value is compared as one",
			want:   `{kind: Service, spec: {selector: {app: a}}}`, live: `{kind: Service, spec: {selector: {app: b}}}`, ours: `{}`, other: `{"f:spec": {"f:selector": {}}}`,
			diffs: []FieldDiff{{Path: "spec.selector", From: `{"app":"b"}`, To: `{"app":"a"}`, By: "kubectl-edit", At: edited}},
		},
		{
			reason: "wanted otherwise than last time: changes, and what goes",
			want:   `{kind: ConfigMap, data: {a: new}}`, live: `{kind: ConfigMap, data: {a: old, b: gone, c: theirs}}`,
			ours: `{"f:data": {"f:a": {}, "f:b": {}}}`, other: `{"f:data": {"f:c": {}}}`, changed: true,
			diffs: []FieldDiff{{Path: "data.a", From: "old", To: "new"}, {Path: "data.b", From: "gone"}},
		},
		{
			reason: "the same quantity in other words is no change",
			want:   `{kind: Deployment, spec: {cpu: "1000m", memory: 2048Mi, n: 1}}`, live: `{kind: Deployment, spec: {cpu: "1", memory: 2Gi, n: 1.0}}`,
			ours: `{"f:spec": {"f:cpu": {}, "f:memory": {}, "f:n": {}}}`, changed: true,
		},
		{
			reason: "a Secret's values are hidden, its labels are not",
			want:   `{kind: Secret, metadata: {labels: {a: x}}, data: {k: c2VjcmV0}}`, live: `{kind: Secret, metadata: {labels: {a: q}}, data: {k: "sha256:1"}}`, ours: `{}`,
			diffs: []FieldDiff{{Path: "data.k", From: "(hidden)", To: "(hidden)"}, {Path: "metadata.labels.a", From: "q", To: "x"}},
		},
		{
			reason: "istiod keeps its webhook's policy",
			want:   `{kind: ValidatingWebhookConfiguration, webhooks: [{name: a, failurePolicy: Ignore}]}`, live: `{kind: ValidatingWebhookConfiguration, webhooks: [{name: a, failurePolicy: Fail}]}`,
			ours:  `{"f:webhooks": {"k:{\"name\":\"a\"}": {".": {}, "f:name": {}}}}`,
			diffs: []FieldDiff{{Path: "webhooks[name=a].failurePolicy", From: "Fail", To: "Ignore"}},
		},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			live := parse("{apiVersion: v1, " + c.live[1:])
			entries := []metav1.ManagedFieldsEntry{managed(object.Manager, metav1.ManagedFieldsOperationApply, now, c.ours)}
			if c.other != "" {
				entries = append(entries, managed("kubectl-edit", metav1.ManagedFieldsOperationUpdate, edited, c.other))
			}
			live.SetManagedFields(entries)
			ours, others, err := (&prepared{}).managers(live)
			if err != nil {
				t.Fatal(err)
			}
			want := parse("{apiVersion: v1, " + c.want[1:])
			d := differ{kind: want.GetKind(), secret: want.GetKind() == "Secret", changed: c.changed}
			d.object(cursor{ours: ours, others: others}, want.Object, live.Object)
			if c.changed {
				d.gone("", ours, want.Object, live.Object)
			}
			if diff := cmp.Diff(c.diffs, d.diffs); diff != "" {
				t.Errorf("diffs (-want +got):\n%s", diff)
			}
			if len(d.reclaim) != c.reclaims {
				t.Errorf("%d items are reclaimed, want %d", len(d.reclaim), c.reclaims)
			}
		})
	}
}

func TestKeepers(t *testing.T) {
	cases := []struct {
		reason, kind, path, manager string
		want                        bool
	}{
		{"istiod turns its webhook on", "ValidatingWebhookConfiguration", "webhooks[name=a].failurePolicy", "pilot-discovery", true},
		{"a person does not", "ValidatingWebhookConfiguration", "webhooks[name=a].failurePolicy", "kubectl-edit", false},
		{"istiod does not choose whom it serves", "MutatingWebhookConfiguration", "webhooks[name=a].rules", "pilot-discovery", false},
		{"an autoscaler scales", "Deployment", "spec.replicas", "kube-controller-manager", true},
		{"a person who scales is overruled", "Deployment", "spec.replicas", "kubectl", false},
	}
	for _, c := range cases {
		if got := yields(c.kind, c.path, c.manager); got != c.want {
			t.Errorf("%s: %t, want %t", c.reason, got, c.want)
		}
	}
}

func TestReclaimed(t *testing.T) {
	entries := []metav1.ManagedFieldsEntry{
		managed(object.Manager, metav1.ManagedFieldsOperationApply, now, `{"f:spec":{"f:type":{}}}`),
		managed("kubectl-edit", metav1.ManagedFieldsOperationUpdate, now, otherPorts),
		managed("kubectl-label", metav1.ManagedFieldsOperationUpdate, now, `{"f:metadata":{"f:labels":{"f:a":{}}}}`),
	}
	port := fieldpath.MakePathOrDie("spec", "ports", fieldpath.KeyByFields("port", 444, "protocol", "TCP"))
	got, err := Reclaimed(entries, []fieldpath.Path{port})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Manager != object.Manager || got[1].Manager != "kubectl-label" {
		t.Fatalf("managers: %+v", got)
	}
	want := `{"f:spec":{"f:ports":{"k:{\"port\":444,\"protocol\":\"TCP\"}":{".":{},"f:name":{},"f:port":{}}},"f:type":{}}}`
	if raw := got[0].FieldsV1.GetRawString(); raw != want {
		t.Errorf("ours:\n%s\nwant:\n%s", raw, want)
	}
	if same, err := Reclaimed(entries, nil); err != nil || len(same) != 3 {
		t.Errorf("nothing to reclaim changes %v, %v", same, err)
	}
}

func TestReady(t *testing.T) {
	cases := []struct {
		reason, given string
		ready         bool
	}{
		{"a LoadBalancer waits for its address", `{apiVersion: v1, kind: Service, spec: {type: LoadBalancer}}`, false},
		{"a host name is an address", `{apiVersion: v1, kind: Service, spec: {type: LoadBalancer}, status: {loadBalancer: {ingress: [{hostname: a.example}]}}}`, true},
		{"so is an external one", `{apiVersion: v1, kind: Service, spec: {type: LoadBalancer, externalIPs: [192.0.2.1]}}`, true},
		{"a ClusterIP needs none", `{apiVersion: v1, kind: Service, spec: {type: ClusterIP}}`, true},
		{"a webhook without istiod's CA", `{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingWebhookConfiguration, webhooks: [{name: a, clientConfig: {service: {name: istiod}}}]}`, false},
		{"a webhook by URL has none", `{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingWebhookConfiguration, webhooks: [{name: a, clientConfig: {url: "https://x"}}]}`, true},
		{"a Deployment that nobody has seen", `{apiVersion: apps/v1, kind: Deployment, metadata: {generation: 1}, spec: {replicas: 1}}`, false},
		{"a ConfigMap is ready", `{apiVersion: v1, kind: ConfigMap}`, true},
	}
	for _, c := range cases {
		if got, _, why := Ready(parse(c.given)); got != c.ready || !got && why == "" {
			t.Errorf("%s: %t (%s), want %t", c.reason, got, why, c.ready)
		}
	}
}
