package charts

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/registry"
)

// digests are those of the charts that a mesh was read from, by reference and by name.
func digests(m mesh.Mesh) (byReference, byName map[string]string) {
	byReference, byName = map[string]string{}, map[string]string{}
	for _, c := range m.Clusters[0].Istio.Charts.Read {
		byReference[c.Reference] = c.Digest
		name := c.Reference[strings.LastIndex(c.Reference, "/")+1:]
		byName[strings.TrimSuffix(name, ":1.31.1")] = c.Digest
	}
	return byReference, byName
}

// vouchers are those of what a mesh was read from.
func vouchers(m mesh.Mesh) (by []mesh.Voucher) {
	for _, c := range m.Clusters[0].Istio.Charts.Read {
		by = append(by, c.By)
	}
	slices.Sort(by)
	return slices.Compact(by)
}

// moved pushes another chart under the tag of istiod.
func moved(t *testing.T, from string) {
	t.Helper()
	packed := map[string][]byte{"istiod/templates/planted.yaml": []byte("kind: Planted\n")}
	for path, text := range files(t, "charts/istio-control/istio-discovery", unchanged) {
		packed["istiod"+strings.TrimPrefix(path, "charts/istio-control/istio-discovery")] = text
	}
	push(t, strings.TrimPrefix(from, mesh.OCI)+"/istiod:1.31.1", zipped(t, "", packed), content)
}

func pinned(m mesh.Mesh, pins map[string]string) mesh.Mesh {
	m.Clusters = slices.Clone(m.Clusters)
	for i := range m.Clusters {
		m.Clusters[i].Istio.Charts.Digests = pins
	}
	return m
}

// TestATagThatMoved: with nobody to vouch the registry is followed, with a lock it is refused, with a pin it is not asked.
func TestATagThatMoved(t *testing.T) {
	from, _ := toRegistry(t, "1.31.1", unchanged)
	document := shop(from + ":1.31.1")
	first, err := reader(t).Load(t.Context(), document)
	if err != nil {
		t.Fatal(err)
	}
	if by := vouchers(first); len(by) != 1 || by[0] != "" {
		t.Errorf("vouched for by %q, and nobody does", by)
	}
	lock, pins := digests(first)
	want := rendered(t, first)
	moved(t, from)
	after, err := reader(t).Load(t.Context(), document)
	if err != nil || !hasPlanted(t, after) {
		t.Fatalf("the tag has not moved: this proves nothing (%v)", err)
	}

	r := reader(t)
	r.Locked = lock
	_, err = r.Load(t.Context(), document)
	var told *MovedError
	now, _ := digests(after)
	if ref := from + "/istiod:1.31.1"; !errors.As(err, &told) || told.Reference != ref || told.Locked != lock[ref] || told.Now != now[ref] {
		t.Fatalf("with a lock: %v", err)
	}
	for _, word := range []string{"the tag has moved", told.Locked, told.Now, "isthmus lock", "spec.istio.chartDigests"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the refusal does not say %q: %v", word, err)
		}
	}

	m, err := reader(t).Load(t.Context(), pinned(document, pins))
	if err != nil {
		t.Fatal(err)
	}
	if by := vouchers(m); len(by) != 1 || by[0] != mesh.ByDocument {
		t.Errorf("vouched for by %q", by)
	}
	if diff := gocmp.Diff(want, rendered(t, m)); diff != "" {
		t.Errorf("pinned, -first +now:\n%s", diff)
	}
	if _, err := r.Load(t.Context(), pinned(document, pins)); err != nil {
		t.Errorf("the document's own pins do not win over the lock: %v", err)
	}
	r.Locked = now
	if m, err = r.Load(t.Context(), document); err != nil || !hasPlanted(t, m) {
		t.Errorf("with the lock renewed: %v", err)
	}
	if by := vouchers(m); len(by) != 1 || by[0] != mesh.ByLock {
		t.Errorf("vouched for by %q", by)
	}
}

// TestALyingRegistryAndAPin: what is asked for by its digest is not what another manifest says.
func TestALyingRegistryAndAPin(t *testing.T) {
	from, _ := toRegistry(t, "1.31.1", unchanged)
	first, err := reader(t).Load(t.Context(), shop(from+":1.31.1"))
	if err != nil {
		t.Fatal(err)
	}
	_, pins := digests(first)
	other, _ := toRegistry(t, "1.31.1", released("1.31.1"))
	lying := between(t, from, func(q *http.Request, text []byte) []byte {
		if !strings.Contains(q.URL.Path, "/istiod/manifests/") {
			return text
		}
		m, err := (registry.Client{}).Manifest(t.Context(), strings.TrimPrefix(other, mesh.OCI)+"/istiod:1.31.1")
		if err != nil {
			t.Error(err)
		}
		return m.Raw
	})
	if _, err := reader(t).Load(t.Context(), pinned(shop(lying+":1.31.1"), pins)); err == nil || !strings.Contains(err.Error(), pins["istiod"]) {
		t.Errorf("another manifest than the one of the digest: %v", err)
	}
}

func TestLocked(t *testing.T) {
	from, _ := toRegistry(t, "1.31.1", without("charts/ztunnel", unchanged))
	first, err := reader(t).Load(t.Context(), shop(from+":1.31.1"))
	if err != nil {
		t.Fatal(err)
	}
	lock, _ := digests(first)
	r := reader(t)
	r.Locked = lock
	if _, err := r.Load(t.Context(), shop(from+":1.31.1")); err != nil {
		t.Fatal(err)
	}
	push(t, strings.TrimPrefix(from, mesh.OCI)+"/ztunnel:1.31.1", zipped(t, "ztunnel/", map[string][]byte{"Chart.yaml": []byte("name: ztunnel\n")}), content)
	m, err := r.Load(t.Context(), shop(from+":1.31.1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(m.Clusters[0].Istio.Charts.Dir, "charts/ztunnel")); err == nil {
		t.Error("a chart that was not there when the lock was written is used")
	}
	if _, err := r.Load(t.Context(), shop(from+":1.31.2")); err == nil || !strings.Contains(err.Error(), "base:1.31.2 is not in the document's lock") {
		t.Errorf("a tag that is not in the lock: %v", err)
	}

	// A registry that does not answer says nothing of the tag; what was read before is there, and proved.
	gone := between(t, from, func(_ *http.Request, text []byte) []byte { return text })
	away := map[string]string{}
	for ref, digest := range lock {
		away[strings.Replace(ref, from, gone, 1)] = digest
	}
	r.Locked = away
	server, _, _ := strings.Cut(strings.TrimPrefix(gone, mesh.OCI), "/")
	r.Registry.Transport = refusing{server}
	m, err = r.Load(t.Context(), shop(gone+":1.31.1"))
	if err != nil {
		t.Fatalf("without the registry: %v", err)
	}
	for _, c := range m.Clusters[0].Istio.Charts.Read {
		if !c.Unasked || c.By != mesh.ByLock {
			t.Errorf("%+v: the registry was not asked", c)
		}
	}
	r.Cache = t.TempDir()
	if _, err := r.Load(t.Context(), shop(gone+":1.31.1")); err == nil {
		t.Error("without the registry and without what was kept there are charts")
	}
}

// refusing is a network in which a host refuses connections.
type refusing struct{ host string }

func (r refusing) RoundTrip(q *http.Request) (*http.Response, error) {
	if q.URL.Host == r.host {
		return nil, errors.New("connection refused")
	}
	return http.DefaultTransport.RoundTrip(q)
}

func TestATagThatIsGone(t *testing.T) {
	from, _ := toRegistry(t, "1.31.1", unchanged)
	r := reader(t)
	r.Locked = map[string]string{}
	for _, chart := range published {
		r.Locked[from+"/"+chart.name+":1.31.7"] = "sha256:" + strings.Repeat("a", 64)
	}
	var told *MovedError
	if _, err := r.Load(t.Context(), shop(from+":1.31.7")); !errors.As(err, &told) || told.Now != "" || !strings.Contains(err.Error(), "is gone from the registry") {
		t.Errorf("%v", err)
	}
}

func TestPinnedArchivesAndFolders(t *testing.T) {
	file := toArchive(t, unchanged)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	digest := registry.Digest(text)
	m, err := reader(t).Load(t.Context(), pinned(shop(file), map[string]string{mesh.Archive: digest}))
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff([]mesh.Chart{{Reference: file, Digest: digest, By: mesh.ByDocument}}, m.Clusters[0].Istio.Charts.Read); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	r := reader(t)
	other := "sha256:" + strings.Repeat("0", 64)
	if _, err := r.Load(t.Context(), pinned(shop(file), map[string]string{mesh.Archive: other})); err == nil || !strings.Contains(err.Error(), other) || !strings.Contains(err.Error(), digest) {
		t.Errorf("another archive than the pinned one: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(r.Cache, "*")); err != nil || len(left) > 0 {
		t.Errorf("left in the cache: %v, %v", left, err)
	}
	if _, err := r.Load(t.Context(), pinned(shop(toFolder(t, unchanged)), map[string]string{mesh.Archive: digest})); err == nil || !strings.Contains(err.Error(), "is a folder") {
		t.Errorf("a pinned folder: %v", err)
	}
}
