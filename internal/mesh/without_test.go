package mesh

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWithout(t *testing.T) {
	m := Mesh{Name: "shop", Clusters: []Cluster{{Name: "a"}, {Name: "b"}, {Name: "c"}}, Waves: [][]string{{"b"}, {"a", "c"}}}
	rest, leaving, err := m.Without("b", "c")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]Cluster{{Name: "a"}}, rest.Clusters); d != "" {
		t.Errorf("who stays (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]Cluster{{Name: "b"}, {Name: "c"}}, leaving); d != "" {
		t.Errorf("who leaves (-want +got):\n%s", d)
	}
	if d := cmp.Diff([][]string{{"a"}}, rest.Waves); d != "" {
		t.Errorf("waves (-want +got):\n%s", d)
	}
	if len(m.Clusters) != 3 || len(m.Waves[1]) != 2 {
		t.Errorf("the mesh itself was changed: %v", m)
	}
	for _, c := range []struct {
		names []string
		want  string
	}{
		{[]string{"d"}, `no cluster "d" in spec.clusters; there are: a, b, c`},
		{[]string{"a", "b", "c"}, "no cluster would be left"},
	} {
		if _, _, err := m.Without(c.names...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %s", c.names, err, c.want)
		}
	}
}
