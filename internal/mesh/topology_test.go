package mesh_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"isthmus.dev/isthmus/internal/mesh"
)

func TestWhoServesWhom(t *testing.T) {
	m := mesh.Mesh{Clusters: []mesh.Cluster{
		{Name: "north", Network: "n", RemoteOf: "east"}, {Name: "east", Network: "n"}, {Name: "west", Network: "n"}, {Name: "south", Network: "n", ExternalAt: "west"},
	}}
	names := func(list []mesh.Cluster) []string {
		out := []string{}
		for _, c := range list {
			out = append(out, c.Name)
		}
		return out
	}
	type roles struct {
		Primary, Host, Namespace string
		Hosted, Watchers         []string
		Gateway                  bool
	}
	got := map[string]roles{}
	for _, c := range m.Clusters {
		got[c.Name] = roles{
			m.Primary(c).Name, m.Host(c).Name, m.Primary(c).IstioNamespace(), names(m.Hosted(c)), names(m.Watchers(c)), m.HasGateway(c),
		}
	}
	want := map[string]roles{
		"north": {"east", "east", "istio-system", []string{}, []string{"east", "west", "south"}, false},
		"east":  {"east", "east", "istio-system", []string{"north"}, []string{"west", "south"}, true},
		"west":  {"west", "west", "istio-system", []string{"south"}, []string{"east", "south"}, true},
		"south": {"south", "west", "external-istiod-south", []string{}, []string{"east", "west"}, false},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("roles (-want +got):\n%s", diff)
	}
	if m.Home().Name != "east" || len(m.Governors()) != 3 {
		t.Errorf("the root is kept in %s; governors %v", m.Home().Name, names(m.Governors()))
	}
}
