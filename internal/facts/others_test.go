package facts

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"isthmus.dev/isthmus/internal/object"
)

func TestWhatNobodyWouldMiss(t *testing.T) {
	now := metav1.Now()
	marked := map[string]string{object.LabelMesh: "shop"}
	applied := []metav1.ManagedFieldsEntry{{Manager: object.Manager, Operation: metav1.ManagedFieldsOperationApply}}
	owner := func(kind, uid string) []metav1.OwnerReference {
		return []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: kind, Name: "x", UID: types.UID(uid)}}
	}
	kinds := map[schema.GroupKind]bool{
		{Group: "apps", Kind: "Deployment"}: true, {Group: "apps", Kind: "ReplicaSet"}: true, {Kind: "Pod"}: true,
	}
	for _, c := range []struct {
		reason string
		kind   string
		meta   metav1.ObjectMeta
		want   bool
	}{
		{"a person's", "ConfigMap", metav1.ObjectMeta{Name: "settings"}, false},
		{"a person's that sounds like Istio's", "ConfigMap", metav1.ObjectMeta{Name: "istio-gateway-notes"}, false},
		{"a person's policy", "AuthorizationPolicy", metav1.ObjectMeta{Name: "deny"}, false},
		{"a person's certificate", "Certificate", metav1.ObjectMeta{Name: "shop"}, false},
		{"a person's of the name of one of Istio's", "Telemetry", metav1.ObjectMeta{Name: RootConfigMap}, false},
		{"ours", "ConfigMap", metav1.ObjectMeta{Name: "istio", Labels: marked, ManagedFields: applied}, true},
		{"a copy of ours that a person made", "ConfigMap", metav1.ObjectMeta{Name: "istio", Labels: marked}, false},
		{"another mesh's", "ConfigMap", metav1.ObjectMeta{Name: "istio", Labels: map[string]string{object.LabelMesh: "other"}, ManagedFields: applied}, false},
		{"on its way out", "ConfigMap", metav1.ObjectMeta{Name: "settings", DeletionTimestamp: &now}, true},
		{"made for what is ours", "ReplicaSet", metav1.ObjectMeta{Name: "x", OwnerReferences: owner("Deployment", "ours")}, true},
		{"made for what a person's is", "ReplicaSet", metav1.ObjectMeta{Name: "x", OwnerReferences: owner("Deployment", "theirs")}, false},
		{"two steps from what is a person's", "Pod", metav1.ObjectMeta{Name: "x", OwnerReferences: owner("ReplicaSet", "second")}, false},
		{"of a person's and ours", "Pod", metav1.ObjectMeta{Name: "x", OwnerReferences: append(owner("Deployment", "ours"), owner("Deployment", "theirs")...)}, false},
		{"its owner has gone", "Pod", metav1.ObjectMeta{Name: "x", OwnerReferences: owner("ReplicaSet", "gone")}, true},
		{"its owner is outside of namespaces", "Secret", metav1.ObjectMeta{Name: "x", OwnerReferences: owner("ClusterIssuer", "elsewhere")}, false},
		{"they own each other", "Pod", metav1.ObjectMeta{Name: "x", UID: "a", OwnerReferences: owner("Pod", "loop")}, false},
		{"the root that Kubernetes puts everywhere", "ConfigMap", metav1.ObjectMeta{Name: "kube-root-ca.crt"}, true},
		{"a lock of an istiod", "ConfigMap", metav1.ObjectMeta{
			Name: "istio-ip-autoallocate", Annotations: map[string]string{"control-plane.alpha.kubernetes.io/leader": "{}"},
		}, true},
		{"what marks locks, on a secret", "Secret", metav1.ObjectMeta{
			Name: "keys", Annotations: map[string]string{"control-plane.alpha.kubernetes.io/leader": "{}"},
		}, false},
		{"the account of every namespace", "ServiceAccount", metav1.ObjectMeta{Name: "default"}, true},
		{"a person's account", "ServiceAccount", metav1.ObjectMeta{Name: "robot"}, false},
		{"the token of a person's account", "Secret", metav1.ObjectMeta{
			Name: "robot-token", Annotations: map[string]string{"kubernetes.io/service-account.name": "theirs"},
		}, false},
		{"the token of an account that has gone", "Secret", metav1.ObjectMeta{
			Name: "robot-token", Annotations: map[string]string{"kubernetes.io/service-account.name": "gone"},
		}, true},
		{"the endpoints of a person's Service", "Endpoints", metav1.ObjectMeta{Name: "theirs"}, false},
		{"the endpoints of our Service", "Endpoints", metav1.ObjectMeta{Name: "ours"}, true},
	} {
		t.Run(c.reason, func(t *testing.T) {
			x := &resident{kind: schema.GroupKind{Kind: c.kind}, ObjectMeta: c.meta}
			s := census{mesh: "shop", kinds: kinds, byUID: map[types.UID]*resident{}, all: []*resident{
				x,
				{kind: schema.GroupKind{Group: "apps", Kind: "Deployment"}, ObjectMeta: metav1.ObjectMeta{Name: "d", UID: "ours", Labels: marked, ManagedFields: applied}},
				{kind: schema.GroupKind{Group: "apps", Kind: "Deployment"}, ObjectMeta: metav1.ObjectMeta{Name: "e", UID: "theirs"}},
				{kind: schema.GroupKind{Group: "apps", Kind: "ReplicaSet"}, ObjectMeta: metav1.ObjectMeta{Name: "f", UID: "second", OwnerReferences: owner("Deployment", "theirs")}},
				{kind: schema.GroupKind{Kind: "Pod"}, ObjectMeta: metav1.ObjectMeta{Name: "g", UID: "loop", OwnerReferences: owner("Pod", "a")}},
				{kind: schema.GroupKind{Kind: "ServiceAccount"}, ObjectMeta: metav1.ObjectMeta{Name: "theirs", UID: "account"}},
				{kind: schema.GroupKind{Kind: "Service"}, ObjectMeta: metav1.ObjectMeta{Name: "theirs", UID: "service"}},
				{kind: schema.GroupKind{Kind: "Service"}, ObjectMeta: metav1.ObjectMeta{Name: "ours", UID: "service-2", Labels: marked, ManagedFields: applied}},
			}}
			for _, r := range s.all {
				s.byUID[r.UID] = r
			}
			if got := s.incidental(x); got != c.want {
				t.Errorf("incidental = %t, want %t", got, c.want)
			}
		})
	}
}

func TestWhatIsHeldInWords(t *testing.T) {
	ref := func(name string) object.Ref { return object.Ref{Kind: "ConfigMap", Name: name} }
	for _, c := range []struct {
		held Held
		want string
	}{
		{Held{Objects: []object.Ref{ref("a"), ref("b")}}, "it holds what is not Isthmus's: ConfigMap a, ConfigMap b"},
		{Held{Objects: []object.Ref{ref("a"), ref("b"), ref("c"), ref("d")}}, "it holds what is not Isthmus's: ConfigMap a, ConfigMap b, ConfigMap c and 1 others"},
		{Held{Objects: []object.Ref{ref("a"), ref("b"), ref("c"), ref("d")}, More: true}, "it holds what is not Isthmus's: ConfigMap a, ConfigMap b, ConfigMap c and more than 1 others"},
		{Held{Err: "forbidden"}, "what is in it cannot be known: forbidden"},
	} {
		if d := cmp.Diff(c.want, c.held.String()); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
	}
}
