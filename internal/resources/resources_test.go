package resources_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/analyze"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/resources"
)

const document = `
-- mesh.yaml --
apiVersion: isthmus.dev/v1alpha1
kind: Mesh
metadata: {name: shop}
spec:
  clusters: [{name: east}, {name: west}]
`

// collect writes an archive into a folder, loads its mesh.yaml and collects what it names, beside what Isthmus makes.
func collect(t *testing.T, archive string) (object.Objects, []analyze.Finding, []mesh.Problem) {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	for _, f := range txtar.Parse([]byte(archive)).Files {
		if err := os.MkdirAll(filepath.Dir(f.Name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f.Name, f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m, err := mesh.LoadFile("mesh.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	made := object.Objects{}
	for _, c := range m.Clusters {
		made.Add(c.Name, object.Object{Part: object.PartPolicy, Body: &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
			"metadata": map[string]any{"name": "default", "namespace": "istio-system"},
			"spec":     map[string]any{"mtls": map[string]any{"mode": "STRICT"}},
		}}})
	}
	sources, err := resources.Read(m)
	var objects object.Objects
	var findings []analyze.Finding
	if err == nil {
		objects, findings, err = resources.Objects(m, sources, made)
	}
	var problems *mesh.Problems
	if err != nil && !errors.As(err, &problems) {
		t.Fatal(err)
	}
	if problems == nil {
		return objects, findings, nil
	}
	return objects, findings, problems.List
}

const entry = `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: bank, namespace: pay, resourceVersion: "7", labels: {team: pay}}
spec:
  hosts: [bank.example]
  ports: [{number: 443, name: tls, protocol: TLS}]
  resolution: DNS
status: {conditions: []}
`

func TestTheSameInEveryClusterButForOverlays(t *testing.T) {
	objects, findings, problems := collect(t, document+`  resources:
  - {path: istio}
  - {path: istio/east, clusters: [east]}
-- istio/bank.yaml --
`+entry+`-- istio/east/bank.yaml --
`+strings.Replace(entry, "DNS", "STATIC", 1)+`---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: pay}
spec: {egress: [{hosts: ["./*"]}]}
`)
	if len(problems) > 0 || len(findings) > 0 {
		t.Fatalf("problems %v, findings %v", problems, findings)
	}
	for cluster, want := range map[string][]string{
		"east": {"ServiceEntry pay/bank STATIC, for east: istio/east/bank.yaml:3", "Sidecar pay/default , for east: istio/east/bank.yaml:12"},
		"west": {"ServiceEntry pay/bank DNS, the same in every cluster: istio/bank.yaml:3"},
	} {
		var got []string
		for _, o := range objects[cluster] {
			resolution, _, _ := unstructured.NestedString(o.Body.Object, "spec", "resolution")
			got = append(got, o.Ref().String()+" "+resolution+", "+o.Reason)
			if o.Part != object.PartResources || o.Body.GetLabels()[object.LabelMesh] != "shop" {
				t.Errorf("%s: part %s, labels %v", o.Ref(), o.Part, o.Body.GetLabels())
			}
			if o.Body.GetResourceVersion() != "" || o.Body.Object["status"] != nil {
				t.Errorf("%s keeps what an API server wrote: %v", o.Ref(), o.Body.Object)
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", cluster, diff)
		}
	}
	if team := objects["west"][0].Body.GetLabels()["team"]; team != "pay" {
		t.Errorf("the file's own labels are gone: team %q", team)
	}
}

func TestRefusals(t *testing.T) {
	one := func(yaml string) string { return document + "  resources: [{path: a.yaml}]\n-- a.yaml --\n" + yaml }
	for _, c := range []struct {
		reason, archive string
		want            []string // each in one problem's line
	}{
		{"A path that is not there.", document + "  resources: [{path: istoi}]\n", []string{"mesh.yaml: spec.resources[0].path: there is no file or folder istoi; paths are taken from the document's folder"}},
		{"A folder with nothing to read.", document + "  resources: [{path: x}]\n-- x/README.md --\nhi\n", []string{"x holds no .yaml, .yml or .json file"}},
		{"A chart's templates.", document + "  resources: [{path: x}]\n-- x/Chart.yaml --\nname: x\n-- x/templates/a.yaml --\n{{ .x }}\n", []string{"holds templates of a Helm chart; render them first"}},
		{"What runs on the mesh is not the mesh's.", one("apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n"), []string{"a.yaml:2:7: spec.resources: Namespace (v1) is no configuration of a mesh"}},
		{"A Deployment too.", one("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n"), []string{"Deployment (apps/v1) is no configuration of a mesh"}},
		{"A Secret too: its content may not be in a plan.", one("apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {a: CANARY}\n"), []string{"Secret (v1) is no configuration of a mesh"}},
		{"An installation has a place of its own.", one("apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nmetadata: {name: a}\n"), []string{"an installation is written in spec.istio"}},
		{"Kustomize's file would have changed what is read.", one("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"), []string{"build it first (kustomize build)"}},
		{"A kind that Istio has not.", one("apiVersion: networking.istio.io/v1\nkind: VirtualServices\nmetadata: {name: a}\nspec: {}\n"), []string{"ANA008", "write VirtualService"}},
		{"A kind that the Gateway API has not.", one("apiVersion: gateway.networking.k8s.io/v1\nkind: HttpRoute\nmetadata: {name: a}\nspec: {}\n"), []string{"gateway.networking.k8s.io has no kind HttpRoute; its kinds are BackendTLSPolicy, "}},
		{"No name.", one("apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {namespace: a}\nspec: {egress: [{hosts: [./*]}]}\n"), []string{"a Sidecar without a name; write metadata.name"}},
		{"A document that is no object would be dropped.", one(entry + "---\nreplicas: 3\n"), []string{"a.yaml:10:1: spec.resources: this has no apiVersion or no kind"}},
		{"A list is no object.", one("- a\n"), []string{"a.yaml:1:1: spec.resources: this is no object"}},
		{"Broken YAML.", one("apiVersion: networking.istio.io/v1\nkind: [\n"), []string{"ANA003"}},
		{"Two documents that run into each other.", one(entry + entry), []string{"ANA001"}},
		{"Twice in one file, the first is named.", one(entry + "---\n" + entry), []string{"a.yaml:12:18: spec.resources: ServiceEntry pay/bank is there twice; the first is a.yaml:3"}},
		{"Twice in two files.", document + "  resources: [{path: a.yaml}, {path: b.yaml}]\n-- a.yaml --\n" + entry + "-- b.yaml --\n" + entry, []string{"b.yaml:3:18: spec.resources: ServiceEntry pay/bank is there twice; the first is a.yaml:3"}},
		{
			"Twice for one cluster, by two overlays.",
			document + "  resources: [{path: a.yaml, clusters: [east, west]}, {path: b.yaml, clusters: [east]}]\n-- a.yaml --\n" + entry + "-- b.yaml --\n" + entry,
			[]string{"is there twice"},
		},
		{"A name that Isthmus uses.", one("apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default, namespace: istio-system}\nspec: {mtls: {mode: STRICT}}\n"), []string{"Isthmus makes PeerAuthentication istio-system/default itself (policy); its mode is spec.security.mtls"}},
		{"Verify's namespace ends with verify.", one(strings.Replace(entry, "namespace: pay", "namespace: isthmus-verify", 1)), []string{"which isthmus verify removes when it ends"}},
		{"What an analyser finds to be an error, with its line.", one("apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: a}\nspec:\n  selector: {istio: ingressgateway}\n  servers:\n  - port: {number: 80, name: http, protocol: HTTP}\n    hosts:\n#   - \"*\"\n"), []string{"a.yaml:8:5: ANA002"}},
		{"A principal that is nobody's, judged by the document's trust domain.", one("apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a, namespace: pay}\nspec: {rules: [{from: [{source: {principals: [web]}}]}]}\n"), []string{"ANA020"}},
		{"A Gateway that no gateway of the profile serves.", document + "  istio: {profile: demo}\n  resources: [{path: a.yaml}]\n-- a.yaml --\n" + "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: a}\nspec:\n  selector: {istio: ingressgatewey}\n  servers:\n  - port: {number: 80, name: http, protocol: HTTP}\n    hosts: [\"*\"]\n", []string{"ANA014", "write istio: ingressgateway"}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			objects, _, problems := collect(t, c.archive)
			var lines []string
			for _, p := range problems {
				lines = append(lines, p.String())
			}
			all := strings.Join(lines, "\n")
			if len(problems) == 0 || objects != nil {
				t.Fatalf("not refused: %v", objects)
			}
			for _, want := range c.want {
				if !strings.Contains(all, want) {
					t.Errorf("nothing says %q:\n%s", want, all)
				}
			}
			if strings.Contains(all, "CANARY") {
				t.Errorf("a secret shows: %s", all)
			}
		})
	}
}

// TestWarningsStopNothing: what is worth knowing comes back beside the objects.
func TestWarningsStopNothing(t *testing.T) {
	objects, findings, problems := collect(t, document+"  resources: [{path: a.yaml}]\n-- a.yaml --\n"+strings.Replace(entry, "/v1", "/v1beta1", 1))
	if len(problems) > 0 || len(objects["east"]) != 1 {
		t.Fatalf("problems %v, objects %v", problems, objects)
	}
	if len(findings) == 0 || findings[0].ID != "ANA007" || findings[0].Line != 1 || findings[0].File != "a.yaml" {
		t.Errorf("findings %v, want ANA007 in a.yaml:1", findings)
	}
}

// TestExamples: there is nothing to say about the files that examples name.
func TestExamples(t *testing.T) {
	for example, want := range map[string][]string{
		"original": {"AuthorizationPolicy", "DestinationRule", "Gateway", "VirtualService"},
		"routing":  {"DestinationRule", "GRPCRoute", "Gateway", "Gateway", "HTTPRoute", "HTTPRoute", "VirtualService"},
	} {
		t.Run(example, func(t *testing.T) {
			m, err := mesh.LoadFile("../../examples/"+example+"/mesh.yaml", nil)
			if err != nil {
				t.Fatal(err)
			}
			sources, err := resources.Read(m)
			if err != nil {
				t.Fatal(err)
			}
			objects, findings, err := resources.Objects(m, sources, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range findings {
				if f.Severity == analyze.Warning {
					t.Errorf("%s:%d: %s %s", f.File, f.Line, f.ID, f.Seen)
				}
			}
			for _, c := range m.Clusters {
				var kinds []string
				for _, o := range objects[c.Name] {
					kinds = append(kinds, o.Body.GetKind())
				}
				slices.Sort(kinds)
				if !slices.Equal(kinds, want) {
					t.Errorf("%s has %v, want %v", c.Name, kinds, want)
				}
			}
		})
	}
}
