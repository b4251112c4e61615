package facts

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"isthmus.dev/isthmus/internal/object"
)

func TestSkew(t *testing.T) {
	began := time.Date(2026, 11, 24, 12, 0, 0, 400e6, time.UTC)
	cases := []struct {
		reason string
		date   string
		took   time.Duration
		want   time.Duration
	}{
		{"the header's second has begun", "Tue, 24 Nov 2026 12:00:00 GMT", 100 * time.Millisecond, 0},
		{"the next second began during the request", "Tue, 24 Nov 2026 12:00:01 GMT", 1400 * time.Millisecond, 0},
		{"ten seconds ahead", "Tue, 24 Nov 2026 12:00:11 GMT", 100 * time.Millisecond, 10 * time.Second},
		{"ten seconds behind", "Tue, 24 Nov 2026 11:59:50 GMT", 100 * time.Millisecond, -9 * time.Second},
		{"a slow answer is no skew", "Tue, 24 Nov 2026 12:00:02 GMT", 4 * time.Second, 0},
		{"no date", "", time.Second, 0},
	}
	for _, c := range cases {
		if got := skew(c.date, began, c.took); got != c.want {
			t.Errorf("%s: %s, want %s", c.reason, got, c.want)
		}
	}
}

func TestOwner(t *testing.T) {
	at := func(sec int64) *metav1.Time { t := metav1.Unix(sec, 0); return &t }
	cases := []struct {
		reason string
		given  metav1.ObjectMeta
		want   string
	}{
		{"our own label", metav1.ObjectMeta{Labels: map[string]string{object.LabelMesh: "shop", "operator.istio.io/component": "Pilot"}}, "isthmus"},
		{"a Helm release", metav1.ObjectMeta{Annotations: map[string]string{"meta.helm.sh/release-name": "istiod"}}, "helm:istiod"},
		{"istioctl install", metav1.ObjectMeta{Labels: map[string]string{"operator.istio.io/component": "Pilot"}}, "istioctl"},
		{"Argo CD", metav1.ObjectMeta{Labels: map[string]string{"argocd.argoproj.io/instance": "mesh"}}, "argocd:mesh"},
		{"an owner", metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{Kind: "Istio", Name: "default"}}}, "operator:Istio/default"},
		{"who came first", metav1.ObjectMeta{ManagedFields: []metav1.ManagedFieldsEntry{
			{Manager: "kubectl-edit", Time: at(9)}, {Manager: "kubectl-create", Time: at(5)}, {Manager: "kubelet", Time: at(1), Subresource: "status"},
		}}, "kubectl-create"},
		{"nobody knows", metav1.ObjectMeta{}, "unknown"},
	}
	for _, c := range cases {
		if got := Owner(&c.given); got != c.want {
			t.Errorf("%s: %s, want %s", c.reason, got, c.want)
		}
	}
}

func TestInventoryIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringMatching(`[a-zA-Z.<>"-]{1,12}`)
		ref := rapid.Custom(func(t *rapid.T) object.Ref {
			return object.Ref{Group: word.Draw(t, "group"), Kind: word.Draw(t, "kind"), Namespace: word.Draw(t, "namespace"), Name: word.Draw(t, "name")}
		})
		refs := rapid.SliceOfDistinct(ref, func(r object.Ref) object.Ref { return r }).Draw(t, "refs")
		text := FormatInventory(refs)
		got, err := ParseInventory(text)
		if err != nil {
			t.Fatal(err)
		}
		if again := FormatInventory(got); again != text {
			t.Fatalf("written again: %s", cmp.Diff(text, again))
		}
		if len(got) != len(refs) {
			t.Fatalf("%d of %d are read", len(got), len(refs))
		}
	})
	for _, bad := range []string{"", "{}", `[{"kind": "Secret"}]`, `[{"name": "a"}]`} {
		if _, err := ParseInventory(bad); err == nil {
			t.Errorf("%q is read as an inventory", bad)
		}
	}
}
