package verify

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"isthmus.dev/isthmus/api/v1alpha1"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/probe"
)

// believing is a mesh of two that believes an issuer, and has rules that ask for its tokens and for another's.
func believing() mesh.Mesh {
	m := twoClusters()
	m.JWT = []v1alpha1.JWTIssuer{{Name: "login", Issuer: "https://login.example", Audiences: []string{"pay", "shop"}}, {Name: "other", Issuer: "https://other.example"}}
	rule := func(name, issuer string, claims map[string][]string) v1alpha1.AuthorizationRule {
		return v1alpha1.AuthorizationRule{Name: name, To: v1alpha1.Callee{Namespace: "pay"}, Token: &v1alpha1.Token{Issuer: issuer, Claims: claims}}
	}
	m.Access.Rules = []v1alpha1.AuthorizationRule{
		{Name: "anyone"},
		rule("members", "login", nil),
		rule("admins", "login", map[string][]string{"groups": {"admin"}, "realm.tier": {"gold*", "silver"}}),
		rule("others", "other", nil),
	}
	return m
}

// aToken has claims of a right token, changed; its signature is a canary.
func aToken(change map[string]any) *Token {
	claims := map[string]any{
		"iss": "https://login.example", "sub": "me", "aud": []any{"x", "pay"}, "exp": float64(time.Now().Add(time.Hour).Unix()),
		"groups": []any{"user", "admin"}, "realm": map[string]any{"tier": "gold-1"},
	}
	for k, v := range change {
		claims[k] = v
		if v == nil {
			delete(claims, k)
		}
	}
	body, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	part := base64.RawURLEncoding.EncodeToString
	return NewToken(part([]byte(`{"alg":"RS256","kid":"CANARY"}`))+"."+part(body)+"."+part([]byte("CANARY-OF-A-SIGNATURE")), claims)
}

func TestATokenIsJudgedBeforeAnybodyIsCalled(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		reason string
		claims map[string]any
		change func(*mesh.Mesh)
		want   string // of the error; "": it is good
	}{
		{"right", nil, nil, ""},
		{"one audience, as a text", map[string]any{"aud": "shop"}, nil, ""},
		{"no end", map[string]any{"exp": nil}, nil, ""},
		{"it has ended", map[string]any{"exp": float64(now.Add(-5 * time.Minute).Unix())}, nil, "the token of issuer login ended at"},
		{"how long ago", map[string]any{"exp": float64(now.Add(-5 * time.Minute).Unix())}, nil, "5m"},
		{"it has not begun", map[string]any{"nbf": float64(now.Add(time.Hour).Unix())}, nil, "is valid from"},
		{"for somebody else", map[string]any{"aud": "bank"}, nil, "is for audience bank, and the document wants one of pay, shop"},
		{"for nobody", map[string]any{"aud": nil}, nil, "is for audience none"},
		{"an issuer that takes any audience", map[string]any{"aud": nil, "iss": "https://other.example"}, nil, ""},
		{"of somebody else", map[string]any{"iss": "https://evil.example"}, nil, `of issuer "https://evil.example", and the document believes login (https://login.example), other`},
		{"nobody is believed", nil, func(m *mesh.Mesh) { m.JWT = nil }, "the document believes none"},
		{"of nobody", map[string]any{"sub": nil}, nil, "has no sub"},
		{"believed elsewhere alone", nil, func(m *mesh.Mesh) { m.JWT[0].To = []v1alpha1.Workloads{{Namespace: "pay"}} }, "verify's server is none of them"},
	} {
		m, token := believing(), aToken(c.claims)
		if c.change != nil {
			c.change(&m)
		}
		issuer, err := token.Judge(m, now)
		switch {
		case c.want == "" && (err != nil || issuer.Issuer != token.claims["iss"]):
			t.Errorf("%s: %v, issuer %s", c.reason, err, issuer.Name)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", c.reason, err, c.want)
		case err != nil && token.scrub(err.Error()) != err.Error():
			t.Errorf("%s: the error has the token in it", c.reason)
		}
	}
}

func TestWhichRulesATokenPasses(t *testing.T) {
	for _, c := range []struct {
		reason string
		claims map[string]any
		asked  map[string][]string
		want   bool
	}{
		{"nothing is asked", nil, nil, true},
		{"one of a list", nil, map[string][]string{"groups": {"admin"}}, true},
		{"one of those that will do", nil, map[string][]string{"groups": {"boss", "user"}}, true},
		{"none of them", nil, map[string][]string{"groups": {"boss"}}, false},
		{"a claim inside another", nil, map[string][]string{"realm.tier": {"gold-1"}}, true},
		{"all claims", nil, map[string][]string{"groups": {"admin"}, "realm.tier": {"gold-2"}}, false},
		{"a claim that it has not", nil, map[string][]string{"scope": {"*"}}, false},
		{"any value", nil, map[string][]string{"groups": {"*"}}, true},
		{"how it begins", nil, map[string][]string{"realm.tier": {"gold*"}}, true},
		{"how it ends", nil, map[string][]string{"realm.tier": {"*-1"}}, true},
		{"not how it ends", nil, map[string][]string{"realm.tier": {"*-2"}}, false},
		{"a claim in what is no map", nil, map[string][]string{"groups.x": {"*"}}, false},
		{"a number is no text", map[string]any{"level": 3.0}, map[string][]string{"level": {"3"}}, false},
	} {
		if got := aToken(c.claims).passes(v1alpha1.Token{Issuer: "login", Claims: c.asked}); got != c.want {
			t.Errorf("%s: passes %t", c.reason, got)
		}
	}
}

// gated answers calls with and without the token as servers behind TokenGate do, and says the token back wherever it can.
func gated(m mesh.Mesh, token *Token) func(string, probe.Call, int) probe.Result {
	return func(from string, c probe.Call, _ int) probe.Result {
		if !strings.Contains(c.To, tokenPath) {
			return good(m, from, c)
		}
		r := probe.Result{ID: c.ID, To: c.To, Sent: 1}
		sent := c.Headers["Authorization"]
		if _, rule, _ := strings.Cut(c.To, tokenPath+"/"); sent == "Bearer "+token.text && (rule == "" || rule == "members" || rule == "admins" && slices.Contains(token.texts("groups"), "admin")) {
			host, _, _ := strings.Cut(strings.TrimPrefix(c.To, "http://to-"), ":")
			r.OK, r.Answered, r.Clusters = true, 1, map[string]int{host: 1}
			r.Reply = &probe.Reply{Cluster: host, Protocol: "http/1.1", Headers: map[string]string{"user-agent": sent}, Echo: sent}
			return r
		}
		r.Class, r.Code, r.Body, r.Flag, r.Error = probe.Status, 403, "RBAC: access denied "+sent, "RBAC", sent
		return r
	}
}

func TestAPersonsTokenIsProved(t *testing.T) {
	for _, groups := range []string{"admin", "user"} {
		m, token := believing(), aToken(map[string]any{"groups": groups})
		f := newFake(m)
		f.answer = gated(m, token)
		prover := f.prover()
		prover.Token = token
		var steps strings.Builder
		prover.Report = func(s Step) { fmt.Fprintln(&steps, s.Key, s.Text) }
		p, err := prover.Prove(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n := p.Tallies(); !p.Passed || n.Own != (Tally{16, 16}) || n.Tokens != (Tally{4, 4}) || n.Delivered != (Tally{4, 4}) {
			t.Fatalf("tallies %+v: %+v", n, p.Failures)
		}
		var got []string
		for _, c := range p.Tokens[:4] {
			got = append(got, fmt.Sprintf("%s let in %t", c.subject(), c.LetIn))
		}
		want := []string{
			"east → east (without a token) let in false", "east → east (with the token) let in true",
			"east → east (with the token, rule members) let in true", fmt.Sprintf("east → east (with the token, rule admins) let in %t", groups == "admin"),
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		text, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		seen := string(text) + steps.String() + fmt.Sprintf("%v %+v %#v %s %q %x", prover.Token, prover.Token, *prover.Token, token, token, token) + fmt.Sprintf("%+v", f.words)
		if own, err := json.Marshal(map[string]any{"token": token}); err == nil {
			seen += string(own)
		}
		if token.scrub(seen) != seen || strings.Contains(seen, "CANARY") {
			t.Error("the token shows")
		}
		if !strings.Contains(string(text), hiddenToken) {
			t.Error("nothing was taken out: the servers did not say it back")
		}
	}
}

func TestWhyATokenIsNotProved(t *testing.T) {
	for _, c := range []struct {
		reason     string
		breaks     func(*fakeMesh)
		answer     func(probe.Call) (probe.Result, bool) // false: as it should be
		code, text string
	}{
		{"its signature is wrong", nil, func(c probe.Call) (probe.Result, bool) {
			return probe.Result{ID: c.ID, Class: probe.Status, Code: 401, Body: "Jwt verification fails"}, strings.HasSuffix(c.ID, "west/token?true")
		}, "token-refused", "west refuses the token of issuer login: Jwt verification fails"},
		{"the issuer's rule is missing", func(f *fakeMesh) {
			f.evidence = func(e *Evidence) {
				s := e.Sites["west"]
				s.TokenRulesKnown = true
				e.Sites["west"] = s
			}
		}, func(c probe.Call) (probe.Result, bool) {
			return probe.Result{ID: c.ID, Class: probe.Status, Code: 403, Body: "RBAC: access denied", Flag: "RBAC"}, strings.HasSuffix(c.ID, "west/token?true")
		}, "issuer-unknown", "RequestAuthentication istio-system/isthmus-jwt-login is missing in west"},
		{"somebody asks for more", nil, func(c probe.Call) (probe.Result, bool) {
			return probe.Result{ID: c.ID, Class: probe.Status, Code: 403, Body: "RBAC: access denied", Flag: "RBAC"}, strings.HasSuffix(c.ID, "west/token/members?true")
		}, "token-not-enough", "which says what rule members asks for"},
		{"nobody asks", nil, func(c probe.Call) (probe.Result, bool) {
			return probe.Result{ID: c.ID, OK: true, Answered: 1, Clusters: map[string]int{"west": 1}}, strings.HasSuffix(c.ID, "west/token?false")
		}, "token-not-asked", "west serves a call that brings no token"},
		{"nothing gets through", nil, func(c probe.Call) (probe.Result, bool) { return broken(c), strings.HasSuffix(c.ID, "west/token?true") }, "unknown", "what a token of issuer login is good for in west is not proved"},
		{"the cluster is away", func(f *fakeMesh) { f.away["west"] = true }, func(c probe.Call) (probe.Result, bool) { return broken(c), strings.HasPrefix(c.ID, "west/token") }, "cluster-away", "west's API server does not answer"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			m, token := believing(), aToken(nil)
			f := newFake(m)
			if c.breaks != nil {
				c.breaks(f)
			}
			right := gated(m, token)
			f.answer = func(from string, call probe.Call, n int) probe.Result {
				if r, wrong := c.answer(call); wrong {
					return r
				}
				return right(from, call, n)
			}
			prover := f.prover()
			prover.Token = token
			p, err := prover.Prove(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(p.Tokens, func(c TokenCall) bool { return !c.OK })
			if i < 0 || p.Passed || p.Tokens[i].Reasons[0].Code != c.code || !strings.Contains(p.Tokens[i].Reasons[0].Text, c.text) || p.Tokens[i].Reasons[0].Next == "" {
				t.Errorf("%d: %+v", i, p.Tokens)
			}
		})
	}
}

// TestAnEndedTokenPlacesNothing: it is said before anything is placed or called.
func TestAnEndedTokenPlacesNothing(t *testing.T) {
	f := newFake(believing())
	prover := f.prover()
	prover.Token = aToken(map[string]any{"exp": float64(time.Now().Add(-time.Minute).Unix())})
	if _, err := prover.Prove(t.Context()); err == nil || !strings.Contains(err.Error(), "get a new one") || len(f.placed) > 0 || len(f.seen) > 0 {
		t.Errorf("%v, placed %v, calls %v", err, f.placed, f.seen)
	}
}
