//go:build lab

package lab_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"isthmus.dev/isthmus/internal/probe"
	"isthmus.dev/isthmus/lab"
)

// leaves takes north out of a mesh that carries calls, by command, and then by the document while north is away. Verify's
// workloads are there, kept by the step before.
func leaves(t *testing.T, two, three string, before []string) {
	for _, c := range []string{"east", "west", "north"} {
		// A name that all three answer: its calls are spread over the clusters.
		kubectl(t, c, "-n", "isthmus-verify", "create", "service", "clusterip", "all", "--tcp=80:8080")
		kubectl(t, c, "-n", "isthmus-verify", "patch", "service", "all", "--type", "merge",
			"-p", `{"spec": {"selector": {"app": "server"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}}`)
	}
	// A rule of its own in place of the mesh's failover, with which callers would prefer their own cluster.
	applied(t, "east", `{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: all, namespace: isthmus-verify},
		spec: {host: all.isthmus-verify.svc.cluster.local, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}}}`, "apply")
	eventually(t, "all three clusters answer", func() (bool, string) {
		by := call(t, t.Context(), "east").by
		return by["east"] > 0 && by["west"] > 0 && by["north"] > 0, fmt.Sprint(by)
	})
	r := must(t, three, "uninstall", "-f", "-", "--cluster", "north")
	if !strings.Contains(r.out, "begins when no proxy of east, west sends to north any more") || len(inventory(t, "north")) == 0 {
		t.Errorf("the plan of north's removal:\n%s", r.out)
	}
	seen := underLoad(t, func() { must(t, three, "uninstall", "-f", "-", "--cluster", "north", "--yes") })
	t.Logf("%d calls while north left, answered by %v", seen.calls, seen.by)
	if len(seen.failed) > 0 || seen.by["north"] == 0 || seen.calls < 100 {
		t.Errorf("of %d calls, answered by %v, these failed: %v", seen.calls, seen.by, seen.failed)
	}
	if by := call(t, t.Context(), "east").by; by["north"] != 0 {
		t.Errorf("north still answers: %v", by)
	}
	for _, c := range []string{"east", "west"} {
		if out := kubectl(t, c, "-n", "istio-system", "get", "secrets", "-o", "name"); strings.Contains(out, "north") {
			t.Errorf("%s still knows north: %s", c, out)
		}
	}
	if made := inventory(t, "north"); len(made) > 0 {
		t.Errorf("north's inventory still names %v", made)
	}
	if r := must(t, two, "apply", "-f", "-"); !strings.Contains(r.out, "nothing was written") {
		t.Errorf("the document without north still changes something:\n%s", r.out)
	}
	kubectl(t, "east", "-n", "isthmus-verify", "delete", "destinationrule", "all")
	for _, c := range []string{"east", "west", "north"} {
		kubectl(t, c, "-n", "isthmus-verify", "delete", "service", "all")
	}
	must(t, three, "apply", "-f", "-")
	proved(t, three, 6) // takes its workloads away as well
	leavesAway(t, two, before)
}

// leavesAway takes north out of the document while it does not answer: the others forget it, it stays pending, and is
// cleaned when it answers again.
func leavesAway(t *testing.T, two string, before []string) {
	if _, err := here(t).Begin(t.Context(), lab.Fault{Kind: "stop", Cluster: "north", Component: "kube-apiserver"}); err != nil {
		t.Fatal(err)
	}
	const unsaid = "nothing but the records of east, west says how it was reached"
	if out := must(t, two, "plan", "-f", "-").out; !strings.Contains(out, unsaid) || !strings.Contains(out, "--leave north=CONTEXT") {
		t.Errorf("nothing says %q, and what to type:\n%s", unsaid, out)
	}
	const pending = "north is no longer in the document and does not answer"
	leave := func(command string, more ...string) []string {
		return append([]string{command, "-f", "-", "--leave", "north=north"}, more...)
	}
	if r := must(t, two, leave("apply")...); !strings.Contains(r.out+must(t, two, leave("plan")...).out, pending) {
		t.Errorf("nothing says %q:\n%s", pending, r.out)
	}
	if out := kubectl(t, "east", "-n", "istio-system", "get", "secrets", "-o", "name"); strings.Contains(out, "north") {
		t.Errorf("east still knows north: %s", out)
	}
	if r := isthmus(t, two, leave("uninstall", "--yes")...); r.code != 1 || !strings.Contains(r.err, pending) {
		t.Errorf("the last memory of north may go: exit %d\n%s", r.code, r.err)
	}
	if _, err := here(t).Mend(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	answersAgain(t, "north")
	had := len(inventory(t, "north"))
	const other = "while the records of east, west know it as"
	if r := must(t, two, "apply", "-f", "-", "--leave", "north=east"); had == 0 || len(inventory(t, "north")) != had || !strings.Contains(must(t, two, "plan", "-f", "-", "--leave", "north=east").out, other) {
		t.Errorf("a context that leads to east:\n%s", r.out)
	}
	must(t, two, leave("apply")...)
	leavesNothing(t, "north", before)
	if r := must(t, two, "plan", "-f", "-"); strings.Contains(r.out, "north") {
		t.Errorf("north is not forgotten:\n%s", r.out)
	}
}

// A tally is how calls went.
type tally struct {
	calls  int
	by     map[string]int // who answered
	failed []string
}

// call makes some calls from a cluster's client to the name that all answer.
func call(t *testing.T, ctx context.Context, from string) tally {
	t.Helper()
	out, err := tryKubectl(t, from, "-n", "isthmus-verify", "exec", "deploy/client", "-c", "probe", "--",
		"/isthmus", "probe", "call", "--to", "http://all/", "--count", "20", "-o", "json")
	seen := tally{by: map[string]int{}}
	if ctx.Err() != nil {
		return seen
	}
	var results []probe.Result
	if jsonErr := json.Unmarshal([]byte(out), &results); jsonErr != nil {
		seen.failed = append(seen.failed, fmt.Sprintf("%v: %s", err, out))
		return seen
	}
	for _, r := range results {
		seen.calls += r.Sent
		for name, n := range r.Clusters {
			seen.by[name] += n
		}
		if !r.OK {
			seen.failed = append(seen.failed, fmt.Sprintf("%s %d %s %s", r.Class, r.Code, r.Error, r.Body))
		}
	}
	return seen
}

// underLoad does something while calls go on, and for a little longer.
func underLoad(t *testing.T, do func()) tally {
	ctx, stop := context.WithCancel(t.Context())
	total := tally{by: map[string]int{}}
	var load sync.WaitGroup
	load.Go(func() {
		for ctx.Err() == nil {
			seen := call(t, ctx, "east")
			total.calls += seen.calls
			total.failed = append(total.failed, seen.failed...)
			for name, n := range seen.by {
				total.by[name] += n
			}
		}
	})
	do()
	pause(ctx, t, 3*time.Second)
	stop()
	load.Wait()
	return total
}

// together lets a colleague hold the lock while a second run wants to write.
func together(t *testing.T, doc string) {
	now := time.Now().UTC().Format("2006-01-02T15:04:05.000000Z")
	kubectl(t, "east", "-n", "istio-system", "delete", "peerauthentication", "default")
	lease := fmt.Sprintf(`{"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "isthmus-lock-shop", "namespace": "isthmus-system",
		"annotations": {"isthmus.dev/holder": "{\"id\": \"x\", \"user\": \"ann\", \"host\": \"laptop\", \"pid\": 1, \"command\": \"isthmus apply\"}"}},
		"spec": {"holderIdentity": "ann@laptop", "leaseDurationSeconds": 60, "acquireTime": %q, "renewTime": %[1]q}}`, now)
	file := filepath.Join(t.TempDir(), "lease.json")
	if err := os.WriteFile(file, []byte(lease), 0o600); err != nil {
		t.Fatal(err)
	}
	kubectl(t, "east", "create", "-f", file)
	for _, args := range [][]string{{"plan", "-f", "-"}, {"check", "-f", "-"}, {"status", "-f", "-"}} {
		must(t, doc, args...)
	}
	// Her run renews it, as far as can be seen from here.
	renewing, stop := context.WithCancel(t.Context())
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		for n := 0; renewing.Err() == nil; n++ {
			_, _ = tryKubectl(t, "east", "-n", "isthmus-system", "annotate", "--overwrite", "lease", "isthmus-lock-shop", fmt.Sprintf("renewed=%d", n)) // once more in a second
			select {
			case <-renewing.Done():
			case <-time.After(time.Second):
			}
		}
	}()
	r := isthmus(t, doc, "apply", "-f", "-")
	stop()
	<-renewed
	if r.code != 1 || !strings.Contains(r.err, "mesh shop is being changed by ann@laptop (isthmus apply) since ") {
		t.Errorf("exit %d while somebody else writes:\n%s\n%s", r.code, r.out, r.err)
	}
	if out, err := tryKubectl(t, "east", "-n", "istio-system", "get", "peerauthentication", "default"); err == nil {
		t.Errorf("it was written all the same: %s", out)
	}
	must(t, doc, "apply", "-f", "-", "--steal-lock")
	for _, c := range []string{"east", "west", "north"} {
		if out := kubectl(t, c, "-n", "isthmus-system", "get", "leases", "-o", "name"); out != "" {
			t.Errorf("%s: left of the lock: %s", c, out)
		}
	}
}
