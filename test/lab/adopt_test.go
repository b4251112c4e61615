//go:build lab

package lab_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"isthmus.dev/isthmus/internal/plan"
)

// TestAdoptIstioctl takes over a mesh that was made by Istio's own pages: istioctl install, gen-eastwest-gateway.sh,
// create-remote-secret, cacerts of one root. Nothing needs to change, so no pod may restart.
func TestAdoptIstioctl(t *testing.T) {
	beside(t)
	clusters := []string{"east", "west"}
	t.Cleanup(func() { forget(t, clusters...) })
	documented{t: t, dir: t.TempDir(), clusters: clusters}.run(t.Context())
	doc := adopting(t, clusters...)

	if r := isthmus(t, doc, "apply", "-f", "-"); r.code == 0 || !strings.Contains(r.err, "isthmus plan --adopt") {
		t.Fatalf("apply took what it does not own, or does not say how to: exit %d\n%s", r.code, r.err)
	}
	before := map[string]map[string]string{}
	for _, c := range clusters {
		before[c] = running(t, c)
	}
	disturbsNothing(t, doc)
	// What init makes of the clusters by itself is as good.
	written := must(t, "", "init", "--adopt", "--context", "east", "--context", "west", "-f", "-").out
	t.Log(written)
	disturbsNothing(t, written)
	must(t, doc, "apply", "-f", "-", "--adopt")
	for _, c := range clusters {
		unmoved(t, c, before[c])
		for _, kind := range []string{"deployment/istiod", "configmap/istio", "service/istio-eastwestgateway"} {
			if who := kubectl(t, c, "-n", "istio-system", "get", kind, "--show-managed-fields", "-o", "jsonpath={.metadata.managedFields[*].manager}"); strings.Contains(who, "istio-operator") || !strings.Contains(who, "isthmus") {
				t.Errorf("%s: %s is kept by %s", c, kind, who)
			}
		}
	}
	if r := must(t, doc, "apply", "-f", "-"); !strings.Contains(r.out, "nothing was written") {
		t.Errorf("the second time, without --adopt, apply says: %s", r.out)
	}
	if who := kubectl(t, "east", "-n", "istio-system", "get", "secret", "cacerts", "--show-managed-fields", "-o", "jsonpath={.metadata.managedFields[*].manager}"); strings.Contains(who, "isthmus") {
		t.Errorf("cacerts was written: %s", who)
	}
	proved(t, doc, 2)
	removalWorks(t, doc, "east")
}

// disturbsNothing tells that taking over what runs as a document says restarts nothing, and that nothing is in the way.
func disturbsNothing(t *testing.T, doc string) {
	t.Helper()
	r := must(t, doc, "plan", "-f", "-", "--adopt", "-o", "json")
	var p plan.Plan
	if err := json.Unmarshal([]byte(r.out), &p); err != nil {
		t.Fatal(err)
	}
	taken := 0
	for _, w := range p.Waves {
		for _, c := range w.Changes {
			if c.TakeOver {
				taken++
			}
			for _, impact := range c.Impact { // what a workload reads at its next start disturbs none that runs
				if !strings.Contains(impact, "until they restart") {
					t.Errorf("%s %s: %q, where nothing needs to change: %+v", c.Cluster, c.Object, impact, c.Fields)
				}
			}
		}
	}
	if len(p.Conflicts) > 0 || taken < 60 {
		t.Fatalf("%d objects are taken over; in the way: %v", taken, p.Conflicts)
	}
}

// adopting is the document of the mesh that the documented steps make.
func adopting(t testing.TB, clusters ...string) string {
	t.Helper()
	var doc map[string]any
	if err := yaml.Unmarshal([]byte(document(t, clusters...)), &doc); err != nil {
		t.Fatal(err)
	}
	doc["metadata"] = map[string]any{"name": "mesh1"}
	spec := doc["spec"].(map[string]any)
	for _, c := range spec["clusters"].([]any) {
		c := c.(map[string]any)
		c["network"] = fmt.Sprintf("network-%v", c["name"])
	}
	spec["trust"] = map[string]any{"root": map[string]any{"existing": map[string]any{}}}
	spec["security"] = map[string]any{"mtls": "PERMISSIVE"}
	istio := spec["istio"].(map[string]any)
	delete(istio["meshConfig"].(map[string]any), "accessLogFile")
	gateway := istio["values"].(map[string]any)["gateways"].(map[string]any)["istio-ingressgateway"].(map[string]any)
	gateway["injectionTemplate"] = "gateway"
	out, err := yaml.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// running are the pods of a cluster and the ReplicaSets that they are of: a pod template that changed has another one. A
// Deployment's generation would not do: it counts annotations too.
func running(t testing.TB, cluster string) map[string]string {
	t.Helper()
	out := map[string]string{}
	path := `jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name} {.metadata.uid} {.status.containerStatuses[*].restartCount}{"\n"}{end}`
	for line := range strings.SplitSeq(kubectl(t, cluster, "get", "replicasets,pods", "-A", "-o", path), "\n") {
		if words := strings.SplitN(line, " ", 3); len(words) == 3 {
			out[words[0]+" "+words[1]] = words[2]
		}
	}
	return out
}

func unmoved(t *testing.T, cluster string, before map[string]string) {
	t.Helper()
	after := running(t, cluster)
	for name, id := range before {
		if after[name] != id {
			t.Errorf("%s: %s was %s and is %q: it restarted or was changed", cluster, name, id, after[name])
		}
	}
	if len(after) != len(before) {
		t.Errorf("%s: there are %d pods and ReplicaSets, and there were %d", cluster, len(after), len(before))
	}
	if len(before) < 2 {
		t.Errorf("%s: only %d workloads were compared", cluster, len(before))
	}
}

// removalWorks: what the former owner set is ours, so that it goes when the document no longer wants it.
func removalWorks(t *testing.T, doc, cluster string) {
	t.Helper()
	less := strings.Replace(doc, "PILOT_ENABLE_ALPN_FILTER", "PILOT_ENABLE_ALPN_FILTER_NOT", 1)
	must(t, less, "apply", "-f", "-")
	env := kubectl(t, cluster, "-n", "istio-system", "get", "deployment", "istiod", "-o", "jsonpath={.spec.template.spec.containers[0].env[*].name}")
	if strings.Contains(env+" ", "PILOT_ENABLE_ALPN_FILTER ") || !strings.Contains(env, "PILOT_ENABLE_ALPN_FILTER_NOT") {
		t.Errorf("a variable that is no longer wanted stays: %s", env)
	}
}

// forget takes away all that an adopted mesh left, so that the next test finds clusters without Istio.
func forget(t testing.TB, clusters ...string) {
	for _, c := range clusters {
		for _, args := range [][]string{
			{"delete", "namespace", "istio-system", "isthmus-system", "sample", "--ignore-not-found"},
			{"delete", "mutatingwebhookconfigurations,validatingwebhookconfigurations,clusterroles,clusterrolebindings,crds", "-l", "isthmus.dev/mesh"},
			{"delete", "mutatingwebhookconfigurations,validatingwebhookconfigurations,clusterroles,clusterrolebindings,crds", "-l", "operator.istio.io/component"},
		} {
			if out, err := tryKubectl(t, c, args...); err != nil {
				t.Errorf("%s: %v: %s", c, err, out)
			}
		}
	}
}

// TestAdoptHelm takes over what Helm installed: Istio's own charts, rendered as releases of other names than istioctl's,
// with Helm's annotations and field manager. The cluster is alone and keeps the root that its istiod made for itself.
func TestAdoptHelm(t *testing.T) {
	beside(t)
	const cluster = "north"
	forget(t, cluster) // the kinds that the uninstall of another test kept
	t.Cleanup(func() { forget(t, cluster) })
	helmInstall(t, cluster)
	rolledOut(t, cluster, "istio-system", "istiod")
	doc := adoptingHelm(t, cluster)

	if r := isthmus(t, strings.Replace(doc, "existing: {}", "selfSigned: {}", 1), "plan", "-f", "-", "--adopt"); !strings.Contains(r.out, "would come in the place of the root that istiod made for itself") {
		t.Errorf("the plan would cut workloads off, and does not say so: exit %d\n%s", r.code, r.out)
	}
	if r := isthmus(t, doc, "check", "-f", "-"); !strings.Contains(r.out, "owner: helm:istiod") {
		t.Errorf("check does not say whose it is:\n%s", r.out)
	}
	before := running(t, cluster)
	r := must(t, doc, "plan", "-f", "-", "--adopt")
	if strings.Contains(r.out, "disturbs: restarts") || !strings.Contains(r.out, "Helm's record of release istiod") {
		t.Errorf("want nothing disturbed, and the release named:\n%s", r.out)
	}
	must(t, doc, "apply", "-f", "-", "--adopt")
	unmoved(t, cluster, before)
	if r := must(t, doc, "apply", "-f", "-"); !strings.Contains(r.out, "nothing was written") {
		t.Errorf("the second time, without --adopt, apply says: %s", r.out)
	}
	if out := kubectl(t, cluster, "-n", "istio-system", "get", "secrets", "-l", "owner=helm", "-o", "name"); !strings.Contains(out, "sh.helm.release.v1.istiod.v1") {
		t.Errorf("Helm's record was deleted: %s", out)
	}
	removalWorks(t, doc, cluster)
}
