package cli

import (
	"encoding/base64"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"istio.io/istio/manifests"
)

// charts writes the program's own manifests into a folder of the desk, with one more template in a chart.
func (d *desk) charts(folder, chart, template string) {
	d.t.Helper()
	err := fs.WalkDir(manifests.FS, ".", func(path string, e fs.DirEntry, err error) error {
		file := filepath.Join(d.path(folder), path)
		if err != nil || e.IsDir() {
			return os.MkdirAll(file, 0o700)
		}
		text, err := manifests.FS.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(file, text, 0o600)
	})
	if err != nil {
		d.t.Fatal(err)
	}
	d.write(folder+"/charts/"+chart+"/templates/canary.yaml", template)
}

// TestSecretsOfChartsAreRefused: a chart that makes a Secret makes it of text that everybody may read who sees a plan.
// None of the commands that render it shows or writes it; each names the chart, the Secret and the way out.
func TestSecretsOfChartsAreRefused(t *testing.T) {
	d := newDesk(t)
	document := d.read("mesh.yaml")
	encoded := base64.StdEncoding.EncodeToString([]byte(canary))
	const head = "apiVersion: v1\nkind: Secret\nmetadata: {name: canary, namespace: istio-system}\n"
	for reason, tt := range map[string]struct{ chart, template, want string }{
		"text":             {"istio-control/istio-discovery", head + "stringData: {password: " + canary + "}\n", "Secret istio-system/canary"},
		"bytes":            {"base", head + "data: {password: " + encoded + "}\n", "Secret istio-system/canary"},
		"in a list":        {"istio-control/istio-discovery", "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: canary}, stringData: {password: " + canary + "}}\n", "Secret canary"},
		"in a SecretList":  {"istio-control/istio-discovery", "apiVersion: v1\nkind: SecretList\nitems:\n- {metadata: {name: canary}, stringData: {password: " + canary + "}}\n", "Secret canary"},
		"of an annotation": {"istio-control/istio-discovery", head[:len(head)-2] + ", annotations: {kubectl.kubernetes.io/last-applied-configuration: '{\"stringData\":{\"a\":\"" + canary + "\"}}'}}\n", "Secret istio-system/canary"},
	} {
		folder := strings.ReplaceAll(reason, " ", "-")
		d.charts(folder, tt.chart, tt.template)
		d.write("mesh.yaml", document+"  istio: {charts: "+folder+", tag: 1.31.1}\n")
		lines := []string{"plan -o json --show all", "render --secrets --dir FILE:rendered-" + folder}
		if reason == "text" {
			lines = append(lines, "plan", "plan --show all", "plan --out FILE:text.plan", "render", "images -o json", "check", "facts --out FILE:text.json", "apply")
		}
		for _, line := range lines {
			d.refused(line, tt.want, "the chart of ", "External Secrets")
		}
	}
	// One that cannot be read as YAML is refused too, and not by quoting it.
	d.charts("torn", "base", "apiVersion: v1\nkind: Secret\nmetadata: {name: canary\nstringData: {password: "+canary+"}\n")
	d.write("mesh.yaml", document+"  istio: {charts: torn, tag: 1.31.1}\n")
	for _, line := range []string{"plan", "render"} {
		d.refused(line, "render Istio")
	}
	files := d.written("torn", "text", "bytes", "in-a-list", "in-a-SecretList", "of-an-annotation")
	t.Logf("%d files and %d bytes looked through", files, d.printed.Len())
	for _, n := range []string{canary, encoded[:24]} {
		if at := strings.Index(d.printed.String(), n); at >= 0 {
			t.Errorf("%q shows: %s", n, d.printed.String()[max(0, at-300):at+len(n)])
		}
	}
	// A Secret without content, which the API server fills, is none of that; nor is a reference to one.
	d.charts("token", "istio-control/istio-discovery", head+"type: kubernetes.io/service-account-token\n")
	d.write("mesh.yaml", document+"  istio: {charts: token, tag: 1.31.1}\n")
	if code, _, errs := d.run("render --dir FILE:rendered"); code != exitDone {
		t.Errorf("a Secret without content: %s", errs)
	}
	if info, err := os.Stat(d.path("rendered/east/secret_istio-system_canary.yaml")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("a rendered Secret: %v, %v", info, err)
	}
}
