package apply_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"isthmus.dev/isthmus/internal/object"
)

// TestANamespaceThatHoldsWhatIsOthersStays: somebody's policy, of a kind that no list of kinds has, and a ConfigMap
// behind a page of what nobody would miss.
func TestANamespaceThatHoldsWhatIsOthersStays(t *testing.T) {
	b := newBench(t, "tenants")
	b.small()
	b.converge()
	const held = "tenants"
	create(t, "east", "kubectl-create", `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: filters.tenants.test}, spec: {
		group: tenants.test, scope: Namespaced, names: {kind: Filter, plural: filters}, versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]}}`)
	deadline := time.Now().Add(ready)
	for {
		u := body(t, `{apiVersion: tenants.test/v1, kind: Filter, metadata: {name: mine, namespace: `+held+`, ownerReferences: [{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, name: x, uid: x}]}}`)
		r, err := conn(t, "east").Resource(u.GroupVersionKind(), held)
		if err == nil {
			_, err = r.Create(t.Context(), u, metav1.CreateOptions{FieldManager: "kubectl-create"})
		}
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond) // until the kind is served
	}
	var g errgroup.Group
	g.SetLimit(20)
	for i := range 520 { // more than a page
		g.Go(func() error {
			_, err := conn(t, "west").Kube.CoreV1().ConfigMaps(held).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
				Name: fmt.Sprintf("a-%d", i), Annotations: map[string]string{"control-plane.alpha.kubernetes.io/leader": "{}"},
			}}, metav1.CreateOptions{})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	create(t, "west", "kubectl-create", `{apiVersion: v1, kind: ConfigMap, metadata: {name: z-settings, namespace: `+held+`}}`)

	b.want = object.Objects{}
	p := b.mustPlan()
	said := map[string]string{}
	for _, s := range p.Stays {
		if s.Namespace == held {
			said[s.Cluster] = s.Why
		}
	}
	if said["east"] != "it holds what is not Isthmus's: Filter mine" || said["west"] != "it holds what is not Isthmus's: ConfigMap z-settings" {
		t.Errorf("the plan says: %v", said)
	}
	b.does(p)
	for name, ref := range map[string]object.Ref{
		"east": {Group: "tenants.test", Kind: "Filter", Namespace: held, Name: "mine"},
		"west": {Kind: "ConfigMap", Namespace: held, Name: "z-settings"},
	} {
		if u := get(t, name, ref); u == nil || u.GetDeletionTimestamp() != nil {
			t.Errorf("%s in %s is gone", ref, name)
		}
		if u := get(t, name, object.Ref{Kind: "ConfigMap", Namespace: held, Name: "istio"}); u != nil {
			t.Errorf("ours is left in %s", name)
		}
		if u := get(t, name, object.Ref{Kind: "Namespace", Name: held}); u == nil || u.GetDeletionTimestamp() != nil || u.GetLabels()[object.LabelMesh] != "" {
			t.Errorf("the namespace in %s: %v", name, u)
		}
	}
	if p := b.mustPlan(); p.Writes() != 0 || len(p.Stays) != 0 {
		t.Errorf("once more: %d writes, %v", p.Writes(), p.Stays)
	}
}

// TestWhatCameSinceThePlanStaysToo: apply looks for itself, before it deletes.
func TestWhatCameSinceThePlanStaysToo(t *testing.T) {
	b := newBench(t, "latecomer")
	b.small()
	b.converge()
	b.want = object.Objects{}
	p := b.mustPlan()
	create(t, "east", "kubectl-create", `{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: late, namespace: latecomer}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: x}}`)
	b.retryFor = 3 * time.Second
	_, err := b.apply(t.Context(), p)
	if err == nil || !strings.Contains(err.Error(), "delete Namespace latecomer: it holds what is not Isthmus's: RoleBinding late: move or delete that first") {
		t.Errorf("apply: %v", err)
	}
	if get(t, "east", object.Ref{Group: "rbac.authorization.k8s.io", Kind: "RoleBinding", Namespace: "latecomer", Name: "late"}) == nil {
		t.Error("it is gone")
	}
}
