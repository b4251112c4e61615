//go:build lab

package lab_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"isthmus.dev/isthmus/lab/supervise"
)

// A trial is a fault as a person asks for it, what is seen while it holds, and what is once it is cleared. A fault that
// is over as soon as it has happened is not cleared: what is seen comes about by itself.
type trial struct {
	fault   string // the words after isthmus-lab fault
	holds   func(t *testing.T) (bool, string)
	over    func(t *testing.T) (bool, string)
	atOnce  bool // over as soon as it has happened
	prepare func(t *testing.T)
}

// labFaults tries every fault whose end the other tests do not see, on the mesh's own cluster west.
func labFaults(t *testing.T) {
	token := ""
	trials := []trial{
		{fault: "apiserver west --pause", holds: apiserver(mute), over: apiserver(answers)},
		{fault: "apiserver west --slow 800ms", holds: slowAnswer(400 * time.Millisecond), over: runsFreely("kube-apiserver")},
		{fault: "component west kube-scheduler --pause", holds: frozen("kube-scheduler"), over: runsFreely("kube-scheduler")},
		{fault: "istiod west", holds: deployment("istiod", "0/0"), over: deployment("istiod", "1/1")},
		{fault: "istiod west --pause", holds: pod("app=istiod", "15014", mute), over: pod("app=istiod", "15014", answers)},
		{fault: "gateway west --stop", holds: deployment("istio-eastwestgateway", "0/0"), over: deployment("istio-eastwestgateway", "1/1")},
		{fault: "gateway west --pause", holds: pod("istio=eastwestgateway", "15021", mute), over: pod("istio=eastwestgateway", "15021", answers)},
		{fault: "gateway west", atOnce: true, holds: restarted("istio=eastwestgateway"), over: deployment("istio-eastwestgateway", "1/1")},
		{
			fault:   "token west isthmus-system/isthmus-reader",
			prepare: func(t *testing.T) { token = readerToken(t, "east", "west") },
			holds:   func(t *testing.T) (bool, string) { return asks(t, token, http.StatusUnauthorized) },
			over:    func(t *testing.T) (bool, string) { return asks(t, token, http.StatusOK) },
		},
	}
	for _, x := range trials {
		t.Run(x.fault, func(t *testing.T) {
			if x.prepare != nil {
				x.prepare(t)
			}
			if ok, seen := x.over(t); !ok {
				t.Fatalf("before: %s", seen)
			}
			labCLI(t, append([]string{"fault"}, strings.Fields(x.fault)...)...)
			t.Cleanup(func() { labCLI(t, "fault", "clear") })
			eventually(t, "it holds", func() (bool, string) { return x.holds(t) })
			if said := labCLI(t, "fault", "clear"); strings.HasPrefix(said, "mended f") == x.atOnce {
				t.Errorf("fault clear said %q", said)
			}
			eventually(t, "it is over", func() (bool, string) { return x.over(t) })
		})
	}
}

// labCLI runs isthmus-lab on the test's lab.
func labCLI(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(world.bin, "isthmus-lab"), append(args, "--name", here(t).Name)...).CombinedOutput()
	if err != nil {
		t.Fatalf("isthmus-lab %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

const (
	mute    = "mute" // takes connections, and answers nothing
	answers = "answers"
)

// behaviour is how an address in a node's network behaves: the kernel takes connections for a frozen program.
func behaviour(t *testing.T, url string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	cmd, err := here(t).Command(ctx, "west", []string{"curl", "-sk", "-o", "/dev/null", "-m", "1", "-w", "%{time_connect} %{http_code}", url})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	cmd.Stdout = &out
	_ = here(t).Exec("west", cmd) // curl's exit code says no more than what it wrote
	connected, code, _ := strings.Cut(out.String(), " ")
	switch {
	case code != "000" && code != "":
		return answers
	case strings.Trim(connected, "0.") != "":
		return mute
	}
	return "refuses: " + out.String()
}

func apiserver(want string) func(*testing.T) (bool, string) {
	return func(t *testing.T) (bool, string) {
		c, err := here(t).Find("west")
		if err != nil {
			t.Fatal(err)
		}
		// Without TLS: it says that it wants TLS, or nothing.
		is := behaviour(t, strings.Replace(c.APIServer(), "https:", "http:", 1))
		return is == want, is
	}
}

// slowAnswer asks over one connection, as clients do that were there before, until an answer takes that long.
func slowAnswer(least time.Duration) func(*testing.T) (bool, string) {
	return func(t *testing.T) (bool, string) {
		c, err := here(t).Find("west")
		if err != nil {
			t.Fatal(err)
		}
		client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, Timeout: 10 * time.Second}
		defer client.CloseIdleConnections()
		longest := time.Duration(0)
		for range 300 {
			began := time.Now()
			resp, err := client.Get(c.APIServer() + "/livez")
			if err != nil {
				return false, err.Error()
			}
			_ = resp.Body.Close()
			longest = max(longest, time.Since(began))
			if longest >= least {
				return true, ""
			}
		}
		return false, "no answer took longer than " + longest.String()
	}
}

// processState is the state letter of a component's process, T where it is frozen, and how the lab's status has it.
func processState(t *testing.T, component string) (letter string, state supervise.State) {
	t.Helper()
	s, err := here(t).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range s.Clusters {
		for _, k := range c.Components {
			if c.Name != "west" || k.Name != component {
				continue
			}
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", k.PID))
			if err != nil {
				return err.Error(), k.State
			}
			_, rest, _ := strings.Cut(string(stat), ") ")
			return rest[:1], k.State
		}
	}
	t.Fatalf("west has no %s", component)
	return "", ""
}

func frozen(component string) func(*testing.T) (bool, string) {
	return func(t *testing.T) (bool, string) {
		letter, state := processState(t, component)
		return letter == "T" && state == supervise.Paused, letter + " " + string(state)
	}
}

// runsFreely looks longer than anything here is frozen at a time.
func runsFreely(component string) func(*testing.T) (bool, string) {
	return func(t *testing.T) (bool, string) {
		for range 12 {
			if letter, state := processState(t, component); letter == "T" || state != supervise.Ready {
				return false, letter + " " + string(state)
			}
			pause(t.Context(), t, 100*time.Millisecond)
		}
		return true, ""
	}
}

// deployment compares ready and wanted replicas.
func deployment(name, want string) func(*testing.T) (bool, string) {
	return func(t *testing.T) (bool, string) {
		out := kubectl(t, "west", "-n", "istio-system", "get", "deployment", name, "-o", "jsonpath={.status.readyReplicas}/{.spec.replicas}")
		if strings.HasPrefix(out, "/") {
			out = "0" + out
		}
		return out == want, out
	}
}

func pod(label, port, want string) func(*testing.T) (bool, string) {
	return func(t *testing.T) (bool, string) {
		ip := kubectl(t, "west", "-n", "istio-system", "get", "pods", "-l", label, "-o", "jsonpath={.items[0].status.podIP}")
		is := behaviour(t, "http://"+net.JoinHostPort(ip, port)+"/ready")
		return is == want, is
	}
}

func restarted(label string) func(*testing.T) (bool, string) {
	return func(t *testing.T) (bool, string) {
		out := kubectl(t, "west", "-n", "istio-system", "get", "pods", "-l", label, "-o", "jsonpath={.items[0].status.containerStatuses[0].restartCount}")
		return out != "0" && out != "", out + " restarts"
	}
}

// readerToken is the token with which a cluster's istiod reads another cluster.
func readerToken(t *testing.T, in, of string) string {
	t.Helper()
	out := kubectl(t, in, "-n", "istio-system", "get", "secret", "istio-remote-secret-"+of, "-o", "json")
	var secret struct{ Data map[string]string }
	if err := json.Unmarshal([]byte(out), &secret); err != nil {
		t.Fatal(err)
	}
	text, err := base64.StdEncoding.DecodeString(secret.Data[of])
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(text)
	if err != nil {
		t.Fatal(err)
	}
	return config.BearerToken
}

// asks lists west's namespaces with a token, and tells whether the answer has that code.
func asks(t *testing.T, token string, want int) (bool, string) {
	t.Helper()
	c, err := here(t).Find("west")
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.APIServer()+"/api/v1/namespaces?limit=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}, Timeout: 5 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return false, err.Error()
	}
	_ = resp.Body.Close()
	return resp.StatusCode == want, resp.Status
}
