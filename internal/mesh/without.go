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

// FormerCluster is how a cluster is reached that was a member. ok is false where nobody says it.
func (m Mesh) FormerCluster(name string) (c Cluster, ok bool) {
	i := slices.IndexFunc(m.Former, func(c Cluster) bool { return c.Name == name })
	if i < 0 {
		return Cluster{}, false
	}
	return m.Former[i], true
}

// WithFormer is the mesh with one more cluster that was a member, reached by a context of the kubeconfig; it goes before
// what the document says of that name. Errors: it is a member.
func (m Mesh) WithFormer(name, context string) (Mesh, error) {
	if _, stays := m.Cluster(name); stays {
		return Mesh{}, fmt.Errorf("%s is in spec.clusters: take it out first, or let it leave by: isthmus uninstall --cluster %s", name, name)
	}
	m.Former = append([]Cluster{{Name: name, Context: context}}, m.Former...)
	return m, nil
}
