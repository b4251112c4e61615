package cli

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"istio.io/istio/manifests"

	"isthmus.dev/isthmus/internal/lockfile"
	"isthmus.dev/isthmus/internal/screen"
)

// A shelf is a registry with Istio's charts and images in it.
type shelf struct {
	t    *testing.T
	host string
	stop func()
}

var shelved = map[string]string{"base": "base", "istiod": "istio-control/istio-discovery", "cni": "istio-cni", "ztunnel": "ztunnel"}

func newShelf(t *testing.T) shelf {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	s := shelf{t, strings.TrimPrefix(server.URL, "http://"), server.Close}
	for chart := range shelved {
		s.chart(chart, nil)
	}
	for _, image := range []string{"pilot", "proxyv2"} {
		s.image(image)
	}
	return s
}

// chart pushes a chart of the program's own, and another file.
func (s shelf) chart(chart string, more map[string]string) {
	s.t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	add := func(path, text string) {
		if err := w.WriteHeader(&tar.Header{Name: chart + "/" + path, Mode: 0o644, Size: int64(len(text)), Typeflag: tar.TypeReg}); err != nil {
			s.t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			s.t.Fatal(err)
		}
	}
	root := "charts/" + shelved[chart]
	err := fs.WalkDir(manifests.FS, root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := manifests.FS.ReadFile(path)
		add(strings.TrimPrefix(path, root+"/"), string(text))
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	for path, text := range more {
		add(path, text)
	}
	if err := w.Close(); err != nil {
		s.t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		s.t.Fatal(err)
	}
	image, err := mutate.AppendLayers(mutate.ConfigMediaType(empty.Image, "application/vnd.cncf.helm.config.v1+json"),
		static.NewLayer(b.Bytes(), "application/vnd.cncf.helm.chart.content.v1.tar+gzip"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.push("charts/"+chart, image)
}

// image pushes an image that is new every time, and returns its digest.
func (s shelf) image(image string) string {
	s.t.Helper()
	made, err := random.Image(64, 1)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.push("istio/"+image, made)
}

func (s shelf) push(path string, image v1.Image) string {
	s.t.Helper()
	ref, err := name.ParseReference(s.host + "/" + path + ":1.31.1")
	if err != nil {
		s.t.Fatal(err)
	}
	if err := remote.Write(ref, image); err != nil {
		s.t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		s.t.Fatal(err)
	}
	return digest.String()
}

// document writes a mesh whose charts and images are on the shelf.
func (s shelf) document(dir string) string {
	s.t.Helper()
	file := filepath.Join(dir, "mesh.yaml")
	text := "apiVersion: isthmus.dev/v1alpha1\nkind: Mesh\nmetadata: {name: shop}\nspec:\n  istio: {version: 1.31.1, charts: 'oci://" + s.host + "/charts', hub: " + s.host + "/istio}\n" +
		"  clusters:\n  - {name: east, server: 'https://192.0.2.1:6443'}\n  - {name: west, server: 'https://192.0.2.2:6443'}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return file
}

// ran runs a command line with no cluster.
func ran(t *testing.T, line ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = Run(t.Context(), screen.Streams{In: strings.NewReader(""), Out: &o, Err: &e, Env: func(string) string { return "" }}, line)
	return code, o.String(), e.String()
}

// TestLock is the life of a lock: none, written when asked, looked at by all that read charts, renewed when asked.
func TestLock(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	s := newShelf(t)
	file := s.document(t.TempDir())
	if code, _, errs := ran(t, "render", "-f", file); code != exitDone {
		t.Fatal(errs)
	}
	if _, err := os.Stat(file + ".lock"); err == nil {
		t.Error("render has written a lock that nobody asked for")
	}
	code, out, errs := ran(t, "lock", "-f", file)
	if code != exitDone || !strings.Contains(out, "has 4 charts and 2 images") || strings.Count(out, "sha256:") != 6 {
		t.Fatalf("exit %d: %s%s", code, out, errs)
	}
	if _, out, _ = ran(t, "lock", "-f", file); !strings.Contains(out, "Nothing has moved: "+file+".lock has 4 charts and 2 images") {
		t.Errorf("the second time: %s", out)
	}

	s.chart("istiod", map[string]string{"templates/planted.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: planted, namespace: istio-system}\n"})
	for _, line := range []string{"render", "images"} {
		if code, out, errs := ran(t, line, "-f", file); code != exitFailed || !strings.Contains(errs, "the tag has moved") || strings.Contains(out, "planted") {
			t.Errorf("%s with a chart that moved: exit %d, %s", line, code, errs)
		}
	}
	pilot := s.image("pilot")
	code, out, errs = ran(t, "lock", "-f", file, "-o", "json")
	if code != exitDone || strings.Count(out, `"reference"`) != 2 || !strings.Contains(out, pilot) {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	if code, out, _ := ran(t, "render", "-f", file); code != exitDone || !strings.Contains(out, "planted") {
		t.Error("a lock that was renewed is not followed")
	}

	s.stop()
	if code, _, errs := ran(t, "render", "-f", file); code != exitDone {
		t.Errorf("with a lock, and without the registry: %s", errs)
	}
	before, err := lockfile.Read(file + ".lock")
	if err != nil || before.Images[s.host+"/istio/pilot:1.31.1"] != pilot {
		t.Errorf("%+v, %v", before, err)
	}
	if code, _, _ := ran(t, "lock", "-f", file); code != exitFailed {
		t.Errorf("a lock of a registry that does not answer: exit %d", code)
	}
	if err := os.WriteFile(file+".lock", []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := ran(t, "render", "-f", file); code != exitFailed || !strings.Contains(errs, "no lock that can be read") {
		t.Errorf("a lock that cannot be read: exit %d, %s", code, errs)
	}
	if code, _, _ := ran(t, "lock", "-f", "-"); code != exitUsage {
		t.Errorf("the lock of standard input: exit %d", code)
	}
}

func TestImagesByDigest(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	s := newShelf(t)
	file := s.document(t.TempDir())
	pilot, proxy := s.image("pilot"), s.image("proxyv2")
	code, out, errs := ran(t, "images", "--digests", "--plain", "-f", file)
	if want := s.host + "/istio/pilot@" + pilot + "\n" + s.host + "/istio/proxyv2@" + proxy + "\n"; code != exitDone || out != want {
		t.Errorf("exit %d: %q, want %q%s", code, out, want, errs)
	}
	if _, out, _ = ran(t, "images", "--digests", "-f", file, "-o", "json"); !strings.Contains(out, `"digest": "`+pilot+`"`) {
		t.Errorf("JSON: %s", out)
	}
	// An image that is in the document by its digest is that image, and a lock has nothing to say of it.
	byDigest := s.host + "/istio/pilot@" + pilot
	pin := []string{"-f", file, "--set", "values.pilot.image=" + byDigest}
	if _, out, errs = ran(t, append([]string{"images", "--plain"}, pin...)...); !strings.Contains(out, byDigest+"\n") {
		t.Errorf("pinned: %s%s", out, errs)
	}
	if _, out, _ = ran(t, append([]string{"lock"}, pin...)...); strings.Contains(out, "pilot") || !strings.Contains(out, "1 images") {
		t.Errorf("the lock has what the document pins: %s", out)
	}
	gone := append([]string{"images", "--digests"}, "-f", file, "--set", "hub=127.0.0.1:1/istio")
	if code, out, _ = ran(t, gone...); code != exitDone || !strings.Contains(out, "127.0.0.1:1/istio/pilot:1.31.1: where its tag leads is not known") {
		t.Errorf("a registry that does not answer: exit %d, %s", code, out)
	}
	if code, out, errs = ran(t, append(gone, "--plain")...); code != exitFailed || out != "" || !strings.Contains(errs, "pilot:1.31.1") {
		t.Errorf("for programs: exit %d, %q, %s", code, out, errs)
	}
}

// TestPlanSaysWhatMoved asks real API servers, and a registry in which an image and then a chart move.
func TestPlanSaysWhatMoved(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	s := newShelf(t)
	d := newDesk(t)
	s.document(d.dir)
	code, out, errs := d.run("plan")
	if code != exitDone || strings.Count(out, "\n  sha256:") != 4 || !strings.Contains(out, "only the registry says") {
		t.Fatalf("without a lock: exit %d, %s%s", code, out, errs)
	}
	if code, _, errs = d.run("lock"); code != exitDone {
		t.Fatal(errs)
	}
	if _, out, _ = d.run("plan"); strings.Count(out, "as the lock says") != 4 || strings.Contains(out, "only the registry says") || strings.Contains(out, "has moved") {
		t.Errorf("with a lock: %s", out)
	}
	pilot := s.image("pilot")
	if code, out, _ = d.run("plan"); code != exitDone || !strings.Contains(out, "/istio/pilot:1.31.1 has moved: its tag leads to "+pilot) || strings.Contains(out, "proxyv2:1.31.1 has moved") {
		t.Errorf("with an image that moved: exit %d, %s", code, out)
	}
	if _, out, _ = d.run("plan -o json"); !strings.Contains(out, `"now": "`+pilot+`"`) || !strings.Contains(out, `"by": "lock"`) {
		t.Errorf("JSON does not say so")
	}
	s.chart("base", map[string]string{"README": "other"})
	d.refused("plan", "the tag has moved", "isthmus lock")
	d.refused("apply", "the tag has moved", "isthmus lock")
	s.stop()
	if code, out, errs = d.run("plan"); code != exitDone || strings.Count(out, "the registry was not reached") != 4 || !strings.Contains(out, "of 2 of 2 images in the lock it is not known") {
		t.Errorf("without the registry: exit %d, %s%s", code, out, errs)
	}
}
