package view

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/plan"
)

func TestColumns(t *testing.T) {
	p := NewPage(nil, true)
	got := Columns([][]string{{"CLUSTER", "REACH"}, {"east", p.Good("12 ms")}, {"a-long-name", "✘"}})
	want := "CLUSTER      REACH\neast         \x1b[32m12 ms\x1b[0m\na-long-name  ✘\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
}

func TestDurations(t *testing.T) {
	cases := []struct {
		reason string
		got    string
		want   string
	}{
		{"tenths while they matter", Seconds(420 * time.Millisecond), "0.4 s"},
		{"whole seconds after that", Seconds(12400 * time.Millisecond), "12 s"},
		{"minutes as a clock", Seconds(161 * time.Second), "2:41"},
		{"an edit a while ago", Age(12 * time.Minute), "12 min"},
		{"an intermediate's end", Age(89*24*time.Hour + time.Hour), "89 d"},
		{"a root's end", Age((9*365 + 364) * 24 * time.Hour), "9 y 364 d"},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			if c.got != c.want {
				t.Errorf("got %q, want %q", c.got, c.want)
			}
		})
	}
}

func TestPlanForPeople(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	ref := object.Ref{Kind: "Service", Namespace: "istio-system", Name: "istio-eastwestgateway"}
	pl := plan.Plan{Mesh: "shop", Waves: []plan.Wave{
		{Clusters: []string{"east"}, Changes: []plan.Change{
			{Cluster: "east", Object: object.Ref{Kind: "Namespace", Name: "istio-system"}, Part: object.PartFoundation, Action: plan.Create},
			{Cluster: "east", Object: object.Ref{Kind: "Secret", Namespace: "istio-system", Name: "cacerts"}, Part: object.PartTrust, Action: plan.Create},
			{Cluster: "east", Object: object.Ref{Kind: "ServiceAccount", Name: "a"}, Part: object.PartControlPlane, Action: plan.Create},
			{Cluster: "east", Object: object.Ref{Kind: "ServiceAccount", Name: "b"}, Part: object.PartControlPlane, Action: plan.Create},
			{Cluster: "east", Object: object.Ref{Kind: "ServiceAccount", Name: "c"}, Part: object.PartControlPlane, Action: plan.Create},
			{Cluster: "east", Object: object.Ref{Kind: "ServiceAccount", Name: "d"}, Part: object.PartControlPlane, Action: plan.Create},
		}},
		{Clusters: []string{"west"}, Changes: []plan.Change{
			{Cluster: "west", Object: ref, Part: object.PartGateway, Action: plan.Configure, Reason: "mesh traffic from east arrives here", Fields: []plan.FieldDiff{
				{Path: "spec.ports[1].port", From: "15444", To: "15443", By: "kubectl-edit", At: now.Add(-12 * time.Minute)},
			}},
			{Cluster: "west", Object: object.Ref{Kind: "PeerAuthentication", Namespace: "istio-system", Name: "default"}, Action: plan.Create, Reason: "deleted by hand"},
			{Cluster: "west", Object: object.Ref{Kind: "Namespace", Name: "istio-system"}, Action: plan.Unchanged},
		}},
	}, Pending: []plan.Pending{{Cluster: "north", Why: "its API server does not answer"}}}
	var b bytes.Buffer
	Plan(NewPage(&b, false), pl, PlanOptions{Now: now})
	want := strings.TrimLeft(`
wave 1 · east
  + 6 create    foundation 1 · trust 1 · control plane 4
wave 2 · west
  ~ Service istio-system/istio-eastwestgateway                   mesh traffic from east arrives here
      spec.ports[1].port   15444 → 15443  changed by kubectl-edit, 12 min ago
  + PeerAuthentication istio-system/default                      deleted by hand
! north is left as it is: its API server does not answer
7 to create, 1 to change, 0 to replace, 0 to delete; 1 stay as they are.
`, "\n")
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
}

func TestProgressWithoutATerminal(t *testing.T) {
	var b bytes.Buffer
	p := NewProgress(Streams{Err: &b, Env: func(string) string { return "" }})
	p.Set("east", "waiting for istiod")
	p.Set("east", "waiting for istiod") // says nothing new
	p.Done("east", Yes, "control plane ready")
	p.Close()
	want := "east  waiting for istiod\n✔ east  control plane ready\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("progress (-want +got):\n%s", diff)
	}
}
