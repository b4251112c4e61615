package mesh

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestClusterName(t *testing.T) {
	cases := []struct{ reason, context, want string }{
		{"A name that is one already.", "east", "east"},
		{"kind", "kind-east", "east"},
		{"k3d", "k3d-east-1", "east-1"},
		{"kind, without a name behind it", "kind-", "kind"},
		{"gcloud", "gke_my-project_europe-west3-a_shop-east", "shop-east"},
		{"aws", "arn:aws:eks:eu-central-1:111122223333:cluster/shop-east", "shop-east"},
		{"aws in another partition", "arn:aws-cn:eks:cn-north-1:111122223333:cluster/shop", "shop"},
		{"eksctl", "someone@shop-east.eu-central-1.eksctl.io", "shop-east"},
		{"kubeadm", "kubernetes-admin@shop", "shop"},
		{"oc login", "default/api-shop-example-com:6443/kube:admin", "shop-example-com"},
		{"Capital letters, spaces and dots.", "Shop East (prod).example", "shop-east-prod-example"},
		{"Too long a name ends where it must, without a dash.", strings.Repeat("a", 42) + "-bc", strings.Repeat("a", 42)},
		{"Nothing that a name may hold.", "中央", "cluster"},
	}
	for _, c := range cases {
		if got := ClusterName(c.context); got != c.want {
			t.Errorf("%s: ClusterName(%q) = %q, want %q", c.reason, c.context, got, c.want)
		}
	}
}

func TestClusterNamesAreDistinct(t *testing.T) {
	cases := []struct {
		reason         string
		contexts, want []string
	}{
		{"Short names where they are distinct.", []string{"kind-a", "k3d-b"}, []string{"a", "b"}},
		{"Whole contexts where they are not.", []string{"kind-a", "k3d-a", "b"}, []string{"kind-a", "k3d-a", "b"}},
		{"Numbers where that does not help.", []string{"a.b", "a-b", "A B"}, []string{"a-b", "a-b-2", "a-b-3"}},
		{"A number that is somebody's name.", []string{"a", "A", "a-2"}, []string{"a", "a-2", "a-2-2"}},
	}
	for _, c := range cases {
		if diff := cmp.Diff(c.want, ClusterNames(c.contexts)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.reason, diff)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"access", "istio", "name", "network", "server"}
	cases := []struct{ reason, name, want string }{
		{"One letter missing.", "acess", "access"},
		{"Two letters swapped.", "sevrer", "server"},
		{"One letter too many.", "networks", "network"},
		{"Capital letters.", "Name", "name"},
		{"Far from all.", "kubeconfig", ""},
		{"A short word is near only to what is one letter away.", "nets", ""},
		{"Nothing.", "", ""},
	}
	for _, c := range cases {
		if got, _ := nearest(c.name, known); got != c.want {
			t.Errorf("%s nearest(%q) = %q, want %q", c.reason, c.name, got, c.want)
		}
	}
}

// TestDraftUncommented: what a draft offers in comments is right as soon as the # is taken away.
func TestDraftUncommented(t *testing.T) {
	text := Draft{Name: "shop", Contexts: []string{"east", "west"}}.Text()
	m, err := Load("mesh.yaml", []byte(strings.ReplaceAll(text, "\n  # ", "\n  ")), nil)
	if err != nil {
		t.Fatal(err)
	}
	if m.Verify.Image != "HOST/isthmus:TAG" || m.Istio.MeshConfig["accessLogFile"] != "/dev/stdout" {
		t.Errorf("the comments were not read: %+v", m)
	}
}

func TestDraftText(t *testing.T) {
	want := `# Mesh "shop" of 2 clusters in one network, Istio 1.31, strict mutual TLS.
# All that is not written here has a safe default.
apiVersion: isthmus.dev/v1alpha1
kind: Mesh
metadata:
  name: shop
spec:
  clusters:
  - name: east
    access:
      context: kind-east
    network: shop
  - name: no-admin
    access:
      context: "no: admin"
    network: shop
` + more
	got := Draft{Name: "Shop", Contexts: []string{"kind-east", "no: admin"}, Shared: true}.Text()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
