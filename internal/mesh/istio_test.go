package mesh_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"isthmus.dev/isthmus/internal/mesh"
)

func TestIstioOfACluster(t *testing.T) {
	type seen struct{ Version, Tag, Hub, Profile, Revision, From string }
	cases := []struct {
		reason, all, own string
		want             seen
	}{
		{"A cluster has what the mesh has.", "{version: 1.31.2, hub: a.test, profile: demo, revision: blue}", "{}", seen{"1.31.2", "1.31.2", "a.test", "demo", "blue", ""}},
		{
			"A cluster's own fields win, and its version chooses its images before the mesh's tag.",
			"{version: 1.31.0, tag: 1.31.0-distroless}", "{version: 1.31.2, hub: b.test, profile: empty, revision: green}",
			seen{"1.31.2", "1.31.2", "b.test", "empty", "green", ""},
		},
		{"A cluster's tag wins over its version.", "{}", "{version: 1.31.2, tag: custom}", seen{"1.31.2", "custom", "docker.io/istio", "minimal", "", ""}},
		{"The default revision takes a cluster out of the mesh's.", "{revision: blue}", "{revision: default}", seen{"1.31.1", "1.31.1", "docker.io/istio", "minimal", "", ""}},
		{"Charts in files say what they are of, and which images.", "{charts: istio-1.30.4/manifests}", "{}", seen{"", "", "docker.io/istio", "minimal", "", "over/there/istio-1.30.4/manifests"}},
		{"A release line says nothing of the patch: that is for the charts.", `{charts: /istio, version: "1.30"}`, "{}", seen{"1.30", "", "docker.io/istio", "minimal", "", "/istio"}},
		{"Charts in a registry have the tag of the reference.", "{}", "{charts: 'oci://r.test:5000/charts:1.30.4'}", seen{"1.30.4", "1.30.4", "docker.io/istio", "minimal", "", "oci://r.test:5000/charts:1.30.4"}},
		{"Charts in a registry without one: this program's.", "{}", "{charts: 'oci://r.test:5000/charts'}", seen{"1.31.1", "1.31.1", "docker.io/istio", "minimal", "", "oci://r.test:5000/charts"}},
	}
	for _, c := range cases {
		text := head + "spec:\n  clusters:\n  - name: east\n    istio: " + c.own + "\n  istio: " + c.all + "\n"
		m, err := mesh.Load("over/there/mesh.yaml", []byte(text), nil)
		if err != nil {
			t.Fatalf("%s %v", c.reason, err)
		}
		i := m.Clusters[0].Istio
		if diff := cmp.Diff(c.want, seen{i.Version, i.Tag, i.Hub, i.Profile, i.Revision, i.Charts.From}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.reason, diff)
		}
	}
}

func TestPullSecretsOfACluster(t *testing.T) {
	m := load(t, head+"spec:\n  clusters:\n  - {name: east}\n  - {name: west, istio: {imagePullSecrets: [b]}}\n  - {name: north, istio: {imagePullSecrets: []}}\n  istio: {imagePullSecrets: [a]}\n")
	var got [][]string
	for _, c := range m.Clusters {
		got = append(got, c.Istio.ImagePullSecrets)
	}
	if diff := cmp.Diff([][]string{{"a"}, {"b"}, {}}, got); diff != "" {
		t.Errorf("the mesh's, its own, and none of an empty list (-want +got):\n%s", diff)
	}
}
