package verify

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/probe"
	"isthmus.dev/isthmus/internal/traffic"
)

// A Failover is what calls from one cluster showed to a service that every cluster has, once its endpoints in the
// caller's own cluster were gone.
type Failover struct {
	From string `json:"from"`
	OK   bool   `json:"ok"`
	// Skipped says why there is nothing to prove: no other cluster could answer, and none is meant to.
	Skipped string `json:"skipped,omitempty"`
	// Before is who answered while the caller's own cluster had endpoints: calls by cluster.
	Before map[string]int `json:"before,omitempty"`
	// After is who answered the last batch of calls.
	After map[string]int `json:"after,omitempty"`
	// Sent are the calls since the endpoints at home were taken away, Failed those of them that nobody answered, and
	// Home those that were answered at home still: proxies learn of it a moment later.
	Sent   int `json:"sent"`
	Failed int `json:"failed"`
	Home   int `json:"home"`
	// Rule is the DestinationRule that the caller's proxy has for the service, and OutlierDetection whether that proxy
	// leaves out endpoints that do not answer; nil where it could not be asked.
	Rule             string `json:"rule,omitempty"`
	OutlierDetection *bool  `json:"outlierDetection,omitempty"`
	Wrong            string `json:"wrong,omitempty"`
	// Tries is how many batches of calls were made.
	Tries int `json:"tries"`
	// Result is the last call that went wrong, or the last of all.
	Result  *probe.Result `json:"result,omitempty"`
	Reasons []Reason      `json:"reasons,omitempty"`
}

// failoverBatch is how many calls are made at once, and must all be answered elsewhere. They are calls of their own, so
// that one which fails does not hide the others.
const failoverBatch = 10

// FailoverService is the Service that servers of all clusters answer, until a cluster takes its own away.
func FailoverService(cluster string) string { return "failover-" + cluster }

// asksFailover tells whether the document has calls fail over, and there is somewhere to go.
func asksFailover(m mesh.Mesh) bool { return m.Failover != nil && len(m.Clusters) > 1 }

// everywhere selects the servers of all clusters, nobody the pod of none.
var (
	everywhere = map[string]string{"app": string(Server)}
	nobody     = map[string]string{"app": "nobody"}
)

// departed are a cluster's objects with its copy of its own service selecting nobody.
func departed(m mesh.Mesh, c mesh.Cluster, objects []object.Object) []object.Object {
	out := slices.Clone(objects)
	for i, o := range out {
		if o.Body.GetKind() == "Service" && o.Body.GetName() == FailoverService(c.Name) {
			out[i].Body = body(service(m, FailoverService(c.Name), nobody), corev1.SchemeGroupVersion.WithKind("Service"))
			out[i].Reason = fmt.Sprintf("the name by which %s calls a server of another cluster", c.Name)
		}
	}
	return out
}

// failoverErrand is a call to a service that the caller's cluster has, gone many calls to it when it has not.
func failoverErrand(m mesh.Mesh, from mesh.Cluster, gone bool) errand {
	e := errand{from: from, to: from, role: Client, failover: true, gone: gone}
	e.call = probe.Call{ID: "failover", To: fmt.Sprintf("%s://%s:%d", probe.HTTP, FailoverService(from.Name), servicePorts[0].port)}
	if gone {
		e.batch = failoverBatch
	}
	return e
}

// A departure is what was seen since a service lost its endpoints at home.
type departure struct {
	sent, failed, home int
	after              map[string]int // of the last batch
	moved              bool           // all of the last batch were answered elsewhere
	rule               string         // of the caller's proxy
	detects, asked     bool           // whether that proxy detects outliers, and could be asked
	unread             string         // why it could not
	unmade             string         // why the endpoints could not be taken away
}

// depart counts the calls of a batch.
func (a *attempt) depart(results []probe.Result) {
	d := &a.departure
	d.after, d.moved = map[string]int{}, true
	wrong := -1
	for i, r := range results {
		d.sent++
		switch {
		case !r.OK:
			d.failed++
		case r.Clusters[a.from.Name] > 0:
			d.home++
		}
		for name, n := range r.Clusters {
			d.after[name] += n
		}
		if !r.OK || r.Clusters[a.from.Name] > 0 {
			d.moved = false
			if wrong < 0 || results[wrong].OK {
				wrong = i
			}
		}
	}
	if wrong < 0 {
		wrong = len(results) - 1
	}
	a.result = results[wrong]
}

// rescuers are the clusters that calls from another may go to.
func (r *proving) rescuers(from mesh.Cluster) []mesh.Cluster {
	return slices.DeleteFunc(slices.Clone(r.Mesh.Clusters), func(c mesh.Cluster) bool {
		return c.Name == from.Name || r.spared(from, c)
	})
}

// leaving adds what is to be proved by taking endpoints away, and returns the objects by which that is done, by cluster.
// It is not tried where calls did not get through before, or nobody is there to answer instead.
func (r *proving) leaving() map[string][]object.Object {
	change := map[string][]object.Object{}
	if !asksFailover(r.Mesh) {
		return change
	}
	workloads := r.workloads()
	for _, a := range slices.Clone(r.attempts) {
		if !a.failover || !a.passed {
			continue
		}
		next := &attempt{errand: failoverErrand(r.Mesh, a.from, true)}
		next.givenUp = !slices.ContainsFunc(r.rescuers(a.from), func(c mesh.Cluster) bool {
			s := r.sites[c.Name]
			return present(s) && s.Pods[Server].Ready
		})
		if !next.givenUp {
			change[a.from.Name] = departed(r.Mesh, a.from, workloads[a.from.Name])
		}
		r.attempts = append(r.attempts, next)
	}
	return change
}

// failovers are what was seen, in document order.
func (r *proving) failovers() []Failover {
	if r.Mesh.Failover == nil {
		return nil
	}
	var all []Failover
	for _, c := range r.Mesh.Clusters {
		f := Failover{From: c.Name}
		switch {
		case len(r.Mesh.Clusters) == 1:
			f.Skipped = "the mesh has no other cluster"
		case len(r.rescuers(c)) == 0:
			f.Skipped = "every other cluster is drained"
		default:
			r.fillFailover(&f)
		}
		f.OK = f.OK || f.Skipped != ""
		all = append(all, f)
	}
	return all
}

func (r *proving) fillFailover(f *Failover) {
	for _, a := range r.attempts {
		if !a.failover || a.from.Name != f.From {
			continue
		}
		f.OK, f.Reasons, f.Wrong = a.passed && a.gone, nil, ""
		if !a.gone {
			f.Before = a.result.Clusters
		} else {
			d := a.departure
			f.After, f.Sent, f.Failed, f.Home, f.Rule, f.Tries = d.after, d.sent, d.failed, d.home, d.rule, a.tries
			if d.asked {
				f.OutlierDetection = &d.detects
			}
		}
		if a.tries > 0 {
			result := a.result
			f.Result = &result
		}
		if !a.passed {
			f.Reasons = r.reasons(a)
			f.Wrong = a.departure.wrong(a)
			if f.Wrong == "" {
				f.Wrong = briefly(f.Reasons)
			}
		}
	}
}

// wrong says in a few words what is wrong; "" where no call was made.
func (d departure) wrong(a *attempt) string {
	switch {
	case d.unmade != "":
		return "endpoints could not be taken away"
	case a.tries == 0:
		return ""
	case d.moved:
		return "no outlier detection"
	case a.result.OK:
		return "answered by " + strings.Join(slices.Sorted(maps.Keys(a.result.Clusters)), ", ")
	default:
		return Describe(a.result)
	}
}

// failoverReasons says why calls did not move to another cluster as they should, or could not be trusted to where an
// endpoint stops answering.
func (r *proving) failoverReasons(a *attempt) []Reason {
	d, from := a.departure, a.from
	at := r.Mesh.Primary(from)
	if d.moved {
		return []Reason{undetected(r.Mesh, from, d, *r.sites[at.Name])}
	}
	if d.unmade != "" {
		return []Reason{{
			Code: "not-changed", Proven: true, Next: kubectl(from, "get events -n "+r.Mesh.Verify.Namespace),
			Text: fmt.Sprintf("verify's Service %s in %s could not be changed: %s", FailoverService(from.Name), from.Name, d.unmade),
		}}
	}
	c := Case{Mesh: r.Mesh, From: from, Evidence: r.evidence()}
	if a.tries > 0 && !a.result.OK {
		c.Calls = []CallProof{{Protocol: probe.HTTP, Tries: a.tries, Result: a.result, Wrong: Describe(a.result)}}
	}
	for _, to := range r.rescuers(from) {
		c.To, c.Path = to, pathOf(from, to)
		if reasons := Judge(c); reasons[0].Code != unknown {
			return reasons
		}
	}
	reason := Reason{Code: unknown, Next: "isthmus status"}
	reason.Text = fmt.Sprintf("calls from %s to a service whose endpoints there are gone end with: %s", from.Name, d.wrong(a))
	if a.tries > 0 && a.result.OK {
		reason = Reason{
			Code: "still-home", Next: c.istiodLogs(),
			Text: fmt.Sprintf("calls from %s are still answered there, by a service that has no endpoint there any more: its proxies have not been told", from.Name),
		}
	}
	return []Reason{reason}
}

// undetected says why a proxy does not leave out endpoints that do not answer: somebody's DestinationRule stands in the
// place of the mesh's own, or that is missing. Istio takes one DestinationRule for a host, the whole of it.
func undetected(m mesh.Mesh, from mesh.Cluster, d departure, site SiteEvidence) Reason {
	at := m.Primary(from)
	ours := at.IstioNamespace() + "/" + traffic.FailoverName
	loses := fmt.Sprintf("calls from %s do not leave endpoints that stop answering", from.Name)
	known := site.RoutesKnown
	switch {
	case d.unread != "":
		return Reason{
			Code: "proxy-unread", Text: fmt.Sprintf("whether calls from %s leave endpoints that stop answering is not proved: its client's proxy could not be asked: %s", from.Name, d.unread),
			Next: kubectl(from, fmt.Sprintf("exec -n %s deploy/%s -c %s -- pilot-agent request GET server_info", m.Verify.Namespace, Client, proxyContainer)),
		}
	case d.rule != "" && d.rule != ours:
		return Reason{
			Code: "failover-replaced", Proven: true, Next: addDetection(at, d.rule),
			Text: fmt.Sprintf("DestinationRule %s in %s takes the place of %s, and has no outlierDetection: %s", d.rule, at.Name, ours, loses),
		}
	case d.rule == "" && known && !slices.Contains(site.Routes, ours):
		return Reason{
			Code: "failover-missing", Proven: true, Next: "isthmus apply",
			Text: fmt.Sprintf("DestinationRule %s is missing in %s: %s", ours, at.Name, loses),
		}
	default:
		return Reason{
			Code: "failover-not-in-effect", Next: kubectl(at, "get destinationrules -A"),
			Text: fmt.Sprintf("the client's proxy in %s has no outlier detection, though DestinationRule %s asks for it: %s", from.Name, ours, loses),
		}
	}
}

// addDetection is what to do about somebody's DestinationRule, namespace/name, that stands in the place of the mesh's.
func addDetection(at mesh.Cluster, rule string) string {
	namespace, name, _ := strings.Cut(rule, "/")
	return kubectl(at, fmt.Sprintf("edit destinationrule -n %s %s", namespace, name)) + "   and add outlierDetection to its trafficPolicy"
}
