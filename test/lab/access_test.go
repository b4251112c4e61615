//go:build lab

package lab_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"isthmus.dev/isthmus/internal/dryrun"
	"isthmus.dev/isthmus/internal/probe"
)

// TestAccess is examples/original on real clusters: its files are kept the same in both, carry a call from outside
// through east's ingress gateway to a pod in west, and let nobody in but whom they name. Then the document says the same
// by itself, first as a dry run.
func TestAccess(t *testing.T) {
	beside(t)
	a := access{doc: originalDocument(t)}
	before := map[string][]string{}
	for _, c := range []string{"east", "west"} {
		before[c] = everything(t, c)
	}
	defer a.clean(t)
	for _, s := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"the files' objects are made in every cluster", a.made},
		{"from outside through the ingress gateway to the other cluster", a.carries},
		{"refused for every identity but the allowed one", a.refuses},
		{"the second time nothing is written", func(t *testing.T) { writesNothing(t, a.text(t), "east", "west") }},
		{"an edit by hand is shown with its author, and mended", a.drift},
		{"a file that is named no more is pruned, and an error in one stops plan", a.pruned},
		{"a dry run refuses nobody and shows who would be", a.dryRun},
		{"enforced: default deny and one rule", a.enforced},
		{"tokens: issuer, audience, claim, time, signature, and a key that is rotated", a.tokens},
		{"verify passes where nobody is let in by default", func(t *testing.T) { proved(t, a.text(t), 2) }},
		{"uninstall leaves what was there before", func(t *testing.T) {
			must(t, a.text(t), "uninstall", "-f", "-", "--yes")
			a.clean(t)
			for _, c := range []string{"east", "west"} {
				leavesNothing(t, c, before[c])
			}
		}},
	} {
		if !t.Run(s.name, s.run) {
			t.Fatalf("stopped at %q: the next steps build on it", s.name)
		}
	}
}

// access is a mesh document under test.
type access struct{ doc map[string]any }

func (a access) spec() map[string]any { return a.doc["spec"].(map[string]any) }

func (a access) text(t testing.TB) string {
	t.Helper()
	out, err := yaml.Marshal(a.doc)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

const original = "../../examples/original"

// originalDocument is examples/original/mesh.yaml in the lab.
func originalDocument(t testing.TB) map[string]any {
	t.Helper()
	doc := inTheLab(t, original, 2)
	// How often istiod reads an issuer's keys; 20 minutes by default.
	spec := doc["spec"].(map[string]any)
	spec["istio"].(map[string]any)["values"].(map[string]any)["pilot"].(map[string]any)["env"].(map[string]any)["PILOT_JWT_PUB_KEY_REFRESH_INTERVAL"] = "5s"
	return doc
}

// inTheLab is an example's mesh.yaml, which names some files of resources, with the lab's clusters and the lab's preset of
// the quickstart. It comes through standard input, so its paths are taken from the current folder.
func inTheLab(t testing.TB, example string, files int) map[string]any {
	t.Helper()
	read := func(text []byte) map[string]any {
		var doc map[string]any
		if err := yaml.Unmarshal(text, &doc); err != nil {
			t.Fatal(err)
		}
		return doc
	}
	text, err := os.ReadFile(example + "/mesh.yaml")
	if err != nil {
		t.Fatal(err)
	}
	theirs, preset := read(text)["spec"].(map[string]any), read([]byte(document(t, "east", "west")))
	spec := preset["spec"].(map[string]any)
	spec["istio"].(map[string]any)["profile"] = theirs["istio"].(map[string]any)["profile"]
	list := theirs["resources"].([]any)
	for _, r := range list {
		entry := r.(map[string]any)
		entry["path"] = filepath.Join(example, entry["path"].(string))
	}
	if len(list) != files {
		t.Fatalf("%s names %d resources, want its %d files", example, len(list), files)
	}
	spec["resources"] = list
	return preset
}

// workloads of the example: names in both clusters, the called pod in west alone, callers in east.
func (a access) workloads(t *testing.T) {
	for _, c := range []string{"east", "west"} {
		kubectl(t, c, "apply", "-f", original+"/workloads.yaml")
	}
	kubectl(t, "east", "-n", "default", "delete", "deployment", "cluster-a-service-v1")
	kubectl(t, "west", "-n", "cluster-a", "delete", "deployment", "service")
	// Another identity of the same namespace, and kubelet asking after its health over HTTP.
	kubectl(t, "east", "-n", "cluster-a", "create", "deployment", "other", "--image", probeImage, "--", "/isthmus", "probe", "serve")
	kubectl(t, "east", "-n", "cluster-a", "patch", "deployment", "other", "-p",
		`{"spec":{"template":{"spec":{"containers":[{"name":"isthmus","imagePullPolicy":"IfNotPresent","readinessProbe":{"httpGet":{"path":"/","port":8080},"periodSeconds":1}}]}}}}`)
	for _, d := range [][3]string{{"east", "cluster-a", "service"}, {"east", "cluster-a", "other"}, {"west", "default", "cluster-a-service-v1"}} {
		rolledOut(t, d[0], d[1], d[2])
	}
}

// clean takes the example's workloads away.
func (a access) clean(t *testing.T) {
	for _, c := range []string{"east", "west"} {
		if out, err := tryKubectl(t, c, "delete", "namespace", "cluster-a", "--ignore-not-found"); err != nil {
			t.Errorf("%s: %s", c, out)
		}
		if out, err := tryKubectl(t, c, "-n", "default", "delete", "deployment,service", "--ignore-not-found", "cluster-a-service-v1", "cluster-a-service"); err != nil {
			t.Errorf("%s: %s", c, out)
		}
		if out, err := tryKubectl(t, c, "label", "namespace", "default", "istio-injection-"); err != nil {
			t.Errorf("%s: %s", c, out)
		}
	}
}

func (a access) made(t *testing.T) {
	must(t, a.text(t), "apply", "-f", "-")
	for _, c := range []string{"east", "west"} {
		for _, o := range []string{"gateway.networking.istio.io/gateway", "virtualservice/example-vs", "destinationrule/cluster-a-service", "authorizationpolicy/cluster-a-allow"} {
			if part := kubectl(t, c, "-n", "default", "get", o, "-o", `jsonpath={.metadata.labels.isthmus\.dev/part}`); part != "resources" {
				t.Errorf("%s: %s is of part %q", c, o, part)
			}
		}
	}
	a.workloads(t)
}

// ingress is the address of a cluster's ingress gateway.
func ingress(t *testing.T, cluster string) string {
	t.Helper()
	address := kubectl(t, cluster, "-n", "istio-system", "get", "service", "istio-ingressgateway", "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}")
	if address == "" {
		t.Fatalf("%s's ingress gateway has no address", cluster)
	}
	return address
}

// enter makes a call from outside the mesh.
func enter(t *testing.T, address, host, path, token string) (int, probe.Reply, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := http.Client{Timeout: 5 * time.Second}
	res, err := client.Do(req)
	if err != nil {
		return 0, probe.Reply{}, err.Error()
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return res.StatusCode, probe.Reply{}, err.Error()
	}
	var reply probe.Reply
	_ = json.Unmarshal(body, &reply) // what is no reply is a refusal, and shown as it is
	return res.StatusCode, reply, strings.TrimSpace(string(body))
}

func (a access) carries(t *testing.T) {
	address := ingress(t, "east")
	pod := kubectl(t, "west", "-n", "default", "get", "pods", "-l", "app=cluster-a-service", "-o", "jsonpath={.items[0].metadata.name}")
	eventually(t, "a call through east's gateway arrives in west", func() (bool, string) {
		code, reply, body := enter(t, address, "example.com", "/cluster-a-service", "")
		return code == http.StatusOK && reply.Pod == pod &&
			reply.Caller == "spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account", fmt.Sprint(code, " ", body)
	})
	for _, c := range []struct{ host, path string }{{"example.com", "/another"}, {"example.org", "/cluster-a-service"}} {
		if code, _, body := enter(t, address, c.host, c.path, ""); code != http.StatusNotFound {
			t.Errorf("%s%s: %d %s, want 404: no route leads there", c.host, c.path, code, body)
		}
	}
}

// from has a workload of cluster-a in east call cluster-a-service, whose pods are in west.
func from(t *testing.T, deployment, path string) probe.Result {
	t.Helper()
	out, err := tryKubectl(t, "east", "-n", "cluster-a", "exec", "deploy/"+deployment, "-c", container(deployment), "--",
		"/isthmus", "probe", "call", "-o", "json", "--to", "http://cluster-a-service.default:80"+path)
	var results []probe.Result
	if at := strings.Index(out, "["); at >= 0 {
		_ = json.NewDecoder(strings.NewReader(out[at:])).Decode(&results) // judged below
	}
	if len(results) != 1 {
		t.Fatalf("call from %s: %v: %s", deployment, err, out)
	}
	return results[0]
}

func container(deployment string) string {
	if deployment == "service" {
		return "caller"
	}
	return "isthmus"
}

// ends polls until a call ends with a status; a policy takes moments to reach a proxy.
func ends(t *testing.T, deployment, path string, code int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s calls %s: %d", deployment, path, code), func() (bool, string) {
		r := from(t, deployment, path)
		if code == http.StatusOK {
			return r.OK && r.Reply.Caller == "spiffe://cluster.local/ns/cluster-a/sa/"+map[string]string{"service": "service", "other": "default"}[deployment], fmt.Sprintf("%+v", r)
		}
		return r.Code == code && r.Flag == "RBAC", fmt.Sprintf("%+v", r)
	})
}

func (a access) refuses(t *testing.T) {
	ends(t, "service", "/", http.StatusOK)
	ends(t, "other", "/", http.StatusForbidden)
}

func (a access) drift(t *testing.T) {
	kubectl(t, "west", "-n", "default", "patch", "authorizationpolicy", "cluster-a-allow", "--type", "merge", "-p", `{"spec":{"action":"DENY"}}`)
	r := isthmus(t, a.text(t), "plan", "-f", "-", "--detailed-exitcode", "--show", "all")
	if r.code != 3 || !strings.Contains(r.out, "AuthorizationPolicy default/cluster-a-allow") || !strings.Contains(r.out, "kubectl") {
		t.Errorf("plan: exit %d\n%s", r.code, r.out)
	}
	must(t, a.text(t), "apply", "-f", "-")
	if action := kubectl(t, "west", "-n", "default", "get", "authorizationpolicy", "cluster-a-allow", "-o", "jsonpath={.spec.action}"); action == "DENY" {
		t.Errorf("the edit is still there: %s", action)
	}
}

func (a access) pruned(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken.yaml")
	if err := os.WriteFile(broken, []byte("apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: broken}\nspec:\n  selector: {istio: ingressgateway}\n  servers:\n  - port: {number: 80, name: http, protocol: HTTP}\n    hosts:\n#   - \"*\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	all := a.spec()["resources"].([]any)
	a.spec()["resources"] = append(slices.Clone(all), map[string]any{"path": broken})
	if r := isthmus(t, a.text(t), "plan", "-f", "-"); r.code != 1 || !strings.Contains(r.err, broken+":8:5: ANA002") {
		t.Errorf("plan: exit %d\n%s", r.code, r.err)
	}
	a.spec()["resources"] = []any{map[string]any{"path": original + "/gateway-and-virtualservice.yaml"}}
	must(t, a.text(t), "apply", "-f", "-")
	for _, c := range []string{"east", "west"} {
		if out := kubectl(t, c, "-n", "default", "get", "authorizationpolicies,virtualservices", "-o", "name"); out != "virtualservice.networking.istio.io/example-vs" {
			t.Errorf("%s has %s, want the VirtualService alone", c, out)
		}
	}
	letIn(t, "other")
}

// letIn waits until a caller that was refused is let in many times in a row. Once is not enough: a proxy's connection
// of before is judged by the policy of before until it is used again, and each thread of a caller's proxy has its own.
func letIn(t *testing.T, deployment string) {
	t.Helper()
	const often = 25
	eventually(t, deployment+" is let in", func() (bool, string) {
		for row := range often {
			if r := from(t, deployment, "/"); !r.OK {
				return false, fmt.Sprintf("after %d calls: %+v", row, r)
			}
		}
		return true, ""
	})
}

// rules let in the callers of the example, and nobody else anywhere.
func rules(mode string) map[string]any {
	called := map[string]any{"namespace": "default", "selector": map[string]any{"app": "cluster-a-service"}}
	return map[string]any{"default": "deny", "mode": mode, "rules": []any{
		map[string]any{
			"name": "service", "to": called, "from": []any{map[string]any{"namespace": "cluster-a", "serviceAccounts": []any{"service"}}},
			"methods": []any{"GET"}, "paths": []any{"/allowed", "/allowed/*"}, "ports": []any{8080},
		},
		map[string]any{
			"name": "ingress", "to": called,
			"from": []any{map[string]any{"namespace": "istio-system", "serviceAccounts": []any{"istio-ingressgateway-service-account"}}},
		},
	}}
}

func (a access) dryRun(t *testing.T) {
	a.spec()["access"] = rules("dryRun")
	must(t, a.text(t), "apply", "-f", "-")
	const caller = "spiffe://cluster.local/ns/cluster-a/sa/default"
	eventually(t, "the report names the caller that would be refused", func() (bool, string) {
		for _, deployment := range []string{"service", "other"} {
			if r := from(t, deployment, "/allowed?token=CANARY"); !r.OK {
				t.Fatalf("a dry run refuses %s: %+v", deployment, r)
			}
		}
		r := must(t, a.text(t), "access", "report", "-f", "-", "-o", "json")
		var report dryrun.Report
		if err := json.Unmarshal([]byte(r.out), &report); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(r.out, "CANARY") {
			t.Fatalf("the query of a call shows: %s", r.out)
		}
		for _, x := range report.Refusals {
			if x.Caller == "spiffe://cluster.local/ns/cluster-a/sa/service" && x.Path == "/allowed" {
				t.Fatalf("the report names a caller that a rule lets in: %+v", x)
			}
		}
		return slices.ContainsFunc(report.Refusals, func(x dryrun.Refusal) bool {
			return x.Cluster == "west" && x.Namespace == "default" && x.Workload == "cluster-a-service" && x.Caller == caller &&
				x.Method == http.MethodGet && x.Path == "/allowed" && x.Port == 8080 && x.Count > 0
		}), r.out + r.err
	})
}

func (a access) enforced(t *testing.T) {
	a.spec()["access"] = rules("enforce")
	must(t, a.text(t), "apply", "-f", "-")
	ends(t, "other", "/allowed", http.StatusForbidden)
	ends(t, "service", "/allowed", http.StatusOK)
	ends(t, "service", "/allowed/too", http.StatusOK)
	ends(t, "service", "/elsewhere", http.StatusForbidden)
	eventually(t, "the ingress gateway leads there still", func() (bool, string) {
		code, _, body := enter(t, ingress(t, "east"), "example.com", "/cluster-a-service", "")
		return code == http.StatusOK, fmt.Sprint(code, " ", body)
	})
	// kubelet's questions pass a proxy that lets nobody in: a pod that starts now becomes ready.
	restart(t, "east", "cluster-a", "other")
	ends(t, "other", "/allowed", http.StatusForbidden)
}
