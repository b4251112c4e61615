package verify

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"isthmus.dev/isthmus/internal/facts"
)

var serviceChecks = []Check{
	{
		ID: "CHK051", Severity: Warning, Needs: answered(idRights), Run: servicesAgree,
		Question: "Has a Service of one name the same ports and kind in every cluster?",
		Why:      "In a mesh a namespace and a name mean one Service, whose endpoints are those of all clusters. Where ports or kinds differ (headless, external name), a caller's proxy takes them from its own cluster, and sends calls to endpoints elsewhere that do not listen there.",
		Fix:      "Make them alike, give one of them another name, or keep it to its cluster: meshConfig.serviceSettings with clusterLocal.",
	},
}

// mostServices is how many Services are named one by one.
const mostServices = 20

// servicesAgree compares Services of one name with what most clusters have.
func servicesAgree(in Input) []Finding {
	type name struct{ namespace, name string }
	shapes := map[name]map[string][]string{} // Service → its shape → the clusters where it is so
	for _, m := range in.Members() {
		for i := range m.Facts.Services {
			s := &m.Facts.Services[i]
			n := name{s.Namespace, s.Name}
			if shapes[n] == nil {
				shapes[n] = make(map[string][]string, 1)
			}
			shapes[n][shapeOf(s)] = append(shapes[n][shapeOf(s)], m.Name)
		}
	}
	maps.DeleteFunc(shapes, func(_ name, by map[string][]string) bool { return len(by) == 1 })
	differing := slices.SortedFunc(maps.Keys(shapes), func(a, b name) int {
		return strings.Compare(a.namespace+"/"+a.name, b.namespace+"/"+b.name)
	})
	var out []Finding
	for i, n := range differing {
		if i == mostServices {
			out = append(out, Finding{
				Seen: fmt.Sprintf("%d more Services differ from cluster to cluster", len(differing)-i),
				Do:   "look at them when these are mended: isthmus check",
			})
			break
		}
		out = append(out, differs(n.namespace+"/"+n.name, shapes[n]))
	}
	return out
}

func differs(service string, by map[string][]string) Finding {
	order := slices.SortedFunc(maps.Keys(by), func(a, b string) int {
		if d := len(by[b]) - len(by[a]); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	usual, other := order[0], order[1]
	return Finding{
		Cluster: by[other][0], Other: by[usual][0], Object: "Service " + service,
		Seen: fmt.Sprintf("Service %s is %s in %s, and %s in %s", service, other, aFew(by[other]), usual, aFew(by[usual])),
		Do:   "make it the same in all, give one of them another name, or keep it to its cluster: spec.istio.meshConfig.serviceSettings with clusterLocal",
	}
}

// shapeOf is what callers notice of a Service. Of the types that have a cluster IP they notice none.
func shapeOf(s *facts.Service) string {
	switch s.Kind {
	case "Headless", "ExternalName":
		return strings.TrimSuffix(strings.ToLower(s.Kind)+" "+s.Ports, " -")
	}
	return s.Ports
}

// aFew names a few clusters.
func aFew(clusters []string) string {
	if len(clusters) > 2 {
		return fmt.Sprintf("%s and %d more", clusters[0], len(clusters)-1)
	}
	return strings.Join(clusters, " and ")
}
