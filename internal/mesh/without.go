package mesh

import (
	"fmt"
	"slices"
	"strings"
)

// Without is the mesh after clusters have left it, and the clusters that leave, in document order. Errors: a name
// that is no member, or all of them, which is no mesh.
func (m Mesh) Without(names ...string) (rest Mesh, leaving []Cluster, err error) {
	for _, name := range names {
		if _, ok := m.Cluster(name); !ok {
			return Mesh{}, nil, fmt.Errorf("no cluster %q in spec.clusters; there are: %s", name, strings.Join(m.Names(), ", "))
		}
	}
	rest = m
	rest.Clusters = nil
	for _, c := range m.Clusters {
		if slices.Contains(names, c.Name) {
			leaving = append(leaving, c)
			continue
		}
		rest.Clusters = append(rest.Clusters, c)
	}
	if len(rest.Clusters) == 0 {
		return Mesh{}, nil, fmt.Errorf("no cluster would be left in mesh %s", m.Name)
	}
	for _, c := range rest.Clusters {
		if host := m.Host(c).Name; slices.Contains(names, host) {
			return Mesh{}, nil, fmt.Errorf("%s cannot leave: the istiod that serves %s runs there; give %s another spec.clusters[].controlPlane first, or let it leave too", host, c.Name, c.Name)
		}
	}
	rest.Waves = nil
	for _, w := range m.Waves {
		if w = slices.DeleteFunc(slices.Clone(w), func(c string) bool { return slices.Contains(names, c) }); len(w) > 0 {
			rest.Waves = append(rest.Waves, w)
		}
	}
	return rest, leaving, nil
}
