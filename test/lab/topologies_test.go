//go:build lab

package lab_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"isthmus.dev/isthmus/internal/verify"
)

// A topology is an example, the lab's clusters that take the places of its clusters, and the way that calls between
// those take. In the lab west and north share a network, so that their pods reach each other; east is on its own.
type topology struct {
	example  string
	clusters []string
	// direct are the pairs whose calls go from pod to pod, "west north"; all others go through gateways.
	direct []string
	// remotes are the clusters that another's istiod serves, external those whose own runs in the first.
	remotes, external []string
	// drained are clusters to drain together, one drain after another.
	drained [][]string
}

var topologies = []topology{
	{example: "one-network", clusters: []string{"west", "north"}, direct: []string{"west north"}},
	{example: "primary-remote-one-network", clusters: []string{"west", "north"}, direct: []string{"west north"}, remotes: []string{"north"}},
	{example: "primary-remote", clusters: []string{"east", "west"}, remotes: []string{"west"}},
	{example: "external-control-plane", clusters: []string{"east", "west"}, external: []string{"west"}, drained: [][]string{{"west"}}},
	{example: "mixed", clusters: []string{"east", "west", "north"}, direct: []string{"west north"}, remotes: []string{"north"}, drained: [][]string{{"north"}, {"west", "north"}}},
}

// TestTopologies makes a mesh of every example in one apply, proves it, writes nothing the second time, and takes it
// away again. Several primaries on different networks are TestMesh's.
func TestTopologies(t *testing.T) {
	t.Parallel()
	for _, top := range topologies {
		t.Run(top.example, func(t *testing.T) {
			beside(t)
			before := map[string][]string{}
			for _, c := range top.clusters {
				before[c] = everything(t, c)
			}
			doc, began := top.document(t), time.Now()
			if top.example == "primary-remote" {
				firstRound(t, doc)
			}
			must(t, doc, "apply", "-f", "-")
			top.proved(t, doc)
			writesNothing(t, doc, top.clusters...)
			top.looks(t, doc)
			accountsUse(t, top.clusters, began)
			if top.example == "one-network" {
				movesNetworks(t, top, doc)
			}
			if len(top.drained) > 0 {
				top.drains(t, doc)
			}
			must(t, doc, "uninstall", "-f", "-", "--yes")
			for _, c := range top.clusters {
				leavesNothing(t, c, before[c])
			}
		})
	}
}

// firstRound leaves the mesh as an apply does that is killed between its rounds: a saved plan is one round, and the remote
// waits for the address that it brings.
func firstRound(t *testing.T, doc string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "mesh.plan")
	must(t, doc, "plan", "-f", "-", "--out", file)
	if r := must(t, doc, "apply", file, "-f", "-"); !strings.Contains(r.out, "for the clusters that waited for what this plan brought") {
		t.Errorf("apply of a plan that is one round of two says:\n%s", r.out)
	}
	if r := isthmus(t, doc, "plan", "-f", "-", "--detailed-exitcode"); r.code != 3 {
		t.Errorf("after one round there is nothing left to do: exit %d\n%s", r.code, r.out)
	}
}

// document is the example with the lab's clusters in it, and what the quickstart says for the lab.
func (top topology) document(t *testing.T) string {
	t.Helper()
	read := func(name string) map[string]any {
		text, err := os.ReadFile(filepath.Join("../../examples", name, "mesh.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		var doc map[string]any
		if err := yaml.Unmarshal(text, &doc); err != nil {
			t.Fatal(err)
		}
		return doc
	}
	doc, lab := read(top.example), read("quickstart")["spec"].(map[string]any)
	spec := doc["spec"].(map[string]any)
	spec["istio"], spec["verify"] = lab["istio"], lab["verify"]
	list := spec["clusters"].([]any)
	if len(list) != len(top.clusters) {
		t.Fatalf("example %s has %d clusters, the test names %v", top.example, len(list), top.clusters)
	}
	called := map[string]string{}
	for i, c := range list {
		called[c.(map[string]any)["name"].(string)] = top.clusters[i]
	}
	for _, c := range list {
		c := c.(map[string]any)
		delete(c, "access")
		c["name"] = called[c["name"].(string)]
		if p, ok := c["controlPlane"].(map[string]any); ok {
			for field, of := range p {
				p[field] = called[of.(string)]
			}
		}
	}
	out, err := yaml.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// proved runs verify, and looks whether it asked for every pair and by which way the calls should have gone.
func (top topology) proved(t *testing.T, doc string) {
	t.Helper()
	proof := prove(t, doc)
	asked := 0
	for _, c := range proof.Cells {
		if c.From == c.To {
			continue
		}
		asked++
		want := verify.Gateway
		if slices.Contains(top.direct, c.From+" "+c.To) || slices.Contains(top.direct, c.To+" "+c.From) {
			want = verify.Direct
		}
		if !c.OK || !c.Delivered() || !c.Encrypted() || c.Path != want {
			t.Errorf("%s → %s: ok %t, path %s, want %s: %s", c.From, c.To, c.OK, c.Path, want, c.Wrong)
		}
	}
	if n := len(top.clusters); asked != n*(n-1) || !proof.Passed {
		t.Fatalf("%d pairs were asked of %d clusters; failures: %v", asked, n, proof.Failures)
	}
	if slices.ContainsFunc(proof.Refusals, func(r verify.Refusal) bool { return !r.OK || r.Tries == 0 }) {
		t.Errorf("a stranger was not turned away: %+v", proof.Refusals)
	}
}

// prove runs verify, which must be green.
func prove(t *testing.T, doc string) verify.Proof {
	t.Helper()
	r := isthmus(t, doc, "verify", "-f", "-", "-o", "json")
	var proof verify.Proof
	if err := json.Unmarshal([]byte(r.out), &proof); err != nil || r.code != 0 {
		t.Fatalf("verify: exit %d, %v, %v\n%s", r.code, err, proof.Failures, r.err)
	}
	return proof
}

// looks asks what is running: no istiod where there should be none, and check and status that know so.
func (top topology) looks(t *testing.T, doc string) {
	t.Helper()
	for _, c := range top.clusters {
		served := slices.Contains(top.remotes, c) || slices.Contains(top.external, c)
		istiods := kubectl(t, c, "get", "deployments", "-A", "-l", "app=istiod", "-o", "name")
		secrets := kubectl(t, c, "get", "secrets", "-A", "-o", "name")
		if served != (istiods == "") || served == strings.Contains(secrets, "cacerts") {
			t.Errorf("%s is served from elsewhere: %t; its istiods are %q, its Secrets %q", c, served, istiods, secrets)
		}
	}
	for _, c := range top.external {
		istiod := "external-istiod-" + c
		if out := kubectl(t, top.clusters[0], "get", "deployments", "-n", istiod, "-o", "name"); out != "deployment.apps/istiod" {
			t.Errorf("%s's istiod is not in %s: %q", c, top.clusters[0], out)
		}
	}
	eventually(t, "status finds nothing wrong", func() (bool, string) { // istiod pushes still what verify took away
		r := must(t, doc, "status", "-f", "-")
		return strings.Contains(r.out, "All is well"), r.out
	})
	must(t, doc, "check", "-f", "-")
}

// drains keeps calls from clusters that have no control plane of their own, and from two at once, and lets them back.
func (top topology) drains(t *testing.T, doc string) {
	t.Helper()
	defer displace(t, top.clusters...)
	place(t, top.clusters...)
	for n, together := range top.drained {
		must(t, doc, slices.Concat([]string{"drain"}, together, []string{"-f", "-"})...)
		for _, from := range top.clusters {
			r := load(t, from, "http://echo.traffic:80/", 40, 2*time.Second)()
			for _, c := range together {
				if r.Clusters[c] > 0 || len(r.Misses) > 0 || r.Answered == 0 {
					t.Errorf("%v drained, calls from %s: answered by %v, missed %v", together, from, r.Clusters, r.Misses)
				}
			}
		}
		if n == len(top.drained)-1 {
			top.provedDrained(t, doc, together)
		}
		must(t, doc, slices.Concat([]string{"undrain"}, together, []string{"-f", "-"})...)
	}
}

// provedDrained runs verify, which knows whom nobody is to call, and applies the document, which changes nothing.
func (top topology) provedDrained(t *testing.T, doc string, drained []string) {
	t.Helper()
	proof := prove(t, doc)
	some := false
	for _, c := range proof.Cells {
		some = some || c.Drained
		if into := slices.Contains(drained, c.To) && c.From != c.To; c.Drained && !into {
			t.Errorf("%v drained: verify takes %s → %s for drained", drained, c.From, c.To)
		}
	}
	if !some {
		t.Errorf("%v drained: verify says nothing of it", drained)
	}
	writesNothing(t, doc, top.clusters...)
}

// movesNetworks takes a running mesh from one network to two and back: each is a plan like any other, and the mesh is
// proved after each.
func movesNetworks(t *testing.T, one topology, doc string) {
	apart := strings.ReplaceAll(doc, "network: vpc-1", "")
	two := one
	two.direct = nil
	r := must(t, apart, "plan", "-f", "-")
	for _, want := range []string{"east-west gateway", "topology.istio.io/network", "disturbs: moves west from network vpc-1 to west"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("the plan of two networks does not say %q:\n%s", want, r.out)
		}
	}
	must(t, apart, "apply", "-f", "-")
	two.proved(t, apart)
	writesNothing(t, apart, two.clusters...)
	must(t, doc, "apply", "-f", "-")
	one.proved(t, doc)
	writesNothing(t, doc, one.clusters...)
}
