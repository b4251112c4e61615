//go:build lab

package lab_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"isthmus.dev/isthmus/internal/verify"
)

// issuer starts test/issuer, an OpenID provider, on this machine's address on the lab's wire: istiod reads its keys from
// there, in every cluster. It returns its base URL.
func issuer(t *testing.T, program string, port int, as string) string {
	t.Helper()
	listen := fmt.Sprintf("%s:%d", here(t).Host(), port)
	args := []string{"--listen", listen}
	if as != "" {
		args = append(args, "--issuer", as)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(); _ = cmd.Wait() })
	base := "http://" + listen
	eventually(t, "the issuer answers", func() (bool, string) {
		res, err := http.Get(base + "/.well-known/openid-configuration")
		if err != nil {
			return false, err.Error()
		}
		defer res.Body.Close()
		return res.StatusCode == http.StatusOK, res.Status
	})
	return base
}

// token asks an issuer's token endpoint for one, as any client would.
func token(t *testing.T, base, client string) string {
	t.Helper()
	res, err := http.PostForm(base+"/oauth/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {client}, "client_secret": {"none"}, "scope": {"openid"}})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || strings.Count(answer.Token, ".") != 2 {
		t.Fatalf("token for %s: %s, %v, %d characters", client, res.Status, err, len(answer.Token))
	}
	return answer.Token
}

// tokens lets in from outside only who brings a token of an issuer, with a claim.
func (a access) tokens(t *testing.T) {
	program := filepath.Join(world.bin, "issuer")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".")
	build.Dir = "../issuer"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build issuer: %v: %s", err, out)
	}
	login := issuer(t, program, 9096, "")
	stranger := issuer(t, program, 9097, "")
	forger := issuer(t, program, 9098, login) // says that it is login, and has keys of its own

	a.spec()["identity"] = map[string]any{"jwt": []any{map[string]any{
		"name": "login", "issuer": login, "jwksUri": login + "/keys", "audiences": []any{"pay"},
	}}}
	asked := rules("enforce")
	asked["rules"].([]any)[1].(map[string]any)["token"] = map[string]any{"issuer": "login", "claims": map[string]any{"groups": []any{"admin"}}}
	a.spec()["access"] = asked
	must(t, a.text(t), "apply", "-f", "-")

	address := ingress(t, "east")
	brings := func(what, token string, want int, says string) {
		eventually(t, fmt.Sprintf("%s: %d %s", what, want, says), func() (bool, string) {
			code, _, body := enter(t, address, "example.com", "/cluster-a-service", token)
			return code == want && strings.Contains(body, says), fmt.Sprint(code, " ", body)
		})
	}
	right := token(t, login, "pay.admin.10m")
	brings("no token, and the rule asks for one", "", http.StatusForbidden, "RBAC")
	brings("the right token", right, http.StatusOK, "")
	for _, c := range []struct {
		reason, token string
		want          int
		says          string // what Envoy says of it
	}{
		{"another group than the rule's", token(t, login, "pay.user.10m"), http.StatusForbidden, "RBAC"},
		{"for another audience", token(t, login, "shop.admin.10m"), http.StatusForbidden, "Audiences in Jwt are not allowed"},
		{"it has ended", token(t, login, "pay.admin.-10m"), http.StatusUnauthorized, "expired"},
		{"of an issuer that nobody named", token(t, stranger, "pay.admin.10m"), http.StatusUnauthorized, "issuer"},
		{"signed by somebody else in the issuer's name", token(t, forger, "pay.admin.10m"), http.StatusUnauthorized, "erif"},
		{"cut short", right[:len(right)-8], http.StatusUnauthorized, "erif"},
		{"the right one still", right, http.StatusOK, ""},
	} {
		brings(c.reason, c.token, c.want, c.says)
	}
	// The issuer makes a new key. istiod reads keys every few seconds here; until then the new token is refused.
	res, err := http.Post(login+"/rotate", "", nil)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("rotate: %v", err)
	}
	res.Body.Close()
	brings("a token of the new key", token(t, login, "pay.admin.10m"), http.StatusOK, "")
	brings("one of the old key, which is published still", right, http.StatusOK, "")
	a.verifies(t)
	ownToken(t, a.text(t), login)
}

// ownToken has verify try tokens of a person's own in a mesh of two that asks for tokens of an issuer, in one rule with
// groups admin: a right one is let in, one without the claim where no claim is asked for, and one that cannot be let in
// anywhere is refused before anything is placed.
func ownToken(t *testing.T, doc, login string) {
	t.Helper()
	verified := func(client string) (result, verify.Proof) {
		own := token(t, login, client)
		file := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(file, []byte(own+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		r := isthmus(t, doc, "verify", "-f", "-", "-o", "json", "--keep", "--token", file)
		for part := range strings.SplitSeq(own, ".") {
			if strings.Contains(r.out+r.err, part) {
				t.Errorf("%s: a part of the token shows in what is printed", client)
			}
		}
		var proof verify.Proof
		if err := json.Unmarshal([]byte(r.out), &proof); err != nil && r.code != 1 {
			t.Fatalf("verify: exit %d, %v\n%s", r.code, err, r.err)
		}
		return r, proof
	}
	for client, admin := range map[string]bool{"pay.admin.10m": true, "pay.user.10m": false} {
		r, proof := verified(client)
		if n := proof.Tallies().Own; r.code != 0 || n != (verify.Tally{Proved: 12, Asked: 12}) {
			t.Errorf("%s: exit %d, own token %v: %+v", client, r.code, n, proof.Failures)
		}
		for _, c := range proof.Tokens {
			if c.Rule != "" && c.LetIn != admin {
				t.Errorf("%s: by rule %s let in %t", client, c.Rule, c.LetIn)
			}
		}
	}
	for client, says := range map[string]string{"pay.admin.-10m": "ended at", "shop.admin.10m": "is for audience shop"} {
		if r, _ := verified(client); r.code != 1 || !strings.Contains(r.err, says) {
			t.Errorf("%s: exit %d: %s", client, r.code, r.err)
		}
	}
}

// verifies has verify prove what the document says of tokens and of calls that stay at home, and name what somebody
// took away of it.
func (a access) verifies(t *testing.T) {
	r, proof := a.proof(t)
	n := proof.Tallies()
	if want := (verify.Tally{Proved: 4, Asked: 4}); r.code != 0 || n.Tokens != want {
		t.Errorf("exit %d, forged tokens refused %v, want %v: %+v", r.code, n.Tokens, want, proof.Failures)
	}
	if want := (verify.Tally{Proved: 2, Asked: 2}); n.Local != want {
		t.Errorf("kept local %v, want %v", n.Local, want)
	}

	kubectl(t, "west", "-n", "istio-system", "delete", "requestauthentication", "isthmus-jwt-login")
	kubectl(t, "east", "-n", "istio-system", "delete", "destinationrule", "isthmus-failover")
	// Of workloads that were there, one might be asked before its proxy is told.
	r, proof = a.proof(t, "--keep")
	want := []verify.Failure{
		{
			Subjects: []string{"client from east at west (forged token)", "client from west at west (forged token)"},
			Reason: verify.Reason{
				Code: "token-served", Next: "isthmus apply", Proven: true,
				Text: "west serves callers with a forged token of issuer login: RequestAuthentication istio-system/isthmus-jwt-login is missing in west",
			},
		},
		{
			Subjects: []string{"east → any cluster"},
			Reason: verify.Reason{
				Code: "left-home", Next: "isthmus apply", Proven: true,
				Text: "calls from east to a service that it has itself are answered by west too, " +
					"since DestinationRule istio-system/isthmus-failover, by which callers prefer their own region, is missing in east",
			},
		},
		{
			Subjects: []string{"east → elsewhere"},
			Reason: verify.Reason{
				Code: "failover-missing", Next: "isthmus apply", Proven: true,
				Text: "DestinationRule istio-system/isthmus-failover is missing in east: calls from east do not leave endpoints that stop answering",
			},
		},
	}
	if diff := cmp.Diff(want, proof.Failures); diff != "" || r.code != 4 {
		t.Errorf("exit %d, failures: -want +got\n%s", r.code, diff)
	}

	// Mended; and a dry run of the access rules lets in no token.
	enforced := a.spec()["access"]
	a.spec()["access"] = rules("dryRun")
	must(t, a.text(t), "apply", "-f", "-")
	r = must(t, a.text(t), "verify", "-f", "-", "--keep")
	for _, word := range []string{"forged tokens refused 4/4", "kept local 2/2", "The mesh works."} {
		if !strings.Contains(r.out, word) {
			t.Errorf("verify does not say %q:\n%s", word, r.out)
		}
	}
	a.spec()["access"] = enforced
	must(t, a.text(t), "apply", "-f", "-")
}

// proof is what verify says, in which no token may show.
func (a access) proof(t *testing.T, flags ...string) (result, verify.Proof) {
	t.Helper()
	r := isthmus(t, a.text(t), append([]string{"verify", "-f", "-", "-o", "json"}, flags...)...)
	var proof verify.Proof
	if err := json.Unmarshal([]byte(r.out), &proof); err != nil {
		t.Fatalf("verify: exit %d, %v\n%s", r.code, err, r.err)
	}
	if strings.Contains(r.out+r.err, "eyJ") { // how every token begins
		t.Error("a token shows in what is printed")
	}
	return r, proof
}
