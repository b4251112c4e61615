package cli

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"isthmus.dev/isthmus/api/v1alpha1"
	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/probe"
	"isthmus.dev/isthmus/internal/screen"
	"isthmus.dev/isthmus/internal/verify"
)

// An echoSite plays a cluster whose servers say back every header that they are sent, wherever an answer has room. It
// remembers all that a cluster is told but the inputs of programs.
type echoSite struct {
	mu   sync.Mutex
	told []string
}

func (*echoSite) Answers(context.Context) error { return nil }
func (*echoSite) Remove(context.Context) error  { return nil }

func (s *echoSite) Place(_ context.Context, objects []object.Object, _ func(string)) error {
	for _, o := range objects {
		text, err := o.Body.MarshalJSON()
		if err != nil {
			return err
		}
		s.tell(string(text))
	}
	return nil
}

func (s *echoSite) tell(words ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, words...)
}

func (*echoSite) Pods(context.Context) (map[verify.Role]verify.Pod, error) {
	pods := map[verify.Role]verify.Pod{}
	for _, r := range verify.Roles {
		pods[r] = verify.Pod{Name: string(r), IP: "192.0.2.1", Ready: true, Sidecar: r != verify.Stranger}
	}
	return pods, nil
}

func (s *echoSite) Exec(_ context.Context, _, _ string, argv ...string) ([]byte, error) {
	s.tell(argv...)
	return s.echo([]byte(argv[len(argv)-3]))
}

func (s *echoSite) Envoy(_ context.Context, _, page string) ([]byte, error) {
	s.tell(page)
	return nil, fmt.Errorf("its proxy has no %s", page)
}

func (s *echoSite) ExecInput(_ context.Context, _, _ string, in []byte, argv ...string) ([]byte, error) {
	s.tell(argv...)
	return s.echo(in)
}

func (*echoSite) echo(plan []byte) ([]byte, error) {
	var calls []probe.Call
	if err := json.Unmarshal(plan, &calls); err != nil {
		return nil, fmt.Errorf("this is no plan: %s", plan)
	}
	var results []probe.Result
	for _, c := range calls {
		said := fmt.Sprint(c.Headers)
		r := probe.Result{ID: c.ID, To: c.To, Sent: 1, Class: probe.Status, Code: 401, Body: "Jwt verification fails " + said, Error: "answered 401: " + said}
		r.Reply = &probe.Reply{Protocol: "http/1.1", Headers: map[string]string{"user-agent": said}, Echo: said}
		results = append(results, r)
	}
	return json.Marshal(results)
}

// TestATokenShowsNowhere: whatever becomes of a person's token, none of its bytes is in any form of output, in progress,
// in an error, in an object or among the words of a command.
func TestATokenShowsNowhere(t *testing.T) {
	part := base64.RawURLEncoding.EncodeToString
	body := part([]byte(fmt.Sprintf(`{"iss":"https://login.example","sub":"somebody-of-the-shop","exp":%d}`, time.Now().Add(time.Hour).Unix())))
	canaries := []string{part([]byte(`{"alg":"RS256","kid":"canary-of-a-head"}`)), body, part([]byte("canary-of-a-signature-that-is-long"))}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(strings.Join(canaries, ".")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := mesh.Mesh{
		Name: "shop", MTLS: "STRICT", Verify: v1alpha1.Verify{Namespace: "isthmus-verify", Image: "x"},
		Clusters: []mesh.Cluster{{Name: "east", Network: "east"}, {Name: "west", Network: "west"}},
		JWT:      []v1alpha1.JWTIssuer{{Name: "login", Issuer: "https://login.example"}},
	}
	for _, format := range []screen.Format{screen.Human, screen.JSON, screen.YAML, screen.JUnit} {
		var out bytes.Buffer
		e := &env{Streams: screen.Streams{Out: &out, Err: &out, Env: func(string) string { return "" }}, output: string(format)}
		token, err := e.token(file)
		if err != nil {
			t.Fatal(err)
		}
		site := &echoSite{}
		progress := screen.NewProgress(e.Streams)
		prover := verify.Prover{
			Mesh: m, Sites: map[string]verify.Site{"east": site, "west": site}, Now: time.Now, Report: stepsOn(progress), Token: token,
			Limits: verify.Limits{Settle: 20 * time.Millisecond, Pause: time.Millisecond},
			Facts:  func(context.Context) facts.Snapshot { return facts.Snapshot{Taken: time.Now()} },
			Look: func(_ context.Context, _ string, pods map[verify.Role]verify.Pod) verify.SiteEvidence {
				return verify.SiteEvidence{Pods: pods}
			},
		}
		proof, err := prover.Prove(t.Context())
		progress.Close()
		if err != nil {
			t.Fatal(err)
		}
		if err := e.showProof(proof, m); err != nil {
			t.Fatal(err)
		}
		junit := filepath.Join(t.TempDir(), "junit.xml")
		if err := writeJUnitFile(junit, proof); err != nil {
			t.Fatal(err)
		}
		report, err := os.ReadFile(junit)
		if err != nil {
			t.Fatal(err)
		}
		for where, text := range map[string]string{
			"the output": out.String(), "the JUnit report": string(report), "commands and objects": strings.Join(site.told, "\n"), "Go's own forms": fmt.Sprintf("%v %+v %#v", prover, prover.Token, *token),
		} {
			for _, c := range canaries {
				if strings.Contains(text, c) {
					t.Errorf("-o %q: a part of the token is in %s", format, where)
				}
			}
		}
		if len(proof.Tokens) != 8 || proof.Tokens[1].Tries == 0 || !strings.Contains(proof.Tokens[1].Result.Body, "(the token)") || !strings.Contains(strings.Join(site.told, " "), "--plan - ") {
			t.Errorf("the token was not brought to where it could have shown: %+v", proof.Tokens)
		}
	}
}

func TestTokensThatAreNone(t *testing.T) {
	for _, c := range []struct{ reason, text, want string }{
		{"nothing", "", "is no JWT"},
		{"two parts", "SECRET.SECRET", "is no JWT: it has not three parts"},
		{"not of base64", "SECRET.*SECRET*.SECRET", "is no JWT: its second part is not base64url"},
		{"no JSON", "SECRET.U0VDUkVU.SECRET", "is no JWT: its second part is not JSON"},
	} {
		e := &env{Streams: screen.Streams{In: strings.NewReader(c.text)}, file: "mesh.yaml"}
		if _, err := e.token("-"); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "SECRET") || codeOf(err) != exitUsage {
			t.Errorf("%s: %v", c.reason, err)
		}
	}
	e := &env{file: "-"}
	if _, err := e.token("-"); err == nil || codeOf(err) != exitUsage {
		t.Errorf("two things on one standard input: %v", err)
	}
	if token, err := e.token(""); err != nil || token != nil {
		t.Errorf("no token: %v, %v", token, err)
	}
	if _, err := e.token(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("no file, and no error")
	}
}
