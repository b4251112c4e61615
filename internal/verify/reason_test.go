package verify

import (
	"strings"
	"testing"
	"time"

	"isthmus.dev/isthmus/api/v1alpha1"
	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/probe"
)

// twoClusters is a mesh of east and west, each on a network of its own.
func twoClusters() mesh.Mesh {
	return mesh.Mesh{
		Name: "shop", MTLS: "STRICT", Trust: mesh.Trust{Domain: "cluster.local"},
		Verify: v1alpha1.Verify{Namespace: "isthmus-verify", Image: "lab.local/isthmus:dev", ImagePullPolicy: "IfNotPresent"},
		Clusters: []mesh.Cluster{
			{Name: "east", Context: "kind-east", Network: "east"},
			{Name: "west", Context: "kind-west", Network: "west"},
		},
	}
}

var atMidday = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// healthy is the evidence of a mesh in which nothing is wrong.
func healthy(m mesh.Mesh) Evidence {
	e := Evidence{Now: facts.Snapshot{Taken: atMidday, Clusters: map[string]*facts.Cluster{}}, Sites: map[string]SiteEvidence{}}
	for i, c := range m.Clusters {
		secrets := map[string]*facts.Secret{"istio-system/cacerts": {
			Namespace: "istio-system", Name: "cacerts",
			Certificates: map[string][]facts.Certificate{"root-cert.pem": {{Fingerprint: "aaaaaaaaaaaa"}}},
		}}
		site := SiteEvidence{
			Pods: map[Role]Pod{}, Remotes: []Remote{}, Endpoints: map[string][]Endpoint{}, PeerKnown: true,
			Peer: []PeerAuthentication{{"istio-system", "default", "STRICT"}},
		}
		for _, r := range Roles {
			site.Pods[r] = Pod{Name: string(r) + "-1", IP: "100.64.0.7", Ready: true, Sidecar: r != Stranger}
		}
		for _, o := range m.Clusters {
			site.Endpoints[o.Name] = []Endpoint{{Address: "198.18.0.12:15443", Healthy: true}}
			if o.Name == c.Name {
				continue
			}
			name := "istio-remote-secret-" + o.Name
			secrets["istio-system/"+name] = &facts.Secret{
				Namespace: "istio-system", Name: name, Labels: map[string]string{"istio/multiCluster": "true"},
				Kubeconfigs: map[string]facts.Kubeconfig{o.Name: {Server: "https://198.18.0.12:6443", NotAfter: atMidday.Add(time.Hour)}},
			}
			site.Remotes = append(site.Remotes, Remote{ID: o.Name, Secret: "istio-system/" + name, Status: "synced"})
		}
		e.Sites[c.Name] = site
		e.Now.Clusters[c.Name] = &facts.Cluster{
			Name: c.Name, Secrets: secrets,
			Istiods: []facts.Istiod{{Namespace: "istio-system", Name: "istiod", Ready: 1, Wanted: 1}},
			Gateways: []facts.Gateway{{
				Namespace: "istio-system", Name: "istio-eastwestgateway", Network: c.Network,
				Addresses: []string{[]string{"198.18.0.11", "198.18.0.12", "198.18.0.13"}[i]}, Ready: 1, Wanted: 1,
			}},
			Webhooks: []facts.Webhook{{Name: "istio-sidecar-injector", Kind: "MutatingWebhookConfiguration"}},
		}
	}
	return e
}

// failed is a failed HTTP call.
func failed(class probe.Class, code int, body string) CallProof {
	r := probe.Result{To: "http://to-west:80", Class: class, Code: code, Body: body, Error: body, Sent: 1}
	r.Flag = map[string]string{"RBAC: access denied": "RBAC", "no healthy upstream": "UH"}[body]
	return CallProof{Protocol: probe.HTTP, Tries: 3, Result: r, Wrong: Describe(r)}
}

var noUpstream = failed(probe.Status, 503, "no healthy upstream")

func TestJudgeNamesTheBrokenLink(t *testing.T) {
	const tlsError = "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure, " +
		"transport failure reason: TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:TLS_error_end"
	type brk func(*Case)
	site := func(name string, change func(*SiteEvidence)) brk {
		return func(c *Case) {
			s := c.Evidence.Sites[name]
			change(&s)
			c.Evidence.Sites[name] = s
		}
	}
	fact := func(name string, change func(*facts.Cluster)) brk {
		return func(c *Case) { change(c.Evidence.Now.Clusters[name]) }
	}
	gateway := func(change func(*facts.Gateway)) brk {
		return fact("west", func(f *facts.Cluster) { change(&f.Gateways[0]) })
	}
	calls := func(all ...CallProof) brk { return func(c *Case) { c.Calls = all } }
	knock := func(r probe.Result) brk {
		return func(c *Case) { c.Knock, c.Door = &r, "198.18.0.12:15443" }
	}
	stranger := func(kind RefusalKind, r probe.Result) brk {
		return func(c *Case) { c.Kind, c.Calls, c.Knock, c.Door = kind, nil, &r, "198.18.0.12:15443" }
	}
	local := func(c *Case) { c.From, c.Path = c.To, Local }
	plainServed := stranger(PlainText, probe.Result{To: "http://100.64.0.7:8080", OK: true})
	otherRoot := fact("west", func(f *facts.Cluster) {
		f.Secrets["istio-system/cacerts"].Certificates["root-cert.pem"] = []facts.Certificate{{Fingerprint: "bbbbbbbbbbbb"}}
	})

	cases := []struct {
		reason, code string
		breaks       []brk
		text, next   string // parts of them
		proven       bool
	}{
		{
			"the caller's API server is stopped", "cluster-away",
			[]brk{site("east", func(s *SiteEvidence) { *s = SiteEvidence{Away: "connection refused"} }), calls()},
			"east's API server does not answer", "kubectl --context kind-east get --raw /readyz", true,
		},
		{
			"the target's API server is stopped", "cluster-away",
			[]brk{site("west", func(s *SiteEvidence) { *s = SiteEvidence{Away: "connection refused"} })},
			"(what runs there may still serve): connection refused", "--context kind-west", true,
		},
		{
			"objects were refused", "not-placed",
			[]brk{site("west", func(s *SiteEvidence) { s.Unplaced = "namespaces is forbidden" })},
			"could not be placed in west: namespaces is forbidden", "get events", true,
		},
		{
			"istiod is scaled to nothing", "control-plane-not-ready",
			[]brk{fact("west", func(f *facts.Cluster) { f.Istiods[0].Ready, f.Istiods[0].Wanted = 0, 0 })},
			"west's control plane has no ready pod (Deployment istio-system/istiod, 0/0)", "isthmus apply", true,
		},
		{
			"istiod is on its way", "control-plane-not-ready",
			[]brk{fact("west", func(f *facts.Cluster) { f.Istiods[0].Ready = 0 })},
			"0/1", "describe pods -n istio-system -l app=istiod", false,
		},
		{
			"there is no istiod", "control-plane-not-ready",
			[]brk{fact("east", func(f *facts.Cluster) { f.Istiods = nil })},
			"east has no control plane", "isthmus apply", true,
		},
		{
			"the server's pod does not start", "pod-not-ready",
			[]brk{site("west", func(s *SiteEvidence) { s.Pods[Server] = Pod{Name: "x", Problem: "not scheduled: no nodes"} })},
			"verify's server in west is not ready: not scheduled: no nodes", "describe pods -n isthmus-verify -l app=server", true,
		},
		{
			"no sidecar", "no-sidecar",
			[]brk{site("east", func(s *SiteEvidence) { s.Pods[Client] = Pod{Name: "x", Ready: true} })},
			"pods in east get no sidecar, so they are not of the mesh: none was injected", "isthmus apply", true,
		},
		{
			"no sidecar, for want of a webhook", "no-sidecar",
			[]brk{
				site("west", func(s *SiteEvidence) { s.Pods[Server] = Pod{Name: "x", Ready: true} }),
				fact("west", func(f *facts.Cluster) { f.Webhooks = nil }),
			},
			"there is no injection webhook", "isthmus apply", true,
		},
		{
			"the client's pod cannot be entered", "not-asked",
			[]brk{site("east", func(s *SiteEvidence) { s.Unasked = map[Role]string{Client: "pods/exec is forbidden"} }), calls()},
			"could not be told to make calls: pods/exec is forbidden", "--context kind-east exec", false,
		},
		{
			"no gateway", "gateway-missing",
			[]brk{fact("west", func(f *facts.Cluster) { f.Gateways = nil })},
			"west has no east-west gateway, and east is on another network", "isthmus apply", true,
		},
		{
			"the gateway is scaled to nothing", "gateway-not-ready",
			[]brk{gateway(func(g *facts.Gateway) { g.Ready, g.Wanted = 0, 0 })},
			"west's east-west gateway has no ready pod (Deployment istio-system/istio-eastwestgateway, 0/0)", "isthmus apply", true,
		},
		{
			"the gateway's pod crashes", "gateway-not-ready",
			[]brk{gateway(func(g *facts.Gateway) { g.Ready = 0 })},
			"0/1", "describe pods -n istio-system -l app=istio-eastwestgateway", false,
		},
		{
			"the gateway waits for a load balancer", "gateway-no-address",
			[]brk{gateway(func(g *facts.Gateway) { g.Addresses = nil })},
			"no address that others could call", "describe service -n istio-system istio-eastwestgateway", false,
		},
		{
			"another root in its Secret", "other-root",
			[]brk{otherRoot, calls(failed(probe.Status, 503, tlsError))},
			"east and west have different roots (aaaaaaaa… and bbbbbbbb…)", "isthmus apply", true,
		},
		{
			"another root in use than in its Secret", "root-not-taken-up",
			[]brk{func(c *Case) { c.Evidence.Shown = map[string]string{"west": "cccccccccccc"} }},
			"west's workloads have certificates of the root cccccccc…, while its Secret istio-system/cacerts holds aaaaaaaa…",
			"isthmus apply", true,
		},
		{
			"a certificate that is not trusted, and no root to be seen", "certificate-refused",
			[]brk{
				fact("west", func(f *facts.Cluster) { delete(f.Secrets, "istio-system/cacerts") }),
				calls(failed(probe.Status, 503, tlsError)),
			},
			"does not trust the certificate that west's server shows", "get secret -n istio-system cacerts", false,
		},
		{
			"mutual TLS disabled for the mesh", "mtls-off",
			[]brk{site("west", func(s *SiteEvidence) { s.Peer[0].Mode = "DISABLE" })},
			"PeerAuthentication istio-system/default in west says DISABLE instead of STRICT", "isthmus apply", true,
		},
		{
			"mutual TLS disabled where the caller is", "mtls-off",
			[]brk{site("east", func(s *SiteEvidence) { s.Peer[0].Mode = "DISABLE" })},
			"PeerAuthentication istio-system/default in east says DISABLE", "isthmus apply", true,
		},
		{
			"plain text served, since the mesh is permissive", "mtls-off",
			[]brk{plainServed, local, site("west", func(s *SiteEvidence) { s.Peer[0].Mode = "PERMISSIVE" })},
			"says PERMISSIVE instead of STRICT", "isthmus apply", true,
		},
		{
			"plain text served, since nothing is strict", "mtls-off",
			[]brk{plainServed, local, site("west", func(s *SiteEvidence) { s.Peer = nil })},
			"no PeerAuthentication in west makes mutual TLS strict", "isthmus apply", true,
		},
		{
			"plain text served, by a namespace's own policy", "mtls-off",
			[]brk{plainServed, local, site("west", func(s *SiteEvidence) {
				s.Peer = append(s.Peer, PeerAuthentication{"isthmus-verify", "open", "PERMISSIVE"})
			})},
			"PeerAuthentication isthmus-verify/open", "kubectl --context kind-west delete peerauthentication -n isthmus-verify open", true,
		},
		{
			"plain text served, though strict", "stranger-served",
			[]brk{plainServed, local},
			"west serves a stranger (plain text)", "get peerauthentications,envoyfilters -A", false,
		},
		{
			"no remote secret", "remote-secret-missing",
			[]brk{fact("east", func(f *facts.Cluster) { delete(f.Secrets, "istio-system/istio-remote-secret-west") })},
			"east's control plane does not know west: there is no remote secret for it in east/istio-system", "isthmus apply", true,
		},
		{
			"a remote secret that Istio does not look at", "remote-secret-missing",
			[]brk{fact("east", func(f *facts.Cluster) { f.Secrets["istio-system/istio-remote-secret-west"].Labels = nil })},
			"there is no remote secret", "isthmus apply", true,
		},
		{
			"a token that has ended", "remote-credential-ended",
			[]brk{fact("east", func(f *facts.Cluster) {
				f.Secrets["istio-system/istio-remote-secret-west"].Kubeconfigs["west"] = facts.Kubeconfig{NotAfter: atMidday.Add(-time.Hour)}
			})},
			"east's credential for west's API server ended at 2026-11-24 11:00 UTC", "isthmus apply", true,
		},
		{
			"istiod cannot read the other API server", "remote-not-synced",
			[]brk{site("east", func(s *SiteEvidence) { s.Remotes[0].Status = "timeout" })},
			"cannot read its API server at https://198.18.0.12:6443 (sync status: timeout)", "logs -n istio-system -l app=istiod", false,
		},
		{
			"istiod has not seen the secret yet", "remote-not-synced",
			[]brk{site("east", func(s *SiteEvidence) { s.Remotes = []Remote{} })},
			"has not taken up Secret istio-system/istio-remote-secret-west", "logs", false,
		},
		{
			"no name", "dns",
			[]brk{calls(failed(probe.DNS, 0, "lookup to-west: no such host"))},
			"the name to-west.isthmus-verify does not resolve in east", "get pods -n kube-system -l k8s-app=kube-dns", false,
		},
		{
			"policy", "forbidden",
			[]brk{
				calls(failed(probe.Status, 403, "RBAC: access denied")),
				site("west", func(s *SiteEvidence) { s.Policies = []string{"istio-system/deny-all"} }),
			},
			"AuthorizationPolicy istio-system/deny-all in west refuses spiffe://cluster.local/ns/isthmus-verify/sa/client",
			"get authorizationpolicies -A", true,
		},
		{
			"a firewall before the gateway", "gateway-unreachable",
			[]brk{calls(noUpstream), knock(probe.Result{To: "tls://x", Class: probe.Timeout})},
			"west's east-west gateway 198.18.0.12:15443 cannot be reached from east: no answer in time", "open that port", false,
		},
		{
			"a gateway that offers nothing", "gateway-unreachable",
			[]brk{calls(noUpstream), knock(probe.Result{To: "tls://x", Class: probe.Reset})},
			"closes calls for to-west", "isthmus apply", false,
		},
		{
			"pods that cannot be reached on a shared network", "pods-unreachable",
			[]brk{
				func(c *Case) { c.To.Network, c.Path = "east", Direct },
				calls(failed(probe.Timeout, 0, "context deadline exceeded")),
			},
			"pods of west cannot be reached from pods of east (no answer in time), though both are in network east",
			"spec.clusters[].network", false,
		},
		{
			"no endpoint in the caller's proxy", "no-endpoint",
			[]brk{calls(noUpstream), site("east", func(s *SiteEvidence) { delete(s.Endpoints, "west") })},
			"the client's proxy in east knows no endpoint in west", "logs", false,
		},
		{
			"an endpoint that has been ejected", "no-endpoint",
			[]brk{calls(noUpstream), site("east", func(s *SiteEvidence) { s.Endpoints["west"][0].Healthy = false })},
			"holds every endpoint in west for unhealthy (198.18.0.12:15443)", "isthmus status", false,
		},
		{
			"answered elsewhere", "wrong-cluster",
			[]brk{calls(CallProof{Protocol: probe.HTTP, Result: probe.Result{OK: true}, Wrong: "answered by north"})},
			"answered elsewhere: answered by north", "get service -n isthmus-verify to-west", false,
		},
		{
			"plain text between proxies", "not-encrypted",
			[]brk{calls(CallProof{Protocol: probe.HTTP, Delivered: true, Encrypted: new(bool), Result: probe.Result{OK: true, Reply: &probe.Reply{}}})},
			"arrive in plain text", "get destinationrules,peerauthentications -A", false,
		},
		{
			"another identity", "not-encrypted",
			[]brk{calls(CallProof{
				Protocol: probe.HTTP, Delivered: true, Encrypted: new(bool), Wrong: "caller seen as spiffe://other/ns/a/sa/b",
				Result: probe.Result{OK: true, Reply: &probe.Reply{Caller: "spiffe://other/ns/a/sa/b"}},
			})},
			"another identity than the expected one", "isthmus plan", false,
		},
		{
			"a stranger is served", "stranger-served",
			[]brk{stranger(Forged, probe.Result{To: "tls://x", OK: true, Shown: &probe.Shown{}})},
			"west serves a stranger (forged certificate) at 198.18.0.12:15443", "get peerauthentications", false,
		},
		{
			"nothing known is wrong", "unknown",
			[]brk{calls(failed(probe.Status, 502, "strange"))},
			"http calls from east to west end with: strange", "isthmus status", false,
		},
		{
			"a stranger that got no answer", "unknown",
			[]brk{stranger(NoCertificate, probe.Result{To: "tls://x", Class: probe.Timeout, Shown: &probe.Shown{}})},
			"whether west refuses strangers (no certificate) is not proved: no answer in time", "isthmus status", false,
		},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			m := twoClusters()
			in := Case{Mesh: m, From: m.Clusters[0], To: m.Clusters[1], Path: Gateway, Calls: []CallProof{noUpstream}, Evidence: healthy(m)}
			for _, b := range c.breaks {
				b(&in)
			}
			got := Judge(in)[0]
			if got.Code != c.code || got.Proven != c.proven {
				t.Errorf("%s: %s, proven %t (%s); want %s, %t", c.reason, got.Code, got.Proven, got.Text, c.code, c.proven)
			}
			if !strings.Contains(got.Text, c.text) {
				t.Errorf("%s: says %q, want %q in it", c.reason, got.Text, c.text)
			}
			if !strings.Contains(got.Next, c.next) {
				t.Errorf("%s: next is %q, want %q in it", c.reason, got.Next, c.next)
			}
		})
	}
}

func TestNoRuleSpeaksWithoutEvidence(t *testing.T) {
	m := twoClusters()
	for _, path := range []Path{Local, Direct, Gateway} {
		c := Case{Mesh: m, From: m.Clusters[0], To: m.Clusters[1], Path: path, Calls: []CallProof{failed(probe.Status, 500, "x")}}
		for _, r := range rules {
			if got, ok := r.judge(c); ok {
				t.Errorf("%s, path %s: %q, though nothing was seen", r.code, path, got.Text)
			}
		}
	}
}

func TestWhatMayNotBeReadIsNotMissing(t *testing.T) {
	m := twoClusters()
	e := healthy(m)
	for _, f := range e.Now.Clusters {
		f.Secrets, f.Gateways = nil, nil
		f.Denied = []facts.Right{{Verb: "list", Resource: "secrets"}, {Verb: "list", Resource: "services"}}
	}
	c := Case{Mesh: m, From: m.Clusters[0], To: m.Clusters[1], Path: Gateway, Calls: []CallProof{noUpstream}, Evidence: e}
	for _, r := range Judge(c) {
		if r.Code == "remote-secret-missing" || r.Code == "gateway-missing" {
			t.Errorf("%s is claimed, though the caller may not read it", r.Code)
		}
	}
}

func TestCodesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range rules {
		if seen[r.code] {
			t.Errorf("code %s is there twice", r.code)
		}
		seen[r.code] = true
	}
}

func TestDescribeSaysTheCause(t *testing.T) {
	const envoy = "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: "
	cases := []struct {
		in   probe.Result
		want string
	}{
		{probe.Result{Class: probe.Status, Code: 503, Body: "no healthy upstream"}, "no healthy upstream"},
		{probe.Result{Class: probe.Status, Code: 503, Body: envoy + "connection timeout"}, "connection timeout"},
		{
			probe.Result{Class: probe.Status, Body: envoy + "remote connection failure, transport failure reason: delayed connect error: Connection refused"},
			"Connection refused",
		},
		{
			probe.Result{Class: probe.Status, Body: envoy + "remote connection failure, transport failure reason: TLS_error:|268435703:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER:TLS_error_end"},
			"plain text where TLS was expected",
		},
		{probe.Result{Class: probe.Status, Code: 500}, "answered 500"},
		{probe.Result{Class: probe.Status, Body: strings.Repeat("x", 100)}, strings.Repeat("x", 59) + "…"},
		{probe.Result{Class: probe.TLSAlert, Error: "read: remote error: tls: certificate required"}, "TLS alert: certificate required"},
		{probe.Result{Class: probe.Refused, Error: "dial tcp 1.2.3.4:5: connect: connection refused"}, "connection refused"},
		{probe.Result{Class: probe.Other, Error: "something else"}, "something else"},
		{probe.Result{OK: true}, "answered"},
	}
	for _, c := range cases {
		if got := Describe(c.in); got != c.want {
			t.Errorf("%+v: %q, want %q", c.in, got, c.want)
		}
	}
}

func TestTheUninvited(t *testing.T) {
	m := twoClusters()
	c := Case{Mesh: m, From: m.Clusters[0], To: m.Clusters[1], Kind: NotAllowed, Path: Gateway, Evidence: healthy(m)}
	c.Insider = &probe.Result{OK: true}
	if r := Judge(c)[0]; r.Code != "uninvited-served" || !strings.Contains(r.Text, "isthmus-verify/sa/server") {
		t.Errorf("served: %+v", r)
	}
	c.Insider = &probe.Result{Class: probe.Status, Code: 503, Body: "no healthy upstream"}
	if r := Judge(c)[0]; r.Code != "unknown" || !strings.Contains(r.Text, "no healthy upstream") {
		t.Errorf("not reached: %+v", r)
	}
	delete(c.Evidence.Now.Clusters["east"].Secrets, "istio-system/istio-remote-secret-west")
	if r := Judge(c)[0]; r.Code != "remote-secret-missing" {
		t.Errorf("the same broken link as for a call: %+v", r)
	}
}
