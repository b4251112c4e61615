package cli

import (
	"strings"
	"testing"
	"time"

	"isthmus.dev/isthmus/internal/engine"
	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/plan"
)

// TestAPlanIsJudgedByItsOwnOptions is about a plan from a file, which keeps the flags that it was made with: apply is
// given none, and must not refuse what the plan may take.
func TestAPlanIsJudgedByItsOwnOptions(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	east := &facts.Cluster{
		Name: "east", UID: "1", Version: "v1.36.3", Server: "https://192.0.2.1:6443", CABundle: "x",
		Istiods: []facts.Istiod{{Namespace: "istio-system", Name: "istiod", Version: "1.31.1", Owner: "istioctl", Ready: 1, Wanted: 1, ClusterName: "east"}},
	}
	eng := engine.Engine{Mesh: mesh.Mesh{Name: "shop", Clusters: []mesh.Cluster{{Name: "east", Network: "east"}}}}
	for _, c := range []struct {
		reason  string
		options plan.Options
		refused bool
	}{
		{"it takes nothing from anybody", plan.Options{}, true},
		{"it was made with --adopt", plan.Options{Adopt: true}, false},
	} {
		p := engine.Prospect{Plan: plan.Plan{Options: c.options}, Facts: facts.Snapshot{Taken: now, Clusters: map[string]*facts.Cluster{"east": east}}}
		err := mayApply(eng, p, false, false)
		if refused := err != nil && strings.Contains(err.Error(), "CHK015"); refused != c.refused {
			t.Errorf("%s: refused as another's Istio: %t, want %t: %v", c.reason, refused, c.refused, err)
		}
	}
}
