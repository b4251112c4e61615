//go:build lab

package lab_test

import (
	cmp2 "cmp"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"isthmus.dev/isthmus/internal/verify"
)

// TestMesh is the main job on real clusters, in the order in which people do it: two clusters become a mesh, a third
// joins, things break and are mended, everything goes away again.
func TestMesh(t *testing.T) {
	two, three := document(t, "east", "west"), document(t, "east", "west", "north")
	before := map[string][]string{}
	for _, c := range []string{"east", "west", "north"} {
		before[c] = everything(t, c)
	}
	steps := []struct {
		name string
		run  func(*testing.T)
	}{
		{"check finds nothing in the way", func(t *testing.T) { must(t, two, "check", "-f", "-") }},
		{"plan writes nothing", func(t *testing.T) {
			r := isthmus(t, two, "plan", "-f", "-", "--detailed-exitcode")
			if r.code != 3 || len(inventory(t, "east")) != 0 {
				t.Errorf("exit %d, inventory %v\n%s", r.code, inventory(t, "east"), r.out)
			}
		}},
		{"two clusters become a mesh", func(t *testing.T) { must(t, two, "apply", "-f", "-"); proved(t, two, 2, "--keep") }},
		{"the second time nothing is written", func(t *testing.T) { writesNothing(t, two, "east", "west") }},
		{"a third cluster joins", func(t *testing.T) { must(t, three, "apply", "-f", "-"); proved(t, three, 6, "--keep") }},
		{"no secret shows", func(t *testing.T) { noSecretShows(t, three) }},
		{"an edit by hand is shown with its author, and mended", func(t *testing.T) { driftIsMended(t, three) }},
		{"two at once: the second is told", func(t *testing.T) { together(t, three) }},
		{"a cluster leaves while calls go on", func(t *testing.T) { leaves(t, two, three, before["north"]) }},
		{"and comes back", func(t *testing.T) { must(t, three, "apply", "-f", "-"); proved(t, three, 6, "--keep") }},
		{"what breaks is named", func(t *testing.T) { faults(t, three) }},
		{"every fault of the lab takes hold and ends", labFaults},
		{"killed anywhere, run again, proved", func(t *testing.T) { killed(t, three) }},
		{"uninstall leaves what was there before", func(t *testing.T) {
			must(t, three, "uninstall", "-f", "-", "--yes")
			for _, c := range []string{"east", "west", "north"} {
				leavesNothing(t, c, before[c])
			}
		}},
	}
	for _, s := range steps {
		if !t.Run(s.name, s.run) {
			t.Fatalf("stopped at %q: the next steps build on it", s.name)
		}
	}
}

// proved runs verify and checks that it asked for every ordered pair, not only that it ended well. With --keep the next
// one finds its workloads there, and they have lived through what happens until then.
func proved(t *testing.T, doc string, pairs int, flags ...string) {
	t.Helper()
	r := isthmus(t, doc, append([]string{"verify", "-f", "-", "-o", "json"}, flags...)...)
	var proof verify.Proof
	if err := json.Unmarshal([]byte(r.out), &proof); err != nil {
		t.Fatalf("verify: exit %d, %v\n%s", r.code, err, r.err)
	}
	between := slices.DeleteFunc(slices.Clone(proof.Cells), func(c verify.Cell) bool { return c.From == c.To })
	if len(between) != pairs {
		t.Errorf("verify asked about %d ordered pairs, want %d", len(between), pairs)
	}
	for _, c := range between {
		if !c.OK || !c.Delivered() || !c.Encrypted() || c.Path != verify.Gateway {
			t.Errorf("%s → %s: ok %t, delivered %t, encrypted %t, path %s: %s", c.From, c.To, c.OK, c.Delivered(), c.Encrypted(), c.Path, c.Wrong)
		}
	}
	if n := proof.Tallies().Failover; n.Asked != len(proof.Clusters) || n.Proved != n.Asked {
		t.Errorf("failover %d of %d, want %d", n.Proved, n.Asked, len(proof.Clusters))
	}
	for _, f := range proof.Failover {
		if len(f.After) == 0 || f.After[f.From] > 0 || f.Rule != "istio-system/isthmus-failover" || f.OutlierDetection == nil || !*f.OutlierDetection {
			t.Errorf("failover from %s: answered by %v, rule %q, outlier detection %v", f.From, f.After, f.Rule, f.OutlierDetection)
		}
		t.Logf("failover from %s: before %v, after %v; of %d calls %d failed, %d were still answered at home, in %d batches",
			f.From, f.Before, f.After, f.Sent, f.Failed, f.Home, f.Tries)
	}
	if !proof.Passed || r.code != 0 {
		t.Fatalf("verify: exit %d: %v", r.code, proof.Failures)
	}
	t.Logf("%d clusters verified in %d ms", len(proof.Clusters), proof.TookMillis)
}

func writesNothing(t *testing.T, doc string, clusters ...string) {
	before := map[string]any{}
	for _, c := range clusters {
		before[c] = versions(t, c)
	}
	r := must(t, doc, "apply", "-f", "-")
	for _, c := range clusters {
		after := versions(t, c)
		if len(after) < 25 { // a remote has no more
			t.Errorf("only %d objects of %s were compared", len(after), c)
		}
		if diff := cmp.Diff(before[c], any(after)); diff != "" {
			t.Errorf("resourceVersions in %s (-before +after):\n%s", c, diff)
		}
	}
	if !strings.Contains(r.out, "nothing was written") {
		t.Errorf("apply says: %s", r.out)
	}
}

// noSecretShows greps everything that is printed for the bytes of every Secret in istio-system and isthmus-system.
func noSecretShows(t *testing.T, doc string) {
	var printed strings.Builder
	dir := t.TempDir()
	kept := []string{filepath.Join(dir, "mesh.plan"), filepath.Join(dir, "facts.json")}
	for _, args := range [][]string{
		{"plan", "-f", "-", "--show", "all"},
		{"plan", "-f", "-", "-o", "json"},
		{"plan", "-f", "-", "-o", "yaml"},
		{"check", "-f", "-", "-o", "json"},
		{"status", "-f", "-", "-o", "json"},
		{"status", "-f", "-"},
		{"apply", "-f", "-", "-o", "json"},
		{"plan", "-f", "-", "--out", kept[0]},
		{"apply", kept[0], "-f", "-"},
		{"facts", "-f", "-", "-o", kept[1]},
		{"facts", "-f", "-", "-o", "json"},
		{"plan", "-f", "-", "--from", kept[1], "--show", "all"},
	} {
		r := isthmus(t, doc, args...)
		printed.WriteString(r.out + r.err)
	}
	for _, path := range kept {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		printed.Write(text)
	}
	canaries := 0
	for _, c := range []string{"east", "west", "north"} {
		for _, ns := range []string{"istio-system", "isthmus-system"} {
			var list struct {
				Items []struct {
					Metadata struct{ Name string }
					Data     map[string][]byte
				}
			}
			if err := json.Unmarshal([]byte(kubectl(t, c, "get", "secrets", "-n", ns, "-o", "json")), &list); err != nil {
				t.Fatal(err)
			}
			for _, s := range list.Items {
				for key, value := range s.Data {
					if strings.HasPrefix(string(value), "-----BEGIN CERTIFICATE") {
						continue // certificates are public
					}
					for _, canary := range pieces(string(value)) {
						canaries++
						if strings.Contains(printed.String(), canary) {
							t.Errorf("%s: Secret %s/%s, key %s shows in what is printed", c, ns, s.Metadata.Name, key)
						}
					}
				}
			}
		}
	}
	if canaries < 9 { // a root, three intermediates, six remote secrets, less what has no piece long enough
		t.Errorf("only %d canaries were looked for", canaries)
	}
}

// pieces are the parts of a Secret that nothing else would contain by chance: lines of keys, and tokens.
func pieces(value string) []string {
	var out []string
	for line := range strings.Lines(value) {
		line = strings.TrimSpace(line)
		if token, ok := strings.CutPrefix(line, "token: "); ok {
			out = append(out, token[len(token)-40:])
		}
	}
	if _, key, ok := strings.Cut(value, "PRIVATE KEY-----\n"); ok {
		line, _, _ := strings.Cut(key, "\n")
		out = append(out, line[len(line)-40:])
	}
	return out
}

func driftIsMended(t *testing.T, doc string) {
	kubectl(t, "west", "-n", "istio-system", "patch", "service", "istio-eastwestgateway", "--type", "json", "--field-manager", "a-colleague",
		"-p", `[{"op": "replace", "path": "/spec/ports/1/port", "value": 15444}]`)
	kubectl(t, "north", "-n", "istio-system", "delete", "peerauthentication", "default")
	r := must(t, doc, "plan", "-f", "-")
	for _, want := range []string{"15444 → 15443", "changed by a-colleague", "+ PeerAuthentication istio-system/default", "1 to create, 1 to change"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("plan does not say %q:\n%s", want, r.out)
		}
	}
	must(t, doc, "apply", "-f", "-")
	if r := isthmus(t, doc, "plan", "-f", "-", "--detailed-exitcode"); r.code != 0 {
		t.Errorf("after apply there is still something to change:\n%s", r.out)
	}
}

// kills is how many times apply is killed: once in every run of the tests, since those of internal/apply end it at every
// write, and 20 times for the figures.
func kills(t *testing.T) int {
	n, err := strconv.Atoi(cmp2.Or(os.Getenv("ISTHMUS_KILLS"), "1"))
	if err != nil {
		t.Fatalf("ISTHMUS_KILLS: %v", err)
	}
	return n
}

// killed installs from nothing, is killed at a random moment, and runs again, again and again.
func killed(t *testing.T, doc string) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, seed))
	for i := range kills(t) {
		must(t, doc, "uninstall", "-f", "-", "--yes")
		after := time.Duration(300+random.IntN(12000)) * time.Millisecond
		kill(t, after, doc, "apply", "-f", "-")
		made := len(inventory(t, "east"))
		must(t, doc, "apply", "-f", "-")
		proved(t, doc, 6)
		t.Logf("kill %d: after %s, when east's inventory named %d objects: went on and proved", i+1, after, made)
	}
}

func leavesNothing(t *testing.T, cluster string, before []string) {
	t.Helper()
	sorted := cmpopts.SortSlices(strings.Compare)
	// Pods and the objects that Kubernetes derives from others go a moment after what they were made for.
	eventually(t, cluster+" is as it was", func() (bool, string) {
		diff := cmp.Diff(stable(before), stable(everything(t, cluster)), sorted)
		return diff == "", diff
	})
}

// kept are what uninstall leaves on purpose: CRDs (to delete one deletes everybody's configuration of that kind) and what
// Kubernetes derives from them; the ConfigMaps that istiod itself puts into every namespace; Kubernetes' own revisions.
var kept = []*regexp.Regexp{
	regexp.MustCompile(`^customresourcedefinition\.`), regexp.MustCompile(`^apiservice\..*\.istio\.io$`),
	regexp.MustCompile(`^configmap/istio-ca-(crl|root-cert)$`), regexp.MustCompile(`^controllerrevision`),
}

// random names end in a hash that Kubernetes chose.
var hash = regexp.MustCompile(`-[a-z0-9]{5}$`)

// stable forgets names that Kubernetes makes up, and what is kept.
func stable(list []string) []string {
	var out []string
	for _, s := range list {
		if slices.ContainsFunc(kept, func(r *regexp.Regexp) bool { return r.MatchString(s) }) {
			continue
		}
		out = append(out, hash.ReplaceAllString(s, ""))
	}
	return out
}
