package verify

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/probe"
)

// An ingressCase is a call from outside that failed, together with what was seen around it.
type ingressCase struct {
	mesh     mesh.Mesh
	via, to  mesh.Cluster
	from     mesh.Cluster
	door     string
	unmade   string        // why the objects that lead calls in could not be placed
	result   *probe.Result // nil where no call could be made
	gateway  facts.Ingress
	has      bool // the gateway was seen
	evidence Evidence
}

// ingressRules in the order of the call: what comes first makes what comes later meaningless.
var ingressRules = []struct {
	// brief stands where no call could be made; "" for rules that need one.
	code, brief string
	judge       func(ingressCase) (Reason, bool)
}{
	{"", "", ingressEnds}, // with the codes of other calls
	{"not-placed", "objects not placed", ingressNotPlaced},
	{"ingress-not-ready", "ingress gateway not ready", ingressNotReady},
	{"ingress-no-address", "ingress gateway without address", ingressNoAddress},
	{"ingress-unreachable", "", ingressUnreachable},
	{"ingress-no-route", "", ingressNoRoute},
	{"ingress-forbidden", "", ingressForbidden},
	{"", "", ingressOnward},
	{"ingress-no-endpoint", "", ingressNoEndpoint},
	{"ingress-elsewhere", "", ingressElsewhere},
}

// ingressReasons names the broken link; where no rule knows one, what was seen.
func (r *proving) ingressReasons(a *attempt) []Reason {
	c := ingressCase{mesh: r.Mesh, via: a.via, to: a.to, from: a.from, door: a.door, unmade: a.unmade, evidence: r.evidence()}
	if a.tries > 0 {
		result := a.result
		c.result = &result
	}
	c.gateway, c.has = ingressOf(c.evidence.Now.Clusters[a.via.Name])
	return judgeIngress(c)
}

func judgeIngress(c ingressCase) []Reason {
	var reasons []Reason
	for _, x := range ingressRules {
		if reason, ok := x.judge(c); ok {
			if x.code != "" {
				reason.Code = x.code
			}
			reasons = append(reasons, reason)
		}
	}
	if len(reasons) == 0 {
		how := "no call could be made"
		if c.result != nil {
			how = "they end with: " + Describe(*c.result)
		}
		reasons = append(reasons, Reason{
			Code: unknown, Next: kubectl(c.via, "get gateways.networking.istio.io,virtualservices -A"),
			Text: fmt.Sprintf("calls through %s's ingress gateway do not reach %s's server: %s", c.via.Name, c.to.Name, how),
		})
	}
	return reasons
}

// ingressBriefly says in a few words how a call ended, or why none could be made.
func ingressBriefly(c IngressCall) string {
	switch {
	case c.Result != nil && c.Result.OK:
		return "answered by " + strings.Join(slices.Sorted(maps.Keys(c.Result.Clusters)), ", ")
	case c.Result != nil:
		return Describe(*c.Result)
	}
	for _, x := range ingressRules {
		if len(c.Reasons) > 0 && x.code == c.Reasons[0].Code && x.brief != "" {
			return x.brief
		}
	}
	return briefly(c.Reasons)
}

// only is the first reason of a case that has one of some codes.
func only(c Case, codes ...string) (Reason, bool) {
	for _, reason := range Judge(c) {
		if slices.Contains(codes, reason.Code) {
			return reason, true
		}
	}
	return Reason{}, false
}

// ingressEnds: who should call and who should answer, and the API servers of the control planes concerned.
func ingressEnds(c ingressCase) (Reason, bool) {
	ends := Case{Mesh: c.mesh, From: c.from, To: c.to, Kind: PlainText, Path: Local, Evidence: c.evidence}
	if reason, ok := only(ends, "cluster-away", "control-plane-away", "not-placed", "pod-not-ready", "not-asked"); ok {
		return reason, true
	}
	at := c.mesh.Primary(c.via)
	return only(Case{Mesh: c.mesh, From: at, To: at, Kind: PlainText, Path: Local, Evidence: c.evidence}, "cluster-away", "control-plane-not-ready", "not-placed")
}

func ingressNotPlaced(c ingressCase) (Reason, bool) {
	at := c.mesh.Primary(c.via)
	return Reason{
		Text:   fmt.Sprintf("what leads calls from %s's ingress gateway to verify's servers could not be placed in %s: %s", c.via.Name, at.Name, c.unmade),
		Next:   kubectl(at, "get events -n "+c.mesh.Verify.Namespace),
		Proven: true,
	}, c.unmade != ""
}

func ingressNotReady(c ingressCase) (Reason, bool) {
	g := c.gateway
	next := kubectl(c.via, fmt.Sprintf("describe pods -n %s -l app=%s", g.Namespace, g.Name))
	if g.Wanted == 0 { // its chart leaves the number to an autoscaler, so apply does too
		next = kubectl(c.via, fmt.Sprintf("scale deployment -n %s %s --replicas=1", g.Namespace, g.Name))
	}
	return Reason{
		Text:   fmt.Sprintf("%s's ingress gateway has no ready pod (Deployment %s/%s, %d/%d)", c.via.Name, g.Namespace, g.Name, g.Ready, g.Wanted),
		Next:   next,
		Proven: g.Wanted == 0,
	}, c.has && g.Ready == 0 && c.evidence.may(c.via.Name, "deployments")
}

func ingressNoAddress(c ingressCase) (Reason, bool) {
	g := c.gateway
	return Reason{
		Text: fmt.Sprintf("%s's ingress gateway has no address that anybody outside could call (Service %s/%s)", c.via.Name, g.Namespace, g.Name),
		Next: kubectl(c.via, fmt.Sprintf("describe service -n %s %s", g.Namespace, g.Name)),
	}, c.has && len(g.Addresses) == 0
}

// status tells whether the call was answered with one of some statuses.
func (c ingressCase) status(codes ...int) bool {
	return c.result != nil && c.result.Class == probe.Status && slices.Contains(codes, c.result.Code)
}

// ingressUnreachable: no connection, or one that ends without a word: a gateway listens on no port that no Gateway names.
func ingressUnreachable(c ingressCase) (Reason, bool) {
	if c.result == nil || !slices.Contains([]probe.Class{probe.DNS, probe.Refused, probe.Unreachable, probe.Timeout, probe.Reset}, c.result.Class) {
		return Reason{}, false
	}
	reason := Reason{
		Text: fmt.Sprintf("%s's ingress gateway %s cannot be reached from %s: %s", c.via.Name, c.door, c.from.Name, Describe(*c.result)),
		Next: "open that port (firewall, security group, load balancer), then: isthmus verify",
	}
	if c.result.Class == probe.Refused || c.result.Class == probe.Reset {
		reason.Text += fmt.Sprintf(" (it listens there once its istiod has given it Gateway %s/%s)", c.mesh.Verify.Namespace, ingressName)
		reason.Next = c.istiodLogs()
	}
	return reason, true
}

// istiodLogs shows what the istiod says that leads the gateway.
func (c ingressCase) istiodLogs() string { return Case{Mesh: c.mesh, From: c.via}.istiodLogs() }

func ingressNoRoute(c ingressCase) (Reason, bool) {
	return Reason{
		Text: fmt.Sprintf("%s's ingress gateway %s has no route for %s (404): its istiod has not given it VirtualService %s/%s, "+
			"or a Gateway of somebody's own speaks something else on port %d", c.via.Name, c.door, IngressHost(c.mesh), c.mesh.Verify.Namespace, ingressName, ingressPort),
		Next: kubectl(c.mesh.Primary(c.via), "get gateways.networking.istio.io,virtualservices -A"),
	}, c.status(http.StatusNotFound)
}

func ingressForbidden(c ingressCase) (Reason, bool) {
	return Reason{
		Text: fmt.Sprintf("a call through %s's ingress gateway is refused with %s, though AuthorizationPolicy %s/%s lets it in at %s's server: "+
			"another one asks for more there, or at the gateway", c.via.Name, Describe(orNone(c.result)), c.mesh.Verify.Namespace, ingressName, c.to.Name),
		Next: kubectl(c.mesh.Primary(c.via), "get authorizationpolicies,requestauthentications -A"),
	}, c.status(http.StatusForbidden, http.StatusUnauthorized)
}

func orNone(r *probe.Result) probe.Result {
	if r == nil {
		return probe.Result{}
	}
	return *r
}

// ingressOnward: the way on from the gateway's proxy to the other cluster is that of every caller there.
func ingressOnward(c ingressCase) (Reason, bool) {
	if !c.status(http.StatusServiceUnavailable, http.StatusGatewayTimeout) {
		return Reason{}, false
	}
	onward := Case{Mesh: c.mesh, From: c.via, To: c.to, Path: pathOf(c.via, c.to), Evidence: c.evidence}
	onward.Calls = []CallProof{{Protocol: probe.HTTP, Tries: 1, Result: *c.result, Wrong: Describe(*c.result)}}
	return only(onward, "control-plane-not-ready", "control-plane-unreachable", "gateway-missing", "gateway-not-ready", "gateway-no-address",
		"other-root", "root-not-taken-up", "mtls-off", "remote-secret-missing", "remote-credential-ended", "remote-not-synced",
		"pods-unreachable", "certificate-refused")
}

func ingressNoEndpoint(c ingressCase) (Reason, bool) {
	return Reason{
		Text: fmt.Sprintf("%s's ingress gateway reaches no endpoint of %s in %s: %s", c.via.Name, ServiceName(c.to.Name), c.to.Name, Describe(orNone(c.result))),
		Next: c.istiodLogs(),
	}, c.status(http.StatusServiceUnavailable, http.StatusGatewayTimeout)
}

// ingressElsewhere: somebody answers, and not who should.
func ingressElsewhere(c ingressCase) (Reason, bool) {
	if c.result == nil || !c.result.OK && c.result.Class != probe.Foreign {
		return Reason{}, false
	}
	who := "somebody else: " + short(*c.result)
	if c.result.OK {
		who = strings.Join(slices.Sorted(maps.Keys(c.result.Clusters)), ", ")
	}
	return Reason{
		Text: fmt.Sprintf("a call for %s's server at %s's ingress gateway %s is answered by %s", c.to.Name, c.via.Name, c.door, who),
		Next: kubectl(c.mesh.Primary(c.via), "get gateways.networking.istio.io,virtualservices -A"),
	}, true
}
