package istio

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"istio.io/istio/manifests"
	"istio.io/istio/operator/pkg/render"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/api/v1alpha1"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// shop is a mesh of clusters, each its own network, as a document with nothing but them would give.
func shop(names ...string) mesh.Mesh {
	m := mesh.Mesh{Name: "shop", Trust: mesh.Trust{Domain: "cluster.local"}, MTLS: "STRICT"}
	for _, name := range names {
		m.Clusters = append(m.Clusters, mesh.Cluster{
			Name: name, Context: name, Network: "net-" + name,
			Istio: mesh.Istio{Version: chartsVersion, Profile: "minimal", Hub: "example.test/istio", Tag: "1.31.1"},
		})
	}
	return m
}

func must(t *testing.T, m mesh.Mesh) object.Objects {
	t.Helper()
	out, err := Objects(m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func find(t *testing.T, objects []object.Object, kind, name string) map[string]any {
	t.Helper()
	for _, o := range objects {
		if o.Body.GetKind() == kind && o.Body.GetName() == name {
			return o.Body.Object
		}
	}
	t.Fatalf("there is no %s %s", kind, name)
	return nil
}

func at(t *testing.T, from any, path ...any) any {
	t.Helper()
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, ok := from.(map[string]any)
			if !ok {
				t.Fatalf("no map at %q of %v", p, path)
			}
			from = m[p]
		case int:
			l, ok := from.([]any)
			if !ok || len(l) <= p {
				t.Fatalf("no item %d of %v", p, path)
			}
			from = l[p]
		}
	}
	return from
}

// profiles are those that the charts have.
func profiles(t *testing.T) []string {
	t.Helper()
	files, err := fs.Glob(manifests.FS, "profiles/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no profiles: %v", err)
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(filepath.Base(f), ".yaml")
	}
	return files
}

// byLibrary renders what a person would hand to istioctl, with no code of this package.
func byLibrary(t *testing.T, m mesh.Mesh, c mesh.Cluster) map[object.Ref]map[string]any {
	t.Helper()
	file := filepath.Join(t.TempDir(), "iop.yaml")
	text := fmt.Sprintf(`
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
spec:
  profile: %s
  hub: example.test/istio
  tag: 1.31.1
  meshConfig: {trustDomain: cluster.local, accessLogFile: /dev/stdout}
  values:
    global: {meshID: %s, network: %s, multiCluster: {clusterName: %s}}
    pilot: {resources: {requests: {cpu: 10m}}}
`, c.Istio.Profile, m.Name, c.Network, c.Name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	sets, _, err := render.GenerateManifest([]string{file}, c.Istio.Set, false, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	out := map[object.Ref]map[string]any{}
	for _, set := range sets {
		for _, x := range set.Manifests {
			out[object.RefOf(x.Unstructured)] = x.Object
		}
	}
	return out
}

// profiled is a mesh of clusters named after the profile that each has, with a few settings beside it.
func profiled(t *testing.T) mesh.Mesh {
	t.Helper()
	m := shop(profiles(t)...)
	for i := range m.Clusters {
		c := &m.Clusters[i]
		c.Istio.Profile = c.Name
		c.Istio.MeshConfig = map[string]any{"accessLogFile": "/dev/stdout"}
		c.Istio.Values = map[string]any{"pilot": map[string]any{"resources": map[string]any{"requests": map[string]any{"cpu": "10m"}}}}
		c.Istio.Set = []string{"components.pilot.k8s.env[0].name=PILOT_TEST", "components.pilot.k8s.env[0].value=x", "values.global.proxy.logLevel=debug"}
	}
	return m
}

func TestEveryProfile(t *testing.T) {
	m := profiled(t)
	out := must(t, m)
	for _, c := range m.Clusters {
		t.Run(c.Name, func(t *testing.T) {
			isWhatIstioctlRenders(t, m, c, out[c.Name])
			areWhole(t, out[c.Name])
			find(t, out[c.Name], "Deployment", EastWestGateway)
		})
	}
}

// isWhatIstioctlRenders compares the control plane to the letter, but for what this package changes on purpose
// (see its comment).
func isWhatIstioctlRenders(t *testing.T, m mesh.Mesh, c mesh.Cluster, objects []object.Object) {
	t.Helper()
	want, got := byLibrary(t, m, c), map[object.Ref]map[string]any{}
	for ref, body := range want {
		dropNulls(body)
		if ref.Kind == "ValidatingWebhookConfiguration" {
			for _, w := range body["webhooks"].([]any) {
				delete(w.(map[string]any), "failurePolicy")
			}
		}
	}
	for _, o := range objects {
		if o.Part == object.PartControlPlane && o.Ref().Name != validatorName {
			u := o.Body.DeepCopy()
			labels := u.GetLabels()
			delete(labels, object.LabelMesh)
			delete(labels, object.LabelPart)
			u.SetLabels(labels)
			got[o.Ref()] = u.Object
		}
	}
	if diff := gocmp.Diff(jsonOf(want), jsonOf(got)); diff != "" {
		t.Errorf("-istioctl's library +ours:\n%s", diff)
	}
}

// areWhole checks what must be true of every object.
func areWhole(t *testing.T, objects []object.Object) {
	t.Helper()
	clusterWide := []string{
		"Namespace", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "MutatingWebhookConfiguration",
		"ValidatingWebhookConfiguration", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding",
	}
	refs := map[object.Ref]bool{}
	for _, o := range objects {
		if refs[o.Ref()] {
			t.Errorf("%s is there twice", o.Ref())
		}
		refs[o.Ref()] = true
		if o.Reason == "" || o.Part == "" {
			t.Errorf("%s has no reason or no part", o.Ref())
		}
		if labels := o.Body.GetLabels(); labels[object.LabelMesh] != "shop" || labels[object.LabelPart] != o.Part.Label() {
			t.Errorf("%s bears the labels %v", o.Ref(), labels)
		}
		if (o.Body.GetNamespace() == "") != slices.Contains(clusterWide, o.Body.GetKind()) {
			t.Errorf("%s has namespace %q", o.Ref(), o.Body.GetNamespace())
		}
		text, err := json.Marshal(o.Body.Object)
		if err != nil || o.Body.GetKind() == "Secret" || strings.Contains(string(text), "PRIVATE KEY") {
			t.Errorf("%s holds a secret, or cannot be written: %v", o.Ref(), err)
		}
		o.Body.DeepCopy() // panics on what is no JSON type
	}
}

// jsonOf makes objects comparable: {} and an absent map of labels are the same to an API server.
func jsonOf(in map[object.Ref]map[string]any) map[string]map[string]any {
	out := map[string]map[string]any{}
	for ref, body := range in {
		u := (&unstructured.Unstructured{Object: body}).DeepCopy()
		if len(u.GetLabels()) == 0 {
			u.SetLabels(nil)
		}
		out[ref.Group+"/"+ref.String()] = u.Object
	}
	return out
}

func TestRenderingIsDeterministic(t *testing.T) {
	base := shop("east", "west", "north")
	base.Clusters[2].Istio.Profile = "demo"
	want := must(t, base)
	orders := [][]int{{0, 1, 2}, {2, 1, 0}, {1, 0, 2}}
	for _, order := range orders {
		m := base
		m.Clusters = nil
		for _, i := range order {
			m.Clusters = append(m.Clusters, base.Clusters[i])
		}
		got := must(t, m)
		for _, c := range base.Clusters {
			a, _ := json.Marshal(want[c.Name])
			b, _ := json.Marshal(got[c.Name])
			if string(a) != string(b) {
				t.Fatalf("%s is rendered otherwise when clusters come in the order %v:\n%s", c.Name, order, gocmp.Diff(want[c.Name], got[c.Name]))
			}
		}
	}
}

func TestRenderingChangesNothingOfTheDocument(t *testing.T) {
	m := shop("east", "west")
	m.Clusters[0].Istio.Values = map[string]any{
		"global":   map[string]any{"proxy": map[string]any{"logLevel": "debug"}},
		"gateways": map[string]any{"istio-ingressgateway": map[string]any{"type": "NodePort", "resources": map[string]any{}}},
	}
	before, _ := json.Marshal(m)
	must(t, m)
	after, _ := json.Marshal(m)
	if diff := gocmp.Diff(string(before), string(after)); diff != "" {
		t.Error(diff)
	}
}

func TestFieldsThatSomebodyElseKeeps(t *testing.T) {
	m := shop("east", "west")
	m.Clusters[0].Istio.Profile = "default"
	m.Clusters[0].Istio.Set = []string{"components.pilot.k8s.replicaCount=3"}
	m.Clusters[1].Istio.Set = []string{"components.pilot.k8s.replicaCount=3", "values.pilot.autoscaleEnabled=false"}
	out := must(t, m)
	for _, o := range out["east"] {
		if !strings.HasSuffix(o.Body.GetKind(), "WebhookConfiguration") {
			continue
		}
		for _, w := range o.Body.Object["webhooks"].([]any) {
			webhook := w.(map[string]any)
			if _, owned := at(t, webhook, "clientConfig").(map[string]any)["caBundle"]; owned {
				t.Errorf("%s owns a caBundle, which istiod patches", o.Ref())
			}
			if policy, owned := webhook["failurePolicy"]; owned && policy != "Fail" {
				t.Errorf("%s owns failurePolicy %v, which istiod turns to Fail", o.Ref(), policy)
			}
		}
	}
	find(t, out["east"], "HorizontalPodAutoscaler", "istiod")
	if spec := at(t, find(t, out["east"], "Deployment", "istiod"), "spec").(map[string]any); spec["replicas"] != nil {
		t.Errorf("istiod is scaled by an autoscaler and owns replicas: %v", spec["replicas"])
	}
	if got := at(t, find(t, out["west"], "Deployment", "istiod"), "spec", "replicas"); got != int64(3) {
		t.Errorf("istiod without autoscaler has %v replicas, want 3", got)
	}
	find(t, out["east"], "ValidatingWebhookConfiguration", validatorName)
}

func TestClustersKnowWhoTheyAre(t *testing.T) {
	out := must(t, shop("east", "west"))
	for _, name := range []string{"east", "west"} {
		ns := find(t, out[name], "Namespace", Namespace)
		if got := at(t, ns, "metadata", "labels", LabelNetwork); got != "net-"+name {
			t.Errorf("%s: istio-system is in network %v", name, got)
		}
		find(t, out[name], "Namespace", object.SystemNamespace)
		for _, where := range []struct{ deployment, env string }{{"istiod", "CLUSTER_ID"}, {EastWestGateway, "ISTIO_META_CLUSTER_ID"}} {
			env := at(t, find(t, out[name], "Deployment", where.deployment), "spec", "template", "spec", "containers", 0, "env").([]any)
			if !slices.ContainsFunc(env, func(e any) bool { v := e.(map[string]any); return v["name"] == where.env && v["value"] == name }) {
				t.Errorf("%s: %s is not told its cluster", name, where.deployment)
			}
		}
		config := at(t, find(t, out[name], "ConfigMap", "istio"), "data", "mesh").(string)
		for _, line := range []string{"meshId: shop", "trustDomain: cluster.local"} {
			if !strings.Contains(config, line) {
				t.Errorf("%s: mesh configuration has no line %q:\n%s", name, line, config)
			}
		}
	}
}

func TestEastWestGateway(t *testing.T) {
	m := shop("east", "west")
	three := int32(3)
	m.EastWest = v1alpha1.EastWestGateway{Replicas: &three, ServiceType: "NodePort", Annotations: map[string]string{"example.test/lb": "internal"}}
	m.Clusters[0].Istio.Values = map[string]any{"gateways": map[string]any{"istio-ingressgateway": map[string]any{
		"type": "ClusterIP", "loadBalancerIP": "192.0.2.1", "resources": map[string]any{"requests": map[string]any{"cpu": "5m"}},
	}}}
	m.Clusters[0].Istio.Set = []string{
		"values.gateways.istio-ingressgateway.type=ExternalName",
		"values.gateways.istio-ingressgateway.serviceAnnotations.a=b",
		"components.ingressGateways.[name:istio-eastwestgateway].k8s.service.externalTrafficPolicy=Local",
		"components.pilot.k8s.replicaCount=2",
	}
	east := must(t, m)["east"]
	service := find(t, east, "Service", EastWestGateway)
	want := map[string]any{
		"type": "NodePort", "externalTrafficPolicy": "Local",
		"selector": map[string]any{"istio": "eastwestgateway", "app": EastWestGateway, LabelNetwork: "net-east"},
		"ports":    []any{port("status-port", 15021), port("tls", 15443), port("tls-istiod", 15012), port("tls-webhook", 15017)},
	}
	if diff := gocmp.Diff(want, service["spec"]); diff != "" {
		t.Errorf("Service, -want +got:\n%s", diff)
	}
	if diff := gocmp.Diff(map[string]any{"example.test/lb": "internal"}, at(t, service, "metadata", "annotations")); diff != "" {
		t.Errorf("annotations, -want +got:\n%s", diff)
	}
	if got := at(t, service, "metadata", "labels", LabelNetwork); got != "net-east" {
		t.Errorf("istiod would take the gateway for network %v", got)
	}
	deployment := find(t, east, "Deployment", EastWestGateway)
	if got := at(t, deployment, "spec", "replicas"); got != int64(3) {
		t.Errorf("replicas %v, want 3", got)
	}
	proxy := at(t, deployment, "spec", "template", "spec", "containers", 0)
	if got := at(t, proxy, "image"); got != "example.test/istio/proxyv2:1.31.1" {
		t.Errorf("image %v", got)
	}
	if got := at(t, proxy, "resources", "requests", "cpu"); got != "5m" {
		t.Errorf("a gateway's resources are for the east-west gateway too, got cpu %v", got)
	}
	view := map[string]any{"name": "ISTIO_META_REQUESTED_NETWORK_VIEW", "value": "net-east"}
	if !slices.ContainsFunc(at(t, proxy, "env").([]any), func(e any) bool { return gocmp.Equal(e, any(view)) }) {
		t.Error("the gateway would hand calls on to other networks: no ISTIO_META_REQUESTED_NETWORK_VIEW")
	}
	for _, o := range east {
		if o.Part == object.PartGateway && strings.Contains(o.Body.GetKind(), "Role") {
			t.Errorf("%s: the east-west gateway may do something with the API server", o.Ref())
		}
	}
	servers := at(t, find(t, east, "Gateway", "cross-network-gateway"), "spec", "servers", 0)
	if diff := gocmp.Diff(map[string]any{
		"port":  map[string]any{"number": int64(15443), "name": "tls", "protocol": "TLS"},
		"tls":   map[string]any{"mode": "AUTO_PASSTHROUGH"},
		"hosts": []any{"*.local"},
	}, servers); diff != "" {
		t.Errorf("server, -want +got:\n%s", diff)
	}
}

func TestOneNetworkHasNoEastWestGateway(t *testing.T) {
	m := shop("east", "west")
	m.Clusters[1].Network = m.Clusters[0].Network
	for _, o := range must(t, m)["west"] {
		if o.Part == object.PartGateway {
			t.Errorf("%s in a mesh of one network", o.Ref())
		}
	}
}

func TestGatewayFollowsTheClustersDomain(t *testing.T) {
	m := shop("east", "west")
	m.Clusters[0].Istio.Set = []string{"values.global.proxy.clusterDomain=corp.internal"}
	hosts := at(t, find(t, must(t, m)["east"], "Gateway", "cross-network-gateway"), "spec", "servers", 0, "hosts")
	if diff := gocmp.Diff([]any{"*.local", "*.corp.internal"}, hosts); diff != "" {
		t.Error(diff)
	}
}

func TestRefusals(t *testing.T) {
	tests := []struct {
		reason string
		edit   func(*mesh.Mesh)
		want   []string
	}{
		{"another network than the document's splits the cluster", func(m *mesh.Mesh) {
			m.Clusters[0].Istio.Values = map[string]any{"global": map[string]any{"network": "other"}}
		}, []string{"east", "values.global.network: other", "spec.clusters[].network"}},
		{"the same by a flag", func(m *mesh.Mesh) {
			m.Clusters[0].Istio.Set = []string{"values.global.multiCluster.clusterName=Kubernetes"}
		}, []string{"east", "clusterName", "Kubernetes"}},
		{"two trust domains", func(m *mesh.Mesh) {
			m.Clusters[0].Istio.MeshConfig = map[string]any{"trustDomain": "other.test"}
		}, []string{"east", "trustDomain: other.test", "spec.trust.domain"}},
		{"another namespace than that of trust and discovery", func(m *mesh.Mesh) {
			m.Clusters[0].Istio.Set = []string{"values.global.istioNamespace=mesh"}
		}, []string{"east", "istioNamespace: mesh", "istio-system only"}},
		{
			"charts of another line are not here", func(m *mesh.Mesh) { m.Clusters[0].Istio.Version = "1.30.2" },
			[]string{"east", "spec.istio.version is 1.30.2", "1.31"},
		},
		{"no such profile", func(m *mesh.Mesh) { m.Clusters[0].Istio.Profile = "nosuch" }, []string{"east", `profile "nosuch" not found`}},
		{
			"a flag without a value", func(m *mesh.Mesh) { m.Clusters[0].Istio.Set = []string{"values.global.proxy"} },
			[]string{"east", "values.global.proxy", "path=value"},
		},
		{"a flag through what is no map makes the library panic", func(m *mesh.Mesh) {
			m.Clusters[0].Istio.Set = []string{"values.global=1", "values.global.network=x"}
		}, []string{"east", "spec.istio.set"}},
		{"a value of the wrong type", func(m *mesh.Mesh) {
			m.Clusters[0].Istio.Values = map[string]any{"pilot": map[string]any{"autoscaleMin": "many"}}
		}, []string{"east", "spec.istio"}},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			m := shop("east")
			tt.edit(&m)
			_, err := Objects(m)
			if err == nil {
				t.Fatal("no error")
			}
			for _, word := range tt.want {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("the error does not say %q: %v", word, err)
				}
			}
		})
	}
}

func TestVersionsThatFit(t *testing.T) {
	for _, v := range []string{"", "1.31", "1.31.0", "v1.31.1", "1.31-alpha"} {
		if err := check(mesh.Cluster{Istio: mesh.Istio{Version: v}}); err != nil {
			t.Errorf("%q: %v", v, err)
		}
	}
	for _, v := range []string{"1.3", "1.310", "1.32.0", "2"} {
		if check(mesh.Cluster{Istio: mesh.Istio{Version: v}}) == nil {
			t.Errorf("%q passes", v)
		}
	}
}

// TestVersionIsThatOfTheCharts: the charts can be made to behave like every line before their own.
func TestVersionIsThatOfTheCharts(t *testing.T) {
	const dir = "charts/istio-control/istio-discovery/files"
	minor := func(v string) (n int) { _, _ = fmt.Sscanf(v, "1.%d", &n); return n }
	files, err := fs.Glob(manifests.FS, dir+"/profile-compatibility-version-*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no compatibility profiles: %v", err)
	}
	newest := 0
	for _, f := range files {
		newest = max(newest, minor(strings.TrimPrefix(filepath.Base(f), "profile-compatibility-version-")))
	}
	if minor(Version()) != newest+1 {
		t.Errorf("Version is %s, and the charts know how to be 1.%d", Version(), newest)
	}
	if !strings.HasPrefix(DefaultTag, Version()+".") {
		t.Errorf("the default tag %s is not of %s", DefaultTag, Version())
	}
}

func TestNothingIsLeftOnDisk(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	must(t, shop("east", "west"))
	m := shop("east", "west")
	m.Clusters[0].Istio.Set = []string{"values.global=1", "values.global.network=x"}
	if _, err := Objects(m); err == nil {
		t.Fatal("no error")
	}
	left, err := os.ReadDir(os.TempDir())
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestOrderIsThatOfParts(t *testing.T) {
	objects := must(t, shop("east", "west"))["east"]
	if !slices.IsSortedFunc(objects, byPart) {
		t.Error("not sorted")
	}
	parts := map[object.Part]int{}
	for _, o := range objects {
		parts[o.Part]++
	}
	if got := slices.SortedFunc(maps.Keys(parts), func(a, b object.Part) int {
		return cmp.Compare(slices.Index(partOrder, a), slices.Index(partOrder, b))
	}); !slices.Equal(got, partOrder) {
		t.Errorf("parts %v, want %v", got, partOrder)
	}
}

func BenchmarkObjects(b *testing.B) {
	for _, names := range [][]string{{"east"}, {"east", "west"}, {"a", "b", "c", "d", "e", "f", "g", "h"}} {
		m := shop(names...)
		b.Run(fmt.Sprintf("clusters=%d", len(names)), func(b *testing.B) {
			for b.Loop() {
				if _, err := Objects(m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
