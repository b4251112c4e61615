//go:build lab

package lab_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"isthmus.dev/isthmus/internal/probe"
	"isthmus.dev/isthmus/lab"
)

// trafficWorkloads are a service with pods in every cluster, and who calls it.
const trafficWorkloads = `
apiVersion: v1
kind: Namespace
metadata: {name: traffic, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Service
metadata: {name: echo, namespace: traffic}
spec:
  selector: {app: echo}
  ports:
  - {name: http, port: 80, targetPort: 8080}
  - {name: grpc, port: 90, targetPort: 9090}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: echo, namespace: traffic}
spec:
  replicas: 1
  selector: {matchLabels: {app: echo}}
  template:
    metadata: {labels: {app: echo, version: v1}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {name: server, image: lab.local/isthmus:dev, imagePullPolicy: IfNotPresent, args: [probe, serve, --cluster, CLUSTER]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: caller, namespace: traffic}
spec:
  selector: {matchLabels: {app: caller}}
  template:
    metadata: {labels: {app: caller}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {name: caller, image: lab.local/isthmus:dev, imagePullPolicy: IfNotPresent, args: [probe, serve, --cluster, CLUSTER]}
`

// place puts the workloads into clusters and waits until those of each call those of all.
func place(t *testing.T, clusters ...string) {
	t.Helper()
	for _, c := range clusters {
		applied(t, c, strings.ReplaceAll(trafficWorkloads, "CLUSTER", c), "apply")
	}
	for _, c := range clusters {
		rolledOut(t, c, "traffic", "echo", "caller")
	}
}

func displace(t *testing.T, clusters ...string) {
	t.Helper()
	for _, c := range clusters {
		if out, err := tryKubectl(t, c, "delete", "namespace", "traffic", "--ignore-not-found"); err != nil {
			t.Errorf("%s: %s", c, out)
		}
	}
}

// reaches waits until calls from one cluster are answered in all of some clusters.
func reaches(t *testing.T, from string, to ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("calls from %s are answered in %s", from, strings.Join(to, ", ")), func() (bool, string) {
		r := load(t, from, "http://echo.traffic:80/", 40, time.Second)()
		for _, c := range to {
			if r.Clusters[c] == 0 {
				return false, fmt.Sprint(r.Clusters, r.Misses)
			}
		}
		return len(r.Misses) == 0, fmt.Sprint(r.Clusters, r.Misses)
	})
}

// callTimeout is how long a call of a load may take.
const callTimeout = 5 * time.Second

// load begins calls from a cluster's caller, and returns what waits for how they went.
func load(t *testing.T, from, to string, rate int, long time.Duration) func() probe.LoadResult {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), world.programs.Program("kubectl"), "--kubeconfig", here(t).Kubeconfig, "--context", from,
		"-n", "traffic", "exec", "deploy/caller", "-c", "caller", "--",
		"/isthmus", "probe", "load", "-o", "json", "--to", to, "--rate", fmt.Sprint(rate), "--for", long.String(), "--timeout", callTimeout.String())
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() probe.LoadResult {
		t.Helper()
		err := cmd.Wait()
		var r probe.LoadResult
		if json.Unmarshal(out.Bytes(), &r) != nil || r.Sent == 0 {
			t.Fatalf("load from %s to %s: %v: %s%s", from, to, err, out.String(), errOut.String())
		}
		return r
	}
}

// trafficDocument is the quickstart's with changes of its spec, with an ingress gateway, and in which callers do not prefer
// their own cluster: the lab's nodes have regions, and calls that stay at home would prove nothing.
func trafficDocument(t *testing.T, change func(spec map[string]any)) string {
	t.Helper()
	var doc map[string]any
	if err := yaml.Unmarshal([]byte(document(t, "east", "west")), &doc); err != nil {
		t.Fatal(err)
	}
	spec := doc["spec"].(map[string]any)
	istio := spec["istio"].(map[string]any)
	istio["profile"] = "default" // with an ingress gateway
	istio["meshConfig"].(map[string]any)["localityLbSetting"] = map[string]any{"enabled": false}
	change(spec)
	out, err := yaml.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestTraffic is one mesh under load while calls are kept away from a cluster, and while somebody in it is gone.
func TestTraffic(t *testing.T) {
	clusters := []string{"east", "west"}
	doc := trafficDocument(t, func(map[string]any) {})
	must(t, doc, "apply", "-f", "-")
	defer func() {
		displace(t, clusters...)
		must(t, doc, "uninstall", "-f", "-", "--yes")
	}()
	place(t, clusters...)
	for _, c := range clusters {
		reaches(t, c, clusters...)
	}
	if !t.Run("drained", func(t *testing.T) { drains(t, doc) }) {
		t.FailNow()
	}
	t.Run("gone", func(t *testing.T) { failsOver(t, clusters) })
}

// failsOver kills all pods of a service in one cluster, and then cuts a whole cluster off, under load: first in a mesh of
// Istio's own behaviour, then with the defaults that Isthmus sets.
func failsOver(t *testing.T, clusters []string) {
	for _, mode := range []string{"off", "on"} {
		must(t, trafficDocument(t, func(spec map[string]any) {
			spec["traffic"] = map[string]any{"failover": map[string]any{"enabled": mode == "on"}}
		}), "apply", "-f", "-")
		reaches(t, "east", clusters...)
		t.Run("pods killed, failover "+mode, func(t *testing.T) { podsKilled(t, mode) })
		place(t, "east")
		reaches(t, "east", clusters...)
		t.Run("cluster cut off, failover "+mode, func(t *testing.T) { cutOff(t, mode) })
	}
}

// watched are both loads of a disturbance: many short connections' worth of HTTP/1.1, and one HTTP/2 connection.
func watched(t *testing.T, long time.Duration) func() map[string]probe.LoadResult {
	t.Helper()
	http, grpc := load(t, "east", "http://echo.traffic:80/", 20, long), load(t, "east", "grpc://echo.traffic:90", 20, long)
	return func() map[string]probe.LoadResult { return map[string]probe.LoadResult{"http": http(), "grpc": grpc()} }
}

func podsKilled(t *testing.T, mode string) {
	results := watched(t, 15*time.Second)
	pause(t.Context(), t, 4*time.Second)
	killed := time.Now()
	kubectl(t, "east", "-n", "traffic", "scale", "deployment", "echo", "--replicas=0")
	kubectl(t, "east", "-n", "traffic", "delete", "pods", "-l", "app=echo", "--force", "--grace-period=0", "--wait=false")
	for protocol, r := range results() {
		t.Logf("failover %s, %s: %s", mode, protocol, told(r, killed))
		if late := since(r, killed.Add(8*time.Second)); late > 0 {
			t.Errorf("%s: %d calls failed long after the pods were gone", protocol, late)
		}
		if r.Seconds[len(r.Seconds)-1].Clusters["west"] == 0 {
			t.Errorf("%s: at the end nothing was answered in west: %+v", protocol, r.Seconds[len(r.Seconds)-1])
		}
	}
}

func cutOff(t *testing.T, mode string) {
	const until = 25 * time.Second
	// By then the defaults have ejected west. Istio's own behaviour has no such moment: how many calls it loses depends
	// on which of them the balancer gives to west, so they are counted over the whole cut and over both protocols.
	const settled = 8 * time.Second
	long := 55 * time.Second // until calls have come back
	if mode == "off" {
		long = 4*time.Second + until + 6*time.Second // nobody asks what Istio does then
	}
	results := watched(t, long)
	pause(t.Context(), t, 4*time.Second)
	cut := time.Now()
	if _, err := here(t).Begin(t.Context(), lab.Fault{Kind: "cut", Cluster: "west"}); err != nil {
		t.Fatal(err)
	}
	pause(t.Context(), t, until)
	healed := time.Now()
	if _, err := here(t).Mend(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	unguarded := 0
	for protocol, r := range results() {
		t.Logf("failover %s, %s: %s", mode, protocol, told(r, cut))
		// What began later may wait in a proxy until the cut has healed.
		if n := answeredBy(r, "west", cut.Add(2*time.Second), healed.Add(-callTimeout)); n > 0 {
			t.Errorf("%s: west answered %d calls during the cut: it is no fault, and the test proves nothing", protocol, n)
		}
		if mode == "off" {
			unguarded += since(r, cut.Add(settled)) - since(r, healed)
			continue
		}
		if late := since(r, cut.Add(settled)) - since(r, healed); late > 0 {
			t.Errorf("%s: %d calls failed that began more than %v after the cut", protocol, late, settled)
		}
		if last := r.Seconds[len(r.Seconds)-1]; last.Clusters["west"] == 0 {
			t.Errorf("%s: west is not called again after the cut healed: %+v", protocol, last)
		}
	}
	if mode == "off" && unguarded == 0 {
		t.Errorf("without failover no call failed either that began more than %v after the cut: the defaults do nothing", settled)
	}
	reaches(t, "east", "east", "west")
}

// since counts the calls that failed and began at or after a moment.
func since(r probe.LoadResult, moment time.Time) int {
	return len(slices.DeleteFunc(slices.Clone(r.Misses), func(m probe.Miss) bool { return m.At.Before(moment) }))
}

// answeredBy counts a cluster's answers to calls that began in the load's whole seconds between two moments.
func answeredBy(r probe.LoadResult, cluster string, from, to time.Time) int {
	n := 0
	for _, s := range r.Seconds {
		if !s.At.Before(from) && !s.At.Add(time.Second).After(to) {
			n += s.Clusters[cluster]
		}
	}
	return n
}

// told is a load in one line.
func told(r probe.LoadResult, from time.Time) string {
	s := fmt.Sprintf("%d of %d calls failed", len(r.Misses), r.Sent)
	if len(r.Misses) > 0 {
		last := slices.MaxFunc(r.Misses, func(a, b probe.Miss) int { return a.Ended().Compare(b.Ended()) })
		s += fmt.Sprintf(", the last %.1f s after the fault (begun %.1f s after it): %s", last.Ended().Sub(from).Seconds(), last.At.Sub(from).Seconds(), last.Error)
	}
	var back []string
	for _, x := range r.Seconds {
		back = append(back, fmt.Sprintf("%d/%d", x.Clusters["east"], x.Clusters["west"]))
	}
	return s + "; answered each second by east/west: " + strings.Join(back, " ")
}
