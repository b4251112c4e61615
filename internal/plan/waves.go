package plan

import (
	"cmp"
	"slices"
	"strings"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// waves orders changes: by the document's waves, or else all clusters that carry no mesh traffic yet together and
// then one cluster after the other; clusters that another's istiod serves after all those.
func waves(in Input, pending map[string]string, all []Change) []Wave {
	groups := groups(in, pending)
	at := map[string]int{}
	out := make([]Wave, len(groups))
	for i, g := range groups {
		out[i].Clusters = g
		for _, c := range g {
			at[c] = i
		}
	}
	early := earlyRoot(in, at, all)
	waveOf, size := make([]int, len(all)), make([]int, len(groups))
	for i, c := range all {
		w := at[c.Cluster]
		if s := sealedOf(c); s != nil && s.About != "" {
			w = max(w, at[s.About])
		}
		if c.Want != nil && c.Want.For != "" {
			w = max(w, at[c.Want.For])
		}
		if early != nil && c.Cluster == early.Cluster && comesWith(c, *early) {
			w = 0
		}
		if listsNewcomer(in, c) {
			w = 0
		}
		waveOf[i] = w
		size[w]++
	}
	for i, changes := range byWave(all, waveOf, size) {
		sortChanges(changes)
		out[i].Changes = changes
	}
	return out
}

// byWave puts changes that belong together beside each other, in no order: it swaps them where they are, since a
// quarter of a million take a hundred megabytes.
func byWave(all []Change, waveOf, size []int) [][]Change {
	out, next, end := make([][]Change, len(size)), make([]int, len(size)), make([]int, len(size))
	at := 0
	for w, n := range size {
		next[w], end[w] = at, at+n
		out[w] = all[at : at+n : at+n]
		at += n
	}
	for w := range size {
		for next[w] < end[w] {
			i := next[w]
			if to := waveOf[i]; to != w {
				j := next[to]
				all[i], all[j], waveOf[i], waveOf[j] = all[j], all[i], waveOf[j], waveOf[i]
				next[to]++
				continue
			}
			next[w]++
		}
	}
	return out
}

func groups(in Input, pending map[string]string) [][]string {
	var fresh, rest []string
	for _, c := range in.Mesh.Clusters {
		switch {
		case pending[c.Name] != "":
		case in.Mesh.Host(c).Name != c.Name: // see served
		case serves(in.Now.Clusters[c.Name]):
			rest = append(rest, c.Name)
		default:
			fresh = append(fresh, c.Name)
		}
	}
	after := served(in, pending)
	var out [][]string
	placed := map[string]bool{}
	known := slices.Concat(fresh, rest, slices.Concat(after...))
	for _, w := range in.Mesh.Waves {
		var g []string
		for _, c := range w {
			if !placed[c] && slices.Contains(known, c) {
				g = append(g, c)
				placed[c] = true
			}
		}
		if len(g) > 0 {
			out = append(out, g)
		}
	}
	unplaced := func(c string) bool { return placed[c] }
	fresh, rest = slices.DeleteFunc(fresh, unplaced), slices.DeleteFunc(rest, unplaced)
	if len(in.Mesh.Waves) > 0 {
		fresh, rest = nil, append(fresh, rest...)
	}
	if len(fresh) > 0 {
		out = append(out, fresh)
	}
	for _, c := range rest {
		out = append(out, []string{c})
	}
	for _, g := range after {
		if g = slices.DeleteFunc(g, unplaced); len(g) > 0 {
			out = append(out, g)
		}
	}
	return out
}

// served groups the clusters whose istiod runs elsewhere. Those that join carry no traffic yet and are one group, any
// other is one for itself. They come after what serves them: nothing of theirs works without it.
func served(in Input, pending map[string]string) [][]string {
	var joining []string
	var rest [][]string
	for _, c := range in.Mesh.Clusters {
		switch {
		case pending[c.Name] != "" || in.Mesh.Host(c).Name == c.Name:
		case len(in.Now.Clusters[c.Name].Inventory) == 0:
			joining = append(joining, c.Name)
		default:
			rest = append(rest, []string{c.Name})
		}
	}
	if len(joining) > 0 {
		return append([][]string{joining}, rest...)
	}
	return rest
}

// serves tells whether a cluster has a control plane that works: then its workloads may call through the mesh.
func serves(c *facts.Cluster) bool {
	return slices.ContainsFunc(c.Istiods, func(i facts.Istiod) bool { return i.Ready > 0 })
}

// earlyRoot is the root if it is made now and its cluster is not in the first wave: it is made there all the same,
// since the first wave's intermediates are signed by it. nil if it has not to.
func earlyRoot(in Input, at map[string]int, all []Change) *Change {
	if len(in.Mesh.Clusters) == 0 || at[in.Mesh.Home().Name] == 0 {
		return nil
	}
	i := slices.IndexFunc(all, func(c Change) bool {
		s := sealedOf(c)
		return s != nil && s.Kind == object.SealRoot && c.Action != Unchanged && c.Cluster == in.Mesh.Home().Name
	})
	if i < 0 {
		return nil
	}
	return &all[i]
}

// comesWith tells what is made with the root: its namespace, and the inventory that lists both, in its own.
func comesWith(c, root Change) bool {
	if c.Action == Delete {
		return false
	}
	return c.Object == root.Object || c.Stage == StageSystem || c.Stage == StageInventory ||
		c.Stage == StageNamespaces && c.Object.Name == root.Object.Namespace
}

// listsNewcomer tells an inventory in place that has to name a new member: that is written before anything is made
// in the new one, so that somebody knows of it however apply ends.
func listsNewcomer(in Input, c Change) bool {
	if c.Stage != StageInventory || c.Action != Configure {
		return false
	}
	known := map[string]bool{}
	for _, x := range in.Now.Clusters[c.Cluster].Members {
		known[x.Name] = true
	}
	return slices.ContainsFunc(in.Mesh.Clusters, func(m mesh.Cluster) bool { return !known[m.Name] })
}

func sealedOf(c Change) *object.Sealed {
	if c.Want == nil {
		return nil
	}
	return c.Want.Sealed
}

// sortChanges puts changes in the order in which they are made: deletions last, and backwards.
func sortChanges(changes []Change) {
	slices.SortFunc(changes, func(a, b Change) int {
		switch del := a.Action == Delete; {
		case del != (b.Action == Delete):
			if del {
				return 1
			}
			return -1
		case del:
			a, b = b, a
		}
		return cmp.Or(cmp.Compare(a.Stage, b.Stage), strings.Compare(a.Cluster, b.Cluster), a.Object.Compare(b.Object))
	})
}
