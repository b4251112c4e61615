package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/object"
)

// kubeSystem is the object whose UID tells a cluster from all others.
var kubeSystem = object.Ref{Kind: "Namespace", Name: "kube-system"}

// uids are kube-system's UIDs by cluster, as far as they are known.
func uids(now facts.Snapshot) map[string]string {
	out := map[string]string{}
	for name, c := range now.Clusters {
		if c.UID != "" {
			out[name] = c.UID
		}
	}
	return out
}

// doubted is what records say of drains and is not believed, but for what this plan settles: what is of a time that is
// yet to come is passed over, and the rest stands in the way until a person has said which it is. A cluster that was
// away while another was drained or undrained would undo it otherwise, and one record of many could do it.
func doubted(in Input) (passed []facts.DoubtedDrain, conflicts []Conflict) {
	for _, d := range facts.DoubtedDrains(in.Now) {
		_, member := in.Mesh.Cluster(d.Cluster)
		switch {
		case !member || in.removal() || slices.Contains(in.Options.Drain, d.Cluster) || slices.Contains(in.Options.Undrain, d.Cluster):
		case d.Future:
			passed = append(passed, d)
		default:
			conflicts = append(conflicts, Conflict{
				Cluster: d.Said[0], Object: Inventory(in.Mesh.Name, "", "").Ref(), Owner: object.Manager, Why: d.Seen(),
				Do: fmt.Sprintf("say which it is: isthmus drain %s, or isthmus undrain %[1]s", d.Cluster),
			})
		}
	}
	return passed, conflicts
}

// otherClusters are clusters of the document that are not the ones which records know by their names: a context leads
// elsewhere by now, or the cluster was made anew. One record alone stops nothing where the cluster's own record is
// against it. Nothing is written before a person has said which it is.
func otherClusters(in Input) []Conflict {
	var conflicts []Conflict
	for _, c := range in.Mesh.Clusters {
		f := in.Now.Clusters[c.Name]
		if !f.Answered() || f.UID == "" || slices.Contains(in.Options.NewClusters, c.Name) {
			continue
		}
		said := recordedUIDs(in, c.Name)
		var others []string
		for uid, by := range said {
			if uid != f.UID {
				others = append(others, by...)
			}
		}
		if len(others) == 0 || len(others) <= len(said[f.UID]) {
			continue
		}
		slices.Sort(others)
		conflicts = append(conflicts, Conflict{
			Cluster: c.Name, Object: kubeSystem, Owner: "unknown",
			Why: fmt.Sprintf("has UID %s, and the records of %s know %s by another: this is another cluster than before%s", f.UID, strings.Join(others, ", "), c.Name, knownAs(in, c.Name, f.UID)),
			Do:  fmt.Sprintf("let context %q lead to %s again; or, if %[2]s was made anew, say so: --new-cluster %[2]s", c.Context, c.Name),
		})
	}
	return conflicts
}

// knownAs tells which other cluster of the document records know by a UID.
func knownAs(in Input, but, uid string) string {
	for _, c := range in.Mesh.Clusters {
		if c.Name != but && len(recordedUIDs(in, c.Name)[uid]) > 0 {
			return ", the one that is known as " + c.Name
		}
	}
	return ""
}

// recordedUIDs are the UIDs that the records of the document's clusters know a cluster by, and which records those are.
func recordedUIDs(in Input, name string) map[string][]string {
	said := map[string][]string{}
	for _, c := range in.Mesh.Clusters {
		f := in.Now.Clusters[c.Name]
		if f == nil {
			continue
		}
		for _, m := range f.Members {
			if m.Name == name && m.UID != "" {
				said[m.UID] = append(said[m.UID], c.Name)
			}
		}
	}
	return said
}

// recordedUID is the UID that most records know a cluster by; of as many the first by its text. "" if none does.
func recordedUID(in Input, name string) string {
	said := recordedUIDs(in, name)
	best := ""
	for _, uid := range slices.Sorted(maps.Keys(said)) {
		if best == "" || len(said[uid]) > len(said[best]) {
			best = uid
		}
	}
	return best
}
