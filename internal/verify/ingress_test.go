package verify

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	networking "istio.io/api/networking/v1alpha3"
	security "istio.io/api/security/v1beta1"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/validation"
	"istio.io/istio/pkg/util/protomarshal"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/probe"
)

// ingressAt is an ingress gateway as Istio's profiles make it.
func ingressAt(address string) facts.Ingress {
	return facts.Ingress{
		Namespace: "istio-system", Name: "istio-ingressgateway", Type: "LoadBalancer", Addresses: []string{address},
		Ports: []int32{15021, 80, 443}, Account: "istio-ingressgateway-service-account", Ready: 1, Wanted: 1,
	}
}

// withIngress is a fake of two clusters that have ingress gateways, and facts changed by more.
func withIngress(m mesh.Mesh, more func(*Evidence)) *fakeMesh {
	f := newFake(m)
	f.evidence = func(e *Evidence) {
		e.Now.Clusters["east"].Ingresses = []facts.Ingress{ingressAt("198.18.1.1")}
		e.Now.Clusters["west"].Ingresses = []facts.Ingress{ingressAt("198.18.1.2")}
		if more != nil {
			more(e)
		}
	}
	return f
}

// TestCallsComeInThroughEveryIngressGateway, each from the cluster that is to answer, and once the Gateway is there.
func TestCallsComeInThroughEveryIngressGateway(t *testing.T) {
	for _, m := range []mesh.Mesh{twoClusters(), failing()} {
		f := withIngress(m, nil)
		f.answer = func(from string, c probe.Call, n int) probe.Result {
			if strings.HasPrefix(c.ID, "ingress/") {
				if c.Headers["host"] != "isthmus-verify.isthmus.invalid" || !f.open["east"] || !f.open["west"] {
					t.Errorf("called with %v, Gateways %v", c.Headers, f.open)
				}
				if n == 1 { // the proxy has not been told yet
					return probe.Result{ID: c.ID, To: c.To, Sent: 1, Class: probe.Status, Code: 404}
				}
			}
			return good(m, from, c)
		}
		p, err := f.prover().Prove(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n := p.Tallies(); !p.Passed || n.Ingress != (Tally{2, 2}) || n.Delivered != (Tally{4, 4}) {
			t.Errorf("tallies %+v: %+v", n, p.Failures)
		}
		var got []string
		for _, c := range p.Ingress {
			got = append(got, strings.Join([]string{c.From, c.Via, c.To, c.Door, c.Result.To}, " "))
		}
		want := []string{
			"west east west 198.18.1.1:80 http://198.18.1.1:80/west",
			"east west east 198.18.1.2:80 http://198.18.1.2:80/east",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		slices.Sort(f.placed)
		if want := []string{"east", "east", "west", "west"}; !cmp.Equal(f.placed, want) || f.looks != 0 {
			t.Errorf("placed in %v, %d looks", f.placed, f.looks)
		}
		suite := p.JUnit()
		i := slices.IndexFunc(suite.Cases, func(c TestCase) bool { return c.Class == "ingress" })
		if c := suite.Cases[i]; c.Name != "outside → east → west" || c.Failure != nil || c.Output != "198.18.1.1:80" {
			t.Errorf("%+v", c)
		}
	}
}

func TestWhereNobodyIsAskedToComeIn(t *testing.T) {
	for _, c := range []struct {
		reason  string
		change  func(*Evidence)
		skipped []string // of the way in through east; none: it is not asked about
	}{
		{"no gateway", func(e *Evidence) { e.Now.Clusters["east"].Ingresses = nil }, nil},
		{"the other is drained", func(e *Evidence) {
			e.Now.Clusters["east"].Members = []facts.Member{{Name: "west", Drain: &facts.Drain{On: true, Since: atMidday, To: "east"}}}
		}, nil},
		{"no plain HTTP", func(e *Evidence) { e.Now.Clusters["east"].Ingresses[0].Ports = []int32{443} }, []string{"Service istio-system/istio-ingressgateway has no port 80"}},
		{"it is for the inside", func(e *Evidence) {
			g := &e.Now.Clusters["east"].Ingresses[0]
			g.Type, g.Addresses = "ClusterIP", nil
		}, []string{"Service istio-system/istio-ingressgateway is of type ClusterIP, and has no address of its own outside"}},
	} {
		f := withIngress(twoClusters(), c.change)
		p, err := f.prover().Prove(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var skipped []string
		for _, x := range p.Ingress {
			if x.Via == "east" {
				skipped = append(skipped, x.Skipped)
			}
		}
		if diff := cmp.Diff(c.skipped, skipped); diff != "" || !p.Passed || p.Tallies().Ingress != (Tally{1, 1}) || p.JUnit().Skipped != len(c.skipped) {
			t.Errorf("%s: tally %v, failures %+v, -want +got\n%s", c.reason, p.Tallies().Ingress, p.Failures, diff)
		}
	}
	f := newFake(twoClusters())
	p, err := f.prover().Prove(t.Context())
	if err != nil || len(p.Ingress) > 0 || len(f.open) > 0 || len(f.placed) != 2 {
		t.Errorf("no gateway anywhere: %v, %v, Gateways %v, placed %v", err, p.Ingress, f.open, f.placed)
	}
}

func TestWhyACallDoesNotComeIn(t *testing.T) {
	answered := func(r probe.Result) func(probe.Call) probe.Result {
		return func(c probe.Call) probe.Result { r.ID, r.To, r.Sent = c.ID, c.To, 1; return r }
	}
	status := func(code int, body string) func(probe.Call) probe.Result {
		return answered(probe.Result{Class: probe.Status, Code: code, Body: body, Error: body})
	}
	noUpstream := status(503, "no healthy upstream")
	for _, c := range []struct {
		reason      string
		change      func(*Evidence)
		how         func(probe.Call) probe.Result
		code, text  string
		wrong, next string
	}{
		{"no pod", func(e *Evidence) { e.Now.Clusters["east"].Ingresses[0].Ready = 0 }, answered(probe.Result{Class: probe.Timeout}), "ingress-not-ready", "Deployment istio-system/istio-ingressgateway, 0/1", "no answer in time", "kubectl --context kind-east describe pods"},
		{"scaled to nothing", func(e *Evidence) {
			g := &e.Now.Clusters["east"].Ingresses[0]
			g.Ready, g.Wanted = 0, 0
		}, answered(probe.Result{Class: probe.Timeout}), "ingress-not-ready", "0/0", "no answer in time", "scale deployment -n istio-system istio-ingressgateway --replicas=1"},
		{"no address", func(e *Evidence) { e.Now.Clusters["east"].Ingresses[0].Addresses = nil }, nil, "ingress-no-address", "Service istio-system/istio-ingressgateway", "ingress gateway without address", "describe service"},
		{"a firewall", nil, answered(probe.Result{Class: probe.Timeout}), "ingress-unreachable", "198.18.1.1:80 cannot be reached from west: no answer in time", "no answer in time", "open that port"},
		{"nobody listens", nil, answered(probe.Result{Class: probe.Refused}), "ingress-unreachable", "Gateway isthmus-verify/ingress", "connection refused", "logs -n istio-system -l app=istiod"},
		{"no route", nil, status(404, ""), "ingress-no-route", "has no route for isthmus-verify.isthmus.invalid (404)", "answered 404", "virtualservices"},
		{"a policy", nil, status(403, "RBAC: access denied"), "ingress-forbidden", "though AuthorizationPolicy isthmus-verify/ingress lets it in", "RBAC: access denied", "authorizationpolicies"},
		{"no endpoint", nil, noUpstream, "ingress-no-endpoint", "reaches no endpoint of to-west in west", "no healthy upstream", "istiod"},
		{"no remote secret", func(e *Evidence) { delete(e.Now.Clusters["east"].Secrets, "istio-system/istio-remote-secret-west") }, noUpstream, "remote-secret-missing", "does not know west", "no healthy upstream", "isthmus apply"},
		{"the other's east-west gateway is gone", func(e *Evidence) { e.Now.Clusters["west"].Gateways[0].Ready = 0 }, noUpstream, "gateway-not-ready", "west's east-west gateway", "no healthy upstream", "describe pods"},
		{"somebody else's server", nil, answered(probe.Result{Class: probe.Foreign, Code: 200, Body: "<html>"}), "ingress-elsewhere", "answered by somebody else: <html>", "<html>", "gateways"},
		{"another cluster's server", nil, answered(probe.Result{OK: true, Answered: 1, Clusters: map[string]int{"east": 1}}), "ingress-elsewhere", "answered by east", "answered by east", "gateways"},
		{"something else", nil, answered(probe.Result{Class: probe.Other, Error: "strange"}), "unknown", "they end with: strange", "strange", "gateways"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			f := withIngress(twoClusters(), c.change)
			f.answer = func(from string, call probe.Call, _ int) probe.Result {
				if call.ID == "ingress/east" {
					return c.how(call)
				}
				return good(f.mesh, from, call)
			}
			p, err := f.prover().Prove(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			x := p.Ingress[0]
			if x.OK || p.Passed || x.Reasons[0].Code != c.code || !strings.Contains(x.Reasons[0].Text, c.text) || x.Wrong != c.wrong || !strings.Contains(x.Reasons[0].Next, c.next) {
				t.Errorf("%+v", x)
			}
			if !p.Ingress[1].OK || !slices.ContainsFunc(p.Failures, func(f Failure) bool { return slices.Contains(f.Subjects, "outside → east → west") }) {
				t.Errorf("%+v, failures %+v", p.Ingress[1], p.Failures)
			}
			for _, cell := range p.Cells {
				if !cell.OK {
					t.Errorf("%s → %s fails for it", cell.From, cell.To)
				}
			}
		})
	}
}

func TestIngressWithoutItsEnds(t *testing.T) {
	f := withIngress(twoClusters(), nil)
	f.away["west"] = true
	p, err := f.prover().Prove(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// West may have a gateway: nobody knows, and nobody asks.
	if len(p.Ingress) != 1 || p.Ingress[0].OK || p.Ingress[0].Wrong != "API server away" || p.Ingress[0].Tries != 0 {
		t.Errorf("%+v", p.Ingress)
	}
	f = withIngress(failing(), nil)
	f.refuse = func(string) error { return errors.New("gateways is forbidden") }
	if p, err = f.prover().Prove(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range p.Ingress {
		if c.OK || c.Reasons[0].Code != "not-placed" || c.Wrong != "objects not placed" {
			t.Errorf("%+v", c)
		}
	}
}

// TestWhatLeadsCallsIn is judged as istiod's webhook would, and reads as it is meant.
func TestWhatLeadsCallsIn(t *testing.T) {
	m := twoClusters()
	list := leadingIn(m, m.Clusters[0], []any{"cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account"})
	read := func(kind string, spec proto.Message, judge validation.ValidateFunc) {
		t.Helper()
		i := slices.IndexFunc(list, func(o object.Object) bool { return o.Body.GetKind() == kind })
		text, err := json.Marshal(list[i].Body.Object["spec"])
		if err != nil {
			t.Fatal(err)
		}
		if err := protomarshal.Unmarshal(text, spec); err != nil {
			t.Fatal(err)
		}
		if _, err := judge(config.Config{Meta: config.Meta{Name: "ingress", Namespace: list[i].Body.GetNamespace()}, Spec: spec}); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if list[i].Body.GetNamespace() != "isthmus-verify" || list[i].Part != object.PartProbes || list[i].Reason == "" {
			t.Errorf("%s: %+v", kind, list[i])
		}
	}
	var g networking.Gateway
	read("Gateway", &g, validation.ValidateGateway)
	if s := g.GetServers(); len(s) != 1 || s[0].GetPort().GetNumber() != 80 || !cmp.Equal(s[0].GetHosts(), []string{"isthmus-verify/isthmus-verify.isthmus.invalid"}) {
		t.Errorf("servers %v", s)
	}
	var v networking.VirtualService
	read("VirtualService", &v, validation.ValidateVirtualService)
	var routes []string
	for _, h := range v.GetHttp() {
		routes = append(routes, h.GetMatch()[0].GetUri().GetExact()+" "+h.GetRoute()[0].GetDestination().GetHost())
	}
	want := []string{"/east to-east.isthmus-verify.svc.cluster.local", "/west to-west.isthmus-verify.svc.cluster.local"}
	if diff := cmp.Diff(want, routes); diff != "" || slices.Contains(v.GetGateways(), "mesh") {
		t.Errorf("gateways %v, -want +got\n%s", v.GetGateways(), diff)
	}
	var p security.AuthorizationPolicy
	read("AuthorizationPolicy", &p, validation.ValidateAuthorizationPolicy)
	if len(p.GetRules()) != 1 || len(p.GetRules()[0].GetFrom()) != 1 || len(p.GetRules()[0].GetTo()[0].GetOperation().GetHosts()) != 1 {
		t.Errorf("rules %v", p.GetRules())
	}
}
