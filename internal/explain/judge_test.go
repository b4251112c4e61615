package explain

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/status"
)

// recorded is the evidence of a call that arrives, as it was gathered from two clusters of the lab:
// isthmus explain demo/client@east demo/echo@west --record FILE.
func recorded(t testing.TB) Evidence {
	t.Helper()
	data, err := os.ReadFile("testdata/whole.json")
	if err != nil {
		t.Fatal(err)
	}
	var e Evidence
	if err := json.Unmarshal(data, &e); err != nil {
		t.Fatal(err)
	}
	return e
}

const (
	echoHost = "echo.demo.svc.cluster.local"
	echo80   = "outbound|80||" + echoHost
)

func config(t testing.TB, text string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		t.Fatal(err)
	}
	return u
}

// routes replaces the routes for echo in the caller's proxy.
func routes(e *Evidence, list ...Route) {
	vh, _ := e.Sites["east"].CallerProxy.virtualHost(echoHost, 80)
	vh.Routes = list
}

// echo is the cluster of the caller's proxy that leads to echo.
func echo(e *Evidence) *Upstream { return e.Sites["east"].CallerProxy.Clusters[echo80] }

// A breakage changes the evidence of a call that arrives into that of one that does not.
type breakage struct {
	reason string
	code   string
	do     func(t *testing.T, e *Evidence)
	says   string // part of the sentence
}

func object(site, text string) func(*testing.T, *Evidence) {
	return func(t *testing.T, e *Evidence) { e.Sites[site].Config = append(e.Sites[site].Config, config(t, text)) }
}

// both do two things.
func and(all ...func(*testing.T, *Evidence)) func(*testing.T, *Evidence) {
	return func(t *testing.T, e *Evidence) {
		for _, f := range all {
			f(t, e)
		}
	}
}

func noEndpoints(_ *testing.T, e *Evidence) { echo(e).Endpoints = nil }

var breakages = []breakage{
	{"the callee's API server is away", "cluster-away", func(_ *testing.T, e *Evidence) {
		e.Sites["west"] = &Site{Cluster: "west", Network: "west", Err: "connection refused"}
	}, "west's API server does not answer: connection refused"},
	{"nobody of that name", "caller-missing", func(_ *testing.T, e *Evidence) { e.Sites["east"].Caller = nil }, "no workload client"},
	{"no sidecar, another cluster", "caller-no-proxy", func(_ *testing.T, e *Evidence) { e.Sites["east"].Caller.Sidecar = false }, "knows no endpoint in west"},
	{"no Service where the call starts", "no-local-name", func(_ *testing.T, e *Evidence) { e.Sites["east"].Services = nil }, "its DNS does not know"},
	{"a port that is not there", "port-missing", func(_ *testing.T, e *Evidence) { e.Call.Port = 81 }, "has no port 81; it has 80"},
	{"a Sidecar without the host", "sidecar-hides-host", and(object("east", `
kind: Sidecar
metadata: {name: narrow, namespace: demo}
spec: {egress: [{hosts: ["istio-system/*"]}]}`), hide), "Sidecar demo/narrow in east"},
	{"exported to others", "export-hides-host", and(func(_ *testing.T, e *Evidence) { e.Sites["east"].service(echoHost).ExportTo = "shop, ." }, func(_ *testing.T, e *Evidence) { e.Sites["east"].Caller.Namespace = "other" }, hide), `exported to "shop, ." alone`},
	{"nothing hides it", "proxy-unaware", hide, "has no route to echo.demo"},
	{"a host that does not exist", "route-host-missing", func(_ *testing.T, e *Evidence) {
		routes(e, Route{Config: "demo/echo", Match: Match{Prefix: "/"}, To: []Weight{{"outbound|80||ehco.demo.svc.cluster.local", 100}}})
	}, "VirtualService demo/echo in east leads to ehco.demo.svc.cluster.local"},
	{"one of two destinations does not exist", "route-host-missing", func(_ *testing.T, e *Evidence) {
		routes(e, Route{Config: "demo/echo", Match: Match{Prefix: "/"}, To: []Weight{{echo80, 90}, {"outbound|80||ehco.demo.svc.cluster.local", 10}}})
	}, "ehco"},
	{"a subset that nobody defines", "subset-missing", func(_ *testing.T, e *Evidence) {
		routes(e, Route{Config: "demo/echo", Match: Match{Prefix: "/"}, To: []Weight{{"outbound|80|v9|" + echoHost, 100}}})
		e.Sites["east"].CallerProxy.Clusters["outbound|80|v1|"+echoHost] = &Upstream{}
	}, "there are: v1"},
	{"a port that the host has not", "route-port-missing", func(_ *testing.T, e *Evidence) {
		routes(e, Route{Config: "demo/echo", Match: Match{Prefix: "/"}, To: []Weight{{"outbound|99||" + echoHost, 100}}})
	}, "port 99"},
	{"no route takes the path", "no-route", func(_ *testing.T, e *Evidence) {
		routes(e, Route{Config: "demo/echo", Match: Match{Prefix: "/other"}, To: []Weight{{echo80, 100}}})
	}, "answers 404"},
	{"an abort of all calls", "fault-injected", func(_ *testing.T, e *Evidence) {
		routes(e, Route{Config: "demo/echo", Match: Match{Prefix: "/"}, To: []Weight{{echo80, 100}}, Abort: &Abort{503, 100}})
	}, "answers every such call with 503"},
	{"no remote secret", "remote-secret-missing", and(noEndpoints, func(_ *testing.T, e *Evidence) {
		delete(e.Sites["east"].Facts.Secrets, "istio-system/istio-remote-secret-west")
	}), "there is no remote secret"},
	{"drained", "cluster-drained", and(noEndpoints, func(_ *testing.T, e *Evidence) {
		f := e.Sites["east"].Facts
		delete(f.Secrets, "istio-system/istio-remote-secret-west")
		f.Members = []facts.Member{{Name: "west", Drain: &facts.Drain{On: true, Since: e.Taken, To: "east"}}}
	}), "west is drained since"},
	{"a credential that has ended", "remote-credential-ended", and(noEndpoints, func(_ *testing.T, e *Evidence) {
		s := e.Sites["east"].Facts.Secrets["istio-system/istio-remote-secret-west"]
		k := s.Kubeconfigs["west"]
		k.NotAfter = e.Taken.Add(-time.Hour)
		s.Kubeconfigs["west"] = k
	}), "ended at"},
	{"istiod cannot read the cluster", "remote-not-synced", and(noEndpoints, unsynced), "sync status: timeout"},
	{"no pods", "callee-missing", and(noEndpoints, func(_ *testing.T, e *Evidence) { e.Sites["west"].Callees = nil }), "no pod in west has the labels"},
	{"no pods, though the proxy has not heard of it", "callee-missing", func(_ *testing.T, e *Evidence) { e.Sites["west"].Callees = nil }, "no pod in west"},
	{"no ready pod", "callee-not-ready", and(noEndpoints, func(_ *testing.T, e *Evidence) {
		e.Sites["west"].Callees[0].Ready, e.Sites["west"].Callees[0].Problem = false, "container app is not ready"
	}), "container app is not ready"},
	{"no ready pod, since its proxy takes no configuration", "proxy-rejects", and(noEndpoints, func(_ *testing.T, e *Evidence) {
		c := &e.Sites["west"].Callees[0]
		c.Ready = false
		e.Sites["west"].Pages.Proxies = []status.ProxyStatus{{Proxy: c.Name + "." + c.Namespace, Resources: map[string]status.ResourceStatus{"LDS": {LastError: "Jwks has no key"}}}}
	}), "rejects LDS: Jwks has no key"},
	{"pods without a proxy", "callee-no-proxy", and(noEndpoints, func(_ *testing.T, e *Evidence) {
		e.Sites["west"].Callees[0].Sidecar = false
		for i := range e.Sites["west"].Facts.Namespaces {
			e.Sites["west"].Facts.Namespaces[i].Labels = nil
		}
	}), "namespace demo is not labelled"},
	{"the port's name differs", "ports-differ", and(noEndpoints, func(_ *testing.T, e *Evidence) { e.Sites["west"].service(echoHost).Ports[0].Name = "web" }), `called "http" in east and "web" in west`},
	{"the port is another", "ports-differ", and(noEndpoints, func(_ *testing.T, e *Evidence) { e.Sites["west"].service(echoHost).Ports[0].Port = 8080 }), "has port 80 in east and not in west"},
	{"the gateway's label", "network-label-wrong", func(_ *testing.T, e *Evidence) {
		e.Sites["west"].Facts.Gateways[0].Network = "elsewhere"
		echo(e).Endpoints[0].Address = "100.65.0.6:8080"
	}, `says network "elsewhere"`},
	{"the namespace's label", "network-label-wrong", func(_ *testing.T, e *Evidence) {
		for i, n := range e.Sites["west"].Facts.Namespaces {
			if n.Name == rootNamespace {
				e.Sites["west"].Facts.Namespaces[i].Labels["topology.istio.io/network"] = "east"
			}
		}
		echo(e).Endpoints[0].Address = "100.65.0.6:8080"
	}, `namespace istio-system of west says network "east"`},
	{"a subset that selects nothing", "subset-empty", func(_ *testing.T, e *Evidence) {
		routes(e, Route{Config: "demo/echo", Match: Match{Prefix: "/"}, To: []Weight{{"outbound|80|v2|" + echoHost, 100}}})
		e.Sites["east"].CallerProxy.Clusters["outbound|80|v2|"+echoHost] = &Upstream{TLS: "auto", Rule: "demo/echo"}
	}, "subset v2 of DestinationRule demo/echo"},
	{"an ejected endpoint", "endpoint-ejected", func(_ *testing.T, e *Evidence) { echo(e).Endpoints[0].Ejected = true; echo(e).Rule = "demo/echo" }, "outlier detection of DestinationRule demo/echo"},
	{"an ejected endpoint, because the gateway is gone", "gateway-not-ready", func(_ *testing.T, e *Evidence) {
		echo(e).Endpoints[0].Ejected = true
		e.Sites["west"].Facts.Gateways[0].Ready = 0
	}, "has no ready pod"},
	{"no endpoint, and no cause", "no-endpoint", noEndpoints, "nothing that was read says why"},
	{"no address of the gateway", "gateway-no-address", and(noEndpoints, func(_ *testing.T, e *Evidence) { e.Sites["west"].Facts.Gateways[0].Addresses = nil }), "has no address"},
	{"DestinationRule DISABLE", "plaintext-against-strict", func(_ *testing.T, e *Evidence) { echo(e).TLS, echo(e).Rule = "none", "demo/echo" }, "DestinationRule demo/echo in east sends plain text"},
	{"DestinationRule SIMPLE", "plaintext-against-strict", func(_ *testing.T, e *Evidence) { echo(e).TLS, echo(e).Rule = "other", "demo/echo" }, "shows no certificate of the mesh"},
	{"PeerAuthentication DISABLE", "mtls-off", and(noEndpoints, object("west", `
kind: PeerAuthentication
metadata: {name: open, namespace: demo}
spec: {mtls: {mode: DISABLE}}`)), "PeerAuthentication demo/open is DISABLE"},
	{"another root", "other-root", func(_ *testing.T, e *Evidence) {
		e.Sites["west"].CalleeProxy.Roots = e.Sites["west"].CalleeProxy.Chain[:1]
	}, "was signed under root CN=shop root"},
	{"a certificate past its end", "certificate-ended", func(_ *testing.T, e *Evidence) { e.Taken = e.Taken.Add(48 * time.Hour) }, "the caller's certificate in east"},
	{"no certificate", "no-certificate", func(_ *testing.T, e *Evidence) { e.Sites["east"].CallerProxy.Chain = nil }, "has no certificate"},
	{"an identity that is not expected", "identity-unexpected", func(_ *testing.T, e *Evidence) { echo(e).Sans = []string{"spiffe://other/ns/demo/sa/echo"} }, "takes only spiffe://other"},
	{"no gateway", "gateway-missing", and(noEndpoints, func(_ *testing.T, e *Evidence) { e.Sites["west"].Facts.Gateways = nil }), "has no east-west gateway"},
	{"the gateway's pods are gone", "gateway-not-ready", func(_ *testing.T, e *Evidence) { e.Sites["west"].Facts.Gateways[0].Ready = 0 }, "has no ready pod (Deployment istio-system/istio-eastwestgateway, 0/1)"},
	{"the gateway's port is another", "gateway-port-closed", func(_ *testing.T, e *Evidence) {
		for i, p := range e.Sites["west"].GatewayPorts {
			if p.Port == 15443 {
				e.Sites["west"].GatewayPorts[i].Port = 15444
			}
		}
	}, "has no port 15443"},
	{"no listener", "gateway-not-listening", func(_ *testing.T, e *Evidence) { e.Sites["west"].Gateway.Listeners = nil }, "listens on no port 15443"},
	{"the gateway does not know the service", "gateway-not-offering", func(_ *testing.T, e *Evidence) { e.Sites["west"].Gateway.Listeners[0].Chains = nil }, "does not offer"},
	{"the gateway does not know the subset", "gateway-not-offering", func(_ *testing.T, e *Evidence) {
		routes(e, Route{Config: "demo/echo", Match: Match{Prefix: "/"}, To: []Weight{{"outbound|80|v1|" + echoHost, 100}}})
		e.Sites["east"].CallerProxy.Clusters["outbound|80|v1|"+echoHost] = echo(e)
	}, "no DestinationRule in west defines it"},
	{"nobody behind the gateway", "gateway-no-endpoint", func(_ *testing.T, e *Evidence) {
		e.Sites["west"].Gateway.Clusters["outbound_.80_._."+echoHost].Endpoints = nil
	}, "knows no endpoint"},
	{"the program does not listen", "app-not-listening", func(_ *testing.T, e *Evidence) {
		e.Sites["west"].CalleeProxy.Clusters["inbound|8080||"].Endpoints[0].ConnectFails = 3
	}, "does not listen on port 8080"},
	{"a policy denies", "policy-denies", object("west", `
kind: AuthorizationPolicy
metadata: {name: echo, namespace: demo}
spec: {action: DENY, rules: [{from: [{source: {namespaces: [demo]}}]}]}`), "rule 0 of AuthorizationPolicy demo/echo in west (DENY)"},
	{"a policy allows another method", "policy-allows-others", object("west", `
kind: AuthorizationPolicy
metadata: {name: echo, namespace: demo}
spec: {rules: [{from: [{source: {principals: [cluster.local/ns/demo/sa/client]}}], to: [{operation: {methods: [POST]}}]}]}`), "allows the caller, and not this method"},
	{"a policy of the mesh's own namespace without rules", "policy-allows-others", object("west", `
kind: AuthorizationPolicy
metadata: {name: nothing, namespace: istio-system}
spec: {}`), "it allows nothing"},
	{"a host name as principal", "principal-no-identity", object("west", `
kind: AuthorizationPolicy
metadata: {name: echo, namespace: demo}
spec: {selector: {matchLabels: {app: echo}}, rules: [{from: [{source: {principals: [service.cluster-a.svc.cluster.local]}}]}]}`), "which is no SPIFFE identity"},
	{"a token of another issuer", "token-refused", and(object("west", `
kind: RequestAuthentication
metadata: {name: tokens, namespace: demo}
spec: {jwtRules: [{issuer: "https://a.example"}]}`), func(_ *testing.T, e *Evidence) { e.Call.Claims = map[string]any{"iss": "https://b.example"} }), "https://b.example"},
}

func hide(_ *testing.T, e *Evidence) { e.Sites["east"].CallerProxy.Routes = nil }

func unsynced(_ *testing.T, e *Evidence) {
	for istiod := range e.Sites["east"].Pages.Clusters {
		for i := range e.Sites["east"].Pages.Clusters[istiod] {
			if e.Sites["east"].Pages.Clusters[istiod][i].ID == "west" {
				e.Sites["east"].Pages.Clusters[istiod][i].SyncStatus = "timeout"
			}
		}
	}
}

func TestFirstBrokenLink(t *testing.T) {
	for _, b := range breakages {
		t.Run(b.reason, func(t *testing.T) {
			e := recorded(t)
			b.do(t, &e)
			p := Judge(e)
			if p.Cause == nil || p.Cause.Code != b.code || p.Delivered {
				t.Fatalf("cause %+v, want %s; others %+v, delivered %t", p.Cause, b.code, p.Others, p.Delivered)
			}
			if !strings.Contains(p.Cause.Text, b.says) || p.Cause.Mend == "" {
				t.Errorf("it says %q, mend %q; want %q in it", p.Cause.Text, p.Cause.Mend, b.says)
			}
			if strings.Contains(p.Cause.Text, "%!") || strings.Contains(p.Cause.Mend, "%!") {
				t.Errorf("a broken format: %q, %q", p.Cause.Text, p.Cause.Mend)
			}
		})
	}
}

// TestWholeWay: of the evidence as it was recorded nothing is doubted.
func TestWholeWay(t *testing.T) {
	p := Judge(recorded(t))
	if p.Cause != nil || !p.Delivered || len(p.Others) > 0 {
		t.Errorf("cause %+v, others %+v, delivered %t", p.Cause, p.Others, p.Delivered)
	}
	var names []string
	for _, h := range p.Hops {
		names = append(names, h.Name)
		if h.State != OK || h.Seen == "" {
			t.Errorf("hop %s: %s, %q", h.Name, h.State, h.Seen)
		}
	}
	if want := []string{"proxy", "name", "route", "endpoints", "identity", "gateway", "callee", "policy"}; !slices.Equal(names, want) {
		t.Errorf("hops %v, want %v", names, want)
	}
}

// TestWorksNow: what is wrong and breaks nothing yet is a warning, not the cause.
func TestWorksNow(t *testing.T) {
	cases := []struct {
		reason, code string
		do           func(t *testing.T, e *Evidence)
	}{
		{"a remote cluster that is read no more, with endpoints of before", "remote-not-synced", unsynced},
		{"istiod is gone", "control-plane-not-ready", func(_ *testing.T, e *Evidence) { e.Sites["east"].Facts.Istiods[0].Ready = 0 }},
		{"a listener is rejected", "proxy-rejects", func(_ *testing.T, e *Evidence) { e.Sites["east"].CallerProxy.Listeners[0].Err = "unknown filter" }},
		{"a kind of resource is rejected", "proxy-rejects", func(_ *testing.T, e *Evidence) {
			c := e.Sites["east"].Caller
			e.Sites["east"].Pages.Proxies = []status.ProxyStatus{{Proxy: c.Name + "." + c.Namespace, Resources: map[string]status.ResourceStatus{"LDS": {LastError: "no"}}}}
		}},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			e := recorded(t)
			c.do(t, &e)
			p := Judge(e)
			if p.Cause != nil || len(p.Others) != 1 || p.Others[0].Code != c.code {
				t.Errorf("cause %+v, others %+v; want only %s, as a warning", p.Cause, p.Others, c.code)
			}
		})
	}
}

func TestWholeClusters(t *testing.T) {
	between := func(t *testing.T) Evidence {
		e := recorded(t)
		e.From, e.To = Party{Cluster: "east"}, Party{Cluster: "west"}
		return e
	}
	cases := []struct {
		reason, code string
		do           func(t *testing.T, e *Evidence)
	}{
		{"all is well", "", func(*testing.T, *Evidence) {}},
		{"no istiod", "control-plane-not-ready", func(_ *testing.T, e *Evidence) { e.Sites["east"].Facts.Istiods = nil }},
		{"no remote secret", "remote-secret-missing", func(_ *testing.T, e *Evidence) {
			e.Sites["east"].Facts.Secrets = map[string]*facts.Secret{"istio-system/cacerts": e.Sites["east"].Facts.Secrets["istio-system/cacerts"]}
		}},
		{"not synced", "remote-not-synced", unsynced},
		{"two roots", "other-root", func(_ *testing.T, e *Evidence) {
			s := e.Sites["west"].Facts.Secrets["istio-system/cacerts"]
			s.Certificates["root-cert.pem"][0].SPKI = "another"
		}},
		{"an intermediate that has ended", "certificate-ended", func(_ *testing.T, e *Evidence) {
			e.Sites["west"].Facts.Secrets["istio-system/cacerts"].Certificates["ca-cert.pem"][0].NotAfter = e.Taken
		}},
		{"wrong labels", "network-label-wrong", func(_ *testing.T, e *Evidence) { e.Sites["west"].Facts.Gateways[0].Network = "x" }},
		{"the gateway is down", "gateway-not-ready", func(_ *testing.T, e *Evidence) { e.Sites["west"].Facts.Gateways[0].Ready = 0 }},
		{"the other cluster is away", "cluster-away", func(_ *testing.T, e *Evidence) { e.Sites["west"] = &Site{Cluster: "west", Err: "no answer in time"} }},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			e := between(t)
			c.do(t, &e)
			p := Judge(e)
			got := ""
			if p.Cause != nil {
				got = p.Cause.Code
			}
			if got != c.code || c.code == "" && !p.Delivered {
				t.Errorf("cause %q (%+v), want %q; delivered %t", got, p.Cause, c.code, p.Delivered)
			}
		})
	}
}

// TestUnknownIsNotBroken: what could not be read is said to be unknown, and promises nothing.
func TestUnknownIsNotBroken(t *testing.T) {
	cases := []struct {
		reason string
		do     func(e *Evidence)
	}{
		{"the proxy cannot be asked", func(e *Evidence) { e.Sites["east"].CallerProxy = &Proxy{Err: "the caller may not exec"} }},
		{"the callee's proxy rejects what policies became", func(e *Evidence) { e.Sites["west"].CalleeProxy.Listeners[0].Err = "Jwks has no key" }},
		{"policies may not be read", func(e *Evidence) { e.Sites["west"].Unread = map[string]string{"AuthorizationPolicy": "may not"} }},
		{"pods may not be read", func(e *Evidence) { e.Sites["west"].Unread = map[string]string{"Pod": "may not"} }},
		{"Services may not be read", func(e *Evidence) {
			e.Sites["east"].Unread = map[string]string{"Service": "may not"}
			e.Sites["east"].Services = nil
		}},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			e := recorded(t)
			c.do(&e)
			if p := Judge(e); p.Cause != nil || p.Delivered {
				t.Errorf("cause %+v, delivered %t; want neither", p.Cause, p.Delivered)
			}
		})
	}
}
