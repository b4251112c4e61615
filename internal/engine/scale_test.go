package engine

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"

	"isthmus.dev/isthmus/internal/discovery"
	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/garbage"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/plan"
	"isthmus.dev/isthmus/internal/trust"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// many is a mesh of n clusters, each its own network, as a document that names nothing else gives.
func many(t testing.TB, n int) Engine {
	t.Helper()
	var doc strings.Builder
	doc.WriteString("apiVersion: isthmus.dev/v1alpha1\nkind: Mesh\nmetadata: {name: shop}\nspec:\n  clusters:\n")
	for i := range n {
		fmt.Fprintf(&doc, "  - {name: cluster-%03d}\n", i)
	}
	m, err := mesh.Load("mesh.yaml", []byte(doc.String()), nil)
	if err != nil {
		t.Fatal(err)
	}
	return Engine{Mesh: m, Now: func() time.Time { return noon }, Rand: rand.Reader}
}

const servicesEach = 1000

// empty are facts of clusters with workloads and without a mesh. Their Services are as many as people have.
func empty(e Engine, want object.Objects) facts.Snapshot {
	s := facts.Snapshot{Taken: noon, Clusters: map[string]*facts.Cluster{}}
	for i, c := range e.Mesh.Clusters {
		f := &facts.Cluster{
			Name: c.Name, Server: fmt.Sprintf("https://198.18.%d.%d:6443", i/250, i%250), CABundle: strings.Repeat(c.Name+"-certificate-authority\n", 40), UID: "uid-" + c.Name, Version: "v1.36.3",
			Latency: 20 * time.Millisecond, Secrets: map[string]*facts.Secret{}, Live: map[object.Ref]*unstructured.Unstructured{}, Unread: map[object.Ref]string{},
		}
		for n := range servicesEach {
			f.Services = append(f.Services, facts.Service{
				Namespace: fmt.Sprintf("team-%02d", n/50), Name: fmt.Sprintf("service-%03d", n), Kind: "ClusterIP", Ports: "8080/TCP:http,9090/TCP:grpc", Selector: fmt.Sprintf("%08x", n),
			})
		}
		f.Absent = append(want.Refs(c.Name), object.Ref{Kind: "ConfigMap", Namespace: object.SystemNamespace, Name: facts.InventoryName(e.Mesh.Name)})
		s.Clusters[c.Name] = f
	}
	return s
}

// A settler makes facts of clusters true to a plan, as an apply of it would: every object as the API server would
// keep it, with managedFields, and of Secrets what facts keep of them.
type settler struct {
	t      testing.TB
	engine Engine
	now    facts.Snapshot
	root   map[string][]byte
	fields map[string][]any // kind of object → managedFields
}

func settle(t testing.TB, e Engine, now facts.Snapshot) facts.Snapshot {
	t.Helper()
	p, err := e.PlanFrom(now)
	if err != nil {
		t.Fatal(err)
	}
	root, err := trust.NewRoot(e.Mesh.Name, e.Mesh.Trust.RootTTL, noon, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &settler{t: t, engine: e, now: now, root: root, fields: map[string][]any{}}
	for _, w := range p.Plan.Waves {
		for _, c := range w.Changes {
			s.do(c)
		}
	}
	for _, f := range now.Clusters {
		f.Absent = nil
		f.Istiods = []facts.Istiod{{Namespace: "istio-system", Name: "istiod", Revision: "default", Owner: "isthmus", Mesh: "shop", Ready: 1, Wanted: 1}}
	}
	return now
}

func (s *settler) do(c plan.Change) {
	f := s.now.Clusters[c.Cluster]
	u := &unstructured.Unstructured{Object: maps.Clone(c.Want.Body.Object)}
	meta := map[string]any{"uid": uid(c.Cluster, c.Object), "resourceVersion": "1234567", "creationTimestamp": "2026-11-24T12:00:00Z", "managedFields": s.managed(c)}
	maps.Copy(meta, c.Want.Body.Object["metadata"].(map[string]any))
	if c.Object.Kind == "CustomResourceDefinition" { // of kinds facts hold the metadata alone
		u.Object = map[string]any{"apiVersion": u.Object["apiVersion"], "kind": u.Object["kind"]}
	}
	u.Object["metadata"] = meta
	if sealed := c.Want.Sealed; sealed != nil {
		s.seal(f, c, u)
	}
	f.Live[c.Object] = u
	if c.Stage == plan.StageInventory {
		text, _, _ := unstructured.NestedString(c.Want.Body.Object, "data", facts.InventoryKey)
		f.Inventory, _ = facts.ParseInventory(text)
		text, _, _ = unstructured.NestedString(c.Want.Body.Object, "data", facts.MembersKey)
		f.Members, _ = facts.ParseMembers(text)
	}
}

func uid(cluster string, ref object.Ref) string {
	return fmt.Sprintf("%-36.36s", cluster+"-"+ref.Kind+"-"+ref.Name)
}

// managed are an object's managedFields when Isthmus alone applied it; alike for objects of one shape.
func (s *settler) managed(c plan.Change) []any {
	key := fmt.Sprintf("%p", c.Want.Body)
	if s.fields[key] == nil {
		set := fieldpath.SetFromValue(value.NewValueInterface(c.Want.Body.Object))
		if about := c.Want.Sealed; about != nil && about.Kind == object.SealRemoteSecret {
			set.Insert(fieldpath.MakePathOrDie("data", about.About))
			set.Insert(fieldpath.MakePathOrDie("metadata", "annotations", discovery.AnnotationIssued))
			set.Insert(fieldpath.MakePathOrDie("metadata", "annotations", discovery.AnnotationReader))
		}
		raw, err := set.ToJSON()
		if err != nil {
			s.t.Fatal(err)
		}
		when := metav1.NewTime(noon)
		u := &unstructured.Unstructured{Object: map[string]any{}}
		u.SetManagedFields([]metav1.ManagedFieldsEntry{{
			Manager: object.Manager, Operation: metav1.ManagedFieldsOperationApply, APIVersion: c.Want.Body.GetAPIVersion(), Time: &when, FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(string(raw)),
		}})
		s.fields[key] = u.Object["metadata"].(map[string]any)["managedFields"].([]any)
	}
	return s.fields[key]
}

// seal gives a Secret its content, as far as facts keep it.
func (s *settler) seal(f *facts.Cluster, c plan.Change, u *unstructured.Unstructured) {
	var data map[string][]byte
	switch c.Want.Sealed.Kind {
	case object.SealRoot:
		data = s.root
	case object.SealIntermediate:
		root, err := trust.ParseRoot(s.root)
		if err != nil {
			s.t.Fatal(err)
		}
		if data, err = trust.NewIntermediate(s.engine.Mesh.Name, c.Cluster, root, s.engine.Mesh.Trust.IntermediateTTL, noon, rand.Reader); err != nil {
			s.t.Fatal(err)
		}
	case object.SealRemoteSecret:
		about := c.Want.Sealed.About
		notes := u.GetAnnotations()
		notes[discovery.AnnotationIssued] = noon.Format(time.RFC3339)
		notes[discovery.AnnotationReader] = uid(about, object.Ref{Kind: "ServiceAccount", Name: discovery.Reader})
		u.SetAnnotations(notes)
		u.Object["data"] = map[string]any{about: facts.Digest([]byte(f.Name + about))}
		f.Secrets[c.Object.Namespace+"/"+c.Object.Name] = &facts.Secret{
			Namespace: c.Object.Namespace, Name: c.Object.Name, Labels: u.GetLabels(), Annotations: notes, Keys: []string{about},
			Kubeconfigs: map[string]facts.Kubeconfig{about: {
				Server: s.now.Clusters[about].Server, CABundle: s.now.Clusters[about].CABundle, NotAfter: noon.Add(s.engine.Mesh.CredentialTTL), Subject: discovery.Subject(object.SystemNamespace, discovery.Reader),
			}},
		}
		return
	}
	hidden := map[string]any{}
	for k, v := range data {
		hidden[k] = facts.Digest(v)
	}
	u.Object["data"] = hidden
	f.Secrets[c.Object.Namespace+"/"+c.Object.Name] = facts.Reduce(corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.Object.Namespace, Name: c.Object.Name, UID: u.GetUID(), Labels: u.GetLabels(), Annotations: u.GetAnnotations()}, Data: data,
	})
}

// onFile writes facts where a benchmark reads them from, and lets go of them.
func onFile(t testing.TB, now facts.Snapshot) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "facts.json")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := now.Write(f, "shop", "test"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func readFrom(t testing.TB, path string) facts.Snapshot {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	now, _, _, err := facts.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	return now
}

// BenchmarkPlan is isthmus plan --from: facts of clusters of 1,000 Services each are read from a file, and a plan is
// made of them, for clusters without a mesh and for a mesh where nothing is to be done. It prints seconds of either
// part, and the peak of the process's memory.
func BenchmarkPlan(b *testing.B) {
	for _, n := range []int{50, 100, 200, 500} {
		for _, state := range []string{"fresh", "settled"} {
			b.Run(fmt.Sprintf("clusters=%d/%s", n, state), func(b *testing.B) { benchmarkPlan(b, n, state == "settled") })
		}
	}
}

func benchmarkPlan(b *testing.B, n int, settled bool) {
	e := many(b, n)
	path := func() string {
		want, err := e.Want()
		if err != nil {
			b.Fatal(err)
		}
		now := empty(e, want)
		if settled {
			now = settle(b, e, now)
		}
		return onFile(b, now)
	}()
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	var reading, deciding, cpuReading, cpuDeciding time.Duration
	debug.FreeOSMemory()
	resetPeak(b)
	for b.Loop() {
		garbage.LeaveUntil(garbage.Enough) // as the command does
		began, cpu := time.Now(), processor(b)
		now := readFrom(b, path)
		reading, cpuReading = reading+time.Since(began), cpuReading+processor(b)-cpu
		began, cpu = time.Now(), processor(b)
		p, err := e.PlanFrom(now)
		deciding, cpuDeciding = deciding+time.Since(began), cpuDeciding+processor(b)-cpu
		if err != nil {
			b.Fatal(err)
		}
		if writes := p.Plan.Writes(); settled != (writes == 0) {
			b.Fatalf("%d changes in a mesh that is settled: %v", writes, settled)
		}
		runtime.KeepAlive(now)
	}
	b.ReportMetric(reading.Seconds()/float64(b.N), "read-s")
	b.ReportMetric(deciding.Seconds()/float64(b.N), "plan-s")
	b.ReportMetric(cpuReading.Seconds()/float64(b.N), "read-cpu-s")
	b.ReportMetric(cpuDeciding.Seconds()/float64(b.N), "plan-cpu-s")
	b.ReportMetric(peak(b), "peak-MiB")
	b.ReportMetric(float64(info.Size())/(1<<20), "file-MiB")
}

// processor is the time that processors have spent on this process: what a busy machine does not change.
func processor(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// resetPeak makes the kernel forget how much memory this process had (proc(5): clear_refs).
func resetPeak(b *testing.B) {
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0o200); err != nil {
		b.Logf("the peak is that of the preparation too: %v", err)
	}
}

// peak is the most memory that this process had, in MiB.
func peak(b *testing.B) float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(status))
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			if err != nil {
				b.Fatal(err)
			}
			return kib / 1024
		}
	}
	b.Fatal("no VmHWM in /proc/self/status")
	return 0
}

// TestASettledMeshOfMany is the benchmark's own proof at a size that costs little: what it calls settled is, and facts
// from a file give the plan that they gave before they were in it, byte for byte.
func TestASettledMeshOfMany(t *testing.T) {
	e := many(t, 6)
	want, err := e.Want()
	if err != nil {
		t.Fatal(err)
	}
	now := empty(e, want)
	for _, state := range []string{"fresh", "settled", "upset"} {
		direct, err := e.PlanFrom(now)
		if err != nil {
			t.Fatal(err)
		}
		path := onFile(t, now)
		recorded, err := e.PlanFrom(readFrom(t, path))
		if err != nil {
			t.Fatal(err)
		}
		var a, b bytes.Buffer
		for _, x := range []struct {
			p Prospect
			w *bytes.Buffer
		}{{direct, &a}, {recorded, &b}} {
			if err := e.Save(x.w, x.p, "test"); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Errorf("%s: the plan from a file is another", state)
		}
		if again := onFile(t, readFrom(t, path)); !sameFile(t, path, again) {
			t.Errorf("%s: facts that were read and written again are others", state)
		}
		switch n := direct.Plan.Writes(); {
		case state == "fresh":
			now = settle(t, e, now)
		case state == "settled" && n != 0:
			t.Errorf("%d changes in a settled mesh", n)
		case state == "settled":
			for _, f := range now.Clusters {
				f.Services = nil // what follows is about objects
			}
			upset(now)
		case n == 0:
			t.Error("no change in a mesh that was upset")
		}
	}
}

// upset does to remote secrets what happens to them: a record keeps what is common to many once, and none of this may
// get lost in it.
func upset(now facts.Snapshot) {
	remote := func(in, about int) (*facts.Cluster, object.Ref) {
		return now.Clusters[fmt.Sprintf("cluster-%03d", in)], object.Ref{Kind: "Secret", Namespace: object.IstioNamespace, Name: discovery.RemoteSecret(fmt.Sprintf("cluster-%03d", about))}
	}
	change := func(in, about int, how func(u *unstructured.Unstructured)) {
		f, ref := remote(in, about)
		f.Live[ref] = f.Live[ref].DeepCopy()
		how(f.Live[ref])
	}
	for in := range 4 { // some in more clusters than one: the second is read as the first was
		change(in, 5, func(u *unstructured.Unstructured) { u.SetLabels(map[string]string{discovery.LabelRemote: "true"}) })
	}
	change(0, 1, func(u *unstructured.Unstructured) { u.SetUID("another") })
	change(0, 2, func(u *unstructured.Unstructured) { now := metav1.NewTime(noon); u.SetDeletionTimestamp(&now) })
	change(0, 3, func(u *unstructured.Unstructured) { u.SetManagedFields(nil) })
	change(0, 4, func(u *unstructured.Unstructured) {
		u.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "owner", UID: "its"}})
	})
	change(1, 0, func(u *unstructured.Unstructured) {
		u.SetAnnotations(map[string]string{object.AnnotationApplied: "other"})
	})
	change(1, 2, func(u *unstructured.Unstructured) {
		u.Object["type"] = "a \"quoted\" \\ type, with \"uid\":\"in it\""
	})
	change(1, 3, func(u *unstructured.Unstructured) {
		labels := u.GetLabels()
		labels["uid"] = "a label"
		u.SetLabels(labels)
	})
	f, ref := remote(2, 0)
	delete(f.Live, ref)
	f.Absent = append(f.Absent, ref)
	secret := func(in, about int, how func(s *facts.Secret, k *facts.Kubeconfig)) {
		f, ref := remote(in, about)
		s := *f.Secrets[ref.Namespace+"/"+ref.Name]
		s.Annotations, s.Kubeconfigs = maps.Clone(s.Annotations), maps.Clone(s.Kubeconfigs)
		for key, k := range s.Kubeconfigs {
			how(&s, &k)
			s.Kubeconfigs[key] = k
		}
		f.Secrets[ref.Namespace+"/"+ref.Name] = &s
	}
	secret(2, 1, func(_ *facts.Secret, k *facts.Kubeconfig) { k.NotAfter = noon.Add(time.Hour) })
	secret(3, 1, func(s *facts.Secret, _ *facts.Kubeconfig) {
		s.Annotations[discovery.AnnotationIssued] = noon.Add(-time.Hour).Format(time.RFC3339)
	})
	secret(4, 1, func(_ *facts.Secret, k *facts.Kubeconfig) { k.NotAfter = time.Time{} })
	secret(5, 1, func(_ *facts.Secret, k *facts.Kubeconfig) { k.CABundle = "another" })
}

func sameFile(t *testing.T, a, b string) bool {
	t.Helper()
	x, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(b)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Equal(x, y)
}
