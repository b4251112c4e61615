package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/screen"
)

const threeContexts = `apiVersion: v1
kind: Config
current-context: kind-west
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: u, user: {}}]
contexts:
- {name: kind-east, context: {cluster: c, user: u}}
- {name: kind-west, context: {cluster: c, user: u}}
- {name: admin@north, context: {cluster: c, user: u}}
`

// initEnv is an environment in an empty folder named shop, with a kubeconfig of three contexts.
func initEnv(t *testing.T, stdin string) (e *env, out, errOut *bytes.Buffer) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "shop")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	if err := os.WriteFile("../kubeconfig", []byte(threeContexts), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errOut = &bytes.Buffer{}, &bytes.Buffer{}
	s := screen.Streams{In: strings.NewReader(stdin), Out: out, Err: errOut, Env: func(string) string { return "" }}
	return &env{Streams: s, file: defaultFile, kubeconfig: "../kubeconfig"}, out, errOut
}

func TestInit(t *testing.T) {
	cases := []struct {
		reason string
		flags  initFlags
		asks   bool
		stdin  string
		want   string            // what is printed
		loads  map[string]string // cluster → context of the document that was written
		err    string            // part of the error
		code   int
	}{
		{
			reason: "Contexts given as flags need nobody to ask, and the mesh is named after the folder.",
			flags:  initFlags{contexts: []string{"kind-east", "kind-west"}, network: "separate"},
			want: `Wrote mesh.yaml: mesh "shop" of 2 clusters, each its own network, Istio 1.31, strict mutual TLS.
Next: isthmus check --kubeconfig ../kubeconfig
`,
			loads: map[string]string{"east": "kind-east", "west": "kind-west"},
		},
		{
			reason: "A name and a network of choice.",
			flags:  initFlags{contexts: []string{"admin@north"}, name: "far", network: "shared"},
			want: `Wrote mesh.yaml: mesh "far" of 1 cluster, Istio 1.31, strict mutual TLS.
Next: isthmus check --kubeconfig ../kubeconfig
`,
			loads: map[string]string{"north": "admin@north"},
		},
		{
			reason: "At a terminal it asks, and asks again when the answer makes no sense.",
			flags:  initFlags{network: "separate"}, asks: true, stdin: "9\n\n1-2, 3\n",
			want: `Wrote mesh.yaml: mesh "shop" of 3 clusters, each its own network, Istio 1.31, strict mutual TLS.
Next: isthmus check --kubeconfig ../kubeconfig
`,
			loads: map[string]string{"north": "admin@north", "east": "kind-east", "west": "kind-west"},
		},
		{
			reason: "Nobody to ask: the flag to give and the contexts there are.",
			flags:  initFlags{network: "separate"},
			err:    "--context CONTEXT, once for each\n  The kubeconfig has: admin@north, kind-east, kind-west", code: exitUsage,
		},
		{
			reason: "Standard input ends before an answer: nothing is written.",
			flags:  initFlags{network: "separate"}, asks: true,
			err: "no answer, and nothing was written", code: exitFailed,
		},
		{
			reason: "A context that is not there is named, with those that are.",
			flags:  initFlags{contexts: []string{"kind-south"}, network: "separate"},
			err:    `no context "kind-south"`, code: exitUsage,
		},
		{
			reason: "One context cannot be two clusters.",
			flags:  initFlags{contexts: []string{"kind-east", "kind-east"}, network: "separate"},
			err:    "given twice", code: exitUsage,
		},
		{
			reason: "A network is one of two words.",
			flags:  initFlags{contexts: []string{"kind-east"}, network: "flat"},
			err:    `separate or shared, not "flat"`, code: exitUsage,
		},
		{
			reason: "A name that cannot name a mesh, and one that can.",
			flags:  initFlags{contexts: []string{"kind-east"}, name: "My Shop", network: "separate"},
			err:    "try my-shop", code: exitUsage,
		},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			e, out, _ := initEnv(t, c.stdin)
			err := e.runInit(t.Context(), c.flags, c.asks)
			if code := codeOf(err); code != c.code {
				t.Errorf("exit code %d (%v), want %d", code, err, c.code)
			}
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v, want one that says %q", err, c.err)
				}
				if _, err := os.Stat(defaultFile); err == nil {
					t.Error("a file was written all the same")
				}
				return
			}
			if diff := cmp.Diff(c.want, out.String()); diff != "" {
				t.Errorf("printed (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.loads, contextsOf(t, defaultFile)); diff != "" {
				t.Errorf("clusters (-want +got):\n%s", diff)
			}
		})
	}
}

// contextsOf loads a document and returns cluster → context.
func contextsOf(t *testing.T, file string) map[string]string {
	t.Helper()
	m, err := mesh.LoadFile(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, c := range m.Clusters {
		got[c.Name] = c.Context
	}
	return got
}

func TestInitLeavesFilesAlone(t *testing.T) {
	e, _, _ := initEnv(t, "")
	if err := os.WriteFile(defaultFile, []byte("mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := initFlags{contexts: []string{"kind-east"}, network: "separate"}
	err := e.runInit(t.Context(), f, false)
	if err == nil || !strings.Contains(err.Error(), "left as it is") {
		t.Errorf("init over a file: %v", err)
	}
	if got, _ := os.ReadFile(defaultFile); string(got) != "mine\n" {
		t.Errorf("the file now says %q", got)
	}
	f.force = true
	if err := e.runInit(t.Context(), f, false); err != nil {
		t.Errorf("init --force: %v", err)
	}
	if diff := cmp.Diff(map[string]string{"east": "kind-east"}, contextsOf(t, defaultFile)); diff != "" {
		t.Errorf("clusters (-want +got):\n%s", diff)
	}
}

func TestInitWritesToStandardOutput(t *testing.T) {
	e, out, _ := initEnv(t, "")
	e.file = "-"
	if err := e.runInit(t.Context(), initFlags{contexts: []string{"kind-east"}, network: "separate"}, false); err != nil {
		t.Fatal(err)
	}
	if _, err := mesh.Load("-", out.Bytes(), nil); err != nil {
		t.Errorf("what was printed does not load: %v", err)
	}
	if left, _ := os.ReadDir("."); len(left) != 0 {
		t.Errorf("it left %v", left)
	}
}

func TestInitWithoutContexts(t *testing.T) {
	e, _, _ := initEnv(t, "")
	if err := os.WriteFile(e.kubeconfig, []byte("apiVersion: v1\nkind: Config\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := e.runInit(t.Context(), initFlags{network: "separate"}, true)
	if err == nil || !strings.Contains(err.Error(), "no contexts") || !strings.Contains(err.Error(), "isthmus-lab up") {
		t.Errorf("no contexts: %v", err)
	}
}

func TestInitAsksWithNumbers(t *testing.T) {
	e, _, errOut := initEnv(t, "2\n")
	if err := e.runInit(t.Context(), initFlags{network: "separate"}, true); err != nil {
		t.Fatal(err)
	}
	want := `Which of these contexts are the mesh's clusters?
   1  admin@north
   2  kind-east
   3  kind-west  (current)
Numbers, such as 1 3 or 1-3, or all: `
	if diff := cmp.Diff(want, errOut.String()); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}
