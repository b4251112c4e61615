package apply_test

import (
	stdcmp "cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"sigs.k8s.io/yaml"

	"isthmus.dev/isthmus/internal/apply"
	"isthmus.dev/isthmus/internal/cluster"
	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/facts/apitest"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/plan"
)

// canary is in every secret that a test makes: nothing that a person or a program may see holds it.
const canary = "c4n4ry-do-not-print"

// A bench is one mesh on the shared clusters.
type bench struct {
	t     *testing.T
	mesh  mesh.Mesh
	want  object.Objects
	wrap  func(cluster string, rt http.RoundTripper) http.RoundTripper
	take  plan.Options
	sealN int
	lock  bool // take the lock as commands do; whoever left one behind is dead
	// judges make those of one plan; nil: all that exists is right.
	judges func() map[object.SealKind]plan.Judge
	// restart judges what must start anew; nil: nothing.
	restart plan.Judge
	seals   func(conns map[string]*cluster.Conn) map[object.SealKind]apply.Sealer
	on      *apitest.Clusters // nil: those that all tests share
	// retryFor is how long a refused request is tried again; zero: as long as for readiness.
	retryFor time.Duration
	mu       sync.Mutex
	all      strings.Builder // everything that was reported
}

// newBench is a mesh of both clusters whose objects lie in a namespace named after the test.
func newBench(t *testing.T, name string) *bench {
	needClusters(t)
	b := &bench{t: t, mesh: mesh.Mesh{Name: name, Clusters: []mesh.Cluster{{Name: "east", Context: "east"}, {Name: "west", Context: "west"}}}}
	b.want = wanted(t, name)
	return b
}

func (b *bench) dialer() cluster.Dialer {
	return cluster.Options{Kubeconfig: b.where().Kubeconfig, Wrap: b.wrap, Timeout: time.Minute}.Dial
}

func (b *bench) where() *apitest.Clusters {
	if b.on != nil {
		return b.on
	}
	return clusters
}

func (b *bench) facts() facts.Snapshot {
	s := facts.Gather(b.t.Context(), b.mesh, b.want, b.dialer(), time.Minute, time.Now)
	facts.GatherLeft(b.t.Context(), b.mesh, &s, nil, b.dialer(), time.Minute, time.Now)
	facts.Hold(b.t.Context(), b.mesh.Name, s, b.want, func(name string) (*cluster.Conn, error) {
		return b.dialer()(mesh.Cluster{Name: name, Context: name})
	})
	return s
}

func (b *bench) plan() (plan.Plan, error) {
	judges := b.judges
	if judges == nil {
		judges = func() map[object.SealKind]plan.Judge {
			return map[object.SealKind]plan.Judge{object.SealRoot: fresh, object.SealIntermediate: fresh, object.SealRemoteSecret: fresh}
		}
	}
	return plan.Make(plan.Input{Mesh: b.mesh, Want: b.want, Now: b.facts(), Judges: judges(), Restart: b.restart, Options: b.take})
}

func fresh(mesh.Mesh, string, object.Object, facts.Snapshot) (string, error) { return "", nil }

func (b *bench) mustPlan() plan.Plan {
	b.t.Helper()
	p, err := b.plan()
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

// seal makes content with the canary in it.
func (b *bench) seal(_ context.Context, _ string, o object.Object) (*unstructured.Unstructured, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sealN++
	return o.Body, unstructured.SetNestedField(o.Body.Object, fmt.Sprintf("%s %d", canary, b.sealN), "stringData", "key")
}

func (b *bench) conns() map[string]*cluster.Conn {
	all := map[string]*cluster.Conn{}
	for _, name := range []string{"east", "west"} { // one of them may have left the mesh
		conn, err := b.dialer()(mesh.Cluster{Name: name, Context: name})
		if err != nil {
			b.t.Fatal(err)
		}
		all[name] = conn
	}
	return all
}

// holder is somebody else each time.
func holder(user string) apply.Holder {
	return apply.Holder{ID: rand.Text(), User: user, Host: "laptop", Command: "isthmus apply"}
}

// ready is how long things may take here, on a machine that does other work too.
const ready = time.Minute

func (b *bench) sealers() map[object.SealKind]apply.Sealer {
	return map[object.SealKind]apply.Sealer{
		object.SealRoot: b.seal, object.SealIntermediate: b.seal, object.SealRemoteSecret: b.seal,
	}
}

func (b *bench) apply(ctx context.Context, p plan.Plan) (apply.ChangeSet, error) {
	conns := b.conns()
	a := apply.Applier{Conns: conns, Sealers: b.sealers(), RetryFor: stdcmp.Or(b.retryFor, ready), ReadyFor: ready}
	if b.seals != nil {
		a.Sealers = b.seals(conns)
	}
	if b.lock {
		a.Lock = &apply.Lock{Home: b.mesh.Home().Name, Holder: holder("test"), Dead: func(apply.Holder) bool { return true }}
	}
	return a.Apply(ctx, p, func(e apply.Event) { fmt.Fprintf(&b.all, "%+v\n", e) })
}

func (b *bench) converge() apply.ChangeSet {
	b.t.Helper()
	return b.does(b.mustPlan())
}

// does applies a plan, which has to succeed.
func (b *bench) does(p plan.Plan) apply.ChangeSet {
	b.t.Helper()
	set, err := b.apply(b.t.Context(), p)
	if err != nil {
		b.t.Fatalf("apply: %v", err)
	}
	return set
}

// get reads an object as it is in a cluster; nil if it is not there.
func (b *bench) get(name string, ref object.Ref) *unstructured.Unstructured {
	b.t.Helper()
	if b.on == nil {
		return get(b.t, name, ref)
	}
	return read(b.t, b.conns()[name], ref)
}

func get(t *testing.T, name string, ref object.Ref) *unstructured.Unstructured {
	t.Helper()
	return read(t, conn(t, name), ref)
}

func read(t *testing.T, c *cluster.Conn, ref object.Ref) *unstructured.Unstructured {
	t.Helper()
	r, err := c.Resource(schema.GroupVersionKind{Group: ref.Group, Kind: ref.Kind}, ref.Namespace)
	if err != nil {
		return nil
	}
	u, err := r.Get(t.Context(), ref.Name, metav1.GetOptions{})
	if err != nil {
		return nil
	}
	return u
}

// conns are for looking, apart from those that are tested; they live as long as the API servers.
var (
	conns   = map[string]*cluster.Conn{}
	connsMu sync.Mutex
)

func conn(t *testing.T, name string) *cluster.Conn {
	t.Helper()
	connsMu.Lock()
	defer connsMu.Unlock()
	if c := conns[name]; c != nil {
		return c
	}
	c, err := cluster.Options{Kubeconfig: clusters.Kubeconfig}.Dial(mesh.Cluster{Name: name, Context: name})
	if err != nil {
		t.Fatal(err)
	}
	conns[name] = c
	return c
}

// patch changes an object as somebody else.
func patch(t *testing.T, name string, ref object.Ref, manager, body string) {
	t.Helper()
	r, err := conn(t, name).Resource(schema.GroupVersionKind{Group: ref.Group, Kind: ref.Kind}, ref.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Patch(t.Context(), ref.Name, types.MergePatchType, []byte(body), metav1.PatchOptions{FieldManager: manager}); err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, name, manager, text string) {
	t.Helper()
	u := body(t, text)
	r, err := conn(t, name).Resource(u.GroupVersionKind(), u.GetNamespace())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Create(t.Context(), u, metav1.CreateOptions{FieldManager: manager}); err != nil {
		t.Fatal(err)
	}
}

func body(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		t.Fatal(err)
	}
	return u
}

// versions are the resourceVersions of everything that a mesh wants, and of its inventories.
func (b *bench) versions() map[string]string {
	all := map[string]string{}
	for name := range b.want {
		refs := append(b.want.Refs(name), object.Ref{Kind: "ConfigMap", Namespace: object.SystemNamespace, Name: facts.InventoryName(b.mesh.Name)})
		for _, ref := range refs {
			if u := b.get(name, ref); u != nil {
				all[name+" "+ref.String()] = u.GetResourceVersion()
			}
		}
	}
	return all
}

func TestTheSecondTimeNothingIsWritten(t *testing.T) {
	b := newBench(t, "twice")
	writes := 0
	b.wrap = counted(b, &writes)
	first := b.mustPlan()
	if len(first.Conflicts) > 0 || first.Counts()[plan.Create] == 0 {
		t.Fatalf("a fresh cluster: conflicts %v, counts %v", first.Conflicts, first.Counts())
	}
	set, err := b.apply(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Done) != first.Writes() {
		t.Errorf("planned %d changes and made %d", first.Writes(), len(set.Done))
	}
	before := b.versions()
	if want := len(b.want["east"]) + len(b.want["west"]) + 2; len(before) != want {
		t.Errorf("%d objects exist, want %d", len(before), want)
	}
	writes = 0
	second := b.mustPlan()
	for _, w := range second.Waves {
		for _, c := range w.Changes {
			if c.Action != plan.Unchanged {
				t.Errorf("the second plan changes %s in %s: %s %v", c.Object, c.Cluster, c.Reason, c.Fields)
			}
		}
	}
	if _, err := b.apply(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	if writes != 0 {
		t.Errorf("%d requests wrote", writes)
	}
	if d := cmp.Diff(before, b.versions()); d != "" {
		t.Errorf("resourceVersions (-first +second):\n%s", d)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// isWrite tells requests that change what is stored; an access review is a POST that stores nothing.
func isWrite(req *http.Request) bool {
	return !slices.Contains([]string{http.MethodGet, http.MethodHead}, req.Method) && !strings.Contains(req.URL.Path, "/authorization.k8s.io/")
}

// makeCA makes a certificate that nothing trusts.
func makeCA() string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func marshal(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
