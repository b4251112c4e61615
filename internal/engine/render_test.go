package engine_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"isthmus.dev/isthmus/internal/apply"
	"isthmus.dev/isthmus/internal/cluster"
	"isthmus.dev/isthmus/internal/engine"
	"isthmus.dev/isthmus/internal/facts/apitest"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/plan"
	"isthmus.dev/isthmus/internal/render"
	"isthmus.dev/isthmus/internal/seal"
)

const document = `
apiVersion: isthmus.dev/v1alpha1
kind: Mesh
metadata: {name: shop}
spec:
  clusters:
  - {name: east, istio: {revision: canary}}
  - {name: west}
  istio: {imagePullSecrets: [registry]}
`

func engineOf(t *testing.T, text string, dial cluster.Dialer) engine.Engine {
	t.Helper()
	m, err := mesh.Load("mesh.yaml", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	return engine.Engine{Mesh: m, Dial: dial, Now: time.Now, Rand: rand.Reader, Renderings: engine.Kept}
}

// nobody is dialled where nothing may be asked.
func nobody(t *testing.T) cluster.Dialer {
	return func(c mesh.Cluster) (*cluster.Conn, error) {
		t.Errorf("cluster %s is asked", c.Name)
		return nil, errors.New("no")
	}
}

// rendered writes a mesh to files and reads them back, in the order of the kustomization: cluster → bodies.
func rendered(t *testing.T, eng engine.Engine) map[string][]map[string]any {
	t.Helper()
	clusters, err := eng.Render()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, err := render.Write(dir, clusters); err != nil {
		t.Fatal(err)
	}
	out := map[string][]map[string]any{}
	for _, c := range clusters {
		var k struct{ Resources []string }
		read(t, filepath.Join(dir, c.Name, render.Kustomization), &k)
		for _, name := range k.Resources {
			body := map[string]any{}
			read(t, filepath.Join(dir, c.Name, name), &body)
			out[c.Name] = append(out[c.Name], body)
		}
		if again, err := render.Write(dir, clusters); err != nil || len(again.Changed) > 0 {
			t.Errorf("written again: %v, %v", again, err)
		}
	}
	return out
}

func read(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err == nil {
		err = yaml.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestRenderAsksNobodyAndIsStable: two runs give the same, also where keys would be made.
func TestRenderAsksNobodyAndIsStable(t *testing.T) {
	eng := engineOf(t, document, nobody(t))
	first, second := rendered(t, eng), rendered(t, eng)
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("-first +second:\n%s", diff)
	}
	for name, bodies := range first {
		if len(bodies) < 40 {
			t.Errorf("%s has %d files", name, len(bodies))
		}
		for _, b := range bodies {
			u := unstructured.Unstructured{Object: b}
			if u.GetKind() == "Secret" {
				t.Errorf("%s: Secret %s is among the files", name, u.GetName())
			}
			if u.GetAnnotations()[object.AnnotationApplied] == "" || u.GetLabels()[object.LabelMesh] == "" {
				t.Errorf("%s: %s %s lacks what apply would write on it", name, u.GetKind(), u.GetName())
			}
		}
	}
}

// TestSecretsWithoutAClusterAreKept: what render made once it keeps, and only a cluster that joins gets something new.
func TestSecretsWithoutAClusterAreKept(t *testing.T) {
	eng, dir := engineOf(t, document, nobody(t)), t.TempDir()
	renderings := map[int][]render.Cluster{} // by number of clusters: rendering is what takes time here
	fresh := func(eng engine.Engine) []render.Cluster {
		t.Helper()
		n := len(eng.Mesh.Clusters)
		if renderings[n] == nil {
			var err error
			if renderings[n], err = eng.Render(); err != nil {
				t.Fatal(err)
			}
		}
		clusters := slices.Clone(renderings[n])
		for i := range clusters {
			clusters[i].Items = slices.Clone(clusters[i].Items)
		}
		return clusters
	}
	fill := func(eng engine.Engine) render.Written {
		t.Helper()
		clusters := fresh(eng)
		have, err := render.Secrets(dir, clusters)
		if err != nil {
			t.Fatal(err)
		}
		if err := eng.FillSecrets(clusters, have); err != nil {
			t.Fatal(err)
		}
		for _, c := range clusters {
			for _, i := range c.Secrets() {
				if seal.NeedsCluster(i.Object) == "" {
					t.Errorf("%s: %s could have been made", c.Name, i.Object.Ref())
				}
			}
		}
		w, err := render.Write(dir, clusters)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	secrets := func(w render.Written) (names []string) {
		for _, f := range w.Changed {
			if strings.HasPrefix(filepath.Base(f), "secret_") {
				name, _ := filepath.Rel(dir, f)
				names = append(names, name)
			}
		}
		return names
	}
	want := []string{"east/secret_isthmus-system_isthmus-root.yaml", "east/secret_istio-system_cacerts.yaml", "west/secret_istio-system_cacerts.yaml"}
	if diff := cmp.Diff(want, secrets(fill(eng))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if again := fill(eng); len(again.Changed) > 0 {
		t.Errorf("the second time: %v", again.Changed)
	}
	more := engineOf(t, strings.Replace(document, "- {name: west}", "- {name: west}\n  - {name: north}", 1), nobody(t))
	if diff := cmp.Diff([]string{"north/secret_istio-system_cacerts.yaml"}, secrets(fill(more))); diff != "" {
		t.Errorf("a cluster joins, -want +got:\n%s", diff)
	}
	if err := os.Remove(filepath.Join(dir, want[0])); err != nil {
		t.Fatal(err)
	}
	clusters := fresh(more)
	have, err := render.Secrets(dir, clusters)
	if err != nil {
		t.Fatal(err)
	}
	if err := more.FillSecrets(clusters, have); err == nil || !strings.Contains(err.Error(), "Put the Secret back") {
		t.Errorf("a root that is lost is made anew: %v", err)
	}
}

// TestAppliedFilesLeaveNothingToPlan applies the files to real API servers, first under Isthmus's name and then as a
// GitOps controller does, which forces its way as theirs do: what plan still wants is Secrets and its inventory.
func TestAppliedFilesLeaveNothingToPlan(t *testing.T) {
	servers := apitest.For(t, "east", "west")
	dial := cluster.Options{Kubeconfig: servers.Kubeconfig}.Dial
	eng := engineOf(t, document, dial)
	files := rendered(t, eng)
	for _, manager := range []metav1.ApplyOptions{{FieldManager: object.Manager}, {FieldManager: "gitops", Force: true}} {
		for name, bodies := range files {
			conn, err := dial(mesh.Cluster{Name: name, Context: name})
			if err != nil {
				t.Fatal(err)
			}
			send(t, conn, bodies, manager)
		}
		p, err := eng.Plan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		unchanged := 0
		for _, w := range p.Plan.Waves {
			for _, c := range w.Changes {
				switch {
				case c.Action == plan.Unchanged:
					unchanged++
				case c.Object.Kind != "Secret" && c.Stage != plan.StageInventory:
					t.Errorf("applied by %s, %s: %s %s: %s %v", manager.FieldManager, c.Cluster, c.Action, c.Object, c.Reason, c.Fields)
				}
			}
		}
		if unchanged < 80 || len(p.Plan.Conflicts) > 0 || len(p.Plan.Pending) > 0 {
			t.Errorf("applied by %s, %d objects are as they should be; conflicts %v, pending %v", manager.FieldManager, unchanged, p.Plan.Conflicts, p.Plan.Pending)
		}
	}
}

// send applies bodies: webhooks last, since nobody here answers them.
func send(t *testing.T, conn *cluster.Conn, bodies []map[string]any, as metav1.ApplyOptions) {
	t.Helper()
	for _, hooks := range []bool{false, true} {
		for _, b := range bodies {
			u := &unstructured.Unstructured{Object: b}
			if strings.HasSuffix(u.GetKind(), "WebhookConfiguration") != hooks {
				continue
			}
			if as.Force && strings.HasSuffix(u.GroupVersionKind().Group, ".istio.io") {
				continue // the webhook is there by now, and no istiod to answer it
			}
			deadline := time.Now().Add(time.Minute)
			for {
				r, err := conn.Resource(u.GroupVersionKind(), u.GetNamespace())
				if err == nil {
					_, err = r.Apply(t.Context(), u.GetName(), u, as)
				}
				if err == nil {
					break
				}
				if time.Now().After(deadline) || !meta.IsNoMatchError(errors.Unwrap(err)) && !strings.Contains(err.Error(), "could not find") {
					t.Fatalf("%s %s: %v", u.GetKind(), u.GetName(), err)
				}
				time.Sleep(100 * time.Millisecond) // a kind is not served the moment its CRD is there
			}
		}
	}
}

// TestFilesAreWhatApplySends listens to apply on a real API server and compares each body that it sends.
func TestFilesAreWhatApplySends(t *testing.T) {
	servers := apitest.For(t, "east")
	text := strings.Replace(document, "  - {name: west}\n", "", 1)
	heard := &recorder{bodies: map[string]string{}}
	eng := engineOf(t, text, func(c mesh.Cluster) (*cluster.Conn, error) {
		conn, err := cluster.Options{Kubeconfig: servers.Kubeconfig}.Dial(c)
		if err != nil {
			return nil, err
		}
		conn.Config.Wrap(heard.wrap)
		return cluster.New(c.Name, conn.Config, 10*time.Second)
	})
	p, err := eng.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	conns, err := eng.Conns()
	if err != nil {
		t.Fatal(err)
	}
	a := apply.Applier{Conns: conns, Sealers: seal.Sealers(eng.Mesh, conns, eng.Now, eng.Rand), RetryFor: time.Second, ReadyFor: 20 * time.Second}
	if _, err := a.Apply(t.Context(), p.Plan, nil); err == nil {
		t.Error("istiod became ready, with no node to run on")
	}
	compared := 0
	for _, b := range rendered(t, eng)["east"] {
		u := unstructured.Unstructured{Object: b}
		sent, there := heard.bodies[strings.ToLower(u.GetKind())+"s/"+u.GetName()]
		if !there {
			continue // of a stage after the control plane, which was waited for in vain
		}
		compared++
		want, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.TrimSpace(sent), string(want)); diff != "" {
			t.Errorf("%s %s, -sent +file:\n%s", u.GetKind(), u.GetName(), diff)
		}
	}
	if compared < 30 {
		t.Errorf("compared only %d bodies of %d that were sent", compared, len(heard.bodies))
	}
}

// A recorder keeps the bodies of patches by resource and name.
type recorder struct {
	mu     sync.Mutex
	bodies map[string]string
}

func (r *recorder) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(q *http.Request) (*http.Response, error) {
		if q.Method == http.MethodPatch && q.Body != nil {
			text, err := io.ReadAll(q.Body)
			if err != nil {
				return nil, err
			}
			q.Body = io.NopCloser(bytes.NewReader(text))
			r.mu.Lock()
			r.bodies[path.Join(path.Base(path.Dir(q.URL.Path)), path.Base(q.URL.Path))] = string(text)
			r.mu.Unlock()
		}
		return next.RoundTrip(q)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(q *http.Request) (*http.Response, error) { return f(q) }
