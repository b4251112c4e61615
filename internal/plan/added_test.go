package plan

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"isthmus.dev/isthmus/internal/object"
)

// TestAdditions: a field that somebody adds to a policy's spec turns it round, and is drift; in other kinds it is theirs.
func TestAdditions(t *testing.T) {
	const (
		policy  = `apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: a, namespace: istio-system}`
		service = `apiVersion: v1, kind: Service, metadata: {name: a, namespace: istio-system}`
		ours    = `{"f:spec":{"f:rules":{},"f:selector":{"f:matchLabels":{"f:app":{}}}}}`
	)
	cases := []struct {
		reason, head, want, live, theirs string
		diffs                            []FieldDiff
	}{
		{
			reason: "an action that was added", head: policy,
			want: `{rules: [{}], selector: {matchLabels: {app: x}}}`, live: `{action: DENY, rules: [{}], selector: {matchLabels: {app: x}}}`,
			theirs: `{"f:spec":{"f:action":{}}}`, diffs: []FieldDiff{{Path: "spec.action", From: "DENY", By: "kubectl-patch", At: now}},
		},
		{
			reason: "a label deep in a selector", head: policy,
			want: `{rules: [{}], selector: {matchLabels: {app: x}}}`, live: `{rules: [{}], selector: {matchLabels: {app: x, never: there}}}`,
			theirs: `{"f:spec":{"f:selector":{"f:matchLabels":{"f:never":{}}}}}`,
			diffs:  []FieldDiff{{Path: "spec.selector.matchLabels.never", From: "there", By: "kubectl-patch", At: now}},
		},
		{
			reason: "a default that nobody set", head: policy,
			want: `{rules: [{}], selector: {matchLabels: {app: x}}}`, live: `{action: ALLOW, rules: [{}], selector: {matchLabels: {app: x}}}`, theirs: `{"f:metadata":{"f:labels":{"f:a":{}}}}`,
		},
		{
			reason: "beside a Service's fields others may have theirs", head: service,
			want: `{selector: {matchLabels: {app: x}}}`, live: `{selector: {matchLabels: {app: x}}, externalIPs: [1.2.3.4]}`, theirs: `{"f:spec":{"f:externalIPs":{}}}`,
		},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			want, live := parse("{"+c.head+", spec: "+c.want+"}"), parse("{"+c.head+", spec: "+c.live+"}")
			entries := []metav1.ManagedFieldsEntry{
				managed(object.Manager, metav1.ManagedFieldsOperationApply, now, ours),
				managed("kubectl-patch", metav1.ManagedFieldsOperationUpdate, now, c.theirs),
			}
			live.SetManagedFields(entries)
			own, others, err := (&prepared{}).managers(live)
			if err != nil {
				t.Fatal(err)
			}
			d := differ{kind: want.GetKind()}
			d.added(cursor{ours: own, others: others}, want, live)
			if diff := cmp.Diff(c.diffs, d.diffs); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			after, err := Reclaimed(entries, d.reclaim)
			if err != nil {
				t.Fatal(err)
			}
			if taken := len(after) < len(entries); taken != (len(c.diffs) > 0) {
				t.Errorf("what was added becomes ours, and so goes: %t, want %t", taken, len(c.diffs) > 0)
			}
		})
	}
}
