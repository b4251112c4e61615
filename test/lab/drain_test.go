//go:build lab

package lab_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/probe"
	"isthmus.dev/isthmus/internal/verify"
	"isthmus.dev/isthmus/lab"
)

// drains keeps calls away from west under load, from east, from west itself, and from outside through west's ingress
// gateway; looks at what is said meanwhile, and lets the calls come back.
func drains(t *testing.T, doc string) {
	applied(t, "west", drainIngress, "apply")
	d := draining{doc: doc}
	for _, s := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"refused where a service is in that cluster alone", d.refused},
		{"a dry run shows it and changes nothing", d.shown},
		{"under load", d.underLoad},
		{"killed half way, it goes on when it is run again", d.killed},
		{"it lasts, and everybody says so", d.lasts},
		{"a cluster whose API server does not answer", d.away},
	} {
		if !t.Run(s.name, s.run) {
			t.Fatalf("stopped at %q: the next steps build on it", s.name)
		}
	}
}

type draining struct{ doc string }

// drainIngress leads whoever comes from outside to the service.
const drainIngress = `
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: outside, namespace: traffic}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: outside, namespace: traffic}
spec:
  gateways: [outside]
  hosts: ["*"]
  http:
  - route:
    - destination: {host: echo.traffic.svc.cluster.local, port: {number: 80}}
`

func (d draining) refused(t *testing.T) {
	kubectl(t, "east", "-n", "traffic", "scale", "deployment", "echo", "--replicas=0")
	eventually(t, "drain names the service whose pods are in west alone", func() (bool, string) {
		r := isthmus(t, d.doc, "drain", "west", "-f", "-")
		return r.code == 1 && strings.Contains(r.err, "echo.traffic.svc.cluster.local") && strings.Contains(r.err, "--force"), r.out + r.err
	})
	kubectl(t, "east", "-n", "traffic", "scale", "deployment", "echo", "--replicas=1")
	rolledOut(t, "east", "traffic", "echo")
	reaches(t, "west", "east", "west")
	if r := isthmus(t, d.doc, "drain", "wset", "-f", "-"); r.code != 2 || !strings.Contains(r.err, "east, west") {
		t.Errorf("a cluster that there is not: exit %d %s", r.code, r.err)
	}
}

func (d draining) shown(t *testing.T) {
	before := versions(t, "east")
	r := must(t, d.doc, "drain", "west", "--dry-run", "-f", "-")
	for _, words := range []string{"istio-remote-secret-west", "west is drained", "Nothing was changed"} {
		if !strings.Contains(r.out, words) {
			t.Errorf("no %q in what a dry run shows:\n%s", words, r.out)
		}
	}
	if after := versions(t, "east"); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Error("a dry run wrote something")
	}
}

// rate is calls a second of each of the larger loads: together 200.
const rate = 60

// underLoad takes longer loads where a busy machine takes longer to drain and undrain.
func (d draining) underLoad(t *testing.T) {
	for long := 50 * time.Second; !d.underLoadOf(t, long); long *= 2 {
		t.Logf("loads of %s had ended before calls came back", long)
	}
}

// underLoadOf drains and undrains under loads of some length, and tells whether they went on for long enough.
func (d draining) underLoadOf(t *testing.T, long time.Duration) bool {
	ended := time.Now().Add(long)
	loads := map[string]func() probe.LoadResult{
		"from east, HTTP": load(t, "east", "http://echo.traffic:80/", rate, long),
		"from west, HTTP": load(t, "west", "http://echo.traffic:80/", rate, long),
		"from west, gRPC": load(t, "west", "grpc://echo.traffic:90", 10, long),
		"from east, gRPC": load(t, "east", "grpc://echo.traffic:90", 10, long),
		"from outside":    fromOutside(t, ingress(t, "west"), rate, long),
	}
	pause(t.Context(), t, 5*time.Second)
	began := time.Now()
	r := must(t, d.doc, "drain", "west", "-f", "-")
	reported := time.Now()
	if !strings.Contains(r.out, "west is drained") || !strings.Contains(r.out, "go to east") {
		t.Errorf("drain says: %s", r.out)
	}
	pause(t.Context(), t, 12*time.Second)
	undrained := time.Now()
	must(t, d.doc, "undrain", "west", "-f", "-")
	back := time.Now()
	enough := back.Add(5 * time.Second).Before(ended)
	for name, wait := range loads {
		judged(t, name, wait(), began, reported, undrained, back, enough)
	}
	return enough
}

// judged: not one call fails, none reaches west while it is drained, and it answers before and, if the load went on for
// long enough, after.
func judged(t *testing.T, name string, r probe.LoadResult, began, reported, undrained, back time.Time, enough bool) {
	t.Helper()
	t.Logf("%s: %d calls, %d failed, answered by %v", name, r.Sent, len(r.Misses), r.Clusters)
	for i, m := range r.Misses {
		if i < 5 {
			t.Errorf("%s: a call failed %.1f s after drain reported: %s", name, m.At.Sub(reported).Seconds(), m.Error)
		}
	}
	before, after := 0, 0
	for _, s := range r.Seconds {
		n, end := s.Clusters["west"], s.At.Add(time.Second)
		switch {
		case end.Before(began):
			before += n
		case s.At.After(reported) && end.Before(undrained) && n > 0:
			t.Errorf("%s: %d calls reached west in a second that began %.0f s after it was reported drained", name, n, s.At.Sub(reported).Seconds())
		case s.At.After(back):
			after += n
		}
	}
	if before == 0 || enough && after == 0 {
		t.Errorf("%s: west answered %d calls before and %d after: the load proves nothing", name, before, after)
	}
}

// killed: the program is gone in the middle of a drain; run again it comes to the same end, and so does an undrain.
func (d draining) killed(t *testing.T) {
	for _, after := range []time.Duration{900 * time.Millisecond, 1800 * time.Millisecond, 3 * time.Second} {
		kill(t, after, d.doc, "drain", "west", "-f", "-")
		t.Logf("killed after %s: east's record says %s", after, record(t, "east"))
	}
	must(t, d.doc, "drain", "west", "-f", "-")
	for _, c := range []string{"east", "west"} {
		if r := load(t, c, "http://echo.traffic:80/", 20, 2*time.Second)(); r.Clusters["west"] != 0 || r.Answered == 0 {
			t.Errorf("calls from %s after the drain that was killed and run again: answered by %v, missed %v", c, r.Clusters, r.Misses)
		}
	}
	kill(t, 1800*time.Millisecond, d.doc, "undrain", "west", "-f", "-")
	must(t, d.doc, "undrain", "west", "-f", "-")
	reaches(t, "west", "east", "west")
	if r := must(t, d.doc, "apply", "-f", "-"); !strings.Contains(r.out, "nothing was written") {
		t.Errorf("a drain that was killed left something to do: %s", r.out)
	}
}

// record is what a cluster remembers of the members of the mesh.
func record(t *testing.T, cluster string) string {
	t.Helper()
	return kubectl(t, cluster, "-n", object.SystemNamespace, "get", "configmap", facts.InventoryName("shop"), "-o", "jsonpath={.data.members}")
}

// away: the others lose sight of a cluster that nobody can ask, which learns of it when it answers again.
func (d draining) away(t *testing.T) {
	if _, err := here(t).Begin(t.Context(), lab.Fault{Kind: "stop", Cluster: "west", Component: "kube-apiserver"}); err != nil {
		t.Fatal(err)
	}
	mended := false
	mend := func() {
		if mended {
			return
		}
		mended = true
		if _, err := here(t).Mend(context.WithoutCancel(t.Context()), ""); err != nil {
			t.Error(err)
		}
		answersAgain(t, "west")
	}
	defer mend()
	if r := isthmus(t, d.doc, "drain", "west", "-f", "-"); r.code != 1 || !strings.Contains(r.err, "west does not answer") || !strings.Contains(r.err, "--skip-unreachable") {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
	r := must(t, d.doc, "drain", "west", "--skip-unreachable", "-f", "-")
	if !strings.Contains(r.out, "what is called from there is not known") {
		t.Errorf("drain says: %s", r.out)
	}
	if r := load(t, "east", "http://echo.traffic:80/", 20, 3*time.Second)(); r.Clusters["west"] != 0 || len(r.Misses) > 0 {
		t.Errorf("calls from east after west was drained that does not answer: answered by %v, missed %v", r.Clusters, r.Misses)
	}
	mend()
	// East's word alone drains nobody and its silence brings nobody back: a person says which it is, and west learns of it.
	if r := isthmus(t, d.doc, "apply", "-f", "-"); r.code != 1 || !strings.Contains(r.err, "say the records of east") || !strings.Contains(r.err, "isthmus drain west, or isthmus undrain west") {
		t.Errorf("apply with one record of two: exit %d: %s%s", r.code, r.out, r.err)
	}
	must(t, d.doc, "drain", "west", "-f", "-")
	if r := must(t, d.doc, "status", "-f", "-"); !strings.Contains(r.out, "west is drained") {
		t.Errorf("status does not say it: %s", r.out)
	}
	eventually(t, "west's own calls go to east", func() (bool, string) {
		r := load(t, "west", "http://echo.traffic:80/", 20, time.Second)()
		return r.Clusters["west"] == 0 && r.Answered > 0, fmt.Sprint(r.Clusters, r.Misses)
	})
	must(t, d.doc, "undrain", "west", "-f", "-")
	reaches(t, "east", "east", "west")
}

// lasts: istiods that start anew and somebody who applies the document change nothing, and everybody says so.
func (d draining) lasts(t *testing.T) {
	must(t, d.doc, "drain", "west", "-f", "-")
	reported := time.Now()
	for _, c := range []string{"east", "west"} {
		restart(t, c, "istio-system", "istiod")
	}
	if r := must(t, d.doc, "apply", "-f", "-"); !strings.Contains(r.out, "nothing was written") {
		t.Errorf("apply undoes a drain: %s", r.out)
	}
	for _, c := range []string{"east", "west"} {
		if r := load(t, c, "http://echo.traffic:80/", 20, 3*time.Second)(); r.Clusters["west"] != 0 || r.Answered == 0 {
			t.Errorf("calls from %s, %s after it was reported drained: answered by %v, missed %v", c, time.Since(reported).Round(time.Second), r.Clusters, r.Misses)
		}
	}
	if r := must(t, d.doc, "status", "-f", "-"); !strings.Contains(r.out, "west is drained") {
		t.Errorf("status does not say it: %s", r.out)
	}
	if r := must(t, d.doc, "drain", "west", "-f", "-"); !strings.Contains(r.out, "west is drained") {
		t.Errorf("drained again: %s", r.out)
	}
	if r := isthmus(t, d.doc, "drain", "east", "-f", "-"); r.code != 1 || !strings.Contains(r.err, "cannot be drained") {
		t.Errorf("the last cluster was drained too: exit %d %s%s", r.code, r.out, r.err)
	}
	r := must(t, d.doc, "verify", "-f", "-", "-o", "json", "--keep")
	var proof verify.Proof
	if err := json.Unmarshal([]byte(r.out), &proof); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(proof.Cells, func(c verify.Cell) bool { return c.Drained })
	if !proof.Passed || i < 0 || proof.Cells[i].From != "east" || proof.Cells[i].To != "west" {
		t.Errorf("verify: %+v", proof)
	}
	if r := isthmus(t, d.doc, "explain", "--from", "east", "--to", "west", "-f", "-"); !strings.Contains(r.out, "isthmus undrain west") {
		t.Errorf("explain: %s%s", r.out, r.err)
	}
	must(t, d.doc, "undrain", "west", "-f", "-")
	if r := must(t, d.doc, "apply", "-f", "-"); !strings.Contains(r.out, "nothing was written") {
		t.Errorf("after undrain there is more to do: %s", r.out)
	}
	proved(t, d.doc, 2)
	reaches(t, "west", "east", "west")
}

// fromOutside makes calls as a client outside the mesh does, over connections that it keeps.
func fromOutside(t *testing.T, address string, rate int, long time.Duration) func() probe.LoadResult {
	t.Helper()
	call := probe.Call{To: "http://" + address + "/", TimeoutMillis: 5000}
	var r probe.LoadResult
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		r, err = (probe.Caller{Now: time.Now}).Load(context.WithoutCancel(t.Context()), probe.Load{Call: call, Rate: rate, For: long})
	}()
	return func() probe.LoadResult {
		t.Helper()
		if <-done; err != nil {
			t.Fatal(err)
		}
		return r
	}
}
