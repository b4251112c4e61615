package facts

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// ClockTolerance is how far after a reading a time in a record may be and is still believed: the clocks of those who
// write records differ. Kerberos has the same bound (RFC 4120, 5 minutes).
const ClockTolerance = 5 * time.Minute

// Drains is what is believed of keeping calls from each member. A record is one cluster's word, so what it says of
// another is believed when more than half of the records of the mesh say it, and what it says of its own cluster
// always; of both the newest. A time after the reading is not believed.
func Drains(s Snapshot) map[string]Drain {
	drains, _ := judgeDrains(s)
	return drains
}

// A DoubtedDrain is what records say of keeping calls from a cluster and nobody believes.
type DoubtedDrain struct {
	// Cluster is which the record is about, Said the clusters whose records say it, Of how many records there are.
	Cluster string   `json:"cluster"`
	Said    []string `json:"said"`
	Of      int      `json:"of"`
	Drain   Drain    `json:"drain"`
	// Future tells that its time is not believed.
	Future bool `json:"future,omitempty"`
}

// Seen says it in a sentence: who claims what, and why nobody believes it.
func (d DoubtedDrain) Seen() string {
	is := "drained"
	if !d.Drain.On {
		is = "not drained"
	}
	why := fmt.Sprintf("which is not most of %d records, nor its own", d.Of)
	if d.Future {
		why = "a time that is yet to come"
	}
	by := ""
	if d.Drain.By != "" {
		by = " by " + d.Drain.By
	}
	return fmt.Sprintf("%s is %s since %s%s, say the records of %s: %s, and so not believed",
		d.Cluster, is, d.Drain.Since.UTC().Format("2006-01-02 15:04 MST"), by, strings.Join(d.Said, ", "), why)
}

// DoubtedDrains are what records say of drains and is not believed, where that would change something: sorted by
// cluster.
func DoubtedDrains(s Snapshot) []DoubtedDrain {
	_, doubted := judgeDrains(s)
	return doubted
}

func judgeDrains(s Snapshot) (map[string]Drain, []DoubtedDrain) {
	speakers := recorders(s)
	about := map[string]map[bool]*vote{}
	for _, speaker := range speakers {
		for _, m := range s.Clusters[speaker].Members {
			if m.Drain == nil {
				continue
			}
			of := about[m.Name]
			if of == nil {
				of = map[bool]*vote{true: {}, false: {}}
				about[m.Name] = of
			}
			of[m.Drain.On].add(speaker, m.Name, *m.Drain, s.Taken.Add(ClockTolerance))
		}
	}
	drains := map[string]Drain{}
	var doubted []DoubtedDrain
	for _, name := range slices.Sorted(maps.Keys(about)) {
		var best *vote
		for _, on := range []bool{false, true} { // drained and undrained at one time: drained
			v := about[name][on]
			if v.believed(len(speakers)) && (best == nil || !v.newest.Since.Before(best.newest.Since)) {
				best = v
			}
		}
		if best != nil {
			drains[name] = best.newest
		}
		for _, on := range []bool{false, true} {
			if v := about[name][on]; v != best && on != drains[name].On && v.matters(drains[name]) {
				doubted = append(doubted, v.doubt(name, len(speakers)))
			}
		}
	}
	return drains, doubted
}

// recorders are the clusters of the mesh that have a record of its members, sorted. Who left has no say.
func recorders(s Snapshot) []string {
	var names []string
	for name, c := range s.Clusters {
		left := slices.ContainsFunc(s.Left, func(f Former) bool { return f.Name == name })
		if len(c.Members) > 0 && !left {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// A vote is what records say of one cluster: that it is drained, or that it is not any more.
type vote struct {
	said   []string
	own    bool
	newest Drain // of those whose time is believed
	future []string
	ahead  Drain
}

func (v *vote) add(speaker, about string, d Drain, limit time.Time) {
	if d.Since.After(limit) {
		v.future, v.ahead = append(v.future, speaker), d
		return
	}
	v.said, v.own = append(v.said, speaker), v.own || speaker == about
	if len(v.said) == 1 || d.Since.After(v.newest.Since) {
		v.newest = d
	}
}

func (v *vote) believed(of int) bool { return v.own || 2*len(v.said) > of }

// matters tells whether what is not believed is newer than what is.
func (v *vote) matters(believed Drain) bool {
	return len(v.future) > 0 || len(v.said) > 0 && v.newest.Since.After(believed.Since)
}

func (v *vote) doubt(cluster string, of int) DoubtedDrain {
	if len(v.future) > 0 {
		return DoubtedDrain{Cluster: cluster, Said: v.future, Of: of, Drain: v.ahead, Future: true}
	}
	return DoubtedDrain{Cluster: cluster, Said: v.said, Of: of, Drain: v.newest}
}
