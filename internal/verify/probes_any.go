package verify

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/probe"
	"isthmus.dev/isthmus/internal/traffic"
)

// An AnyCall is what calls from one cluster to a service that every cluster has showed.
type AnyCall struct {
	From string `json:"from"`
	// Local tells that they are expected to stay in From.
	Local bool   `json:"local"`
	OK    bool   `json:"ok"`
	Wrong string `json:"wrong,omitempty"`
	// Tries is how many times they were made until this result.
	Tries   int           `json:"tries"`
	Result  *probe.Result `json:"result,omitempty"`
	Reasons []Reason      `json:"reasons,omitempty"`
}

// anyCount is how many calls are made: where nothing keeps them in the cluster of two, they all stay there by chance
// once in a thousand times.
const anyCount = 10

// AnyService is the Service that the servers of all clusters answer. Its name is no cluster's.
func AnyService(m mesh.Mesh) string {
	name := "any"
	for taken := true; taken; {
		if _, taken = m.Cluster(name); taken {
			name += "-any"
		}
	}
	return ServiceName(name)
}

func anyErrand(m mesh.Mesh, from mesh.Cluster, local bool) errand {
	e := errand{from: from, to: from, role: Client, any: true, local: local}
	e.call = probe.Call{ID: "any", To: fmt.Sprintf("%s://%s:%d", probe.HTTP, AnyService(m), servicePorts[0].port), Count: anyCount}
	return e
}

// keepsLocal tells whether calls from a cluster to a service that it has itself are expected to stay in it: Istio
// prefers the caller's region where outlier detection is on (failover brings it), nobody said otherwise, and the regions
// of all nodes are known and tell this cluster from every other.
func keepsLocal(m mesh.Mesh, now facts.Snapshot, from mesh.Cluster) bool {
	governor := m.Primary(from)
	if m.Failover == nil || len(m.Clusters) < 2 || ownPreference(governor.Istio) {
		return false
	}
	for name, d := range facts.Drains(now) {
		// The callers of a drained cluster's istiod prefer another cluster, all of them.
		if c, member := m.Cluster(name); member && d.On && m.Primary(c).Name == governor.Name {
			return false
		}
	}
	home, known := regionsOf(now.Clusters[from.Name])
	if !known || len(home) != 1 {
		return false
	}
	for _, c := range m.Clusters {
		regions, known := regionsOf(now.Clusters[c.Name])
		if !known || c.Name != from.Name && slices.Contains(regions, home[0]) {
			return false
		}
	}
	return true
}

// ownPreference tells whether somebody says himself which endpoints calls prefer.
func ownPreference(i mesh.Istio) bool {
	inValues, _ := i.Value("meshConfig").(map[string]any)
	for _, config := range []map[string]any{i.MeshConfig, inValues} {
		for _, key := range []string{"localityLbSetting", "zoneAwareLbSetting"} {
			if _, said := config[key]; said {
				return true
			}
		}
	}
	return slices.ContainsFunc(i.Set, func(s string) bool {
		return strings.Contains(s, "localityLbSetting") || strings.Contains(s, "zoneAwareLbSetting")
	})
}

// regionsOf are the regions of a cluster's nodes, each once, and whether every node has one.
func regionsOf(f *facts.Cluster) (regions []string, known bool) {
	if !f.Answered() || len(f.Nodes) == 0 {
		return nil, false
	}
	for _, n := range f.Nodes {
		if n.Region == "" {
			return nil, false
		}
		if !slices.Contains(regions, n.Region) {
			regions = append(regions, n.Region)
		}
	}
	return regions, true
}

// elsewhere are the clusters other than the caller's that answered.
func elsewhere(from mesh.Cluster, r probe.Result) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(r.Clusters)), func(name string) bool { return name == from.Name })
}

// uninformed are the clusters from which calls that have to be delivered elsewhere are still tried: their proxies may not
// know the others' endpoints yet.
func (r *proving) uninformed() map[string]bool {
	all := map[string]bool{}
	for _, a := range r.pending() {
		if a.delivers() && a.from.Name != a.to.Name {
			all[a.from.Name] = true
		}
	}
	return all
}

// doubtLocal takes back, after a round, that calls stay at home by choice: while a proxy knew of no other cluster they
// could not but stay.
func (r *proving) doubtLocal(uninformed map[string]bool) {
	for _, a := range r.attempts {
		a.again = a.local && a.passed && uninformed[a.from.Name]
		if a.again {
			a.passed = false
		}
	}
}

// trustLocal lets what was seen last stand when nobody looks again.
func (r *proving) trustLocal() {
	for _, a := range r.attempts {
		a.passed, a.again = a.passed || a.again, false
	}
}

// anyCalls are the calls to a service that every cluster has, in document order.
func (r *proving) anyCalls() []AnyCall {
	var all []AnyCall
	for _, a := range r.attempts {
		if !a.any {
			continue
		}
		c := AnyCall{From: a.from.Name, Local: a.local, OK: a.passed, Tries: a.tries}
		if a.tries > 0 {
			result := a.result
			c.Result = &result
		}
		if !a.passed {
			c.Reasons = r.reasons(a)
			c.Wrong = briefly(c.Reasons)
			switch {
			case c.Result != nil && c.Result.OK:
				c.Wrong = "answered by " + strings.Join(elsewhere(a.from, a.result), ", ")
			case c.Result != nil:
				c.Wrong = Describe(*c.Result)
			}
		}
		all = append(all, c)
	}
	return all
}

// reasons why an attempt failed. Where nothing is known of a call that did not get through, those know better that went
// the same way and had to be delivered: to that cluster, or to one of all.
func (r *proving) reasons(a *attempt) []Reason {
	switch {
	case a.gone:
		return r.failoverReasons(a)
	case a.ingress:
		return r.ingressReasons(a)
	case a.ask != nil:
		return r.tokenReasons(a)
	}
	reasons := Judge(r.caseOf(a.errand))
	if !a.kind.inside() || a.delivers() || reasons[0].Code != unknown || a.result.OK {
		return reasons
	}
	for _, other := range r.attempts {
		if other.delivers() && !other.passed && other.from.Name == a.from.Name && (a.any || a.failover || other.to.Name == a.to.Name) {
			if better := Judge(r.caseOf(other.errand)); better[0].Code != unknown {
				return better
			}
		}
	}
	return reasons
}

// leftHome: calls to a service that the caller's own cluster has were answered in another.
func leftHome(c Case) (Reason, bool) {
	if c.Any == nil || !c.Any.OK || !c.KeepsLocal {
		return Reason{}, false
	}
	others := elsewhere(c.From, *c.Any)
	if len(others) == 0 {
		return Reason{}, false
	}
	at := c.knows()
	rule := at.IstioNamespace() + "/" + traffic.FailoverName
	reason := Reason{Next: kubectl(at, "get destinationrules -A")}
	why := "though DestinationRule " + rule + " has callers prefer their own region"
	site := c.Evidence.Sites[at.Name]
	switch {
	case c.Rule != "" && c.Rule != rule:
		why = fmt.Sprintf("since DestinationRule %s takes the place of %s, by which callers prefer their own region", c.Rule, rule)
		reason.Next, reason.Proven = addDetection(at, c.Rule), true
	case !site.RoutesKnown:
		why = "so DestinationRule " + rule + ", by which callers prefer their own region, is not in effect"
	case !slices.Contains(site.Routes, rule):
		why = fmt.Sprintf("since DestinationRule %s, by which callers prefer their own region, is missing in %s", rule, at.Name)
		reason.Next, reason.Proven = "isthmus apply", true
	}
	reason.Text = fmt.Sprintf("calls from %s to a service that it has itself are answered by %s too, %s", c.From.Name, strings.Join(others, ", "), why)
	return reason, true
}
