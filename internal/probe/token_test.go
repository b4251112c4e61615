package probe

import (
	cmp2 "cmp"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// tokenOf reads what a token says.
func tokenOf(t *testing.T, token string) (head, claims map[string]any) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("a token of %d parts", len(parts))
	}
	for i, into := range []*map[string]any{&head, &claims} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatal(err)
		}
	}
	if signature, err := base64.RawURLEncoding.DecodeString(parts[2]); err != nil || len(signature) != 64 {
		t.Errorf("a signature of %d bytes, %v", len(signature), err)
	}
	return head, claims
}

func TestAForgedTokenIsWhereTheIssuersAre(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		reason         string
		token          Token
		header, prefix string
		claims         map[string]any
	}{
		{"by default", Token{Issuer: "https://login"}, "Authorization", "Bearer ", map[string]any{}},
		{"for an audience", Token{Issuer: "https://login", Audience: "pay"}, "Authorization", "Bearer ", map[string]any{"aud": "pay"}},
		{"in a header of its own", Token{Issuer: "https://login", Header: "X-Token"}, "X-Token", "", map[string]any{}},
		{"after a prefix", Token{Issuer: "https://login", Header: "X-Token", Prefix: "JWT "}, "X-Token", "JWT ", map[string]any{}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			var sent []string
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				sent = append(sent, r.Header.Get(c.header))
				w.WriteHeader(http.StatusUnauthorized)
				_, _ = w.Write([]byte("Jwt verification fails"))
			}))
			defer s.Close()
			caller := newCaller()
			caller.Now = func() time.Time { return now }
			call := Call{To: s.URL, Token: &c.token, Headers: map[string]string{"X-Other": "1"}}
			for range 2 {
				if r := caller.Do(t.Context(), call); r.Class != Status || r.Code != http.StatusUnauthorized || r.Body != "Jwt verification fails" {
					t.Errorf("%s: %+v", c.reason, r)
				}
			}
			if len(call.Headers) != 1 {
				t.Errorf("the call itself was changed: %v", call.Headers)
			}
			token, ok := strings.CutPrefix(sent[0], c.prefix)
			if !ok || sent[0] == sent[1] {
				t.Fatalf("begins with the prefix: %t; the same twice: %t", ok, sent[0] == sent[1])
			}
			head, claims := tokenOf(t, token)
			if diff := cmp.Diff(map[string]any{"alg": "ES256", "typ": "JWT"}, head); diff != "" {
				t.Errorf("head: -want +got\n%s", diff)
			}
			want := map[string]any{
				"iss": "https://login", "sub": "isthmus-verify", "iat": float64(now.Unix()), "exp": float64(now.Add(time.Hour).Unix()),
			}
			maps.Copy(want, c.claims)
			if diff := cmp.Diff(want, claims); diff != "" {
				t.Errorf("claims: -want +got\n%s", diff)
			}
		})
	}
}

// TestATokenShowsNowhere: whoever answers may repeat the token, whole or cut, in a body or in what a reply repeats.
func TestATokenShowsNowhere(t *testing.T) {
	for _, c := range []struct {
		reason string
		header string
		answer func(w http.ResponseWriter, token string)
	}{
		{"in a refusal", "", func(w http.ResponseWriter, token string) {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte("no such token: " + token))
		}},
		{"cut off by the length of what is kept", "", func(w http.ResponseWriter, token string) {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(strings.Repeat("x", maxBody-100) + token))
		}},
		{"in an answer that is no reply", "", func(w http.ResponseWriter, token string) { _, _ = w.Write([]byte("hello " + token)) }},
		{"in a reply", "User-Agent", func(w http.ResponseWriter, token string) {
			_ = json.NewEncoder(w).Encode(Reply{Cluster: "west", Protocol: "http/1.1", Headers: map[string]string{"user-agent": token}})
		}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			var token string
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				token = strings.TrimPrefix(r.Header.Get(cmp2.Or(c.header, "Authorization")), "Bearer ")
				c.answer(w, token)
			}))
			defer s.Close()
			result := newCaller().Do(t.Context(), Call{To: s.URL, Token: &Token{Issuer: "https://login", Header: c.header}})
			text, err := json.Marshal(result)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(token, tokenHead) {
				t.Fatalf("no token came: %q", token)
			}
			if strings.Contains(string(text), token[:len(tokenHead)]) || !strings.Contains(string(text), "(the token)") {
				t.Errorf("%s: %s", c.reason, text)
			}
		})
	}
}

func TestATokenNeedsHTTP(t *testing.T) {
	r := newCaller().Do(t.Context(), Call{ID: "1", To: "grpc://127.0.0.1:1", Token: &Token{Issuer: "https://login"}})
	if r.Class != Other || r.ID != "1" || r.Sent != 0 {
		t.Errorf("%+v", r)
	}
}
