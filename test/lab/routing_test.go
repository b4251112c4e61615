//go:build lab

package lab_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"isthmus.dev/isthmus/internal/probe"
	"isthmus.dev/isthmus/internal/verify"
)

const routing = "../../examples/routing"

// Of examples/routing: home is the cluster in which alone a version runs, own the version that runs in a cluster, and away
// the one that runs in the other.
var (
	home = map[string]string{"v1": "east", "v2": "west"}
	own  = map[string]string{"east": "v1", "west": "v2"}
	away = map[string]string{"east": "v2", "west": "v1"}
)

// TestRouting is examples/routing on real clusters: every rule of its two files by calls from both clusters, and from
// outside through both clusters' gateways, whose replies name the cluster and the version that answered. It counts calls,
// some while verify runs, and so has the machine for itself.
func TestRouting(t *testing.T) {
	text, err := yaml.Marshal(inTheLab(t, routing, 2))
	if err != nil {
		t.Fatal(err)
	}
	r := routes{doc: string(text), crds: gatewayCRDs(t)}
	before := map[string][]string{}
	for c := range own {
		before[c] = everything(t, c)
	}
	gone := false
	defer func() {
		if !gone {
			r.clean(t)
		}
	}()
	for _, s := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"without the Gateway API's kinds plan says what to install", r.refused},
		{"the files' objects are made in every cluster", r.made},
		{"Istio's ingress gateway leads to the other cluster", func(t *testing.T) { chosen(t, ingresses(t), "shop.example.com") }},
		{"a header and a path choose the version in the other cluster", func(t *testing.T) { chosen(t, inside("echo"), "") }},
		{"weights between versions in two clusters", func(t *testing.T) {
			weighed(t, inside("echo"), "")
			weighed(t, ingresses(t), "shop.example.com")
		}},
		{"a mirror's copies arrive in the other cluster", mirrored},
		{"an error is tried again in the other cluster", retried},
		{"a call that takes too long is ended", hurried},
		{"a Gateway that Istio manages leads HTTP to the other cluster", func(t *testing.T) {
			chosen(t, doors(t), "shop.example.com")
			weighed(t, doors(t), "shop.example.com")
		}},
		{"and gRPC", grpc},
		{"an HTTPRoute of a Service leads workloads to the other cluster", func(t *testing.T) {
			chosen(t, inside("front"), "")
			weighed(t, inside("front"), "")
		}},
		{"verify proves failover and the way in through both ingress gateways, and leaves the others' routes alone", r.verifies},
		{"the second time nothing is written", func(t *testing.T) { writesNothing(t, r.doc, "east", "west") }},
		{"uninstall leaves what was there before", func(t *testing.T) {
			must(t, r.doc, "uninstall", "-f", "-", "--yes")
			r.clean(t)
			gone = true
			for c := range own {
				leavesNothing(t, c, before[c])
				// What uninstall leaves on purpose is not compared, and this is not of its making.
				if crds := kubectl(t, c, "get", "crds", "-o", "name"); strings.Contains(crds, "gateway.networking.k8s.io") {
					t.Errorf("%s still has the Gateway API: %s", c, crds)
				}
			}
		}},
	} {
		if !t.Run(s.name, s.run) {
			t.Fatalf("stopped at %q: the next steps build on it", s.name)
		}
	}
}

// routes are a mesh document, and the folder of the Gateway API's CRDs.
type routes struct{ doc, crds string }

// gatewayCRDs are those of the Gateway API in the version that this Istio is built with.
func gatewayCRDs(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api").Output()
	if err != nil {
		t.Fatalf("find the Gateway API's CRDs: %v", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "config/crd/standard")
}

// clean takes away what is left after uninstall, or instead of it.
func (r routes) clean(t *testing.T) {
	displace(t, "east", "west")
	if len(inventory(t, "east")) > 0 || len(inventory(t, "west")) > 0 {
		must(t, r.doc, "uninstall", "-f", "-", "--yes")
	}
	for c := range own {
		if out, err := tryKubectl(t, c, "delete", "-f", r.crds, "--ignore-not-found"); err != nil {
			t.Errorf("%s: %s", c, out)
		}
	}
}

func (r routes) refused(t *testing.T) {
	for c := range own {
		kubectl(t, c, "apply", "-f", routing+"/namespace.yaml")
	}
	got := isthmus(t, r.doc, "apply", "-f", "-")
	for _, words := range []string{"HTTPRoute traffic/front", "gateway-api.yaml:", "install the Gateway API's CRDs there"} {
		if got.code == 0 || !strings.Contains(got.out+got.err, words) {
			t.Errorf("exit %d, and no %q in\n%s%s", got.code, words, got.out, got.err)
		}
	}
	for c := range own {
		if made := inventory(t, c); len(made) > 0 {
			t.Errorf("%s: a refused apply made %v", c, made)
		}
	}
}

func (r routes) made(t *testing.T) {
	for c := range own {
		kubectl(t, c, "apply", "--server-side", "-f", r.crds)
	}
	must(t, r.doc, "apply", "-f", "-")
	for c, version := range own {
		kubectl(t, c, "apply", "-f", routing+"/workloads.yaml", "-f", routing+"/"+version+".yaml")
	}
	for c := range own {
		for _, o := range []string{
			"gateway.networking.istio.io/outside", "virtualservice/echo", "destinationrule/echo",
			"gateway.gateway.networking.k8s.io/door", "httproute/shop", "httproute/front", "grpcroute/health",
		} {
			if part := kubectl(t, c, "-n", "traffic", "get", o, "-o", `jsonpath={.metadata.labels.isthmus\.dev/part}`); part != "resources" {
				t.Errorf("%s: %s is of part %q", c, o, part)
			}
		}
		kubectl(t, c, "-n", "traffic", "wait", "--for=condition=Programmed", "gateway.gateway.networking.k8s.io/door", "--timeout="+patience.String())
		rolledOut(t, c, "traffic", "door-istio", "caller")
	}
	rolledOut(t, "east", "traffic", "echo-v1")
	rolledOut(t, "west", "traffic", "echo-v2")
	for c := range own {
		reaches(t, c, "east", "west")
	}
}

// verifies has verify come in through both clusters' ingress gateways, beside the Gateway of the files that serves the
// same port, while calls of that one go on; and name what keeps calls out.
func (r routes) verifies(t *testing.T) {
	objects := func(c string) string {
		return kubectl(t, c, "get", "gateways.networking.istio.io,virtualservices,authorizationpolicies", "-A", "-o", `jsonpath={range .items[*]}{.kind}/{.metadata.namespace}/{.metadata.name}@{.metadata.resourceVersion} {end}`)
	}
	before := map[string]string{}
	for c := range own {
		before[c] = objects(c)
	}
	cmd := command(t.Context(), t, r.doc, "verify", "-f", "-", "-o", "json")
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	seen, ways := map[string]int{}, ingresses(t)
	for running := true; running; {
		for _, w := range ways {
			for how, n := range by(w.make(t, times(10, probe.Call{To: "http://" + w.address + "/", Headers: map[string]string{"host": "shop.example.com"}})...)) {
				seen[how] += n
			}
		}
		select {
		case err := <-ended:
			if running = false; err != nil {
				t.Errorf("verify: %v: %s", err, errOut.String())
			}
		default:
		}
	}
	var proof verify.Proof
	if err := json.Unmarshal(out.Bytes(), &proof); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	if n := proof.Tallies(); !proof.Passed || n.Ingress != (verify.Tally{Proved: 2, Asked: 2}) || n.Failover != (verify.Tally{Proved: 2, Asked: 2}) {
		t.Errorf("through ingress %v, failover %v: %v", n.Ingress, n.Failover, proof.Failures)
	}
	for _, c := range proof.Ingress {
		t.Logf("outside %s (in %s) → ingress of %s → %s: %d tries, %+v", c.Door, c.From, c.Via, c.To, c.Tries, c.Result.Clusters)
	}
	for _, f := range proof.Failover {
		t.Logf("failover from %s: before %v, after %v; of %d calls %d failed, %d at home", f.From, f.Before, f.After, f.Sent, f.Failed, f.Home)
	}
	t.Logf("verified in %d ms, while the shop's calls went on: %v", proof.TookMillis, seen)
	if total := seen["east v1"] + seen["west v2"]; len(seen) > 2 || total == 0 {
		t.Errorf("calls of the shop meanwhile: %v", seen)
	}
	for c := range own {
		eventually(t, c+" has no object of verify's any more, and all others as they were", func() (bool, string) {
			now := objects(c)
			return now == before[c], now
		})
	}

	kubectl(t, "west", "-n", "istio-system", "scale", "deployment", "istio-ingressgateway", "--replicas=0")
	defer func() {
		kubectl(t, "west", "-n", "istio-system", "scale", "deployment", "istio-ingressgateway", "--replicas=1")
		rolledOut(t, "west", "istio-system", "istio-ingressgateway")
		must(t, r.doc, "apply", "-f", "-")
	}()
	eventually(t, "west's ingress gateway has no pod", func() (bool, string) {
		out := kubectl(t, "west", "-n", "istio-system", "get", "deployment", "istio-ingressgateway", "-o", "jsonpath={.status.readyReplicas}")
		return out == "", out
	})
	proof = verify.Proof{}
	red := isthmus(t, r.doc, "verify", "-f", "-", "-o", "json")
	if err := json.Unmarshal([]byte(red.out), &proof); err != nil {
		t.Fatalf("exit %d, %v: %s", red.code, err, red.err)
	}
	if red.code != 4 || len(proof.Failures) != 1 || !names(proof, "ingress-not-ready", "outside → west → east") {
		t.Errorf("with west's ingress gateway gone: %s", said(proof))
	}
}

// A way is where calls to something begin, and where to they go there.
type way struct {
	// from is the cluster whose caller calls; empty: from outside.
	from string
	// cluster is where the first proxy is that a call meets.
	cluster, address string
}

// inside are the ways to a service from the callers of both clusters.
func inside(service string) []way {
	return []way{{"east", "east", service + ".traffic:80"}, {"west", "west", service + ".traffic:80"}}
}

// ingresses are the ways in from outside through Istio's ingress gateways.
func ingresses(t *testing.T) []way {
	t.Helper()
	return []way{{"", "east", ingress(t, "east") + ":80"}, {"", "west", ingress(t, "west") + ":80"}}
}

// doors are the ways in from outside through the Gateways for which Istio itself runs the proxies.
func doors(t *testing.T) []way {
	t.Helper()
	var out []way
	for _, c := range []string{"east", "west"} {
		address := kubectl(t, c, "-n", "traffic", "get", "gateway.gateway.networking.k8s.io", "door", "-o", "jsonpath={.status.addresses[0].value}")
		if address == "" {
			t.Fatalf("%s's door has no address", c)
		}
		out = append(out, way{"", c, address + ":80"})
	}
	return out
}

// make makes calls in the same way and returns how each went.
func (w way) make(t *testing.T, calls ...probe.Call) []probe.Result {
	t.Helper()
	plan, err := json.Marshal(calls)
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"probe", "call", "--plan", "-", "-o", "json"}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := command(ctx, t, "", args...)
	if w.from != "" {
		cmd = exec.CommandContext(ctx, world.programs.Program("kubectl"), append([]string{
			"--kubeconfig", here(t).Kubeconfig, "--context", w.from, "-n", "traffic", "exec", "-i", "deploy/caller", "-c", "caller", "--", "/isthmus",
		}, args...)...)
	}
	var out, errOut bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(plan), &out, &errOut
	err = cmd.Run()
	var results []probe.Result
	if json.Unmarshal(out.Bytes(), &results) != nil || len(results) != len(calls) {
		t.Fatalf("%d calls to %s: %v: %s%s", len(calls), w, err, out.String(), errOut.String())
	}
	return results
}

func (w way) String() string {
	if w.from == "" {
		return "outside through " + w.cluster + " (" + w.address + ")"
	}
	return w.from + " to " + w.address
}

// times is a call so many times; each is a call of its own, over a connection of its own.
func times(n int, c probe.Call) []probe.Call {
	out := make([]probe.Call, n)
	for i := range out {
		out[i] = c
	}
	return out
}

// by counts answers by the cluster and version that gave them, and the rest by how they went wrong.
func by(results []probe.Result) map[string]int {
	out := map[string]int{}
	for _, r := range results {
		switch {
		case r.OK:
			out[r.Reply.Cluster+" "+r.Reply.Version]++
		default:
			out[fmt.Sprintf("%s %d %s", r.Class, r.Code, r.Flag)]++
		}
	}
	return out
}

// only tells whether all of some calls were answered by one version, where it runs.
func only(results []probe.Result, version string) bool {
	return by(results)[home[version]+" "+version] == len(results)
}

// chosen asks for each version by header and by path: those that run in the other cluster than where the call enters
// are the proof, the others tell that it is not always the other cluster that answers.
func chosen(t *testing.T, ways []way, host string) {
	const often = 20
	for _, w := range ways {
		for version, cluster := range home {
			for _, c := range []probe.Call{
				{To: "http://" + w.address + "/", Headers: map[string]string{"host": host, "x-version": version}},
				{To: "http://" + w.address + "/" + version + "/x", Headers: map[string]string{"host": host}},
			} {
				if host == "" {
					delete(c.Headers, "host")
				}
				what := fmt.Sprintf("%s, %s, headers %v: %s in %s answers", w, c.To, c.Headers, version, cluster)
				eventually(t, what, func() (bool, string) {
					results := w.make(t, times(often, c)...)
					return only(results, version), fmt.Sprint(by(results))
				})
				t.Logf("%d of %d: %s", often, often, what)
			}
		}
	}
}

// weighed makes calls that the default route shares out: 90 of 100 to v1 in east, 10 to v2 in west. A share is right
// within six standard deviations of the binomial distribution: one run of a hundred million is refused by chance, and
// equal shares or a share of nothing always are.
func weighed(t *testing.T, ways []way, host string) {
	const n, p = 400, 0.1
	wide := 6 * math.Sqrt(n*p*(1-p))
	for _, w := range ways {
		c := probe.Call{To: "http://" + w.address + "/"}
		if host != "" {
			c.Headers = map[string]string{"host": host}
		}
		got := by(w.make(t, times(n, c)...))
		first, second := got["east v1"], got["west v2"]
		t.Logf("%s: of %d calls %d were answered by v1 in east, %d by v2 in west (%.1f %%)", w, n, first, second, 100*float64(second)/n)
		if first+second != n {
			t.Errorf("%s: of %d calls not all were answered: %v", w, n, got)
		}
		if math.Abs(float64(second)-n*p) > wide {
			t.Errorf("%s: of %d calls %d were answered by v2, want %d ± %.0f", w, n, second, int(n*p), wide)
		}
	}
}

// counted is how many calls of a path the pod of a version got, by its own count.
func counted(t *testing.T, version, path string) int {
	t.Helper()
	out := kubectl(t, home[version], "-n", "traffic", "exec", "deploy/echo-"+version, "-c", "server", "--",
		"/isthmus", "probe", "call", "-o", "json", "--to", fmt.Sprintf("http://127.0.0.1:%d/-/count", probe.PortHTTP))
	var results []probe.Result
	if err := json.Unmarshal([]byte(out), &results); err != nil || len(results) != 1 || !results[0].OK || results[0].Reply.Version != version {
		t.Fatalf("count of %s: %v: %s", version, err, out)
	}
	return results[0].Reply.Counts[path]
}

func mirrored(t *testing.T) {
	const n = 50
	for _, w := range append(inside("echo"), ingresses(t)...) {
		path := "/mirrored/" + w.cluster + "/" + w.from
		c := probe.Call{To: "http://" + w.address + path}
		if w.from == "" {
			c.Headers = map[string]string{"host": "shop.example.com"}
		}
		results := w.make(t, times(n, c)...)
		if !only(results, "v1") {
			t.Errorf("%s: %v, want v1 to answer every call", w, by(results))
		}
		eventually(t, fmt.Sprintf("%s: v2 in west got a copy of each of %d calls", w, n), func() (bool, string) {
			copies, calls := counted(t, "v2", path), counted(t, "v1", path)
			return copies == n && calls == n, fmt.Sprintf("v1 counts %d calls, v2 %d copies", calls, copies)
		})
		t.Logf("%s: %d calls answered by v1 in east, %d copies counted by v2 in west", w, n, n)
	}
}

// attempt is how many attempts a call took, as the last of them says.
func attempt(r probe.Result) string {
	if r.Reply == nil {
		return ""
	}
	return r.Reply.Headers["x-envoy-attempt-count"]
}

func retried(t *testing.T) {
	const n = 30
	const bad = "/-/status/503"
	for _, w := range append(inside("echo"), ingresses(t)...) {
		version, rescuer := own[w.cluster], away[w.cluster]
		call := func(path string) probe.Call {
			c := probe.Call{To: "http://" + w.address + path}
			if w.from == "" {
				c.Headers = map[string]string{"host": "shop.example.com"}
			}
			return c
		}
		before := counted(t, version, bad)
		once := by(w.make(t, times(n, call("/once"+bad+"?cluster="+w.cluster))...))
		if once["status 503 "] != n || counted(t, version, bad)-before != n {
			t.Errorf("%s: without retries %v, want %d errors of the preferred cluster", w, once, n)
		}
		before = counted(t, version, bad)
		results := w.make(t, times(n, call("/retried"+bad+"?cluster="+w.cluster))...)
		refused := counted(t, version, bad) - before
		if !only(results, rescuer) || refused < n {
			t.Errorf("%s: with retries %v after %d refused attempts, want every call refused and then answered by %s", w, by(results), refused, rescuer)
		}
		for _, x := range results {
			if a := attempt(x); x.OK && (a == "" || a == "1") {
				t.Errorf("%s: answered at attempt %q: nothing was tried again", w, a)
			}
		}
		// Whoever is asked: two attempts fail, and the third is answered.
		for _, x := range w.make(t, times(n, call("/retried"+bad+"?attempts=2"))...) {
			if !x.OK || attempt(x) != "3" {
				t.Errorf("%s: %+v at attempt %q, want an answer at the third", w, x, attempt(x))
			}
		}
		t.Logf("%s: %d of %d failed once; with retries %v after %d refused attempts", w, once["status 503 "], n, by(results), refused)
	}
}

func hurried(t *testing.T) {
	const n = 10
	for _, w := range append(inside("echo"), ingresses(t)...) {
		version := away[w.cluster]
		c := probe.Call{To: "http://" + w.address + "/hurried/" + version + "/-/wait/20s", TimeoutMillis: 30_000}
		// The same server, asked by a route without a timeout, waits and answers.
		patient := probe.Call{To: "http://" + w.address + "/-/wait/1s", Headers: map[string]string{"x-version": version}, TimeoutMillis: 30_000}
		if w.from == "" {
			c.Headers = map[string]string{"host": "shop.example.com"}
			patient.Headers["host"] = "shop.example.com"
		}
		before := counted(t, version, "/-/wait/20s")
		results := w.make(t, times(n, c)...)
		for _, x := range results {
			if x.Code != http.StatusGatewayTimeout || x.Flag != "UT" {
				t.Errorf("%s: %+v, want 504 by the proxy", w, x)
			}
		}
		if counted(t, version, "/-/wait/20s") == before {
			t.Errorf("%s: none of %d calls arrived at %s: what ended them was not that it is slow", w, n, version)
		}
		if results := w.make(t, times(n, patient)...); !only(results, version) {
			t.Errorf("%s: without a timeout %v", w, by(results))
		}
		t.Logf("%s: %d slow calls of %s ended with 504, %d without a timeout answered", w, n, version, n)
	}
}

// grpc: a header chooses v2, and whoever has none gets v1.
func grpc(t *testing.T) {
	const often = 20
	for _, w := range doors(t) {
		for version, headers := range map[string]map[string]string{
			"v1": {"host": "grpc.example.com"},
			"v2": {"host": "grpc.example.com", "x-version": "v2"},
		} {
			what := fmt.Sprintf("%s, gRPC, headers %v: %s in %s answers", w, headers, version, home[version])
			eventually(t, what, func() (bool, string) {
				results := w.make(t, times(often, probe.Call{To: "grpc://" + w.address, Headers: headers})...)
				for _, x := range results {
					if x.OK && x.Reply.Protocol != probe.GRPC {
						return false, fmt.Sprintf("%+v", x.Reply)
					}
				}
				return only(results, version), fmt.Sprint(by(results))
			})
			t.Logf("%d of %d: %s", often, often, what)
		}
		// No route has another name: nobody answers in the place of one.
		if x := w.make(t, probe.Call{To: "grpc://" + w.address, Headers: map[string]string{"host": "other.example.com"}})[0]; x.OK {
			t.Errorf("%s: a name that no route has is answered by %+v", w, x.Reply)
		}
	}
}
