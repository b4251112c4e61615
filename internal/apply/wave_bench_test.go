package apply_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"isthmus.dev/isthmus/internal/apply"
	"isthmus.dev/isthmus/internal/cluster"
	"isthmus.dev/isthmus/internal/engine"
	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/plan"
	"isthmus.dev/isthmus/internal/seal"
)

// farCluster answers as an API server would that is a round trip away and takes no time itself: what is measured is
// how well apply uses the time that it waits. What real API servers need is test/lab's to measure.
func farCluster(b *testing.B, name string) *cluster.Conn {
	b.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		time.Sleep(roundTrip)
		w.Header().Set("Content-Type", "application/json")
		switch path := req.URL.Path; {
		case path == "/api":
			fmt.Fprint(w, `{"kind": "APIVersions", "versions": ["v1"]}`)
		case path == "/apis":
			fmt.Fprint(w, `{"kind": "APIGroupList", "apiVersion": "v1", "groups": [
				{"name": "apps", "versions": [{"groupVersion": "apps/v1", "version": "v1"}], "preferredVersion": {"groupVersion": "apps/v1", "version": "v1"}},
				{"name": "rbac.authorization.k8s.io", "versions": [{"groupVersion": "rbac.authorization.k8s.io/v1", "version": "v1"}], "preferredVersion": {"groupVersion": "rbac.authorization.k8s.io/v1", "version": "v1"}}]}`)
		case path == "/api/v1":
			fmt.Fprint(w, `{"kind": "APIResourceList", "groupVersion": "v1", "resources": [
				{"name": "namespaces", "kind": "Namespace"}, {"name": "configmaps", "kind": "ConfigMap", "namespaced": true}, {"name": "services", "kind": "Service", "namespaced": true}]}`)
		case path == "/apis/rbac.authorization.k8s.io/v1":
			fmt.Fprint(w, `{"kind": "APIResourceList", "groupVersion": "rbac.authorization.k8s.io/v1", "resources": [{"name": "roles", "kind": "Role", "namespaced": true}]}`)
		case path == "/apis/apps/v1":
			fmt.Fprint(w, `{"kind": "APIResourceList", "groupVersion": "apps/v1", "resources": [{"name": "deployments", "kind": "Deployment", "namespaced": true}]}`)
		case req.Method == http.MethodPatch:
			sent, _ := io.ReadAll(req.Body)
			_, _ = w.Write(sent) // as it was applied
		default: // a Deployment that runs
			part := strings.Split(path, "/")
			fmt.Fprintf(w, `{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": %q, "namespace": "mesh", "generation": 1}, "spec": {"replicas": 1},
				"status": {"observedGeneration": 1, "replicas": 1, "readyReplicas": 1, "availableReplicas": 1, "updatedReplicas": 1,
				"conditions": [{"type": "Available", "status": "True"}]}}`, part[len(part)-1])
		}
	}))
	s.EnableHTTP2 = true // as API servers
	s.StartTLS()
	b.Cleanup(s.Close)
	conn, err := cluster.New(name, &rest.Config{Host: s.URL, QPS: -1, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}, time.Minute)
	if err != nil {
		b.Fatal(err)
	}
	return conn
}

// freshWave is the plan of so many objects in each of so many clusters that have nothing yet, as many in each stage as
// an Istio installation has.
func freshWave(b *testing.B, clusters int, namespace string) plan.Plan {
	b.Helper()
	m := mesh.Mesh{Name: "far"}
	want, now := object.Objects{}, facts.Snapshot{Clusters: map[string]*facts.Cluster{}}
	for i := range clusters {
		name := fmt.Sprintf("c%d", i)
		m.Clusters = append(m.Clusters, mesh.Cluster{Name: name})
		now.Clusters[name] = &facts.Cluster{Name: name, Live: map[object.Ref]*unstructured.Unstructured{}}
		add := func(part object.Part, text string) {
			u := &unstructured.Unstructured{}
			if err := json.Unmarshal([]byte(text), &u.Object); err != nil {
				b.Fatal(err)
			}
			want.Add(name, object.Object{Part: part, Body: u})
		}
		add(object.PartFoundation, fmt.Sprintf(`{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": %q}}`, namespace))
		for n := range 30 {
			add(object.PartControlPlane, fmt.Sprintf(`{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "config-%d", "namespace": %q}}`, n, namespace))
			add(object.PartControlPlane, fmt.Sprintf(`{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "role-%d", "namespace": %q}}`, n, namespace))
		}
		for _, part := range []object.Part{object.PartControlPlane, object.PartGateway} {
			add(part, fmt.Sprintf(`{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": %[1]q, "namespace": %[2]q}, "spec": {
				"selector": {"matchLabels": {"app": %[1]q}}, "template": {"metadata": {"labels": {"app": %[1]q}}, "spec": {"containers": [{"name": "app", "image": "app"}]}}}}`,
				part.Label(), namespace))
		}
	}
	p, err := plan.Make(plan.Input{Mesh: m, Want: want, Now: now})
	if err != nil {
		b.Fatal(err)
	}
	return p
}

// waves times the same wave in 2 and in 20 clusters, in one run. The ratio is what counts; aim: 1.5 or less.
func waves(b *testing.B, at place) {
	run := 0
	wave := func(clusters int) time.Duration {
		a := apply.Applier{Conns: map[string]*cluster.Conn{}}
		for i := range clusters {
			name := fmt.Sprintf("c%d", i)
			a.Conns[name] = at.conn(name)
		}
		run++
		p := freshWave(b, clusters, fmt.Sprint("mesh-", run))
		return at.timed(func() {
			set, err := a.Apply(b.Context(), p, nil)
			if err != nil || len(set.Done) != p.Writes() {
				b.Fatalf("%d of %d changes: %v", len(set.Done), p.Writes(), err)
			}
		})
	}
	var few, many time.Duration
	for b.Loop() {
		few += wave(2)
		many += wave(20)
	}
	b.ReportMetric(few.Seconds()/float64(b.N), "2-clusters-s")
	b.ReportMetric(many.Seconds()/float64(b.N), "20-clusters-s")
	b.ReportMetric(many.Seconds()/few.Seconds(), "ratio")
}

// BenchmarkWaveOf20Clusters is of clusters whose API servers take no time.
func BenchmarkWaveOf20Clusters(b *testing.B) {
	waves(b, place{conn: func(name string) *cluster.Conn { return farCluster(b, name) }, timed: stopwatch})
}

// BenchmarkWaveOf20APIServers is of real API servers, with no node behind them: what makes workloads ready is a stand-in.
func BenchmarkWaveOf20APIServers(b *testing.B) {
	names := numbered("c", 20)
	b.Run("ownProcessors", func(b *testing.B) { waves(b, ownProcessors(b, names)) })
	b.Run("sharedProcessors", func(b *testing.B) { waves(b, sharedProcessors(b, names)) })
}

// BenchmarkWaveOfADocument is what a document asks for of as many real API servers: the whole of Istio in fresh ones, real
// certificates and tokens included, then another value, which starts every istiod anew, and then another mode of mutual
// TLS, which nothing starts anew. Every cluster of 20 gets 19 remote secrets, every one of 2 gets one.
func BenchmarkWaveOfADocument(b *testing.B) {
	few, many := numbered("few-", 2), numbered("many-", 20)
	all := append(few, many...)
	b.Run("ownProcessors", func(b *testing.B) { documentWaves(b, ownProcessors(b, all), few, many) })
	b.Run("sharedProcessors", func(b *testing.B) { documentWaves(b, sharedProcessors(b, all), few, many) })
}

func documentWaves(b *testing.B, at place, few, many []string) {
	two, twenty := newFarMesh(b, few, at), newFarMesh(b, many, at)
	var set []string
	for _, wave := range []struct {
		name string
		sets []string
	}{
		{"install", nil},
		{"value", []string{"spec.istio.values.pilot.resources.requests.memory=1Gi", "spec.istio.meshConfig.accessLogFile=/dev/stdout"}},
		{"policy", []string{"spec.security.mtls=PERMISSIVE"}},
	} { // once: what was done is not to be done again
		set = append(set, wave.sets...)
		x, y := two.wave(set...), twenty.wave(set...)
		b.ReportMetric(x.Seconds(), wave.name+"-2-s")
		b.ReportMetric(y.Seconds(), wave.name+"-20-s")
		b.ReportMetric(y.Seconds()/x.Seconds(), wave.name+"-ratio")
	}
}

// A farMesh is a mesh document of clusters a round trip away, which all are one wave.
type farMesh struct {
	*testing.B
	at       place
	document string
	conns    map[string]*cluster.Conn
}

func newFarMesh(b *testing.B, names []string, at place) farMesh {
	b.Helper()
	f := farMesh{B: b, at: at, conns: map[string]*cluster.Conn{}}
	f.document = "apiVersion: isthmus.dev/v1alpha1\nkind: Mesh\nmetadata: {name: shop}\nspec:\n" +
		"  rollout: {waves: [[" + strings.Join(names, ", ") + "]]}\n  clusters:\n"
	for i, name := range names {
		f.conns[name] = at.conn(name)
		f.document += fmt.Sprintf("  - {name: %s, server: \"https://198.51.100.%d:6443\"}\n", name, i)
	}
	return f
}

// wave makes the clusters what the document and settings ask for, and returns how long the changes took.
func (f farMesh) wave(set ...string) time.Duration {
	f.Helper()
	m, err := mesh.Load("mesh.yaml", []byte(f.document), set)
	if err != nil {
		f.Fatal(err)
	}
	want, err := engine.Engine{Mesh: m}.Want()
	if err != nil {
		f.Fatal(err)
	}
	dial := func(c mesh.Cluster) (*cluster.Conn, error) { return f.conns[c.Name], nil }
	p, err := plan.Make(plan.Input{Mesh: m, Want: want, Now: facts.Gather(f.Context(), m, want, dial, time.Minute, time.Now), Judges: engine.Judges()})
	if err != nil {
		f.Fatal(err)
	}
	a := apply.Applier{Conns: f.conns, Sealers: seal.Sealers(m, f.conns, time.Now, rand.Reader)}
	f.Logf("%d clusters: %d changes", len(f.conns), p.Writes())
	return f.at.timed(func() {
		done, err := a.Apply(f.Context(), p, nil)
		if err != nil || len(done.Done) != p.Writes() || len(p.Waves) != 1 {
			f.Fatalf("%d of %d changes in %d waves, %v pending: %v", len(done.Done), p.Writes(), len(p.Waves), p.Pending, err)
		}
	})
}

func numbered(prefix string, n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprint(prefix, i)
	}
	return names
}
