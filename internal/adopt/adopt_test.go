package adopt

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/istio"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// running is a cluster with an Istio as some document installs it.
func running(t *testing.T, name, text string) *facts.Cluster {
	t.Helper()
	m, err := mesh.Load("-", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := istio.Objects(m)
	if err != nil {
		t.Fatal(err)
	}
	c := &facts.Cluster{Name: name, Live: map[object.Ref]*unstructured.Unstructured{}, Secrets: map[string]*facts.Secret{}}
	c.Istiods = []facts.Istiod{{
		Namespace: istio.Namespace, Name: "istiod", Revision: "default", Version: "1.31.0", Owner: "istioctl",
		Network: "net-" + name, ClusterName: name, MeshID: m.Name, TrustDomain: m.Trust.Domain,
	}}
	root := facts.Certificate{Subject: "CN=root", SPKI: "a", Fingerprint: "a"}
	c.Secrets["istio-system/cacerts"] = &facts.Secret{Namespace: "istio-system", Name: "cacerts", Certificates: map[string][]facts.Certificate{"root-cert.pem": {root}}}
	for _, o := range objects[name] {
		c.Live[o.Ref()] = o.Body
	}
	return c
}

const installed = `apiVersion: isthmus.dev/v1alpha1
kind: Mesh
metadata: {name: mesh1}
spec:
  clusters: [{name: east, network: net-east}, {name: west, network: net-west}]
  trust: {domain: shop.example}
  istio:
    hub: example.test/istio
    tag: 1.31.0-mine
    meshConfig: {accessLogFile: /dev/stdout}
    values:
      pilot: {env: {MINE: "yes"}, resources: {requests: {cpu: 10m, memory: 64Mi}}}
      global: {proxy: {logLevel: info}}
`

// TestWhatIsWrittenInstallsTheSame: the document that is written renders, object for object, what was installed.
func TestWhatIsWrittenInstallsTheSame(t *testing.T) {
	east, west := running(t, "east", installed), running(t, "west", installed)
	d, err := Write("folder", []Member{{"east", east}, {"west", west}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := mesh.Load("-", []byte(d.Text), nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, d.Text)
	}
	if m.Name != "mesh1" || m.Trust.Domain != "shop.example" || !m.Trust.ExistingRoot || m.MTLS != "PERMISSIVE" || m.Clusters[1].Network != "net-west" {
		t.Errorf("the document says otherwise than what runs:\n%s", d.Text)
	}
	again, err := istio.Objects(m)
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, o := range again["east"] {
		ref := o.Ref()
		if ref.Name == "values" { // says in which words it was installed
			continue
		}
		compared++
		was, is := text(t, east.Live[ref].Object), text(t, o.Body.Object)
		if was != is {
			t.Errorf("%s is another:\n%s", ref, firstDifference(was, is))
		}
	}
	if compared < 35 {
		t.Errorf("only %d objects were compared", compared)
	}
}

// TestWhatIsNotOneMeshIsSaid: differences that one document cannot hold are told, and settings that differ stay apart.
func TestWhatIsNotOneMeshIsSaid(t *testing.T) {
	east := running(t, "east", installed)
	west := running(t, "west", strings.Replace(installed, "info", "debug", 1))
	west.Secrets["istio-system/cacerts"].Certificates["root-cert.pem"][0] = facts.Certificate{Subject: "CN=other", SPKI: "b", Fingerprint: "b"}
	west.Istiods[0].MeshID, west.Istiods[0].ClusterName = "mesh2", "Kubernetes"
	d, err := Write("folder", []Member{{"east", east}, {"west", west}})
	if err != nil {
		t.Fatal(err)
	}
	said := strings.Join(d.Untold, "\n")
	for _, want := range []string{"the mesh ids that run (mesh1, mesh2)", `calls it "Kubernetes"`, "west has no root in common with east"} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q:\n%s", want, said)
		}
	}
	m, err := mesh.Load("-", []byte(d.Text), nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, d.Text)
	}
	level := func(i int) any {
		v, _, _ := unstructured.NestedString(m.Clusters[i].Istio.Values, "global", "proxy", "logLevel")
		return v
	}
	if level(0) != "info" || level(1) != "debug" || m.Trust.ExistingRoot {
		t.Errorf("levels %v and %v, existing root %t:\n%s", level(0), level(1), m.Trust.ExistingRoot, d.Text)
	}
}

func text(t *testing.T, v any) string {
	t.Helper()
	out, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return "- " + x[i] + "\n+ " + y[i]
		}
	}
	return "one is longer"
}
