package discovery

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	credentials "istio.io/istio/pilot/pkg/credentials/kube"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

func mesh3() mesh.Mesh {
	return mesh.Mesh{Name: "shop", Clusters: []mesh.Cluster{{Name: "east"}, {Name: "west"}, {Name: "north", Server: "https://north.example:6443"}}}
}

func TestObjects(t *testing.T) {
	got, err := Objects(mesh3())
	if err != nil {
		t.Fatal(err)
	}
	var refs []string
	for _, r := range got.Refs("east") {
		refs = append(refs, r.String())
	}
	want := []string{
		"ClusterRole isthmus-reader", "ClusterRoleBinding isthmus-reader",
		"Role istio-system/isthmus-reader", "RoleBinding istio-system/isthmus-reader",
		"Secret istio-system/istio-remote-secret-north", "Secret istio-system/istio-remote-secret-west",
		"ServiceAccount isthmus-system/isthmus-reader",
	}
	if diff := cmp.Diff(want, refs); diff != "" {
		t.Errorf("objects of east (-want +got):\n%s", diff)
	}
	for _, list := range got {
		for _, o := range list {
			if o.Body.Object["data"] != nil || o.Body.Object["stringData"] != nil {
				t.Errorf("%s has content before it is sealed", o.Ref())
			}
		}
	}
	alone, err := Objects(mesh.Mesh{Name: "shop", Clusters: []mesh.Cluster{{Name: "east"}}})
	if err != nil || len(alone) != 0 {
		t.Errorf("a mesh of one has nobody to discover: %v, %v", alone, err)
	}
}

// TestReaderMayReadThis pins what a stolen remote secret opens: a change here is a change of the product's
// promise, and docs/design says so.
func TestReaderMayReadThis(t *testing.T) {
	m := mesh3()
	m.Clusters[1].Istio.Revision = "canary"
	got := map[string][]any{}
	for _, body := range accounts(m, m.Governors(), m.Clusters[0])[0].objects() {
		if rules, ok := body.Object["rules"].([]any); ok {
			got[body.GetKind()+" "+body.GetNamespace()] = rules
		}
	}
	read := func(group string, resources ...any) any {
		return map[string]any{"apiGroups": []any{group}, "resources": resources, "verbs": []any{"list", "watch"}}
	}
	want := map[string][]any{
		"ClusterRole ": {
			read("", "services", "pods", "nodes", "namespaces"),
			read("discovery.k8s.io", "endpointslices"),
			read("networking.istio.io", "workloadentries"),
			read("gateway.networking.k8s.io", "gateways"),
			read("apiextensions.k8s.io", "customresourcedefinitions"),
			read("multicluster.x-k8s.io", "serviceexports", "serviceimports"),
			read("", "secrets"),
		},
		"Role istio-system": {map[string]any{
			"apiGroups": []any{""}, "resources": []any{"configmaps"}, "resourceNames": []any{"istio", "istio-canary"}, "verbs": []any{"list", "watch"},
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what the reader may (-want +got):\n%s", diff)
	}
}

// TestWhyTheReaderMayReadSecrets: with PILOT_ENABLE_REMOTE_CREDENTIALS_CONTROLLER=false istiod makes no
// CredentialsController for another cluster, a nil one, and then asks it whether it is synced (pkg/kube/multicluster/
// cluster.go: Run). When this test fails Istio has mended that: set the switch in internal/istio, and take the
// reader's right to Secrets away.
func TestWhyTheReaderMayReadSecrets(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a nil CredentialsController can be asked whether it is synced")
		}
	}()
	var none *credentials.CredentialsController
	none.HasSynced()
}

var readerRef = object.Ref{Kind: "ServiceAccount", Namespace: object.SystemNamespace, Name: Reader}

func liveReader(uid types.UID) map[object.Ref]*unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{}}
	u.SetUID(uid)
	return map[object.Ref]*unstructured.Unstructured{readerRef: u}
}

func TestJudge(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	good := func() (*facts.Secret, facts.Kubeconfig) {
		return &facts.Secret{Annotations: map[string]string{AnnotationIssued: now.Add(-time.Hour).Format(time.RFC3339)}},
			facts.Kubeconfig{Server: "https://west:6443", CABundle: "CA\n", NotAfter: now.Add(89 * 24 * time.Hour), Subject: Subject(object.SystemNamespace, Reader)}
	}
	cases := []struct {
		reason string
		change func(*facts.Secret, *facts.Kubeconfig, *facts.Cluster)
		stale  string
	}{
		{"what was just made is right", func(*facts.Secret, *facts.Kubeconfig, *facts.Cluster) {}, ""},
		{"white space is no other authority", func(_ *facts.Secret, k *facts.Kubeconfig, _ *facts.Cluster) { k.CABundle = "CA" }, ""},
		{"the API server moved", func(_ *facts.Secret, _ *facts.Kubeconfig, c *facts.Cluster) { c.Server = "https://west2:6443" }, "opens https://west:6443"},
		{"the API server has a new authority", func(_ *facts.Secret, _ *facts.Kubeconfig, c *facts.Cluster) { c.CABundle = "other" }, "another certificate authority"},
		{"somebody put another token in", func(_ *facts.Secret, k *facts.Kubeconfig, _ *facts.Cluster) {
			k.Subject = "system:serviceaccount:kube-system:admin"
		}, "not that of isthmus-reader"},
		{"a token for ever", func(_ *facts.Secret, k *facts.Kubeconfig, _ *facts.Cluster) { k.NotAfter = time.Time{} }, "never ends"},
		{"an ended token", func(_ *facts.Secret, k *facts.Kubeconfig, _ *facts.Cluster) { k.NotAfter = now.Add(-time.Minute) }, "ended at"},
		{"the last third of its life", func(s *facts.Secret, k *facts.Kubeconfig, _ *facts.Cluster) {
			s.Annotations[AnnotationIssued] = now.Add(-70 * time.Hour).Format(time.RFC3339)
			k.NotAfter = now.Add(30 * time.Hour)
		}, "less than a third"},
		{"issued nobody knows when", func(s *facts.Secret, _ *facts.Kubeconfig, _ *facts.Cluster) { s.Annotations = nil }, "when its token was issued"},
		{"the reader it was for is there", func(s *facts.Secret, _ *facts.Kubeconfig, c *facts.Cluster) {
			s.Annotations[AnnotationReader] = "uid-1"
			c.Live = liveReader("uid-1")
		}, ""},
		{"the reader was deleted and made anew", func(s *facts.Secret, _ *facts.Kubeconfig, c *facts.Cluster) {
			s.Annotations[AnnotationReader] = "uid-1"
			c.Live = liveReader("uid-2")
		}, "died with the ServiceAccount isthmus-system/isthmus-reader of west"},
		{"the reader was deleted", func(_ *facts.Secret, _ *facts.Kubeconfig, c *facts.Cluster) {
			c.Live = map[object.Ref]*unstructured.Unstructured{}
		}, "died with the ServiceAccount"},
		{"the reader may not be read", func(_ *facts.Secret, _ *facts.Kubeconfig, c *facts.Cluster) {
			c.Live = map[object.Ref]*unstructured.Unstructured{}
			c.Unread = map[object.Ref]string{readerRef: "forbidden"}
		}, ""},
		{"a token that does not say whose it is", func(_ *facts.Secret, _ *facts.Kubeconfig, c *facts.Cluster) {
			c.Live = liveReader("uid-2")
		}, ""},
		{"what cannot be compared stays", func(_ *facts.Secret, k *facts.Kubeconfig, c *facts.Cluster) {
			k.Server, c.Err = "https://elsewhere", "connection refused"
		}, ""},
	}
	objects, err := Objects(mesh3())
	if err != nil {
		t.Fatal(err)
	}
	var o object.Object
	for _, x := range objects["east"] {
		if x.Body.GetName() == RemoteSecret("west") {
			o = x
		}
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			secret, k := good()
			west := &facts.Cluster{Name: "west", Server: "https://west:6443", CABundle: "CA\n"}
			c.change(secret, &k, west)
			secret.Kubeconfigs = map[string]facts.Kubeconfig{"west": k}
			snapshot := facts.Snapshot{Taken: now, Clusters: map[string]*facts.Cluster{
				"east": {Name: "east", Secrets: map[string]*facts.Secret{"istio-system/istio-remote-secret-west": secret}}, "west": west,
			}}
			stale, err := Judge()(mesh3(), "east", o, snapshot)
			if err != nil {
				t.Fatal(err)
			}
			if c.stale == "" && stale != "" || c.stale != "" && !strings.Contains(stale, c.stale) {
				t.Errorf("stale %q, want %q in it", stale, c.stale)
			}
		})
	}
}
