package analyze

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// NewCluster makes a Cluster of objects that were read from it. away says why it could not be read at all; unread
// are kinds that could not be read in whole, and why. What was read whole is all there is: names that are not in it
// do not exist.
func NewCluster(name, away string, unread map[string]string, objects []map[string]any) (Cluster, error) {
	c := Cluster{Name: name, Away: away, Unread: unread, Whole: away == "" && len(unread) == 0}
	for _, content := range objects {
		o, err := NewObject(content)
		if err != nil {
			return c, fmt.Errorf("cluster %s: %w", name, err)
		}
		c.Objects = append(c.Objects, o)
	}
	return c, nil
}

// Over lays files over live clusters: what would be there if they were applied. An object of a file stands in place
// of the live one of its name.
func Over(live, files Input) Input {
	out := files
	out.Clusters = nil
	for _, c := range live.Clusters {
		given := map[string]bool{}
		var objects []*Object
		for _, f := range files.Clusters {
			if f.Name != c.Name && f.Name != "" {
				continue
			}
			objects = append(objects, f.Objects...)
			for _, o := range f.Objects {
				given[o.Ref.String()+" "+o.Group] = true
			}
		}
		for _, o := range c.Objects {
			if !given[o.Ref.String()+" "+o.Group] {
				objects = append(objects, o)
			}
		}
		c.Objects = objects
		out.Clusters = append(out.Clusters, c)
	}
	return out
}

// NewReportOver judges files as if they were applied to live clusters: what is wrong with them, and what they would
// make wrong there. What is wrong there already, with or without them, is left out.
func NewReportOver(live, files Input) Report {
	type key struct{ id, object, seen string }
	before := map[key]bool{}
	for _, f := range Run(live) {
		before[key{f.ID, f.Object, f.Seen}] = true
	}
	in := Over(live, files)
	return reportOf(in, slices.DeleteFunc(Run(in), func(f Finding) bool {
		return f.File == "" && before[key{f.ID, f.Object, f.Seen}]
	}))
}

// unreadClusters finds clusters, and kinds in them, that could not be read.
func unreadClusters(w *World) []Finding {
	var all []Finding
	for _, m := range w.members {
		if m.Away != "" {
			all = append(all, Finding{
				Severity: Error, Clusters: []string{m.Name}, Object: "cluster " + m.Name, Seen: "it could not be read: " + m.Away,
				Do: "see that its API server answers: isthmus status; what is said of the other clusters holds without it",
			})
		}
		for _, kind := range slices.Sorted(maps.Keys(m.Unread)) {
			all = append(all, Finding{
				Clusters: []string{m.Name}, Object: "cluster " + m.Name,
				Seen: fmt.Sprintf("objects of kind %s could not all be read: %s", kind, m.Unread[kind]),
				Do:   fmt.Sprintf("let the caller list %s; until then nothing there is called missing", strings.ToLower(kind)),
			})
		}
	}
	return all
}
