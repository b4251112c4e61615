package apply_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"isthmus.dev/isthmus/internal/object"
)

// refusals are objects that a real API server, its etcd or a webhook of it will not take, and what a person must read.
var refusals = []struct {
	reason string
	before string // made by somebody else first
	object string
	says   []string
}{
	{
		reason: "a field that the API server refuses",
		object: `{apiVersion: v1, kind: Service, metadata: {name: refused, namespace: NS}, spec: {ports: [{name: a, port: 70000}]}}`,
		says:   []string{"cluster east: apply Service NS/refused: ", "the API server refuses spec.ports[0].port: ", "between 1 and 65535"},
	},
	{
		reason: "a field that the kind does not have",
		object: `{apiVersion: v1, kind: ConfigMap, metadata: {name: refused, namespace: NS}, dota: {a: b}}`,
		says:   []string{"apply ConfigMap NS/refused: ", "does not know the field dota"},
	},
	{
		reason: "more annotations than an object may have",
		object: `{apiVersion: v1, kind: ConfigMap, metadata: {name: refused, namespace: NS, annotations: {a: "` + strings.Repeat("x", 300<<10) + `"}}}`,
		says:   []string{"apply ConfigMap NS/refused: ", "larger than 256 KiB", "annotations"},
	},
	{
		reason: "more data than a ConfigMap may have",
		object: `{apiVersion: v1, kind: ConfigMap, metadata: {name: refused, namespace: NS}, data: {a: "` + strings.Repeat("x", 1100<<10) + `"}}`,
		says:   []string{"apply ConfigMap NS/refused: ", "larger than 1 MiB"},
	},
	{
		reason: "more than an API server takes at all",
		object: `{apiVersion: v1, kind: ConfigMap, metadata: {name: refused, namespace: NS}, data: {a: "` + strings.Repeat("x", 4<<20) + `"}}`,
		says:   []string{"apply ConfigMap NS/refused: ", "larger than 3 MiB"},
	},
	{
		reason: "a webhook that is down",
		before: `{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: gone-NS}, webhooks: [{name: gone.webhook.test, sideEffects: None, timeoutSeconds: 1,
		  admissionReviewVersions: [v1], failurePolicy: Fail, clientConfig: {caBundle: "` + testCA + `", service: {name: nobody, namespace: NS, path: /v}},
		  rules: [{operations: ["*"], apiGroups: [""], apiVersions: ["*"], resources: [configmaps]}], namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NS}}}]}`,
		object: `{apiVersion: v1, kind: ConfigMap, metadata: {name: refused, namespace: NS}}`,
		says: []string{
			"apply ConfigMap NS/refused: ", "webhook gone.webhook.test does not answer", "failurePolicy is Fail",
			"kubectl -n NS get endpointslices -l kubernetes.io/service-name=nobody",
		},
	},
}

// called waits until the API server has taken up that it has a webhook to ask, which it does a moment later.
func called(t *testing.T, ns string) {
	t.Helper()
	u := body(t, fmt.Sprintf(`{apiVersion: v1, kind: ConfigMap, metadata: {name: dry, namespace: %s}}`, ns))
	r, err := conn(t, "east").Resource(u.GroupVersionKind(), ns)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		_, err := r.Create(t.Context(), u, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err != nil && strings.Contains(err.Error(), "failed calling webhook") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the webhook is not asked: %v", err)
		}
	}
}

func TestARefusalNamesObjectCauseAndNextCommand(t *testing.T) {
	for i, r := range refusals {
		t.Run(r.reason, func(t *testing.T) {
			ns := fmt.Sprintf("refused-%d", i)
			in := func(s string) string { return strings.ReplaceAll(s, "NS", ns) }
			b := newBench(t, ns)
			b.retryFor = 2 * time.Second
			create(t, "east", "kubectl-create", in(`{apiVersion: v1, kind: Namespace, metadata: {name: NS}}`))
			if r.before != "" {
				create(t, "east", "kubectl-create", in(r.before))
				called(t, ns)
			}
			b.want = object.Objects{}
			b.want.Add("east", object.Object{Part: object.PartControlPlane, Reason: "for a test", Body: body(t, in(r.object))})
			_, err := b.apply(t.Context(), b.mustPlan())
			if err == nil {
				t.Fatal("it was taken")
			}
			for _, says := range r.says {
				if !strings.Contains(err.Error(), in(says)) {
					t.Errorf("the error does not say %q:\n%s", in(says), err)
				}
			}
			if len(err.Error()) > 2000 {
				t.Errorf("the error is %d characters long", len(err.Error()))
			}
		})
	}
}
