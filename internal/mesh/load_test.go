package mesh_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"isthmus.dev/isthmus/api/v1alpha1"
	"isthmus.dev/isthmus/internal/mesh"
)

const head = "apiVersion: isthmus.dev/v1alpha1\nkind: Mesh\nmetadata: {name: shop}\n"

const twoClusters = head + `spec:
  clusters:
  - {name: east, access: {context: kind-east}}
  - {name: west, access: {context: kind-west}}
`

// TestDefaults is the table of every default, as a person would want to read it.
func TestDefaults(t *testing.T) {
	m := load(t, head+"spec:\n  clusters:\n  - {name: east}\n")
	one := int32(1)
	istio := mesh.Istio{Version: "1.31.1", Profile: "minimal", Hub: "docker.io/istio", Tag: "1.31.1"}
	want := mesh.Mesh{
		Name:          "shop",
		Clusters:      []mesh.Cluster{{Name: "east", Context: "east", Network: "east", Istio: istio}},
		Istio:         istio,
		Trust:         mesh.Trust{Domain: "cluster.local", RootTTL: 87600 * time.Hour, IntermediateTTL: 8760 * time.Hour},
		CredentialTTL: 2160 * time.Hour,
		EastWest:      v1alpha1.EastWestGateway{Replicas: &one, ServiceType: "LoadBalancer"},
		MTLS:          "STRICT",
		Failover:      &mesh.Failover{ConnectTimeout: 2 * time.Second, DeadAfter: 3 * time.Second, EjectionTime: 10 * time.Second, ConsecutiveFailures: 3},
		Access:        v1alpha1.Authorization{Default: "allow", Mode: "enforce"},
		Verify:        v1alpha1.Verify{Namespace: "isthmus-verify", ImagePullPolicy: "IfNotPresent"},
		Source:        "mesh.yaml",
	}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Errorf("Load (-want +got):\n%s", diff)
	}
}

func load(t testing.TB, text string, set ...string) mesh.Mesh {
	t.Helper()
	m, err := mesh.Load("mesh.yaml", []byte(text), set)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return m
}

func TestTagFollowsVersion(t *testing.T) {
	cases := []struct{ reason, istio, version, tag string }{
		{"Nothing said: the release whose charts are embedded.", "{}", "1.31.1", "1.31.1"},
		{"A release line says nothing of the patch, so it is that of the charts.", `{version: "1.31"}`, "1.31", "1.31.1"},
		{"A patch release is the tag of its images.", "{version: 1.31.7}", "1.31.7", "1.31.7"},
		{"A tag wins.", "{version: 1.31.7, tag: 1.31.7-distroless}", "1.31.7", "1.31.7-distroless"},
	}
	for _, c := range cases {
		m := load(t, twoClusters+"  istio: "+c.istio+"\n")
		if m.Istio.Version != c.version || m.Istio.Tag != c.tag {
			t.Errorf("%s version %s tag %s, want %s and %s", c.reason, m.Istio.Version, m.Istio.Tag, c.version, c.tag)
		}
	}
}

func TestClusterIsLaidOverMesh(t *testing.T) {
	m := load(t, head+`spec:
  clusters:
  - name: east
    istio:
      values: {pilot: {env: {B: "2"}, resources: null, list: [3]}}
      meshConfig: {accessLogFile: ""}
      set: [components.pilot.k8s.replicaCount=2]
  - name: west
  istio:
    values: {pilot: {env: {A: "1", B: "1"}, resources: {requests: {cpu: 10m}}, list: [1, 2]}}
    meshConfig: {accessLogFile: /dev/stdout, enableTracing: true}
    set: [components.cni.enabled=true]
`)
	want := mesh.Istio{
		Version: "1.31.1", Profile: "minimal", Hub: "docker.io/istio", Tag: "1.31.1",
		Values: map[string]any{"pilot": map[string]any{
			"env": map[string]any{"A": "1", "B": "2"}, "resources": nil, "list": []any{int64(3)},
		}},
		MeshConfig: map[string]any{"accessLogFile": "", "enableTracing": true},
		Set:        []string{"components.cni.enabled=true", "components.pilot.k8s.replicaCount=2"},
	}
	if diff := cmp.Diff(want, m.Clusters[0].Istio); diff != "" {
		t.Errorf("east (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(m.Istio, m.Clusters[1].Istio); diff != "" {
		t.Errorf("west says nothing, and differs from the mesh (-mesh +west):\n%s", diff)
	}
	m.Clusters[0].Istio.Values["pilot"].(map[string]any)["env"].(map[string]any)["A"] = "changed"
	if got := m.Istio.Values["pilot"].(map[string]any)["env"].(map[string]any)["A"]; got != "1" {
		t.Errorf("a change to a cluster's values reached the mesh's: %v", got)
	}
}

func TestYAMLAsKubectlReadsIt(t *testing.T) {
	m := load(t, `# anchors, merges and a leading marker
---
apiVersion: isthmus.dev/v1alpha1
kind: Mesh
metadata: {name: shop, resourceVersion: "7", labels: {team: a}}
spec:
  clusters:
  - &east {name: east, network: vpc, istio: &small {values: {pilot: {on: yes, since: 2026-11-24, mode: 0644}}}}
  - <<: *east
    name: west
    istio: {<<: *small, meshConfig: {x: off}}
  security:
`)
	pilot := map[string]any{"true": true, "since": "2026-11-24", "mode": int64(420)}
	for _, c := range m.Clusters {
		if c.Network != "vpc" {
			t.Errorf("%s: network %q, want what is merged in", c.Name, c.Network)
		}
		if diff := cmp.Diff(map[string]any{"pilot": pilot}, c.Istio.Values); diff != "" {
			t.Errorf("%s: values (-want +got):\n%s", c.Name, diff)
		}
	}
	if m.MTLS != "STRICT" {
		t.Errorf("an empty section is a section left out, and MTLS is %q", m.MTLS)
	}
}

func TestTopology(t *testing.T) {
	m := load(t, head+"spec:\n  clusters:\n  - {name: a, network: vpc}\n  - {name: b}\n  - {name: c, network: vpc}\n")
	if diff := cmp.Diff([]string{"vpc", "b"}, m.Networks()); diff != "" || !m.MultiNetwork() {
		t.Errorf("networks, in document order and once each (-want +got):\n%s", diff)
	}
	var pairs []string
	for _, p := range m.Pairs() {
		pairs = append(pairs, p.From.Name+p.To.Name)
	}
	if diff := cmp.Diff([]string{"ab", "ac", "ba", "bc", "ca", "cb"}, pairs); diff != "" {
		t.Errorf("ordered pairs (-want +got):\n%s", diff)
	}
	if c, ok := m.Cluster("c"); !ok || c.Name != "c" {
		t.Errorf("Cluster(c) = %v, %v", c, ok)
	}
	if _, ok := m.Cluster("d"); ok || m.Home().Name != "a" {
		t.Errorf("there is no cluster d; home is %s", m.Home().Name)
	}
}

func TestLoadFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "mesh.yaml")
	text := head + "spec:\n  clusters:\n  - {name: east, access: {kubeconfig: east.kubeconfig}}\n  - {name: west, access: {kubeconfig: /etc/west}}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := mesh.LoadFile(file, []string{"hub=registry.example/istio"})
	if err != nil {
		t.Fatal(err)
	}
	if m.Source != file || m.Istio.Hub != "registry.example/istio" {
		t.Errorf("source %q, hub %q", m.Source, m.Istio.Hub)
	}
	if got := m.Clusters[0].Kubeconfig; got != filepath.Join(dir, "east.kubeconfig") {
		t.Errorf("a relative kubeconfig is beside the document, got %s", got)
	}
	if got := m.Clusters[1].Kubeconfig; got != "/etc/west" {
		t.Errorf("an absolute kubeconfig stays as it is, got %s", got)
	}
	for _, c := range []struct{ reason, file, want string }{
		{"A file that is not there: the command that writes one.", "no.yaml", "no.yaml: there is no such file; to write one: isthmus init -f no.yaml"},
		{"A folder is no file.", dir, dir + ": is a folder, not a mesh document; name the file: -f " + dir + "/mesh.yaml"},
	} {
		_, err := mesh.LoadFile(c.file, nil)
		var p *mesh.Problems
		if !errors.As(err, &p) || err.Error() != c.want {
			t.Errorf("%s %v, want %s", c.reason, err, c.want)
		}
	}
}

func TestProblemsReadAsOneErrorOrAList(t *testing.T) {
	_, err := mesh.Load("-", []byte(strings.Replace(twoClusters, "name: west", "nam: west", 1)), []string{"profle=demo"})
	want := `standard input has 2 problems
  standard input:7:6: spec.clusters[1].nam: no such field; did you mean name?
  --set profle=demo: profle: no such field; did you mean profile?`
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("two problems (-want +got):\n%s", diff)
	}
	_, err = mesh.Load("mesh.yaml", []byte(twoClusters), []string{"hub=a b"})
	want = `--set hub=a b: spec.istio.hub: "a b": a hub is HOST/PATH, without a scheme and without a "/" at its end`
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("one problem, without a hint to write what is written (-want +got):\n%s", diff)
	}
}

func TestExamplesLoad(t *testing.T) {
	files, err := filepath.Glob("../../examples/*/mesh.yaml")
	if err != nil || len(files) < 4 {
		t.Fatalf("examples: %v (%v)", files, err)
	}
	for _, file := range files {
		m, err := mesh.LoadFile(file, nil)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if text, _ := os.ReadFile(file); !strings.HasPrefix(string(text), "# ") {
			t.Errorf("%s does not say what it shows", file)
		}
		if strings.Contains(file, "one-network") == m.MultiNetwork() {
			t.Errorf("%s: networks %v", file, m.Networks())
		}
	}
}

// TestLabPreset pins what a stock Envoy needs; without any one of these no proxy takes its configuration.
func TestLabPreset(t *testing.T) {
	for _, file := range []string{"../../examples/quickstart/mesh.yaml", "../../examples/three-clusters/mesh.yaml"} {
		m, err := mesh.LoadFile(file, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range m.Clusters {
			if c.Context != c.Name {
				t.Errorf("%s: context %s of %s is not as isthmus-lab calls it", file, c.Context, c.Name)
			}
			got := []any{
				c.Istio.Value("pilot", "env", "PILOT_ENABLE_METADATA_EXCHANGE"),
				c.Istio.Value("pilot", "env", "PILOT_ENABLE_ALPN_FILTER"),
				c.Istio.Value("telemetry", "enabled"),
				c.Istio.Value("global", "imagePullPolicy"),
				mesh.Istio{Values: c.Istio.MeshConfig}.Value("defaultProviders", "metrics"),
				c.Istio.Hub, c.Istio.Tag, m.Verify.Image,
			}
			want := []any{"false", "false", false, "IfNotPresent", []any{}, "lab.local", "1.31.0", "lab.local/isthmus:dev"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s, %s (-want +got):\n%s", file, c.Name, diff)
			}
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	text, err := os.ReadFile("../../examples/quickstart/mesh.yaml")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := mesh.Load("mesh.yaml", text, nil); err != nil {
			b.Fatal(err)
		}
	}
}
