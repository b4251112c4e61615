package mesh_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"istio.io/istio/operator/pkg/values"

	"isthmus.dev/isthmus/internal/mesh"
)

// TestSetIsIstioctls lays flags over an empty installation with the code that istioctl runs, and with ours.
func TestSetIsIstioctls(t *testing.T) {
	cases := []struct {
		reason string
		set    []string
	}{
		{"A text.", []string{"values.pilot.resources.requests.cpu=10m"}},
		{"A whole number, a number, booleans in all their spellings.", []string{
			"values.a.int=12", "values.a.neg=-3", "values.a.float=0.5", "values.a.exp=1e3",
			"values.a.yes=true", "values.a.no=false", "values.a.t=T", "values.a.text=yes",
		}},
		{"Nothing behind the =.", []string{"values.a.b="}},
		{"More = in the value.", []string{"meshConfig.extra=a=b=c"}},
		{"A path into meshConfig.", []string{"meshConfig.accessLogFile=/dev/stdout", "meshConfig.enableTracing=true"}},
		{"Dots within a key.", []string{`values.nodeSelector.kubernetes\.io/os=linux`}},
		{"A comma that was escaped for Helm.", []string{`values.a.list=x\,y`}},
		{"Items of lists, in both spellings, appended one after the other.", []string{
			"values.global.imagePullSecrets[0]=one", "values.global.imagePullSecrets.[1]=two",
		}},
		{"An item that is a map, by number and by a field of it.", []string{
			"values.env[0].name=A", "values.env[0].value=1", "values.env[name:A].value=2",
		}},
		{"The later wins.", []string{"values.a.b=1", "values.a.b=2"}},
		{"A text into a place where a map was before.", []string{"values.a.b.c=1", "values.a.b=2"}},
		{"What looks like a number and has to be a text.", []string{
			"values.compatibilityVersion=1.30",
			"meshConfig.defaultConfig.proxyMetadata.ISTIO_META_DNS_CAPTURE=true",
			"values.meshConfig.defaultConfig.proxyMetadata.N=1",
		}},
		{"Spaces around the =.", []string{"values.a.b = c d "}},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			theirs := values.Map{}
			if err := theirs.SetSpecPaths(c.set...); err != nil {
				t.Fatal(err)
			}
			m := load(t, twoClusters, c.set...)
			ours := map[string]any{"values": m.Istio.Values, "meshConfig": m.Istio.MeshConfig}
			spec, _ := theirs.GetPathMap("spec")
			want := map[string]any{"values": spec["values"], "meshConfig": spec["meshConfig"]}
			if diff := cmp.Diff(plain(t, want), plain(t, ours)); diff != "" {
				t.Errorf("-istioctl +ours:\n%s", diff)
			}
		})
	}
}

// plain is a value as JSON has it.
func plain(t *testing.T, v any) string {
	t.Helper()
	out, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestSetOverTheDocument is what istioctl has not: fields of the document.
func TestSetOverTheDocument(t *testing.T) {
	cases := []struct {
		reason string
		set    string
		got    func(mesh.Mesh) any
		want   any
	}{
		{"A field.", "spec.trust.domain=shop.example", func(m mesh.Mesh) any { return m.Trust.Domain }, "shop.example"},
		{"istioctl's short path.", "profile=demo", func(m mesh.Mesh) any { return m.Istio.Profile }, "demo"},
		{"The long one.", "spec.istio.profile=demo", func(m mesh.Mesh) any { return m.Istio.Profile }, "demo"},
		{"A text where the schema has a text, though it looks like a number.", "tag=1.30", func(m mesh.Mesh) any { return m.Istio.Tag }, "1.30"},
		{"Quotes keep a number a text.", `values.a="5"`, func(m mesh.Mesh) any { return m.Istio.Values["a"] }, "5"},
		{"A whole number where the schema has one.", "spec.gateways.eastWest.replicas=3", func(m mesh.Mesh) any { return *m.EastWest.Replicas }, int32(3)},
		{"A cluster by its number.", "spec.clusters[1].network=vpc-1", func(m mesh.Mesh) any { return m.Clusters[1].Network }, "vpc-1"},
		{"A cluster by its name.", "spec.clusters[name:west].network=vpc-1", func(m mesh.Mesh) any { return m.Clusters[1].Network }, "vpc-1"},
		{"One cluster more.", "spec.clusters[2].name=north", func(m mesh.Mesh) any { return m.Clusters[2].Context }, "north"},
		{"A list in YAML's short form.", "spec.rollout.waves=[[east],[west]]", func(m mesh.Mesh) any { return m.Waves }, [][]string{{"east"}, {"west"}}},
		{"The mesh's name.", "metadata.name=other", func(m mesh.Mesh) any { return m.Name }, "other"},
		{"A revision has a field.", "revision=canary", func(m mesh.Mesh) any { return m.Clusters[1].Istio.Revision }, "canary"},
		{"A revision in the values is the same.", "values.revision=canary", func(m mesh.Mesh) any { return m.Clusters[1].Istio.Revision }, "canary"},
		{"The default revision is none.", "revision=default", func(m mesh.Mesh) any { return m.Clusters[1].Istio.Revision }, ""},
		{"What only an IstioOperator has goes to set.", "components.cni.enabled=true", func(m mesh.Mesh) any { return m.Clusters[0].Istio.Set }, []string{"values.b=1", "values.c=1", "components.cni.enabled=true"}},
		{"A flag wins over an entry of set with the same path.", "values.b=2", func(m mesh.Mesh) any { return []any{m.Istio.Set, m.Istio.Values["b"]} }, []any{[]string{"values.c=1"}, int64(2)}},
		{"A cluster's own values.", "spec.clusters[0].istio.values.a.b=true", func(m mesh.Mesh) any { return m.Clusters[0].Istio.Value("a", "b") }, true},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			m := load(t, twoClusters+"  istio: {set: [values.b=1, values.c=1]}\n", c.set)
			if diff := cmp.Diff(c.want, c.got(m)); diff != "" {
				t.Errorf("--set %s (-want +got):\n%s", c.set, diff)
			}
		})
	}
}

// TestSetMendsADocument: what is wrong in the file and put right by a flag is right.
func TestSetMendsADocument(t *testing.T) {
	broken := strings.Replace(twoClusters, "name: west", "name: West", 1) + "  security: STRICT\n"
	m := load(t, broken, "spec.clusters[1].name=west", "spec.security={mtls: PERMISSIVE}")
	if m.Clusters[1].Name != "west" || m.MTLS != "PERMISSIVE" {
		t.Errorf("got %s and %s", m.Clusters[1].Name, m.MTLS)
	}
}
