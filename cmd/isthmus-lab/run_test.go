package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"isthmus.dev/isthmus/internal/screen"
	"isthmus.dev/isthmus/lab/build"
	"isthmus.dev/isthmus/lab/config"
	"isthmus.dev/isthmus/lab/supervise"
)

func runCLI(args ...string) (code int, out, errOut string) {
	var o, e bytes.Buffer
	code = Run(context.Background(), screen.Streams{In: strings.NewReader(""), Out: &o, Err: &e, Env: func(string) string { return "" }}, args)
	return code, o.String(), e.String()
}

func TestBadCommandLines(t *testing.T) {
	cases := []struct {
		reason string
		args   []string
		code   int
		says   string
	}{
		{"a command that does not exist, with the nearest", []string{"stats"}, exitUsage, `did you mean "status"?`},
		{"a flag that does not exist", []string{"up", "--cluster", "3"}, exitUsage, "isthmus-lab up --help"},
		{"a network that is neither", []string{"up", "--network", "both"}, exitUsage, "neither separate nor shared"},
		{"no cluster at all", []string{"up", "--clusters", "0"}, exitUsage, "at least one"},
		{"a file and flags that say the same thing", []string{"up", "-f", "lab.yaml", "--clusters", "3"}, exitUsage, "--file and --clusters both say"},
		{"a file that is not there", []string{"up", "-f", "/nonexistent/lab.yaml"}, exitFailed, "no such file"},
		{"too many clusters", []string{"up", "--name", "t-none", "--clusters", "61"}, exitFailed, "61 are too many"},
		{"a name that is none", []string{"up", "--name", "No Good"}, exitFailed, `lab name "No Good"`},
		{"a lab that does not exist", []string{"status", "--name", "t-none"}, exitFailed, "isthmus-lab up --name t-none"},
		{"the same, for every command that needs one", []string{"exec", "--name", "t-none", "east", "true"}, exitFailed, "there is no lab"},
		{"a fault without its cluster", []string{"fault", "apiserver"}, exitUsage, "isthmus-lab fault apiserver CLUSTER"},
		{"a fault that does not exist", []string{"fault", "apisrver"}, exitUsage, `did you mean "apiserver"?`},
		{"a pod without a namespace", []string{"fault", "pod", "east", "echo"}, exitUsage, "NAMESPACE/NAME"},
	}
	for _, c := range cases {
		code, _, errOut := runCLI(c.args...)
		if code != c.code || !strings.Contains(errOut, c.says) {
			t.Errorf("%s: isthmus-lab %s: exit %d, %q; want exit %d and %q", c.reason, strings.Join(c.args, " "), code, errOut, c.code, c.says)
		}
	}
}

// TestABuildIsShownOnce has two programs made at a time, whose signs of life come in turn: where nothing can be drawn anew
// a line is written when something begins or ends.
func TestABuildIsShownOnce(t *testing.T) {
	var out bytes.Buffer
	v := &upView{progress: screen.NewProgress(screen.Streams{Err: &out, Env: func(string) string { return "" }})}
	for range 20 {
		v.build(build.Event{Program: "kubelet", Doing: "building", Total: 3})
		v.build(build.Event{Program: "etcd", Doing: "building", Total: 3})
	}
	v.build(build.Event{Program: "etcd", Doing: "building", Finished: 1, Total: 3, Done: true})
	v.build(build.Event{Program: "pilot image", Doing: "building", Finished: 2, Total: 3, Done: true, Cached: true})
	v.build(build.Event{Program: "kubelet", Doing: "building", Finished: 2, Total: 3})
	v.build(build.Event{Program: "kubelet", Doing: "building", Finished: 3, Total: 3, Done: true, Elapsed: time.Second})
	v.progress.Close()
	want := []string{
		"building kubelet (0 of 3 done)", "building etcd, building kubelet (0 of 3 done)", "building kubelet (2 of 3 done)", "3 programs and images in 1.0 s; kept",
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != len(want) {
		t.Fatalf("%d lines, want %d:\n%s", len(lines), len(want), out.String())
	}
	for i, line := range lines {
		if !strings.Contains(line, want[i]) {
			t.Errorf("line %d: %q, want %q", i, line, want[i])
		}
	}
}

func TestHelpNamesEveryCommandButTheHiddenOne(t *testing.T) {
	code, out, _ := runCLI("--help")
	if code != exitDone {
		t.Errorf("exit %d", code)
	}
	for _, c := range []string{"up", "down", "status", "logs", "kubeconfig", "load-image", "exec", "fault"} {
		if !strings.Contains(out, "\n  "+c+" ") {
			t.Errorf("no %s in:\n%s", c, out)
		}
	}
	if strings.Contains(out, "supervise ") {
		t.Errorf("people see supervise:\n%s", out)
	}
}

func TestConfigFromFlags(t *testing.T) {
	cases := []struct {
		reason string
		flags  upFlags
		want   config.Config
	}{
		{
			"separate networks are left to the default",
			upFlags{clusters: 2, nodes: 2, network: "separate"},
			config.Config{Name: "x", Clusters: []config.Cluster{{Nodes: 2}, {Nodes: 2}}},
		},
		{
			"a shared network has one name",
			upFlags{clusters: 2, nodes: 1, network: "shared"},
			config.Config{Name: "x", Clusters: []config.Cluster{{Nodes: 1, Network: "shared"}, {Nodes: 1, Network: "shared"}}},
		},
		{
			"hollow clusters have no nodes, whatever --nodes says by default",
			upFlags{clusters: 1, nodes: 1, network: "separate", hollow: true},
			config.Config{Name: "x", Clusters: []config.Cluster{{Hollow: true}}},
		},
	}
	for _, c := range cases {
		got, err := c.flags.config(&env{name: "x"}, true)
		if err != nil {
			t.Errorf("%s: %v", c.reason, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", c.reason, diff)
		}
	}
}

func TestNameOfTheFileAndOfTheFlag(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lab.yaml")
	if err := os.WriteFile(path, []byte("name: written\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for given, want := range map[bool]string{false: "written", true: "flag"} {
		e := &env{name: "flag"}
		c, err := upFlags{file: path}.config(e, given)
		if err != nil || c.Name != want || e.name != want {
			t.Errorf("--name given: %v: the lab is %q, commands name %q, want %q (%v)", given, c.Name, e.name, want, err)
		}
	}
}

func TestStatusForPeople(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	s := supervise.Status{
		Lab: "default", PID: 7, Since: now.Add(-90 * time.Second), Memory: 700 << 20,
		Clusters: []supervise.ClusterStatus{
			{
				Name: "east", Network: "east", Region: "eu", Server: "https://198.18.0.65:6443", Ready: true, Memory: 640 << 20,
				Nodes:         []supervise.NodeStatus{{Name: "east-1", Ready: true}, {Name: "east-2", Ready: true}},
				Components:    []supervise.ComponentStatus{{Name: "etcd", Record: supervise.Record{State: supervise.Ready, Restarts: 2}}},
				LoadBalancers: []supervise.LoadBalancer{{Service: "istio-system/gateway", Address: "198.18.0.80"}},
			},
			{
				Name: "west", Network: "west", Region: "us", Server: "https://198.18.0.129:6443", Memory: 60 << 20,
				Nodes: []supervise.NodeStatus{{Name: "west-1"}},
				Components: []supervise.ComponentStatus{
					{Name: "kubelet", Node: "west-1", Log: "/l/kubelet.log", Record: supervise.Record{State: supervise.Failed, LastEnd: "ended with exit code 1"}},
				},
			},
			{Name: "paper", Network: "paper", Region: "paper", Hollow: true, Doing: "API server"},
		},
		Faults: []supervise.Fault{{ID: "f1", Seen: "west cut off from everybody", Since: now.Add(-5 * time.Second)}},
	}
	var out bytes.Buffer
	e := &env{Streams: screen.Streams{Env: func(string) string { return "" }}}
	e.printStatus(&out, s, now)
	want := `lab default · 3 clusters · 700 MiB · supervised by process 7 for 1:30
CLUSTER  STATE                   API SERVER                 NETWORK  REGION  NODES   MEMORY   RESTARTS  LOADBALANCERS
east     ready                   https://198.18.0.65:6443   east     eu      2/2     640 MiB  2         198.18.0.80 istio-system/gateway
west     degraded                https://198.18.0.129:6443  west     us      0/1     60 MiB   0         -
paper    waiting for API server                             paper    paper   hollow  0 MiB    0         -
✘ west kubelet on west-1 is failed: ended with exit code 1
  Log: /l/kubelet.log
! fault f1: west cut off from everybody, for 5.0 s
Mend: isthmus-lab fault clear
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestLastLinesOfALog(t *testing.T) {
	long := strings.Repeat("x", 100<<10) // more than is read at a time
	cases := []struct {
		reason, text string
		n            int
		want         string
	}{
		{"the last two", "a\nb\nc\n", 2, "b\nc\n"},
		{"more than there are", "a\nb\n", 9, "a\nb\n"},
		{"none", "a\n", 0, ""},
		{"a line longer than the buffer", "a\n" + long + "\n", 1, long + "\n"},
		{"an empty log", "", 3, ""},
	}
	for _, c := range cases {
		path := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := printLog(t.Context(), &out, path, c.n, false); err != nil {
			t.Errorf("%s: %v", c.reason, err)
		}
		if diff := cmp.Diff(c.want, out.String()); diff != "" {
			t.Errorf("%s: -want +got:\n%s", c.reason, diff)
		}
	}
}
