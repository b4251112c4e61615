package engine

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"isthmus.dev/isthmus/internal/cluster"
	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
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
	left, err := e.AwaitDrained(t.Context(), now, nil, 10*time.Millisecond, func(s string) { said = append(said, s) })
	if err != nil || !slices.Equal(left, []string{"east", "west"}) {
		t.Errorf("left %v, %v", left, err)
	}
	slices.Sort(said)
	if len(said) != 2 || !strings.Contains(said[0], "east: nobody may ask its istiod") {
		t.Errorf("said %q", said)
	}
}
