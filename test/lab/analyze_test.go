//go:build lab

package lab_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"isthmus.dev/isthmus/internal/analyze"
)

// analyzeLive reads the running mesh of TestExplain: nothing is wrong with it; then what differs between its clusters
// is found, and files are judged as if they were applied to it.
func analyzeLive(t *testing.T, doc string) {
	r, code := analysis(t, doc)
	if code != 0 || r.Errors > 0 || r.Warnings > 0 || !slices.Equal(r.Clusters, []string{"east", "west"}) || r.Objects < 30 {
		t.Errorf("of a mesh with nothing wrong in it: exit %d, %d objects of %v\n%s", code, r.Objects, r.Clusters, findingsOf(r))
	}

	applied(t, "east", route("echo", ""), "apply")
	applied(t, "west", route("echo", "port: {number: 80}"), "apply")
	kubectl(t, "west", "-n", "demo", "patch", "service", "echo", "-p", `{"spec":{"ports":[{"port":80,"targetPort":8080,"name":"tcp-echo"}]}}`)
	kubectl(t, "west", "label", "namespace", "demo", "istio-injection-")
	r, code = analysis(t, doc)
	for _, want := range []string{"ANA040", "ANA041", "ANA042"} {
		i := slices.IndexFunc(r.Findings, func(f analyze.Finding) bool { return f.ID == want })
		if i < 0 {
			t.Errorf("%s is not found:\n%s", want, findingsOf(r))
			continue
		}
		if f := r.Findings[i]; f.Object == "" || len(f.Clusters) != 2 || f.Line != 0 {
			t.Errorf("%s: object %q, clusters %v, line %d; want an object of two clusters and no line", want, f.Object, f.Clusters, f.Line)
		}
	}
	if code != 4 {
		t.Errorf("exit %d, want 4", code)
	}
	applied(t, "east", route("echo", ""), "delete")
	demo(t, "west", 1)
	applied(t, "west", route("echo", ""), "delete")

	good, bad := filepath.Join(t.TempDir(), "good.yaml"), filepath.Join(t.TempDir(), "bad.yaml")
	for file, text := range map[string]string{good: route("echo", ""), bad: route("ehco", "") + policy("rules: [{from: [{source: {principals: [cluster.local/ns/demo/sa/clinet]}}]}]")} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if r, code := analysis(t, doc, good); code != 0 || len(r.Findings) > 0 {
		t.Errorf("a route that is right there: exit %d\n%s", code, findingsOf(r))
	}
	r, code = analysis(t, doc, bad)
	for _, want := range []string{"ANA010", "ANA021"} {
		if !slices.ContainsFunc(r.Findings, func(f analyze.Finding) bool { return f.ID == want && f.File == bad && f.Line > 0 }) {
			t.Errorf("%s is not found on a line of the file:\n%s", want, findingsOf(r))
		}
	}
	if code != 4 {
		t.Errorf("a host that exists in no cluster: exit %d, want 4", code)
	}
}

func analysis(t *testing.T, doc string, files ...string) (analyze.Report, int) {
	t.Helper()
	r := isthmus(t, doc, append([]string{"analyze", "--live", "-f", "-", "-o", "json"}, files...)...)
	var out analyze.Report
	if err := json.Unmarshal([]byte(r.out), &out); err != nil {
		t.Fatalf("analyze: exit %d: %v\n%s%s", r.code, err, r.out, r.err)
	}
	return out, r.code
}

func findingsOf(r analyze.Report) string {
	var b strings.Builder
	for _, f := range r.Findings {
		b.WriteString(f.ID + " " + string(f.Severity) + " " + f.Object + ": " + f.Text() + "\n")
	}
	return b.String()
}
