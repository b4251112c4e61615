package facts

import (
	"context"
	"maps"
	"slices"
	"time"

	"isthmus.dev/isthmus/internal/cluster"
	"isthmus.dev/isthmus/internal/mesh"
)

// A Former is a cluster that was a member, as records have it, and is not in the document any more.
type Former struct {
	Name string `json:"name"`
	// Said are the UIDs of kube-system that records know it by, and which clusters' records say so.
	Said map[string][]string `json:"said,omitempty"`
	// Server is where records say that it was, for people to read. Nobody dials it.
	Server string `json:"server,omitempty"`
	// Named tells that the document (spec.former) or the command line says how it is reached; else it is not dialled.
	Named bool `json:"named,omitempty"`
	// Leaves tells that it leaves now, and that the document still names it.
	Leaves bool `json:"leaves,omitempty"`
}

// UID is what kube-system's UID was by all records; "" where they say nothing, or differ.
func (f Former) UID() string {
	if len(f.Said) != 1 {
		return ""
	}
	for uid := range f.Said {
		return uid
	}
	return ""
}

// Left are the clusters that records name and the document does not, and those that leave now, sorted by name.
func Left(m mesh.Mesh, s Snapshot, leaving ...mesh.Cluster) []Former {
	left := map[string]*Former{}
	for _, c := range leaving {
		left[c.Name] = &Former{Name: c.Name, Named: true, Leaves: true}
	}
	for _, c := range m.Clusters {
		f := s.Clusters[c.Name]
		if f == nil {
			continue
		}
		for _, x := range f.Members {
			if _, stays := m.Cluster(x.Name); stays {
				continue
			}
			if left[x.Name] == nil {
				left[x.Name] = &Former{Name: x.Name, Server: x.Server}
			}
			of := left[x.Name]
			if x.UID != "" {
				if of.Said == nil {
					of.Said = map[string][]string{}
				}
				of.Said[x.UID] = append(of.Said[x.UID], c.Name)
			}
		}
	}
	var all []Former
	for _, name := range slices.Sorted(maps.Keys(left)) {
		_, named := m.FormerCluster(name)
		left[name].Named = left[name].Named || named
		all = append(all, *left[name])
	}
	return all
}

// GatherLeft reads the clusters that have left the document as well: those that records name and the document or the
// command line says how to reach, and those that leave now. It adds them to the snapshot. Each has the deadline that
// Gather gives.
func GatherLeft(ctx context.Context, m mesh.Mesh, s *Snapshot, leaving []mesh.Cluster, dial cluster.Dialer, deadline time.Duration, now func() time.Time) {
	s.Left = Left(m, *s, leaving...)
	gone := mesh.Mesh{Name: m.Name} // nothing is wanted there, and whose rights are missing for that is not asked
	for _, f := range s.Left {
		if c, ok := Reached(m, leaving, f.Name); ok {
			gone.Clusters = append(gone.Clusters, c)
		}
	}
	maps.Copy(s.Clusters, Gather(ctx, gone, nil, dial, deadline, now).Clusters)
}

// Reached is how a cluster is reached that leaves now or has left, by what the document or the command line says. ok is
// false where they say nothing.
func Reached(m mesh.Mesh, leaving []mesh.Cluster, name string) (c mesh.Cluster, ok bool) {
	if i := slices.IndexFunc(leaving, func(c mesh.Cluster) bool { return c.Name == name }); i >= 0 {
		return leaving[i], true
	}
	return m.FormerCluster(name)
}
