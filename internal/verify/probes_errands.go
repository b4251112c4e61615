package verify

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/probe"
)

// gatewayPort is where east-west gateways take calls between networks (Istio's port "tls").
const gatewayPort = 15443

// An errand is one call, or a few alike, for a pod to make.
type errand struct {
	from, to mesh.Cluster
	role     Role        // who makes it
	protocol string      // of calls that should be delivered
	kind     RefusalKind // of calls that should be refused; "" otherwise
	door     string      // where a stranger knocks; "" if there is no door yet
	issuer   string      // of a forged token: its name in the document
	any      bool        // of calls to a service that every cluster has; to is the caller's cluster then
	local    bool        // of such calls: they should stay in it
	failover bool        // of calls to a service that every cluster has until gone: then the caller's has it no more
	gone     bool
	ingress  bool // of calls from outside through the ingress gateway of via
	via      mesh.Cluster
	ask      *tokenAsk // of calls where a token is asked for
	batch    int       // calls at once, each of its own; 0: one
	call     probe.Call
}

// An attempt is an errand and how it went, last time.
type attempt struct {
	errand
	tries    int
	result   probe.Result
	passed   bool
	again    bool // it would have passed, and is looked at once more (see doubtLocal)
	givenUp  bool
	lastCode string // of the reason at the last look; the same twice is enough to give up
	proof    CallProof
	repeated int // how often it was made again after it passed
	lost     int // of those
	departure
}

// pathOf tells how calls travel between two clusters.
func pathOf(from, to mesh.Cluster) Path {
	switch {
	case from.Name == to.Name:
		return Local
	case from.Network == to.Network:
		return Direct
	default:
		return Gateway
	}
}

// errands lists everything to prove, in document order: for every ordered pair of clusters, each with itself too,
// calls over every protocol, one by somebody who is not let in, and one with a forged token where tokens are believed;
// strangers without a certificate and with a forged one at every door between clusters; and plain text to every server
// that a stranger can reach directly. From every cluster calls to services that all of them have. door gives the
// address at which a stranger in one cluster knocks for the server of another; local tells from where calls stay at home.
func errands(m mesh.Mesh, door func(from, to mesh.Cluster) string, local func(from mesh.Cluster) bool) []errand {
	var list []errand
	for _, from := range m.Clusters {
		list = append(list, anyErrand(m, from, local(from)))
		if asksFailover(m) {
			list = append(list, failoverErrand(m, from, false))
		}
		for _, to := range m.Clusters {
			list = append(list, deliveries(from, to)...)
			list = append(list, intrusions(m, from, to, door(from, to))...)
			list = append(list, uninvited(from, to))
			list = append(list, forgedTokens(m, from, to)...)
		}
	}
	return list
}

// deliveries name the server by the short name of its Service, so that neither DNS search paths nor the cluster's
// domain matter. More HTTP calls than one, for a median without the making of connections.
func deliveries(from, to mesh.Cluster) []errand {
	var list []errand
	for _, p := range servicePorts {
		e := errand{from: from, to: to, role: Client, protocol: p.name}
		e.call = probe.Call{ID: e.id(), To: fmt.Sprintf("%s://%s:%d", p.name, ServiceName(to.Name), p.port), Count: 2}
		if p.name == probe.HTTP {
			e.call.Count = 5
		}
		list = append(list, e)
	}
	return list
}

func intrusions(m mesh.Mesh, from, to mesh.Cluster, door string) []errand {
	var list []errand
	path := pathOf(from, to)
	add := func(kind RefusalKind, scheme, forge string) {
		e := errand{from: from, to: to, role: Stranger, kind: kind, door: door}
		e.call = probe.Call{ID: e.id(), To: scheme + "://" + door, TimeoutMillis: 2000}
		if scheme == probe.TLS {
			e.call.SNI, e.call.Forge = SNI(m, to), forge
		}
		list = append(list, e)
	}
	if path != Local {
		add(NoCertificate, probe.TLS, "")
		add(Forged, probe.TLS, Identity(m, Client))
	}
	if path != Gateway && m.MTLS == "STRICT" {
		add(PlainText, probe.HTTP, "")
	}
	return list
}

// uninvited is a call over mutual TLS, by an identity of the mesh that the policy of verify's own servers does not let
// in: that of the servers themselves.
func uninvited(from, to mesh.Cluster) errand {
	e := errand{from: from, to: to, role: Server, kind: NotAllowed, door: ServiceName(to.Name)}
	e.call = probe.Call{ID: e.id(), To: fmt.Sprintf("%s://%s:%d", probe.HTTP, e.door, servicePorts[0].port)}
	return e
}

// delivers tells calls that should arrive in one cluster from all others.
func (e errand) delivers() bool {
	return e.kind == "" && !e.any && !e.failover && !e.ingress && e.ask == nil
}

// what it is, in a word or two.
func (e errand) what() string {
	switch {
	case e.any:
		return anyCluster
	case e.failover:
		return elsewhereOnly
	case e.ask != nil:
		return "token"
	case e.ingress:
		return "through " + e.via.Name + "'s ingress gateway"
	}
	return e.protocol + string(e.kind)
}

// id is unique among the errands of one pod.
func (e errand) id() string {
	return strings.Join([]string{e.to.Name, e.protocol, string(e.kind)}, "/")
}

// calls are what a pod is told to make.
func (e errand) calls() []probe.Call {
	if e.batch == 0 {
		return []probe.Call{e.call}
	}
	all := make([]probe.Call, e.batch)
	for i := range all {
		all[i] = e.call
		all[i].ID = fmt.Sprintf("%s/%d", e.call.ID, i)
	}
	return all
}

// door is where a stranger knocks: the target's gateway, or the server itself where it can be reached directly.
func doorOf(e Evidence, m mesh.Mesh, from, to mesh.Cluster) string {
	if pathOf(from, to) != Gateway {
		if ip := e.Sites[to.Name].Pods[Server].IP; ip != "" {
			return net.JoinHostPort(ip, strconv.Itoa(probe.PortHTTP))
		}
		return ""
	}
	members := []string{to.Name}
	for _, c := range m.Clusters {
		if c.Network == to.Network && c.Name != to.Name {
			members = append(members, c.Name)
		}
	}
	for _, g := range e.gateways(to.Network, members) {
		if len(g.Addresses) > 0 {
			return net.JoinHostPort(g.Addresses[0], strconv.Itoa(gatewayPort))
		}
	}
	return ""
}

// maxPlan bounds a plan on a command line, in bytes: it travels in the URL of an exec request, escaped.
const maxPlan = 12 << 10

// plans writes calls as JSON arrays, none of them longer than a command line may be.
func plans(calls []probe.Call) ([]string, error) {
	var out []string
	for len(calls) > 0 {
		n := len(calls)
		text, err := json.Marshal(calls)
		for err == nil && len(text) > maxPlan && n > 1 {
			n = max(1, n*maxPlan/len(text)-1)
			text, err = json.Marshal(calls[:n])
		}
		if err != nil {
			return nil, fmt.Errorf("write plan of calls: %w", err)
		}
		out = append(out, string(text))
		calls = calls[n:]
	}
	return out, nil
}

// judge looks at how an attempt went: one call, or each of a batch.
func (a *attempt) judge(m mesh.Mesh, results ...probe.Result) {
	r := results[0]
	a.result = r
	a.tries++
	switch {
	case a.gone:
		a.depart(results) // and what the proxy has is looked at beside it, see round
		return
	case a.failover:
		a.passed = r.OK
		return
	case a.ask != nil:
		a.passed = a.ask.judge(a.to, r)
		return
	case a.ingress:
		a.passed = r.OK && r.Clusters[a.to.Name] == r.Answered
		return
	case a.kind == NotAllowed:
		a.passed = r.Class == probe.Status && r.Code == http.StatusForbidden && r.Flag == "RBAC"
		return
	case a.kind == ForgedToken:
		a.passed = refusedToken(r)
		return
	case a.kind != "":
		a.passed = r.Verdict() == probe.TurnedAway
		return
	case a.any:
		a.passed = r.OK && (!a.local || len(elsewhere(a.from, r)) == 0)
		return
	}
	p := CallProof{Protocol: a.protocol, Tries: a.tries, Result: r}
	p.Delivered = r.OK && len(r.Clusters) == 1 && r.Clusters[a.to.Name] > 0
	if a.protocol != probe.TCP {
		seen := r.Reply != nil && r.Reply.Caller == Identity(m, Client) && r.Reply.Server == Identity(m, Server)
		p.Encrypted = &seen
	}
	p.OK = p.Delivered && !p.bare()
	p.Wrong = wrong(m, a.to, p)
	a.proof, a.passed = p, p.OK
}

// wrong says in a few words what is wrong with a call; "" if nothing is.
func wrong(m mesh.Mesh, to mesh.Cluster, p CallProof) string {
	switch {
	case p.OK:
		return ""
	case !p.Result.OK:
		return Describe(p.Result)
	case !p.Delivered:
		var others []string
		for name := range p.Result.Clusters {
			if name != to.Name {
				others = append(others, name)
			}
		}
		slices.Sort(others)
		return "answered by " + strings.Join(others, ", ")
	case p.Result.Reply.Caller == "":
		return "not encrypted"
	case p.Result.Reply.Caller != Identity(m, Client):
		return "caller seen as " + p.Result.Reply.Caller
	default:
		return "server seen as " + p.Result.Reply.Server
	}
}
