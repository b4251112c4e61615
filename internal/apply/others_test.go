package apply

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"isthmus.dev/isthmus/internal/object"
)

func TestWhatNobodyWouldMiss(t *testing.T) {
	w := writer{run: &run{set: ChangeSet{Mesh: "shop"}}}
	now := metav1.Now()
	cases := []struct {
		reason string
		meta   metav1.ObjectMeta
		want   bool
	}{
		{"a person's", metav1.ObjectMeta{Name: "settings"}, false},
		{"a person's that sounds like Istio's", metav1.ObjectMeta{Name: "istio-gateway-notes"}, false},
		{"ours", metav1.ObjectMeta{Name: "istio", Labels: map[string]string{object.LabelMesh: "shop"}}, true},
		{"another mesh's", metav1.ObjectMeta{Name: "istio", Labels: map[string]string{object.LabelMesh: "other"}}, false},
		{"on its way out", metav1.ObjectMeta{Name: "settings", DeletionTimestamp: &now}, true},
		{"made by a controller", metav1.ObjectMeta{Name: "x", OwnerReferences: []metav1.OwnerReference{{Name: "y"}}}, true},
		{"the root that Kubernetes puts everywhere", metav1.ObjectMeta{Name: "kube-root-ca.crt"}, true},
		{"a lock of an istiod", metav1.ObjectMeta{
			Name: "istio-ip-autoallocate", Annotations: map[string]string{"control-plane.alpha.kubernetes.io/leader": "{}"},
		}, true},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			if got := w.incidental(metav1.PartialObjectMetadata{ObjectMeta: c.meta}); got != c.want {
				t.Errorf("incidental = %t, want %t", got, c.want)
			}
		})
	}
}
