// Package explain says how a call gets from one workload to another, hop by hop, what decides each hop, and where
// the first broken link is. It is pure: evidence in, path out; internal/evidence gathers. What holds here: a hop is
// called broken only on evidence that was read, what could not be read is said to be unknown, and a symptom (an
// ejected endpoint, say) is never given as the cause where what brought it about was seen.
package explain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Path is how a call goes, and why it does not arrive, if it does not.
type Path struct {
	From string `json:"from"` // "demo/client@east"
	To   string `json:"to"`
	Call string `json:"call,omitempty"` // "GET http://echo.demo.svc.cluster.local:80/pay"
	Hops []Hop  `json:"hops"`
	// Cause is the first broken link; nil where none was seen.
	Cause *Finding `json:"cause,omitempty"`
	// Others are what else is broken or will be.
	Others []Finding `json:"others,omitempty"`
	// Delivered is the prediction: no hop is broken, and none of those that decide is unknown.
	Delivered bool `json:"delivered"`
	// Probe is how a real call went, if one was asked for.
	Probe *Probe `json:"probe,omitempty"`
}

// A State is how a hop is.
type State string

// The states.
const (
	OK      State = "ok"
	Warning State = "warning" // works now, and something is wrong with it
	Broken  State = "broken"
	Unknown State = "unknown" // could not be read
)

// A Hop is one step of the way and what decides it.
type Hop struct {
	Name    string `json:"name"` // "proxy", "route", ...
	Cluster string `json:"cluster"`
	State   State  `json:"state"`
	Seen    string `json:"seen"`
	// Decides are what decides it: objects, fields, settings of the proxies.
	Decides []string `json:"decides,omitempty"`
	// Finding is why it is not well.
	Finding *Finding `json:"finding,omitempty"`
}

// A Finding is a cause of the catalogue, found.
type Finding struct {
	ID   string `json:"id"`   // "EXP030"
	Code string `json:"code"` // "remote-secret-missing"
	// Text is one sentence for people; Mend the command or the field that mends it.
	Text string `json:"text"`
	Mend string `json:"mend"`
}

// A Probe is a real call and how it went.
type Probe struct {
	How       string `json:"how"` // "exec curl in container app of pod demo/client-abc"
	Delivered bool   `json:"delivered"`
	Status    int    `json:"status,omitempty"`
	Said      string `json:"said,omitempty"`
	// Err says why no call could be made; the rest is empty then.
	Err string `json:"err,omitempty"`
	// Agrees tells whether the call went as the path says.
	Agrees bool `json:"agrees"`
}

// Judge follows a call through the evidence.
func Judge(e Evidence) Path {
	j := &judge{Evidence: e}
	p := Path{From: e.From.Ref(), To: e.To.Ref(), Call: e.Call.String()}
	if e.Whole() {
		p.Call = ""
	}
	for _, step := range j.steps() {
		if h, ok := step(); ok {
			p.Hops = append(p.Hops, h)
		}
	}
	p.conclude()
	return p
}

// steps are the hops in the order of the call.
func (j *judge) steps() []func() (Hop, bool) {
	if j.Whole() {
		return []func() (Hop, bool){j.controlPlane, j.knowledge, j.trust, j.gateway}
	}
	return []func() (Hop, bool){j.caller, j.name, j.route, j.endpoints, j.identity, j.gateway, j.callee, j.policy}
}

// conclude picks the first broken link. A symptom gives way to any other cause further on, since that is what
// brought it about.
func (p *Path) conclude() {
	var broken, doubtful []Finding
	known := true
	for _, h := range p.Hops {
		switch {
		case h.State == Unknown:
			known = false
		case h.Finding == nil:
		case h.State == Broken:
			broken = append(broken, *h.Finding)
		default:
			doubtful = append(doubtful, *h.Finding)
		}
	}
	slices.SortStableFunc(broken, func(a, b Finding) int { return cmp.Compare(rank(a), rank(b)) })
	if len(broken) > 0 {
		p.Cause = &broken[0]
		broken = broken[1:]
	}
	p.Others = slices.Concat(broken, doubtful)
	p.Delivered = p.Cause == nil && known
}

func rank(f Finding) int {
	c, _ := Lookup(f.ID)
	if c.Symptom {
		return 1
	}
	return 0
}

// A judge is evidence and what the hops so far have found.
type judge struct {
	Evidence
	target  string // the proxy's cluster that the route leads to: "outbound|80|v1|echo.demo.svc.cluster.local"
	decided bool   // whether target was found
	virtual string // "demo/echo": the VirtualService that decides, if one does
	chosen  []Endpoint
	through bool // through an east-west gateway
	plain   bool // no mutual TLS
}

// hop makes one that is well.
func hop(name, cluster, format string, args ...any) Hop {
	return Hop{Name: name, Cluster: cluster, State: OK, Seen: fmt.Sprintf(format, args...)}
}

func (h Hop) with(format string, args ...any) Hop {
	h.Decides = append(h.Decides, fmt.Sprintf(format, args...))
	return h
}

// broken makes it broken by a cause of the catalogue.
func (h Hop) broken(code, mend, format string, args ...any) Hop {
	h.State, h.Finding = Broken, finding(code, mend, format, args...)
	return h
}

func (h Hop) doubtful(code, mend, format string, args ...any) Hop {
	h.State, h.Finding = Warning, finding(code, mend, format, args...)
	return h
}

func (h Hop) unknown(format string, args ...any) Hop {
	h.State, h.Seen = Unknown, fmt.Sprintf(format, args...)
	return h
}

func finding(code, mend, format string, args ...any) *Finding {
	c, ok := Lookup(code)
	if !ok {
		panic("no cause " + code + " in the catalogue")
	}
	return &Finding{ID: c.ID, Code: c.Code, Text: fmt.Sprintf(format, args...), Mend: mend}
}

// kubectl is a command for a cluster, by its context.
func (s Site) kubectl(format string, args ...any) string {
	return strings.TrimSpace(fmt.Sprintf("kubectl --context %s %s", cmp.Or(s.Context, s.Cluster), fmt.Sprintf(format, args...)))
}
