package charts

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/registry"
)

// between stands between a registry and who reads it, and answers what lie makes of the honest answer.
func between(t *testing.T, from string, lie func(q *http.Request, honest []byte) []byte) string {
	t.Helper()
	host, path, _ := strings.Cut(strings.TrimPrefix(from, mesh.OCI), "/")
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: host})
	proxy.ModifyResponse = func(a *http.Response) error {
		honest, err := io.ReadAll(a.Body)
		if err != nil || a.Request.Method != http.MethodGet {
			return err
		}
		told := lie(a.Request, honest)
		a.Body, a.ContentLength = io.NopCloser(bytes.NewReader(told)), int64(len(told))
		a.Header.Del("Content-Length")
		return nil
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	return mesh.OCI + strings.TrimPrefix(server.URL, "http://") + "/" + path
}

// planted is a chart with a file that the honest one does not have.
func planted(t *testing.T, size int) []byte {
	t.Helper()
	all := map[string][]byte{"istiod/templates/planted.yaml": []byte("kind: Planted\n")}
	for path, text := range files(t, "charts/istio-control/istio-discovery", unchanged) {
		all["istiod"+strings.TrimPrefix(path, "charts/istio-control/istio-discovery")] = text[:min(len(text), 100)]
	}
	packed := zipped(t, "", all)
	return append(packed, make([]byte, max(0, size-len(packed)))...)
}

func istiodBlob(q *http.Request) bool {
	return strings.Contains(q.URL.Path, "/istiod/blobs/")
}

func hasPlanted(t *testing.T, m mesh.Mesh) bool {
	t.Helper()
	_, err := os.Stat(filepath.Join(m.Clusters[0].Istio.Charts.Dir, "charts/istio-control/istio-discovery/templates/planted.yaml"))
	return err == nil
}

// TestALyingRegistryPoisonsNothing: it claims the digest of a genuine chart and serves other bytes of that length, whose
// archive ends before the digest is known.
func TestALyingRegistryPoisonsNothing(t *testing.T) {
	honest, _ := toRegistry(t, "1.31.1", unchanged)
	lying := between(t, honest, func(q *http.Request, text []byte) []byte {
		if istiodBlob(q) {
			return planted(t, len(text))
		}
		return text
	})
	r := reader(t)
	if m, err := r.Load(t.Context(), shop(lying+":1.31.1")); err == nil {
		t.Errorf("other bytes than those of the digest were taken; planted: %v", hasPlanted(t, m))
	} else if !strings.Contains(err.Error(), "istiod") || !strings.Contains(err.Error(), "sha256:") {
		t.Errorf("the error does not name the chart and its digest: %v", err)
	}
	m, err := r.Load(t.Context(), shop(honest+":1.31.1"))
	if err != nil {
		t.Fatal(err)
	}
	if hasPlanted(t, m) {
		t.Error("the honest registry's chart is what the lying one served")
	}
}

// TestWhatIsKeptIsProved: whoever writes into the cache folder, under an older version's names or this one's, does not
// choose what is rendered.
func TestWhatIsKeptIsProved(t *testing.T) {
	from, blobsRead := toRegistry(t, "1.31.1", unchanged)
	r := reader(t)
	load := func() (mesh.Mesh, string) {
		t.Helper()
		m, err := r.Load(t.Context(), shop(from+":1.31.1"))
		if err != nil {
			t.Fatal(err)
		}
		return m, m.Clusters[0].Istio.Charts.Dir
	}
	_, dir := load()
	template := filepath.Join(dir, "charts/istio-control/istio-discovery/templates/service.yaml")
	genuine, err := os.ReadFile(template)
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func() error{
		"a changed file": func() error { return os.WriteFile(template, bytes.ToUpper(genuine), 0o600) },
		"a file more":    func() error { return os.WriteFile(filepath.Join(filepath.Dir(template), "planted.yaml"), nil, 0o600) },
		"a file less":    func() error { return os.Remove(template) },
		"a link in a file's place": func() error {
			other := filepath.Join(t.TempDir(), "same")
			return cmp.Or(os.WriteFile(other, genuine, 0o600), os.Remove(template), os.Symlink(other, template))
		},
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		m, again := load()
		text, err := os.ReadFile(template)
		info, stat := os.Lstat(template)
		if again != dir || err != nil || stat != nil || !info.Mode().IsRegular() || !bytes.Equal(text, genuine) || hasPlanted(t, m) {
			t.Errorf("%s is used as it is (%v, %v)", what, err, stat)
		}
	}
	before := blobsRead.Load()
	kept, err := filepath.Glob(filepath.Join(r.Cache, blobs, "*"))
	if err != nil || len(kept) != 2*len(published) {
		t.Fatalf("%d blobs are kept, of %d charts with a manifest each: %v", len(kept), len(published), err)
	}
	for _, file := range kept {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, planted(t, len(text))[:len(text)], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if m, again := load(); again != dir || hasPlanted(t, m) {
		t.Error("changed blobs are used")
	}
	if n := blobsRead.Load() - before; n != int64(len(published)) {
		t.Errorf("%d blobs are read anew, of %d that were changed", n, len(published))
	}
}

// TestACacheOfBeforeIsNotUsed: older versions kept what they had not compared under a digest alone.
func TestACacheOfBeforeIsNotUsed(t *testing.T) {
	from := toArchive(t, unchanged)
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	r := reader(t)
	old := filepath.Join(r.Cache, strings.TrimPrefix(registry.Digest(text), "sha256:"))
	for path, text := range files(t, ".", unchanged) {
		file := filepath.Join(old, path)
		if err := cmp.Or(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, text, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(old, "charts/istio-control/istio-discovery/templates/planted.yaml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := r.Load(t.Context(), shop(from))
	if err != nil {
		t.Fatal(err)
	}
	if hasPlanted(t, m) {
		t.Error("what an older version kept is rendered")
	}
}

// gzipped is what a function writes into a tar.
func gzipped(t *testing.T, write func(w *tar.Writer)) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	write(w)
	if err := cmp.Or(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// recompressed changes the tar in a .tar.gz.
func recompressed(t *testing.T, packed []byte, change func([]byte) []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err = w.Write(change(raw))
	if err = cmp.Or(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestUnpackRefuses: an archive is read to its end, and holds nothing but files in bearable number, size and names.
func TestUnpackRefuses(t *testing.T) {
	entry := func(w *tar.Writer, h tar.Header, text string) {
		h.Size, h.Mode = int64(len(text)), 0o644
		err := w.WriteHeader(&h)
		if err == nil {
			_, err = w.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	one := func(h tar.Header) []byte { return gzipped(t, func(w *tar.Writer) { entry(w, h, "") }) }
	whole := gzipped(t, func(w *tar.Writer) {
		entry(w, tar.Header{Name: "base/Chart.yaml", Typeflag: tar.TypeReg}, "name: base")
	})
	for _, tt := range []struct {
		reason string
		packed []byte
		want   string // "" is taken
	}{
		{"a whole one", whole, ""},
		{"zeros behind tar's end, as GNU tar fills a record", recompressed(t, whole, func(b []byte) []byte { return append(b, make([]byte, 20<<10)...) }), ""},
		{"a byte behind gzip's end", append(bytes.Clone(whole), 'x'), "follows the archive's end"},
		{"a second gzip behind the first", append(bytes.Clone(whole), whole...), "follows the archive's end"},
		{"text behind tar's end", recompressed(t, whole, func(b []byte) []byte { return append(b, "kind: Planted"...) }), "goes on after its end"},
		{"a second tar behind the first", recompressed(t, whole, func(b []byte) []byte { return append(b, b...) }), "goes on after its end"},
		{"cut before gzip's checksum", whole[:len(whole)-5], "is all of it there?"},
		{"a wrong checksum", append(bytes.Clone(whole[:len(whole)-8]), make([]byte, 8)...), "is all of it there?"},
		{"a link to elsewhere", one(tar.Header{Name: "base/templates", Typeflag: tar.TypeSymlink, Linkname: "/etc"}), "a link or a device"},
		{"a hard link", one(tar.Header{Name: "base/x", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}), "a link or a device"},
		{"a device", one(tar.Header{Name: "base/x", Typeflag: tar.TypeChar}), "a link or a device"},
		{"an absolute path", one(tar.Header{Name: "base//etc/x", Typeflag: tar.TypeReg}), "leads out"},
		{"a path upwards", one(tar.Header{Name: "base/../../x", Typeflag: tar.TypeReg}), "leads out"},
		{"a folder upwards", one(tar.Header{Name: "base/../x/", Typeflag: tar.TypeDir}), "leads out"},
		{"a path with a detour", one(tar.Header{Name: "base/a/../x", Typeflag: tar.TypeReg}), "leads out"},
		{"a long path", one(tar.Header{Name: "base/" + strings.Repeat("a/", mostName/2) + "x", Typeflag: tar.TypeReg}), "has a name that no"},
		{"an escape sequence in a name", one(tar.Header{Name: "base/\x1b[2J", Typeflag: tar.TypeReg}), "has a name that no"},
		{"a name of another system", one(tar.Header{Name: `base/..\..\x`, Typeflag: tar.TypeReg}), "has a name that no"},
		{"a file twice", gzipped(t, func(w *tar.Writer) {
			entry(w, tar.Header{Name: "base/x", Typeflag: tar.TypeReg}, "")
			entry(w, tar.Header{Name: "other/x", Typeflag: tar.TypeReg}, "2")
		}), "twice"},
		{"more files than bearable", gzipped(t, func(w *tar.Writer) {
			for i := range mostFiles + 1 {
				entry(w, tar.Header{Name: fmt.Sprint("base/", i), Typeflag: tar.TypeReg}, "")
			}
		}), "more than 4096 files"},
	} {
		got, err := unpack(t.Context(), bytes.NewReader(tt.packed), ofChart)
		switch {
		case tt.want == "" && (err != nil || string(got["Chart.yaml"]) != "name: base"):
			t.Errorf("%s: %v, %v", tt.reason, got, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: want %q, got %v", tt.reason, tt.want, err)
		case err != nil && strings.Contains(err.Error(), "\x1b"):
			t.Errorf("%s: the error has an escape sequence", tt.reason)
		}
	}
}
