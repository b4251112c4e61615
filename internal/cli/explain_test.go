package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"isthmus.dev/isthmus/internal/explain"
	"isthmus.dev/isthmus/internal/screen"
)

// recordedPath judges what was recorded of a call between two clusters of the lab, after do has changed it.
func recordedPath(t *testing.T, do func(*explain.Evidence)) explain.Path {
	t.Helper()
	data, err := os.ReadFile("../explain/testdata/whole.json")
	if err != nil {
		t.Fatal(err)
	}
	var e explain.Evidence
	if err := json.Unmarshal(data, &e); err != nil {
		t.Fatal(err)
	}
	do(&e)
	return explain.Judge(e)
}

func TestPathPages(t *testing.T) {
	whole := recordedPath(t, func(*explain.Evidence) {})
	broken := recordedPath(t, func(e *explain.Evidence) { e.Sites["west"].Facts.Gateways[0].Ready = 0 })
	proved, refuted := whole, whole
	proved.Prove(explain.Probe{How: "curl in container app of pod demo/client-1", Delivered: true, Status: 200})
	refuted.Prove(explain.Probe{How: "curl in container app of pod demo/client-1", Status: 503, Said: "no healthy upstream"})
	unknown := recordedPath(t, func(e *explain.Evidence) {
		e.Sites["west"].Unread = map[string]string{"AuthorizationPolicy": "the caller may not list them"}
	})
	cases := []struct {
		reason, file string
		path         explain.Path
	}{
		{"nothing is broken", "explain-whole.txt", whole},
		{"a gateway is gone", "explain-gateway.txt", broken},
		{"a call proves it", "explain-proved.txt", proved},
		{"a call goes otherwise", "explain-refuted.txt", refuted},
		{"policies may not be read", "explain-unknown.txt", unknown},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			show := func(p *screen.Page) { pathPage(p, c.path, c.path.Probe != nil) }
			var b bytes.Buffer
			show(screen.NewPage(&b, false))
			golden(t, c.file, b.String())
			inColour(t, b.String(), show)
		})
	}
}

// TestPathJSON: programs read these names; they do not change.
func TestPathJSON(t *testing.T) {
	p := recordedPath(t, func(e *explain.Evidence) { e.Sites["west"].Facts.Gateways[0].Ready = 0 })
	out, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "explain.json", string(out)+"\n")
}

func TestParty(t *testing.T) {
	cases := []struct {
		text string
		want explain.Party
	}{
		{"demo/client@east", explain.Party{Namespace: "demo", Name: "client", Cluster: "east"}},
		{"demo/client", explain.Party{Namespace: "demo", Name: "client"}},
		{"client@east", explain.Party{Namespace: "shop", Name: "client", Cluster: "east"}},
		{"client", explain.Party{Namespace: "shop", Name: "client"}},
	}
	for _, c := range cases {
		if got, err := party(c.text, "shop"); err != nil || got != c.want {
			t.Errorf("party(%q) = %+v, %v; want %+v", c.text, got, err, c.want)
		}
	}
	for _, bad := range []string{"", "/", "a/", "/a", "a@", "a/b/c", "a@b@c"} {
		if got, err := party(bad, "shop"); err == nil {
			t.Errorf("party(%q) = %+v; want an error", bad, got)
		}
	}
}

// TestTokenIsNeverShown: neither in evidence nor in an error.
func TestTokenIsNeverShown(t *testing.T) {
	got, token, err := claims("eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2EuZXhhbXBsZSJ9.c2VjcmV0LXNpZ25hdHVyZQ")
	if err != nil || got["iss"] != "https://a.example" || token == "" {
		t.Errorf("claims %v, token %q, %v", got, token, err)
	}
	for _, bad := range []string{"canary", "canary.canary.canary", "a.Y2FuYXJ5.canary"} {
		if _, _, err := claims(bad); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("claims(%q): %v", bad, err)
		}
	}
}
