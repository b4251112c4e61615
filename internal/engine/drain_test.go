package engine

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/client-go/rest"

	"isthmus.dev/isthmus/internal/cluster"
	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/plan"
)

// Who may drain and may not ask istiods waits for a while, and is told of whom nothing is known.
func TestADrainWhereNobodyMayAskIstiod(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": 403, "message": "pods is forbidden"}`))
	}))
	defer server.Close()
	m, err := mesh.Load("mesh.yaml", []byte(`
apiVersion: isthmus.dev/v1alpha1
kind: Mesh
metadata: {name: shop}
spec:
  clusters: [{name: east}, {name: west}]
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	e := Engine{Mesh: m, Options: plan.Options{Drain: []string{"west"}}, Dial: func(c mesh.Cluster) (*cluster.Conn, error) {
		return cluster.New(c.Name, &rest.Config{Host: server.URL}, time.Second)
	}}
	now := facts.Snapshot{Clusters: map[string]*facts.Cluster{"east": {Name: "east"}, "west": {Name: "west"}}}
	var said []string
	left, err := e.AwaitDrained(t.Context(), now, nil, 2*time.Second, func(s string) { said = append(said, s) })
	if err != nil || !slices.Equal(left, []string{"east", "west"}) {
		t.Errorf("left %v, %v", left, err)
	}
	slices.Sort(said)
	if len(said) != 2 || !strings.Contains(said[0], "east: nobody may ask its istiod") {
		t.Errorf("said %q", said)
	}
}

// TestADrainKilledAnywhereIsGoneOnWith takes the facts before and after each write of a drain and of its end: what is
// left of it is nothing aside. What somebody else took away is.
func TestADrainKilledAnywhereIsGoneOnWith(t *testing.T) {
	e := many(t, 3)
	e.Renderings = Kept
	want, err := e.Want()
	if err != nil {
		t.Fatal(err)
	}
	now := settle(t, e, empty(e, want))
	for _, f := range now.Clusters {
		f.Services = nil // they are not what this is about
	}
	s := &settler{t: t, engine: e, now: now, fields: map[string][]any{}}
	drained := []string{"cluster-001"}
	for _, x := range []struct {
		name           string
		drain, undrain []string
	}{{"drain", drained, nil}, {"undrain", nil, drained}} {
		now.Taken = now.Taken.Add(time.Minute)
		decide := func() (plan.Plan, int) {
			p, aside, err := e.decideDrain(want, now, x.drain, x.undrain)
			if err != nil {
				t.Fatal(err)
			}
			return p.Plan, aside
		}
		p, aside := decide()
		steps := writesOf(p)
		if aside != 0 || len(steps) < 4 {
			t.Fatalf("%s of a settled mesh: %d writes, %d aside", x.name, len(steps), aside)
		}
		taken := object.Ref{Kind: "Service", Namespace: object.IstioNamespace, Name: "istiod"}
		for i, c := range steps {
			if c.Action == plan.Delete {
				delete(now.Clusters[c.Cluster].Live, c.Object)
			} else {
				s.do(c)
			}
			p, aside := decide()
			if last := i == len(steps)-1; aside != 0 || last != (p.Writes() == 0) {
				t.Errorf("%s, killed after write %d of %d (%s %s in %s): %d writes left, %d aside", x.name, i+1, len(steps), c.Action, c.Object, c.Cluster, p.Writes(), aside)
			}
			if i != len(steps)/2 {
				continue
			}
			f := now.Clusters["cluster-002"]
			was := f.Live[taken]
			delete(f.Live, taken)
			if _, aside = decide(); aside != 1 {
				t.Errorf("%s, killed, and a Service was deleted: %d aside, want 1", x.name, aside)
			}
			f.Live[taken] = was
		}
	}
}

// writesOf are the writes of a plan in the order in which apply makes them: an inventory is written before all else of
// its cluster where it must grow first, and its last word at the end of the wave.
func writesOf(p plan.Plan) []plan.Change {
	var steps []plan.Change
	for _, w := range p.Waves {
		var words []plan.Change
		for _, c := range w.Changes {
			if c.Action == plan.Unchanged {
				continue
			}
			if c.Stage == plan.StageInventory {
				if c.First == nil || !equality.Semantic.DeepEqual(c.First.Body, c.Want.Body) {
					words = append(words, c)
				}
				if c.First == nil {
					continue
				}
				c.Want = c.First
			}
			steps = append(steps, c)
		}
		steps = append(steps, words...)
	}
	return steps
}
