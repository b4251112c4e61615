package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/screen"
	"isthmus.dev/isthmus/internal/status"
)

func statusReport() status.Report {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	end := func(about string, d time.Duration) *status.End {
		return &status.End{About: about, NotAfter: now.Add(d)}
	}
	const day = 24 * time.Hour
	one := func(name, address string, ms int64) status.Cluster {
		return status.Cluster{
			Name: name, LatencyMilliseconds: ms, Kubernetes: "1.36.3",
			ControlPlanes: []status.ControlPlane{{Namespace: "istio-system", Name: "istiod", Version: "1.31.1", Ready: 1, Wanted: 1}},
			Proxies:       status.Proxies{Total: 14, Synced: 14}, Remotes: status.Remotes{Wanted: 1, Synced: 1},
			Gateways:     []status.Gateway{{Namespace: "istio-system", Name: "istio-eastwestgateway", Addresses: []string{address}, Ready: 1, Wanted: 1}},
			Intermediate: end("CN=east", 364*day), Credential: end("west", 89*day),
		}
	}
	return status.Report{
		Mesh: "shop", Taken: now, Istio: "1.31.1", Root: end("CN=root", (10*365-1)*day), Healthy: true,
		Clusters: []status.Cluster{one("east", "198.18.0.11", 12), one("west", "198.18.0.12", 9)},
	}
}

func sickReport() status.Report {
	r := statusReport()
	r.Healthy = false
	east, west := &r.Clusters[0], &r.Clusters[1]
	east.ControlPlanes[0].Version, east.ControlPlanes[0].Ready = "1.30.4", 0
	east.Proxies = status.Proxies{Err: "no istiod pod is ready"}
	east.Gateways[0].Addresses, east.Gateways[0].Ready = nil, 0
	east.Credential = &status.End{About: "west"}
	east.Problems = []string{"istiod istio-system/istiod: 0 of 1 ready", "gateway istio-system/istio-eastwestgateway has no address"}
	west.Proxies.Synced, west.Remotes.Synced = 13, 0
	west.Intermediate.NotAfter = r.Taken.Add(-72 * time.Hour)
	west.Gateways[0].Ready, west.Gateways[0].Wanted = 0, 0
	west.Problems = []string{"1 of 14 proxies out of step: echo-1.demo"}
	r.Clusters = append(r.Clusters,
		status.Cluster{Name: "north", Err: "https://198.18.0.13:6443 (3 tries in 600ms): connection refused"},
		status.Cluster{Name: "south", Kubernetes: "1.36.3", LatencyMilliseconds: 7, Remotes: status.Remotes{Wanted: 3}, Problems: []string{"no control plane yet: isthmus apply"}})
	return r
}

func TestStatusPage(t *testing.T) {
	drained := statusReport()
	drained.Clusters[1].Drained = &facts.Drain{On: true, Since: drained.Taken.Add(-3 * time.Hour), To: "east"}
	for name, r := range map[string]status.Report{"status-well.txt": statusReport(), "status-drained.txt": drained, "status-sick.txt": sickReport()} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			statusPage(screen.NewPage(&b, false), r)
			golden(t, name, b.String())
			inColour(t, b.String(), func(p *screen.Page) { statusPage(p, r) })
		})
	}
}

func TestStatusWhereNobodyAnswers(t *testing.T) {
	dir := t.TempDir()
	kubeconfig, document := filepath.Join(dir, "kubeconfig"), filepath.Join(dir, "mesh.yaml")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Port 1 of loopback: nobody listens there.
	write(kubeconfig, `{apiVersion: v1, kind: Config, clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}], users: [{name: u, user: {}}],
contexts: [{name: east, context: {cluster: c, user: u}}]}`)
	write(document, "apiVersion: isthmus.dev/v1alpha1\nkind: Mesh\nmetadata: {name: shop}\nspec:\n  clusters:\n  - {name: east}\n  - {name: west}\n")
	run := func(args ...string) (string, error) {
		var out bytes.Buffer
		e := &env{
			Streams: screen.Streams{Out: &out, Err: &bytes.Buffer{}, Env: func(string) string { return "" }}, file: document, kubeconfig: kubeconfig,
		}
		if len(args) > 0 {
			e.output = args[0]
		}
		c := newStatus(e)
		c.SetArgs([]string{})
		c.SilenceErrors, c.SilenceUsage = true, true
		err := c.ExecuteContext(context.Background())
		return out.String(), err
	}
	out, err := run()
	var ee *exitError
	if !errors.As(err, &ee) || ee.code != exitUnknown || ee.err != nil {
		t.Errorf("error %v; want exit %d, everything having been said", err, exitUnknown)
	}
	for _, want := range []string{"east does not answer: http://127.0.0.1:1", "connection refused", `west does not answer: no context "west" in the kubeconfig`} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	out, _ = run("json")
	var r status.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || r.Healthy || len(r.Clusters) != 2 {
		t.Errorf("JSON all the same: %v\n%s", err, out)
	}
	if _, err := run("junit"); codeOf(err) != exitUsage {
		t.Errorf("status has no JUnit form: %v", err)
	}
}

func TestLasting(t *testing.T) {
	const day = 24 * time.Hour
	got := []string{lasting(3653 * day), lasting(89*day + time.Hour), lasting(36 * time.Hour), lasting(119 * time.Minute)}
	if diff := cmp.Diff([]string{"10 y 3 d", "89 d", "36 h", "119 min"}, got); diff != "" {
		t.Error(diff)
	}
}
