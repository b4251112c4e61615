package verify

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"isthmus.dev/isthmus/api/v1alpha1"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/policy"
	"isthmus.dev/isthmus/internal/probe"
)

// withIssuers is a mesh of two that believes tokens.
func withIssuers(issuers ...v1alpha1.JWTIssuer) mesh.Mesh {
	m := twoClusters()
	m.JWT = issuers
	return m
}

var login = v1alpha1.JWTIssuer{Name: "login", Issuer: "https://login.example.com"}

func TestTheRuleThatHoldsForTheServer(t *testing.T) {
	to := func(w ...v1alpha1.Workloads) v1alpha1.JWTIssuer {
		return v1alpha1.JWTIssuer{Name: "ours", Issuer: "https://ours", To: w}
	}
	ours := func(selector map[string]string) v1alpha1.Workloads {
		return v1alpha1.Workloads{Namespace: "isthmus-verify", Selector: selector}
	}
	shop := v1alpha1.Workloads{Namespace: "shop"}
	for _, c := range []struct {
		reason  string
		issuers []v1alpha1.JWTIssuer
		want    string // the object that is in effect for west's server
	}{
		{"nobody is believed", nil, ""},
		{"one for the whole mesh", []v1alpha1.JWTIssuer{login}, "istio-system/isthmus-jwt-login"},
		{"one for others", []v1alpha1.JWTIssuer{to(shop)}, ""},
		{"the first that holds", []v1alpha1.JWTIssuer{to(shop), login}, "istio-system/isthmus-jwt-login"},
		{"one for its namespace", []v1alpha1.JWTIssuer{to(shop, ours(nil))}, "isthmus-verify/isthmus-jwt-ours"},
		{"one that selects it", []v1alpha1.JWTIssuer{to(ours(map[string]string{"app": "server"}))}, "isthmus-verify/isthmus-jwt-ours"},
		{"one that selects its cluster's", []v1alpha1.JWTIssuer{to(ours(map[string]string{"isthmus.dev/cluster": "west"}))}, "isthmus-verify/isthmus-jwt-ours"},
		{"one that selects another's", []v1alpha1.JWTIssuer{to(ours(map[string]string{"isthmus.dev/cluster": "east"}))}, ""},
		{"one that selects the client", []v1alpha1.JWTIssuer{to(ours(map[string]string{"app": "client"}))}, ""},
		{"the second about the namespace", []v1alpha1.JWTIssuer{to(ours(map[string]string{"app": "client"}), shop, ours(nil))}, "isthmus-verify/isthmus-jwt-ours-2"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			m := withIssuers(c.issuers...)
			got := ""
			if r, ok := believed(m, m.Clusters[1]); ok {
				got = r.namespace + "/" + r.name
			}
			if got != c.want {
				t.Errorf("%s: %q, want %q", c.reason, got, c.want)
			}
			made, err := policy.Objects(m, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got != "" {
				find(t, made["west"], "RequestAuthentication", strings.SplitN(got, "/", 2)[1])
			}
		})
	}
}

// TestForgedTokensAreTriedAtEveryServerThatBelievesTokens with a token that is right in all but its signature.
func TestForgedTokensAreTriedAtEveryServerThatBelievesTokens(t *testing.T) {
	own := login
	own.Audiences, own.FromHeaders = []string{"pay", "shop"}, []v1alpha1.TokenHeader{{Name: "X-Token", Prefix: "JWT "}, {Name: "Other"}}
	westAlone := login
	westAlone.To = []v1alpha1.Workloads{{Namespace: "isthmus-verify", Selector: map[string]string{"isthmus.dev/cluster": "west"}}}
	for _, c := range []struct {
		reason string
		mesh   mesh.Mesh
		want   []string
	}{
		{"no issuer", withIssuers(), nil},
		{"for the whole mesh", withIssuers(login), []string{
			"east east client http://to-east:80 login {https://login.example.com   }",
			"east west client http://to-west:80 login {https://login.example.com   }",
			"west east client http://to-east:80 login {https://login.example.com   }",
			"west west client http://to-west:80 login {https://login.example.com   }",
		}},
		{"with an audience and a header of its own, and one issuer is enough", withIssuers(own, login), []string{
			"east east client http://to-east:80 login {https://login.example.com pay X-Token JWT }",
			"east west client http://to-west:80 login {https://login.example.com pay X-Token JWT }",
			"west east client http://to-east:80 login {https://login.example.com pay X-Token JWT }",
			"west west client http://to-west:80 login {https://login.example.com pay X-Token JWT }",
		}},
		{"only where it holds", withIssuers(westAlone), []string{
			"east west client http://to-west:80 login {https://login.example.com   }",
			"west west client http://to-west:80 login {https://login.example.com   }",
		}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			var got []string
			for _, e := range errands(c.mesh, func(mesh.Cluster, mesh.Cluster) string { return "" }, nowhere) {
				if e.kind == ForgedToken {
					got = append(got, fmt.Sprintf("%s %s %s %s %s %v", e.from.Name, e.to.Name, e.role, e.call.To, e.issuer, *e.call.Token))
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s: -want +got\n%s", c.reason, diff)
			}
		})
	}
}

func TestOnlyAProxysWordOnTheTokenIsARefusal(t *testing.T) {
	m := withIssuers(login)
	answer := func(code int, body string) probe.Result {
		return probe.Result{To: "http://to-west:80", Class: probe.Status, Code: code, Body: body}
	}
	for _, c := range []struct {
		reason  string
		result  probe.Result
		verdict probe.Verdict
	}{
		{"the signature is wrong", answer(401, "Jwt verification fails"), probe.TurnedAway},
		{"no key of that kind", answer(401, "Jwks doesn't have key to match kid or alg from Jwt"), probe.TurnedAway},
		{"rules of other issuers alone", answer(401, "Jwt issuer is not configured"), probe.Unclear},
		{"a 401 of somebody else", answer(401, "log in first"), probe.Unclear},
		{"another audience: the rule is not as it should be", answer(403, "Audiences in Jwt are not allowed"), probe.Unclear},
		{"refused by a policy", answer(403, "RBAC: access denied"), probe.Unclear},
		{"not reached", answer(503, "no healthy upstream"), probe.Unclear},
		{"no connection", probe.Result{Class: probe.Timeout}, probe.Unclear},
		{"served", probe.Result{OK: true}, probe.Accepted},
	} {
		a := attempt{errand: forgedTokens(m, m.Clusters[0], m.Clusters[1])[0]}
		a.judge(m, c.result)
		if v := tokenVerdict(c.result); a.passed != (c.verdict == probe.TurnedAway) || v != c.verdict {
			t.Errorf("%s: passed %t, %s; want %s", c.reason, a.passed, v, c.verdict)
		}
	}
}

func TestWhyAForgedTokenIsServed(t *testing.T) {
	ours := login
	ours.To = []v1alpha1.Workloads{{Namespace: "isthmus-verify"}}
	unknownThere := probe.Result{Class: probe.Status, Code: 401, Body: "Jwt issuer is not configured"}
	for _, c := range []struct {
		reason     string
		issuer     v1alpha1.JWTIssuer
		result     probe.Result
		site       func(*SiteEvidence)
		code, text string
		next       string
		proven     bool
	}{
		{
			"the rule was deleted", login,
			probe.Result{OK: true},
			func(s *SiteEvidence) { s.TokenRulesKnown = true }, "token-served",
			"west serves callers with a forged token of issuer login: RequestAuthentication istio-system/isthmus-jwt-login is missing in west",
			"isthmus apply", true,
		},
		{
			"and those of other issuers are there", login, unknownThere, func(s *SiteEvidence) { s.TokenRulesKnown = true }, "token-served",
			"west does not know issuer login: RequestAuthentication istio-system/isthmus-jwt-login is missing in west",
			"isthmus apply", true,
		},
		{
			"it is there", login,
			probe.Result{OK: true},
			func(s *SiteEvidence) {
				s.TokenRulesKnown, s.TokenRules = true, []string{"istio-system/isthmus-jwt-login"}
			}, "token-served",
			"RequestAuthentication istio-system/isthmus-jwt-login is not in effect there",
			"kubectl --context kind-west get requestauthentication -n istio-system isthmus-jwt-login -o yaml", false,
		},
		{
			"it could not be looked for", login,
			probe.Result{OK: true},
			func(*SiteEvidence) {}, "token-served",
			"isthmus-jwt-login is not in effect there", "isthmus apply", false,
		},
		{
			"it is for verify's namespace, which goes", ours,
			probe.Result{OK: true},
			func(s *SiteEvidence) { s.TokenRulesKnown = true }, "token-served",
			"isthmus-verify/isthmus-jwt-login is missing in west, which has it only if namespace isthmus-verify is there when apply runs",
			"isthmus verify --keep, then: isthmus apply", true,
		},
		{
			"not reached", login,
			probe.Result{Class: probe.Status, Code: 503, Body: "no healthy upstream"},
			func(*SiteEvidence) {}, "unknown",
			"whether west refuses forged tokens is not proved: the call from east ends with: no healthy upstream", "isthmus status", false,
		},
	} {
		t.Run(c.reason, func(t *testing.T) {
			m := withIssuers(c.issuer)
			e := healthy(m)
			site := e.Sites["west"]
			c.site(&site)
			e.Sites["west"] = site
			got := Judge(Case{Mesh: m, From: m.Clusters[0], To: m.Clusters[1], Kind: ForgedToken, Path: Gateway, Insider: &c.result, Evidence: e})[0]
			if got.Code != c.code || !strings.HasSuffix(got.Text, c.text) || got.Next != c.next || got.Proven != c.proven {
				t.Errorf("%s: %+v", c.reason, got)
			}
		})
	}
	m := withIssuers(login)
	e := healthy(m)
	delete(e.Now.Clusters["east"].Secrets, "istio-system/istio-remote-secret-west")
	c := Case{Mesh: m, From: m.Clusters[0], To: m.Clusters[1], Kind: ForgedToken, Path: Gateway, Evidence: e}
	if r := Judge(c)[0]; r.Code != "remote-secret-missing" {
		t.Errorf("the same broken link as for a call: %+v", r)
	}
}

// TestAForgedTokenGoesTheWayOfACall: what breaks a call's way breaks this one's.
func TestAForgedTokenGoesTheWayOfACall(t *testing.T) {
	for _, c := range []struct {
		reason, code string
		change       func(*Evidence)
	}{
		{"the client is not ready", "pod-not-ready", func(e *Evidence) { e.Sites["east"].Pods[Client] = Pod{Name: "client-1", Problem: "starting"} }},
		{"the stranger is not: no matter", "unknown", func(e *Evidence) { e.Sites["east"].Pods[Stranger] = Pod{Name: "stranger-1", Problem: "starting"} }},
		{"different roots", "other-root", func(e *Evidence) {
			e.Now.Clusters["west"].Secrets["istio-system/cacerts"].Certificates["root-cert.pem"][0].Fingerprint = "bbbbbbbbbbbb"
		}},
		{"mutual TLS is off where the caller is", "mtls-off", func(e *Evidence) { e.Sites["east"].Peer[0].Mode = "DISABLE" }},
		{"no endpoint", "no-endpoint", func(e *Evidence) { delete(e.Sites["east"].Endpoints, "west") }},
	} {
		m := withIssuers(login)
		e := healthy(m)
		c.change(&e)
		in := Case{Mesh: m, From: m.Clusters[0], To: m.Clusters[1], Kind: ForgedToken, Path: Gateway, Evidence: e}
		in.Insider = &probe.Result{Class: probe.Status, Code: 503, Body: "no healthy upstream"}
		if r := Judge(in)[0]; r.Code != c.code {
			t.Errorf("%s: %+v, want %s", c.reason, r, c.code)
		}
	}
}

// TestProofOfTokens: one rule is missing, and no token is in what a pod is told, nor in what comes out.
func TestProofOfTokens(t *testing.T) {
	f := newFake(withIssuers(login))
	var mu sync.Mutex
	var told strings.Builder
	f.evidence = func(e *Evidence) {
		for name, s := range e.Sites {
			s.TokenRulesKnown = true
			e.Sites[name] = s
		}
	}
	f.answer = func(from string, c probe.Call, _ int) probe.Result {
		text, err := json.Marshal(c)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		told.Write(text)
		mu.Unlock()
		if c.Token != nil && strings.Contains(c.To, "west") {
			return probe.Result{ID: c.ID, To: c.To, Sent: 1, OK: true, Clusters: map[string]int{"west": 1}}
		}
		return good(f.mesh, from, c)
	}
	p, err := f.prover().Prove(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := p.Tallies().Tokens; n != (Tally{2, 4}) || p.Passed {
		t.Errorf("forged tokens refused %v, passed %t", n, p.Passed)
	}
	if len(p.Failures) != 1 || p.Failures[0].Reason.Code != "token-served" || p.Failures[0].Why != "" {
		t.Errorf("failures %+v", p.Failures)
	}
	if n := f.seen["east west//forged token"]; n != 2 {
		t.Errorf("%d tries, want 2: the rule is missing, and stays so", n)
	}
	for _, r := range p.Refusals {
		want := map[bool]probe.Verdict{true: probe.TurnedAway, false: probe.Accepted}[r.OK]
		if r.Kind == ForgedToken && (r.Issuer != "login" || r.Verdict != want) {
			t.Errorf("%+v", r)
		}
	}
	out, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(told.String()+string(out), "eyJ") || !strings.Contains(told.String(), login.Issuer) {
		t.Error("a token shows in a plan of calls or in the proof, or no call was to bring one")
	}
}
