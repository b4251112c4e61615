package verify

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
)

// A Report is what a run of checks says: a line for every cluster and every pair, and the results. Programs read
// it as it is; people read it as internal/cli shows it.
type Report struct {
	Mesh  string    `json:"mesh"`
	Taken time.Time `json:"taken"`
	// Seconds is how long facts and checks took.
	Seconds  float64       `json:"seconds"`
	Clusters []ClusterLine `json:"clusters"`
	Pairs    []PairLine    `json:"pairs"`
	// Passed and Skipped count checks; Errors, Warnings and Notes count findings.
	Passed   int      `json:"passed"`
	Skipped  int      `json:"skipped"`
	Errors   int      `json:"errors"`
	Warnings int      `json:"warnings"`
	Notes    int      `json:"notes"`
	Results  []Result `json:"results"`
}

// A ClusterLine is a cluster in short.
type ClusterLine struct {
	Name string `json:"name"`
	// Err says why it did not answer; the rest is empty then.
	Err        string `json:"err,omitempty"`
	Kubernetes string `json:"kubernetes,omitempty"` // "1.36.3"
	// LatencyMilliseconds is the median of a few small requests.
	LatencyMilliseconds int64  `json:"latencyMilliseconds"`
	Istio               string `json:"istio,omitempty"`        // "no Istio", "Istio 1.31.1"
	LoadBalancer        string `json:"loadBalancer,omitempty"` // "ok", "pending", "unknown", "not needed"
}

// A PairLine is two clusters in short.
type PairLine struct {
	A string `json:"a"`
	B string `json:"b"`
	// ClocksApartSeconds is rounded: what API servers tell of their clocks has a precision of one second.
	ClocksApartSeconds int64  `json:"clocksApartSeconds"`
	Networks           string `json:"networks"`  // "differ" or "shared"
	PodRanges          string `json:"podRanges"` // "apart", "overlap" or "unknown"
}

// Preflighted runs the preflight checks on in and reports. took is how long gathering the facts lasted.
func Preflighted(in Input, took time.Duration) Report {
	r := Report{Mesh: in.Mesh.Name, Taken: in.Now.Taken, Seconds: took.Round(time.Millisecond).Seconds(), Results: Run(Preflight, in)}
	for _, c := range in.Mesh.Clusters {
		r.Clusters = append(r.Clusters, clusterLine(in, c.Name))
	}
	for a, b := range in.Couples() {
		r.Pairs = append(r.Pairs, pairLine(a, b))
	}
	for _, x := range r.Results {
		switch {
		case x.Skipped != "":
			r.Skipped++
		case len(x.Findings) == 0:
			r.Passed++
		}
		for _, f := range x.Findings {
			switch f.Severity {
			case Error:
				r.Errors++
			case Warning:
				r.Warnings++
			case Note:
				r.Notes++
			}
		}
	}
	return r
}

func clusterLine(in Input, name string) ClusterLine {
	f := in.Now.Clusters[name]
	if !f.Answered() {
		err := "was not asked"
		if f != nil {
			err = f.Err
		}
		return ClusterLine{Name: name, Err: err}
	}
	return ClusterLine{
		Name: name, Kubernetes: strings.TrimPrefix(f.Version, "v"), LatencyMilliseconds: f.Latency.Milliseconds(),
		Istio: istioInShort(in.Mesh, name, f.Istiods), LoadBalancer: loadBalancerInShort(in, name, f.LoadBalancer),
	}
}

func istioInShort(m mesh.Mesh, name string, istiods []facts.Istiod) string {
	if c, ok := m.Cluster(name); ok && m.Host(c).Name != name {
		return "served by " + m.Host(c).Name
	}
	if len(istiods) == 0 {
		return "no Istio"
	}
	var all []string
	for _, i := range istiods {
		s := "Istio " + cmp.Or(i.Version, "?")
		if i.Owner != ownerIsthmus {
			s += " of " + i.Owner
		}
		if i.Ready < i.Wanted {
			s += fmt.Sprintf(" (%d/%d ready)", i.Ready, i.Wanted)
		}
		all = append(all, s)
	}
	return strings.Join(all, ", ")
}

func loadBalancerInShort(in Input, name string, lb facts.LoadBalancer) string {
	c, _ := in.Mesh.Cluster(name) // one that is asked about is a member
	switch {
	case !in.Mesh.HasGateway(c) || in.Mesh.EastWest.ServiceType != "LoadBalancer":
		return "not needed"
	case lb.Pending > 0:
		return "pending"
	case lb.Seen:
		return "ok"
	case lb.Provider != "":
		return lb.Provider
	}
	return "unknown"
}

func pairLine(a, b *Member) PairLine {
	p := PairLine{
		A: a.Name, B: b.Name, Networks: "differ", PodRanges: "apart",
		ClocksApartSeconds: int64((a.Facts.ClockSkew - b.Facts.ClockSkew).Abs().Round(time.Second).Seconds()),
	}
	if a.Network == b.Network {
		p.Networks = "shared"
	}
	ra, rb := a.pods, b.pods
	if len(ra) == 0 || len(rb) == 0 {
		p.PodRanges = "unknown"
	} else if _, _, overlaps := overlap(ra, rb); overlaps {
		p.PodRanges = "overlap"
	}
	return p
}

// A Said is one thing that was found, in one or more clusters.
type Said struct {
	ID       string
	Severity Severity
	Seen, Do string
	Clusters []string // in document order; empty for the mesh as a whole
}

// Said lists what was found, the worst first and in the order of the checks, with what is the same in several
// clusters said once.
func (r Report) Said() []Said {
	var all []Said
	for _, x := range r.Results {
		for _, f := range x.Findings {
			i := slices.IndexFunc(all, func(s Said) bool { return s.ID == x.ID && s.Severity == f.Severity && s.Seen == f.Seen })
			if i < 0 {
				all = append(all, Said{ID: x.ID, Severity: f.Severity, Seen: f.Seen, Do: f.Do})
				i = len(all) - 1
			}
			if f.Cluster != "" {
				all[i].Clusters = append(all[i].Clusters, f.Cluster)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Said) int { return b.Severity.rank() - a.Severity.rank() })
	return all
}
