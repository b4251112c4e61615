package verify

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

func find(t *testing.T, objects []object.Object, kind, name string) *unstructured.Unstructured {
	t.Helper()
	for _, o := range objects {
		if o.Body.GetKind() == kind && o.Body.GetName() == name {
			return o.Body
		}
	}
	t.Fatalf("no %s %s", kind, name)
	return nil
}

func TestWorkloadsOfACluster(t *testing.T) {
	m := twoClusters()
	objects := Workloads(m)
	var got []string
	for _, o := range objects["west"] {
		if o.Part != object.PartProbes || o.Reason == "" {
			t.Errorf("%s: part %q, reason %q", o.Ref(), o.Part, o.Reason)
		}
		got = append(got, o.Ref().String())
	}
	want := []string{
		"Namespace isthmus-verify",
		"ServiceAccount isthmus-verify/server", "ServiceAccount isthmus-verify/client", "ServiceAccount isthmus-verify/stranger",
		"Service isthmus-verify/to-east", "Service isthmus-verify/to-west", "Service isthmus-verify/to-any",
		"AuthorizationPolicy isthmus-verify/server",
		"Deployment isthmus-verify/server", "Deployment isthmus-verify/client", "Deployment isthmus-verify/stranger",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// TestOnlyOneClustersServerAnswersAService: a name must exist where it is asked for, and have endpoints only in
// the cluster that is meant, or a call would prove nothing.
func TestOnlyOneClustersServerAnswersAService(t *testing.T) {
	m := twoClusters()
	objects := Workloads(m)
	for _, where := range m.Clusters {
		var d appsv1.Deployment
		into(t, find(t, objects[where.Name], "Deployment", "server"), &d)
		for _, to := range m.Clusters {
			var s corev1.Service
			into(t, find(t, objects[where.Name], "Service", "to-"+to.Name), &s)
			selects := true
			for k, v := range s.Spec.Selector {
				selects = selects && d.Spec.Template.Labels[k] == v
			}
			if selects != (where.Name == to.Name) {
				t.Errorf("Service to-%s in %s selects its server: %t", to.Name, where.Name, selects)
			}
			var names []string
			for _, p := range s.Spec.Ports {
				names = append(names, fmt.Sprint(p.Name, p.Port, ">", p.TargetPort.IntVal))
			}
			if diff := cmp.Diff([]string{"http80>8080", "grpc9090>9090", "tcp9000>9000"}, names); diff != "" {
				t.Errorf("ports of to-%s: -want +got\n%s", to.Name, diff)
			}
		}
	}
}

// TestEveryClustersServerAnswersOneService whatever clusters are called.
func TestEveryClustersServerAnswersOneService(t *testing.T) {
	m := twoClusters()
	for _, c := range []struct{ reason, first, second, want string }{
		{"usual names", "east", "west", "to-any"},
		{"a cluster called any", "any", "west", "to-any-any"},
		{"and one that is called the next best", "any-any", "any", "to-any-any-any"},
	} {
		m.Clusters[0].Name, m.Clusters[1].Name = c.first, c.second
		if got := AnyService(m); got != c.want {
			t.Errorf("%s: %s, want %s", c.reason, got, c.want)
		}
		objects := Workloads(m)
		for _, where := range m.Clusters {
			var d appsv1.Deployment
			into(t, find(t, objects[where.Name], "Deployment", "server"), &d)
			var s corev1.Service
			into(t, find(t, objects[where.Name], "Service", c.want), &s)
			if !selects(s.Spec.Selector, d.Spec.Template.Labels) || len(s.Spec.Ports) != 3 {
				t.Errorf("%s: %v does not select the server of %s", c.reason, s.Spec, where.Name)
			}
			into(t, find(t, objects[where.Name], "Deployment", "client"), &d)
			if selects(s.Spec.Selector, d.Spec.Template.Labels) {
				t.Errorf("%s: it selects the client of %s too", c.reason, where.Name)
			}
		}
	}
}

func into(t *testing.T, u *unstructured.Unstructured, typed any) {
	t.Helper()
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(u.Object, typed, true); err != nil {
		t.Fatalf("%s: %v", object.RefOf(u), err)
	}
}

func TestPodsMeetTheRestrictedStandard(t *testing.T) {
	m := twoClusters()
	for _, r := range Roles {
		var d appsv1.Deployment
		into(t, find(t, Workloads(m)["east"], "Deployment", string(r)), &d)
		pod := d.Spec.Template.Spec
		c := pod.Containers[0]
		switch {
		case !*pod.SecurityContext.RunAsNonRoot, pod.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault,
			*c.SecurityContext.AllowPrivilegeEscalation, !cmp.Equal(c.SecurityContext.Capabilities.Drop, []corev1.Capability{"ALL"}):
			t.Errorf("%s: %+v %+v", r, pod.SecurityContext, c.SecurityContext)
		case *pod.AutomountServiceAccountToken:
			t.Errorf("%s has a token that it does not need", r)
		case c.Image != "lab.local/isthmus:dev" || c.ImagePullPolicy != corev1.PullIfNotPresent:
			t.Errorf("%s: image %s, %s", r, c.Image, c.ImagePullPolicy)
		}
		if injected := d.Spec.Template.Labels["sidecar.istio.io/inject"] != "false"; injected != (r != Stranger) {
			t.Errorf("%s is injected: %t", r, injected)
		}
	}
}

func TestNothingThatOnlyAServerFillsInIsSent(t *testing.T) {
	for _, o := range Workloads(twoClusters())["east"] {
		text, err := o.Body.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{`"status"`, `"creationTimestamp"`, `null`} {
			if strings.Contains(string(text), word) {
				t.Errorf("%s holds %s: %s", o.Ref(), word, text)
			}
		}
	}
}

func TestNamespaceAsksTheRightControlPlaneForInjection(t *testing.T) {
	cases := []struct {
		reason, revision string
		want             map[string]string
	}{
		{"no revision", "", map[string]string{"istio-injection": "enabled"}},
		{"a revision", "1-31", map[string]string{"istio.io/rev": "1-31"}},
	}
	for _, c := range cases {
		m := twoClusters()
		m.Clusters[0].Istio.Revision = c.revision
		got := find(t, Workloads(m)["east"], "Namespace", "isthmus-verify").GetLabels()
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", c.reason, diff)
		}
	}
}

func TestNamesByWhichServersAreKnown(t *testing.T) {
	m := twoClusters()
	m.Trust.Domain = "shop.example"
	if got, want := Identity(m, Client), "spiffe://shop.example/ns/isthmus-verify/sa/client"; got != want {
		t.Errorf("identity %s, want %s", got, want)
	}
	if got, want := SNI(m, m.Clusters[1]), "outbound_.80_._.to-west.isthmus-verify.svc.cluster.local"; got != want {
		t.Errorf("SNI %s, want %s", got, want)
	}
	m.Clusters[1].Istio.Values = map[string]any{"global": map[string]any{"proxy": map[string]any{"clusterDomain": "corp.internal"}}}
	if got, want := SNI(m, m.Clusters[1]), "outbound_.80_._.to-west.isthmus-verify.svc.corp.internal"; got != want {
		t.Errorf("SNI %s, want %s", got, want)
	}
}

func TestTheSetsNameIsALabelOfNoMesh(t *testing.T) {
	long, other := twoClusters(), twoClusters()
	long.Name = strings.Repeat("a", 63)
	other.Name = strings.Repeat("a", 62) + "b"
	for _, m := range []mesh.Mesh{twoClusters(), long, other} {
		name := ProbeSet(m)
		if problems := validation.IsValidLabelValue(name); len(problems) > 0 || !strings.Contains(name, ".") {
			t.Errorf("%s: %v", name, problems)
		}
		if problems := validation.IsDNS1123Subdomain(facts.InventoryName(name)); len(problems) > 0 {
			t.Errorf("%s: %v", facts.InventoryName(name), problems)
		}
	}
	if ProbeSet(long) == ProbeSet(other) {
		t.Error("two meshes share a set: one would take away the other's workloads")
	}
}

func TestWorkloadsPullAsIstioDoes(t *testing.T) {
	m := twoClusters()
	m.Clusters[0].Istio.ImagePullSecrets = []string{"registry"}
	want := Workloads(m)
	i := slices.IndexFunc(want["east"], func(o object.Object) bool { return o.Body.GetKind() == "Secret" })
	if i < 0 {
		t.Fatal("no copy of the pull secret")
	}
	if s := want["east"][i]; s.Sealed == nil || s.Sealed.Kind != object.SealPullSecret || s.Body.Object["data"] != nil || s.Body.GetNamespace() != m.Verify.Namespace {
		t.Errorf("the copy is %v, sealed %v", s.Body.Object, s.Sealed)
	}
	for _, r := range Roles {
		pods := find(t, want["east"], "Deployment", string(r))
		names, _, _ := unstructured.NestedSlice(pods.Object, "spec", "template", "spec", "imagePullSecrets")
		if diff := cmp.Diff([]any{map[string]any{"name": "registry"}}, names); diff != "" {
			t.Errorf("%s, -want +got\n%s", r, diff)
		}
	}
	if slices.ContainsFunc(want["west"], func(o object.Object) bool { return o.Sealed != nil }) {
		t.Error("west has no pull secret, and gets a copy")
	}
}
