package cli

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"isthmus.dev/isthmus/internal/screen"
	"isthmus.dev/isthmus/internal/verify"
)

var updatePages = flag.Bool("update-pages", false, "write the golden pages of check, status and help anew")

// golden compares a page with testdata/name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *updatePages {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("page is not as in %s; if it should be: go test ./internal/cli -update-pages\n%s", path, diff)
	}
}

// inColour checks that colours change nothing but colours.
func inColour(t *testing.T, plain string, show func(*screen.Page)) {
	t.Helper()
	var b bytes.Buffer
	show(screen.NewPage(&b, true))
	if !strings.Contains(b.String(), "\x1b[") {
		t.Error("a page with colours has none")
	}
	if diff := cmp.Diff(plain, regexp.MustCompile("\x1b\\[[0-9]*m").ReplaceAllString(b.String(), "")); diff != "" {
		t.Errorf("with colours other words:\n%s", diff)
	}
}

func wellReport() verify.Report {
	return verify.Report{
		Mesh: "shop", Taken: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC), Seconds: 1.2, Passed: 44,
		Clusters: []verify.ClusterLine{
			{Name: "east", Kubernetes: "1.36.3", LatencyMilliseconds: 41, Istio: "no Istio", LoadBalancer: "ok"},
			{Name: "west", Kubernetes: "1.36.3", LatencyMilliseconds: 38, Istio: "no Istio", LoadBalancer: "ok"},
		},
		Pairs:   []verify.PairLine{{A: "east", B: "west", Networks: "differ", PodRanges: "overlap"}},
		Results: []verify.Result{{ID: "CHK001", Question: "Does every API server answer?", Severity: verify.Error}},
	}
}

func badReport() verify.Report {
	r := wellReport()
	r.Clusters = append(r.Clusters, verify.ClusterLine{Name: "north", Err: "https://198.18.0.13:6443: connection refused"})
	r.Clusters[1].Istio, r.Clusters[1].LoadBalancer = "Istio 1.29.1 of istioctl", "not needed"
	r.Pairs[0].ClocksApartSeconds, r.Pairs[0].Networks = 3, "shared"
	r.Passed, r.Skipped, r.Errors, r.Warnings, r.Notes = 38, 2, 2, 1, 2
	r.Results = []verify.Result{
		{ID: "CHK001", Question: "Does every API server answer?", Severity: verify.Error, Findings: []verify.Finding{
			{Cluster: "north", Severity: verify.Error, Seen: "does not answer: https://198.18.0.13:6443: connection refused", Do: "Try: kubectl --context north get --raw /readyz"},
		}},
		{ID: "CHK008", Question: "Do the clusters' clocks agree?", Severity: verify.Error, Findings: []verify.Finding{
			{Cluster: "east", Other: "west", Severity: verify.Warning, Seen: "its clock is 3s ahead of west's", Do: "see to time synchronisation"},
		}},
		{ID: "CHK013", Question: "Do the nodes say which region they are in?", Severity: verify.Note, Findings: []verify.Finding{
			{Cluster: "east", Severity: verify.Note, Seen: "1 of 1 node without a region label", Do: "label them"},
			{Cluster: "west", Severity: verify.Note, Seen: "1 of 1 node without a region label", Do: "label them"},
		}},
		{ID: "CHK025", Question: "Do pods in one network have addresses of their own?", Severity: verify.Error, Findings: []verify.Finding{
			{Cluster: "west", Other: "east", Severity: verify.Error, Seen: "pods of east and of west share addresses", Do: "give them networks of their own"},
		}},
		{ID: "CHK017", Question: "Does nobody else keep them?", Severity: verify.Warning, Skipped: "CHK015"},
	}
	return r
}

func TestCheckPage(t *testing.T) {
	many := wellReport()
	many.Clusters, many.Pairs = nil, nil
	for i := range 5 {
		name := fmt.Sprintf("c%d", i)
		for _, c := range many.Clusters {
			many.Pairs = append(many.Pairs, verify.PairLine{A: c.Name, B: name, Networks: "differ", PodRanges: "unknown"})
		}
		many.Clusters = append(many.Clusters, verify.ClusterLine{Name: name, Kubernetes: "1.36.3", LatencyMilliseconds: 3, Istio: "no Istio", LoadBalancer: "ok"})
	}
	many.Pairs[4].ClocksApartSeconds = 2
	for name, r := range map[string]verify.Report{"check-well.txt": wellReport(), "check-bad.txt": badReport(), "check-many.txt": many} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			checkPage(screen.NewPage(&b, false), r)
			golden(t, name, b.String())
			inColour(t, b.String(), func(p *screen.Page) { checkPage(p, r) })
		})
	}
}

func TestCheckForPrograms(t *testing.T) {
	show := func(format screen.Format) []byte {
		var out bytes.Buffer
		e := &env{Streams: screen.Streams{Out: &out, Env: func(string) string { return "" }}, output: string(format)}
		if err := e.showCheck(badReport()); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	t.Run("JSON is the report", func(t *testing.T) {
		var got verify.Report
		if err := json.Unmarshal(show(screen.JSON), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(badReport(), got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
	t.Run("JSON names are for ever", func(t *testing.T) { golden(t, "check.json", string(show(screen.JSON))) })
	t.Run("JUnit fails what has errors and skips what was skipped", func(t *testing.T) {
		var got verify.TestSuite
		if err := xml.Unmarshal(show(screen.JUnit), &got); err != nil {
			t.Fatal(err)
		}
		if got.Tests != 5 || got.Failures != 2 || got.Skipped != 2 || got.Cases[4].Skipped == nil || got.Cases[1].Failure != nil || got.Cases[0].Failure == nil {
			t.Errorf("%+v", got)
		}
		golden(t, "check.xml", string(show(screen.JUnit)))
	})
}
