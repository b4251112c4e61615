package apply_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"isthmus.dev/isthmus/internal/cluster"
	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/facts/apitest"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// refusals are objects that a real API server, its etcd or a webhook of it will not take, and what a person must read.
var refusals = []struct {
	reason string
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
		says:   []string{"ConfigMap NS/refused would hold 1126400 bytes, and a ConfigMap holds 1048576"}, // the plan says so
	},
	{
		reason: "more than an API server takes at all",
		object: `{apiVersion: apps/v1, kind: Deployment, metadata: {name: refused, namespace: NS}, spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {
			containers: [{name: a, image: a, args: ["` + strings.Repeat("x", 4<<20) + `"]}]}}}}`,
		says: []string{"apply Deployment NS/refused: ", "larger than 3 MiB"},
	},
}

func TestARefusalNamesObjectCauseAndNextCommand(t *testing.T) {
	for i, r := range refusals {
		t.Run(r.reason, func(t *testing.T) {
			ns := fmt.Sprintf("refused-%d", i)
			in := func(s string) string { return strings.ReplaceAll(s, "NS", ns) }
			b := newBench(t, ns)
			b.retryFor = 2 * time.Second
			create(t, "east", "kubectl-create", in(`{apiVersion: v1, kind: Namespace, metadata: {name: NS}}`))
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

// TestAWebhookThatIsDownIsNamed: which one, what its failurePolicy means, and where to look.
func TestAWebhookThatIsDownIsNamed(t *testing.T) {
	needClusters(t)
	calling, err := apitest.StartCalling(t.Context(), "calling")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(calling.Stop)
	c, err := cluster.Options{Kubeconfig: calling.Kubeconfig}.Dial(mesh.Cluster{Name: "calling", Context: "calling"})
	if err != nil {
		t.Fatal(err)
	}
	post := func(text string, opts metav1.CreateOptions) error {
		u := body(t, text)
		r, err := c.Resource(u.GroupVersionKind(), u.GetNamespace())
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Create(t.Context(), u, opts)
		return err
	}
	if err := post(`{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: gone}, webhooks: [{name: gone.webhook.test, sideEffects: None, timeoutSeconds: 1,
	  admissionReviewVersions: [v1], failurePolicy: Fail, clientConfig: {caBundle: "`+testCA+`", service: {name: nobody, namespace: gone, path: /v}},
	  rules: [{operations: ["*"], apiGroups: [apps], apiVersions: ["*"], resources: [deployments]}]}]}`, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	const deployment = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: refused, namespace: default}, spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: a}]}}}}`
	// The API server takes up a moment later that it has somebody to ask.
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		err := post(deployment, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err != nil && strings.Contains(err.Error(), "failed calling webhook") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the webhook is not asked: %v", err)
		}
	}
	a := quick(time.Second)
	a.RetryFor = 2 * time.Second
	_, err = a.ApplySet(t.Context(), c, objects(t, deployment), facts.InventoryName("verify-refused"), nil)
	if err == nil {
		t.Fatal("it was taken")
	}
	for _, says := range []string{
		"cluster calling: apply Deployment default/refused: ", "webhook gone.webhook.test does not answer", "failurePolicy is Fail",
		"kubectl -n gone get endpointslices -l kubernetes.io/service-name=nobody",
	} {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("the error does not say %q:\n%s", says, err)
		}
	}
}
