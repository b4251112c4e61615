package view

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"isthmus.dev/isthmus/internal/apply"
	"isthmus.dev/isthmus/internal/mesh"
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

func TestPlanSaysWhoVouches(t *testing.T) {
	show := func(pl plan.Plan) string {
		var b bytes.Buffer
		Plan(screen.NewPage(&b, false), pl, PlanOptions{})
		return b.String()
	}
	chart := func(by mesh.Voucher, unasked bool) plan.Plan {
		return plan.Plan{Charts: []mesh.Chart{{Reference: "oci://r.test/charts/base:1.31.1", Digest: "sha256:ab", By: by, Unasked: unasked}}}
	}
	const only = "only the registry says"
	for _, tt := range []struct {
		reason    string
		plan      plan.Plan
		want, not string
	}{
		{"embedded charts are not spoken of", plan.Plan{}, "Nothing to change", "charts"},
		{"nobody vouches", chart("", false), only, "as the lock"},
		{"the document does", chart(mesh.ByDocument, false), "base:1.31.1\n  sha256:ab as the document says", only},
		{"the lock does", chart(mesh.ByLock, false), "sha256:ab as the lock says", only},
		{"the registry is not there", chart(mesh.ByLock, true), "whether the tag has moved is not known", only},
		{"an archive is a file of one's own", plan.Plan{Charts: []mesh.Chart{{Reference: "istio.tar.gz", Digest: "sha256:ab"}}}, "istio.tar.gz\n  sha256:ab", only},
		{"an image that moved", plan.Plan{Images: []plan.LockedImage{{Image: "a:1", Locked: "sha256:1", Now: "sha256:2"}, {Image: "b:1", Locked: "sha256:1", Now: "sha256:1"}}}, "image a:1 has moved: its tag leads to sha256:2 now, and the lock says sha256:1", "b:1"},
		{"an image of which nothing is known", plan.Plan{Images: []plan.LockedImage{{Image: "a:1", Locked: "sha256:1", Unknown: "refused"}}}, "of 1 of 1 images", "has moved:"},
	} {
		if got := show(tt.plan); !strings.Contains(got, tt.want) || strings.Contains(got, tt.not) {
			t.Errorf("%s: want %q and not %q in:\n%s", tt.reason, tt.want, tt.not, got)
		}
	}
}
