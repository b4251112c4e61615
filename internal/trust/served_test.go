package trust

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
)

// TestAuthoritiesAreBesideIstiods: a remote has none, an external cluster's is where its istiod runs, and the root is
// in a primary even where a remote comes first in the document.
func TestAuthoritiesAreBesideIstiods(t *testing.T) {
	m := mesh.Mesh{Name: "shop", Clusters: []mesh.Cluster{
		{Name: "north", RemoteOf: "east"}, {Name: "east"}, {Name: "west", ExternalAt: "east"},
	}}
	got := map[string][]string{}
	for name, list := range Objects(m) {
		for _, o := range list {
			got[name] = append(got[name], o.Ref().String()+" for "+o.Sealed.About+o.For)
		}
	}
	want := map[string][]string{"east": {
		"Secret isthmus-system/isthmus-root for east", "Secret istio-system/cacerts for east",
		"Secret external-istiod-west/cacerts for westwest",
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("authorities (-want +got):\n%s", diff)
	}
}

func TestARemoteBringsNoAuthority(t *testing.T) {
	m := mesh.Mesh{Trust: mesh.Trust{ExistingRoot: true}, Clusters: []mesh.Cluster{{Name: "east"}, {Name: "west", RemoteOf: "east"}}}
	now := facts.Snapshot{Clusters: map[string]*facts.Cluster{"east": {}, "west": {}}}
	for name, refused := range map[string]bool{"east": true, "west": false} {
		if _, why, _ := Guard(m, name, now); (why != "") != refused {
			t.Errorf("%s has no authority of its own: %q", name, why)
		}
	}
}
