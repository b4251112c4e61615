package facts

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"isthmus.dev/isthmus/internal/cluster"
	"isthmus.dev/isthmus/internal/mesh"
)

// MembersKey is the key of the inventory's ConfigMap that holds the members of the mesh: every member knows all
// others, so that one which leaves the document is still known.
const MembersKey = "members"

// A Member is a cluster that is, or was, in the document, and how whoever applied reached it. No credential is in it.
type Member struct {
	Name string `json:"name"`
	// Context and Kubeconfig are as the document had them; Kubeconfig is empty where kubectl's own was used.
	Context    string `json:"context,omitempty"`
	Kubeconfig string `json:"kubeconfig,omitempty"`
	Server     string `json:"server,omitempty"`
	// UID is kube-system's: a context that has come to lead elsewhere is told by it.
	UID string `json:"uid,omitempty"`
	// Drain is the last that was said of keeping calls from it; nil: nothing ever was.
	Drain *Drain `json:"drain,omitempty"`
}

// A Drain says whether calls are kept from a cluster.
type Drain struct {
	// On is false once it was undrained: a record that says so is newer than one elsewhere which still says On.
	On    bool      `json:"on"`
	Since time.Time `json:"since"`
	// To is the cluster that answers for it.
	To string `json:"to,omitempty"`
}

// Drains is the newest that any cluster's record says of each member.
func Drains(s Snapshot) map[string]Drain {
	drains := map[string]Drain{}
	for _, c := range s.Clusters {
		for _, m := range c.Members {
			if d := m.Drain; d != nil && !d.Since.Before(drains[m.Name].Since) {
				drains[m.Name] = *d
			}
		}
	}
	return drains
}

// FormatMembers writes members, sorted by name, one a line.
func FormatMembers(members []Member) string {
	members = slices.SortedFunc(slices.Values(members), func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	lines := make([]string, 0, len(members))
	for _, m := range members {
		raw, err := json.Marshal(m)
		if err != nil { // strings always marshal
			panic(err)
		}
		lines = append(lines, string(raw))
	}
	return "[" + strings.Join(lines, ",\n ") + "]\n"
}

// ParseMembers reads what FormatMembers wrote.
func ParseMembers(text string) ([]Member, error) {
	var members []Member
	if err := json.Unmarshal([]byte(text), &members); err != nil {
		return nil, fmt.Errorf("read members: %w", err)
	}
	return members, nil
}

// Left are the clusters that records name and the document does not, sorted by name. Where records differ, that of
// the first cluster of the document counts.
func Left(m mesh.Mesh, s Snapshot) []Member {
	known := map[string]bool{}
	for _, c := range m.Clusters {
		known[c.Name] = true
	}
	var left []Member
	for _, c := range m.Clusters {
		f := s.Clusters[c.Name]
		if f == nil {
			continue
		}
		for _, x := range f.Members {
			if !known[x.Name] {
				known[x.Name] = true
				left = append(left, x)
			}
		}
	}
	slices.SortFunc(left, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return left
}

// GatherLeft reads the clusters that have left the document as well: those that records name, and those that leave
// now. It adds them to the snapshot. Each has the deadline that Gather gives.
func GatherLeft(ctx context.Context, m mesh.Mesh, s *Snapshot, leaving []mesh.Cluster, dial cluster.Dialer, deadline time.Duration, now func() time.Time) {
	s.Left = Left(m, *s)
	clusters := map[string]mesh.Cluster{}
	for _, x := range s.Left {
		clusters[x.Name] = x.Cluster()
	}
	for _, c := range leaving {
		clusters[c.Name] = c
		x := Member{Name: c.Name, Context: c.Context, Kubeconfig: c.Kubeconfig}
		if i := slices.IndexFunc(s.Left, func(l Member) bool { return l.Name == c.Name }); i >= 0 {
			x.Server, x.UID = s.Left[i].Server, s.Left[i].UID
			s.Left[i] = x
		} else {
			s.Left = append(s.Left, x)
		}
	}
	slices.SortFunc(s.Left, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	// Nothing is wanted there, and whose rights are missing for that is not asked.
	gone := mesh.Mesh{Name: m.Name, Clusters: slices.Collect(maps.Values(clusters))}
	maps.Copy(s.Clusters, Gather(ctx, gone, nil, dial, deadline, now).Clusters)
}

// Cluster is what a connection to a former member is made from.
func (m Member) Cluster() mesh.Cluster {
	return mesh.Cluster{Name: m.Name, Context: cmp.Or(m.Context, m.Name), Kubeconfig: m.Kubeconfig}
}
