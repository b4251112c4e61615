package view

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"isthmus.dev/isthmus/internal/apply"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/plan"
	"isthmus.dev/isthmus/internal/screen"
)

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
	Plan(screen.NewPage(&b, false), pl, PlanOptions{Now: now})
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

// TestApplyingInALog is what apply says where there is no terminal: each thing once, and all of it at the end.
func TestApplyingInALog(t *testing.T) {
	var out bytes.Buffer
	a := NewApplying(screen.NewProgress(screen.Streams{Err: &out}))
	a.Event(apply.Event{Wave: 1, Cluster: "east", Part: object.PartTrust, Done: true, Elapsed: time.Second})
	a.Event(apply.Event{Wave: 1, Cluster: "east", Part: object.PartGateway, Text: "waiting for an address"})
	a.Event(apply.Event{Wave: 1, Cluster: "east", Part: object.PartGateway, Done: true, Text: "192.0.2.1"})
	a.Close(true)
	want := strings.TrimLeft(`
wave 1 · east  trust ✔ 1.0 s
wave 1 · east  waiting for an address
wave 1 · east  east-west gateway ✔ 192.0.2.1
✔ wave 1 · east  trust ✔ 1.0 s  east-west gateway ✔ 192.0.2.1
`, "\n")
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("a log of apply (-want +got):\n%s", diff)
	}
}
