//go:build lab

package lab_test

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"istio.io/istio/operator/pkg/helm"
	"istio.io/istio/operator/pkg/values"
	"sigs.k8s.io/yaml"
)

// releases are the charts that Istio's page "Install with Helm" names, and the names that it gives the releases.
var releases = []struct{ name, chart string }{{"istio-base", "base"}, {"istiod", "istio-control/istio-discovery"}}

// helmInstall does what helm install does: it renders Istio's charts as releases, applies the objects with Helm's field
// manager and marks, and leaves Helm's record of each release.
func helmInstall(t *testing.T, cluster string) {
	t.Helper()
	kubectl(t, cluster, "create", "namespace", "istio-system")
	set, err := values.MapFromYaml([]byte(`
spec:
  values:
    global: {hub: lab.local, tag: 1.31.0, imagePullPolicy: IfNotPresent, meshID: mesh1, network: network-north, multiCluster: {clusterName: north}, proxy: {resources: {requests: {cpu: 5m, memory: 32Mi}}}}
    pilot: {resources: {requests: {cpu: 10m, memory: 64Mi}}, env: {PILOT_ENABLE_METADATA_EXCHANGE: "false", PILOT_ENABLE_ALPN_FILTER: "false"}}
    resources: {requests: {cpu: 10m, memory: 64Mi}}
    env: {PILOT_ENABLE_METADATA_EXCHANGE: "false", PILOT_ENABLE_ALPN_FILTER: "false"}
    telemetry: {enabled: false}
    meshConfig: {defaultProviders: {metrics: []}}
`))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range releases {
		rendered, _, err := helm.Render(r.name, "istio-system", r.chart, set, nil)
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, m := range rendered {
			notes := m.GetAnnotations()
			if notes == nil {
				notes = map[string]string{}
			}
			notes["meta.helm.sh/release-name"], notes["meta.helm.sh/release-namespace"] = r.name, "istio-system"
			m.SetAnnotations(notes)
			labels := m.GetLabels()
			if labels == nil {
				labels = map[string]string{}
			}
			labels["app.kubernetes.io/managed-by"] = "Helm"
			m.SetLabels(labels)
			text, err := yaml.Marshal(m.Object)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, string(text))
		}
		all = append(all, `apiVersion: v1
kind: Secret
type: helm.sh/release.v1
metadata: {name: sh.helm.release.v1.`+r.name+`.v1, namespace: istio-system, labels: {owner: helm, name: `+r.name+`, status: deployed, version: "1"}}
`)
		helmApply(t, cluster, strings.Join(all, "---\n"))
	}
}

func helmApply(t *testing.T, cluster, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, world.programs.Program("kubectl"), "--context", cluster, "--kubeconfig", here(t).Kubeconfig,
		"apply", "--server-side", "--field-manager=helm", "-f", "-")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("apply as Helm does: %v: %s", err, out)
	}
}

// adoptingHelm is the document of the mesh that helmInstall makes.
func adoptingHelm(t *testing.T, cluster string) string {
	return strings.NewReplacer("injectionTemplate: gateway", "").Replace(adopting(t, cluster))
}
