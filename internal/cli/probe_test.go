package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"isthmus.dev/isthmus/internal/probe"
	"isthmus.dev/isthmus/internal/screen"
)

// probeServer serves on loopback until the test ends.
func probeServer(t *testing.T) probe.Addresses {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	at, done := make(chan probe.Addresses, 1), make(chan error, 1)
	s := probe.Server{Cluster: "west", Pod: "server-1", HTTP: "127.0.0.1:0", GRPC: "127.0.0.1:0", TCP: "127.0.0.1:0"}
	go func() { done <- s.Serve(ctx, func(a probe.Addresses) { at <- a }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return <-at
}

func TestProbeCall(t *testing.T) {
	at := probeServer(t)
	plan, err := json.Marshal([]probe.Call{{ID: "a", To: "http://" + at.HTTP}, {ID: "b", To: "tcp://127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		reason string
		args   []string
		code   int
		out    []string // parts of what is printed
		err    string
	}{
		{
			"delivered over every protocol",
			[]string{"--to", "http://" + at.HTTP, "--to", "grpc://" + at.GRPC, "--to", "tcp://" + at.TCP, "--count", "2"},
			exitDone,
			[]string{"✔ http://", "✔ grpc://", "✔ tcp://", "2/2", "cluster west, pod server-1, caller not seen"},
			"",
		},
		{"not delivered", []string{"--to", "http://127.0.0.1:1"}, exitChecks, []string{"✘ http://127.0.0.1:1  0/1  refused"}, ""},
		{"plain text that is served is bad", []string{"--plaintext", "--address", at.HTTP}, exitChecks, []string{"✘", "accepted"}, ""},
		{"nobody there proves nothing", []string{"--tls-no-cert", "--address", "127.0.0.1:1"}, exitChecks, []string{"✘ tls://127.0.0.1:1  unreachable"}, ""},
		{
			"the results of a plan say it, not the exit code",
			[]string{"--plan", string(plan), "-o", "json"},
			exitDone,
			[]string{`"id": "a"`, `"cluster": "west"`, `"id": "b"`, `"class": "refused"`},
			"",
		},
		{"a plan that is none", []string{"--plan", "x"}, exitUsage, nil, "--plan is not a JSON array of calls"},
		{"nowhere to knock", []string{"--tls-no-cert"}, exitUsage, nil, "need --address HOST:PORT"},
		{"nothing to call", nil, exitUsage, nil, "nothing to call"},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			var out, errOut bytes.Buffer
			s := screen.Streams{In: strings.NewReader(""), Out: &out, Err: &errOut, Env: func(string) string { return "" }}
			if code := Run(t.Context(), s, append([]string{"probe", "call"}, c.args...)); code != c.code {
				t.Errorf("%s: exit %d, want %d: %s%s", c.reason, code, c.code, out.String(), errOut.String())
			}
			for _, part := range c.out {
				if !strings.Contains(out.String(), part) {
					t.Errorf("%s: prints\n%s\nwant %q in it", c.reason, out.String(), part)
				}
			}
			if !strings.Contains(errOut.String(), c.err) {
				t.Errorf("%s: error %q, want %q in it", c.reason, errOut.String(), c.err)
			}
		})
	}
}
