package charts

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"istio.io/istio/manifests"

	"isthmus.dev/isthmus/internal/istio"
	"isthmus.dev/isthmus/internal/mesh"
)

// shop is a mesh whose charts come from somewhere.
func shop(from string) mesh.Mesh {
	m := mesh.Mesh{Name: "shop", Trust: mesh.Trust{Domain: "cluster.local"}}
	for _, name := range []string{"east", "west"} {
		m.Clusters = append(m.Clusters, mesh.Cluster{Name: name, Network: name, Istio: mesh.Istio{
			Profile: "ambient", Hub: "example.test/istio", Charts: mesh.Charts{From: from},
		}})
	}
	return m
}

func reader(t *testing.T) Reader { return Reader{Cache: filepath.Join(t.TempDir(), "cache")} }

// A file of a manifests folder, as it may be changed on its way into a package.
type change func(path string, text []byte) []byte

func unchanged(_ string, text []byte) []byte { return text }

// released writes the version of a release into the charts, as Istio's release builder does.
func released(version string) change {
	return func(path string, text []byte) []byte {
		if strings.HasSuffix(path, "Chart.yaml") {
			return bytes.ReplaceAll(text, []byte("ersion: 1.0.0"), []byte("ersion: "+version))
		}
		return text
	}
}

// without leaves a folder out.
func without(dir string, also change) change {
	return func(path string, text []byte) []byte {
		if strings.HasPrefix(path, dir) {
			return nil
		}
		return also(path, text)
	}
}

// files are those of the embedded manifests under a folder.
func files(t *testing.T, under string, edit change) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := fs.WalkDir(manifests.FS, under, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := manifests.FS.ReadFile(path)
		if text = edit(path, text); text != nil {
			all[path] = text
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func toFolder(t *testing.T, edit change) string {
	t.Helper()
	dir := t.TempDir()
	for path, text := range files(t, ".", edit) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, "manifests", path)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "manifests", path), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func zipped(t *testing.T, prefix string, all map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for path, text := range all {
		if err := w.WriteHeader(&tar.Header{Name: prefix + path, Mode: 0o644, Size: int64(len(text)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func toArchive(t *testing.T, edit change) string {
	t.Helper()
	all := files(t, ".", edit)
	packed := map[string][]byte{"bin/istioctl": []byte("a program"), "samples/charts/x.yaml": []byte("no chart")}
	for path, text := range all {
		packed["manifests/"+path] = text
	}
	file := filepath.Join(t.TempDir(), "istio-1.31.1-linux-amd64.tar.gz")
	if err := os.WriteFile(file, zipped(t, "istio-1.31.1/", packed), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// toRegistry pushes the charts that Istio publishes, and returns the reference and a counter of blobs that were read.
func toRegistry(t *testing.T, tag string, edit change) (string, *atomic.Int64) {
	t.Helper()
	var blobs atomic.Int64
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Method == http.MethodGet && strings.Contains(q.URL.Path, "/blobs/") {
			blobs.Add(1)
		}
		handler.ServeHTTP(w, q)
	}))
	t.Cleanup(server.Close)
	base := strings.TrimPrefix(server.URL, "http://") + "/mirror/charts"
	for _, chart := range published {
		packed := map[string][]byte{}
		root := "charts/" + chart.dir + "/"
		for path, text := range files(t, strings.TrimSuffix(root, "/"), edit) {
			packed[strings.TrimPrefix(path, root)] = text
		}
		if len(packed) > 0 {
			push(t, base+"/"+chart.name+":"+tag, zipped(t, chart.name+"/", packed), content)
		}
	}
	return mesh.OCI + base, &blobs
}

func push(t *testing.T, reference string, layer []byte, kind types.MediaType) {
	t.Helper()
	image, err := mutate.AppendLayers(mutate.ConfigMediaType(empty.Image, "application/vnd.cncf.helm.config.v1+json"), static.NewLayer(layer, kind))
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, image); err != nil {
		t.Fatal(err)
	}
}

// rendered is what a mesh's objects are, as text.
func rendered(t *testing.T, m mesh.Mesh) map[string]string {
	t.Helper()
	objects, err := istio.Objects(m)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for cluster, list := range objects {
		for _, o := range list {
			text, err := json.MarshalIndent(o.Body.Object, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			out[cluster+": "+o.Ref().Group+" "+o.Ref().String()] = string(text)
		}
	}
	return out
}

// TestEverySourceRendersWhatIsEmbedded packs the embedded charts in each of the ways in which charts may come.
func TestEverySourceRendersWhatIsEmbedded(t *testing.T) {
	embedded := shop("")
	for i := range embedded.Clusters {
		embedded.Clusters[i].Istio.Tag = istio.DefaultTag
	}
	want := rendered(t, embedded)
	oci, blobs := toRegistry(t, "1.31.1", unchanged)
	folder := toFolder(t, unchanged)
	for _, source := range []struct{ what, from string }{
		{"a release's folder", folder},
		{"its manifests folder", filepath.Join(folder, "manifests")},
		{"a release archive", toArchive(t, unchanged)},
		{"a registry", oci + ":1.31.1"},
	} {
		t.Run(source.what, func(t *testing.T) {
			r, m := reader(t), shop(source.from)
			loaded, err := r.Load(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			if c := loaded.Clusters[0].Istio; c.Tag != istio.DefaultTag || c.Charts.Dir == "" || c.Charts.Release != "1.31" {
				t.Errorf("tag %s, charts %+v", c.Tag, c.Charts)
			}
			if m.Clusters[0].Istio.Charts.Dir != "" {
				t.Error("the mesh that was given has changed")
			}
			if diff := gocmp.Diff(want, rendered(t, loaded)); diff != "" {
				t.Errorf("-embedded +%s:\n%s", source.what, diff)
			}
			if _, err := r.Load(t.Context(), m); err != nil {
				t.Errorf("the second time: %v", err)
			}
		})
	}
	if n := blobs.Load(); n != int64(len(published)) {
		t.Errorf("%d blobs were read for %d charts, twice: content that is here is read again", n, len(published))
	}
}

func TestChartsSayTheirRelease(t *testing.T) {
	r := reader(t)
	m := shop(toArchive(t, released("1.31.7")))
	m.Clusters[0].Istio.Tag = "mine"
	m.Clusters[1].Istio.Version = "1.31"
	m, err := r.Load(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	east, west := m.Clusters[0].Istio, m.Clusters[1].Istio
	if east.Version != "1.31.7" || east.Tag != "mine" || west.Version != "1.31" || west.Tag != "1.31.7" {
		t.Errorf("east %s %s, west %s %s", east.Version, east.Tag, west.Version, west.Tag)
	}
	if text := rendered(t, m)["west: apps Deployment istio-system/istiod"]; !strings.Contains(text, `"helm.sh/chart": "istiod-1.31.7"`) || !strings.Contains(text, "pilot:1.31.7") {
		t.Errorf("west is not rendered from the archive's charts:\n%s", text)
	}
	m = shop(toFolder(t, released("1.30.2")))
	m.Clusters[0].Istio.Version = "1.31.1"
	if m, err = r.Load(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if _, err = istio.Objects(m); err == nil || !strings.Contains(err.Error(), "spec.istio.version is 1.31.1, and the charts at") || !strings.Contains(err.Error(), "1.30.x") {
		t.Errorf("charts of 1.30 for 1.31: %v", err)
	}
	if _, err = istio.Objects(shop("somewhere")); err == nil || !strings.Contains(err.Error(), "have not been read") {
		t.Errorf("charts that nobody has read: %v", err)
	}
}

func TestARegistryWithoutWhatAProfileNeedsNot(t *testing.T) {
	from, _ := toRegistry(t, "1.31.1", without("charts/ztunnel", without("charts/istio-cni", unchanged)))
	m := shop(from)
	for i := range m.Clusters {
		m.Clusters[i].Istio.Profile, m.Clusters[i].Istio.Version = "minimal", "1.31.1"
	}
	r := reader(t)
	loaded, err := r.Load(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	if len(rendered(t, loaded)) == 0 {
		t.Error("nothing")
	}
	for i := range loaded.Clusters {
		loaded.Clusters[i].Istio.Profile = "ambient"
	}
	if _, err := istio.Objects(loaded); err == nil || !strings.Contains(err.Error(), "component does not exist") {
		t.Errorf("ambient without its charts: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	whole, err := os.ReadFile(toArchive(t, unchanged))
	if err != nil {
		t.Fatal(err)
	}
	present, _ := toRegistry(t, "1.31.1", unchanged)
	older, _ := toRegistry(t, "1.30.2", released("1.30.2"))
	strange, _ := toRegistry(t, "1.31.1", without("charts/base", unchanged))
	push(t, strings.TrimPrefix(strange, mesh.OCI)+"/base:1.31.1", []byte("no chart"), types.OCILayer)
	torn, _ := toRegistry(t, "1.31.1", without("charts/base", unchanged))
	push(t, strings.TrimPrefix(torn, mesh.OCI)+"/base:1.31.1", zipped(t, "base/", map[string][]byte{"README.md": nil}), content)
	closed := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
	}))
	defer closed.Close()
	guarded := strings.TrimPrefix(closed.URL, "http://")
	tests := []struct {
		reason, from, version string
		want                  []string
	}{
		{"nothing there", filepath.Join(dir, "none"), "", []string{"there is no", "manifests folder"}},
		{"a folder of something else", dir, "", []string{dir, "charts/base/Chart.yaml", "not the manifests folder"}},
		{"a folder without profiles", toFolder(t, without("profiles", unchanged)), "", []string{"profiles/default.yaml"}},
		{"no archive", file("a.tar.gz", []byte("hello")), "", []string{"a.tar.gz", "no .tar.gz"}},
		{"an archive that was cut", file("b.tar.gz", whole[:len(whole)/2]), "", []string{"b.tar.gz", "is all of it there?"}},
		{"an archive of something else", file("c.tar.gz", zipped(t, "x/", map[string][]byte{"README.md": []byte("hi")})), "", []string{"c.tar.gz", "not the archive of an Istio release"}},
		{"an archive that leads out", file("d.tar.gz", zipped(t, "x/", map[string][]byte{"charts/../../../evil": []byte("hi")})), "", []string{"leads out"}},
		{"a bomb", file("e.tar.gz", zipped(t, "x/", map[string][]byte{"charts/big": make([]byte, most+1)})), "", []string{"more than 64 MiB"}},
		{"charts that say no release", toFolder(t, func(path string, text []byte) []byte {
			if strings.Contains(path, compatibility) {
				return nil
			}
			return text
		}), "", []string{"do not say of which release"}},
		{"a source tree of another line names no images", toFolder(t, func(path string, text []byte) []byte {
			if strings.Contains(path, compatibility+"1.30") {
				return nil
			}
			return text
		}), "", []string{"are of Istio 1.30", "set spec.istio.tag"}},
		{"no such tag", present, "1.31.9", []string{"chart base:1.31.9", "is not there", "spec.istio.version"}},
		{"a chart instead of their folder", present + "/base", "1.31.1", []string{"names the folder that holds base"}},
		{"no patch release", present, "1.31", []string{"which release", "spec.istio.version: 1.31.PATCH"}},
		{"charts of another line lack their profiles", older, "1.30.2", []string{"of Istio 1.30.2", "archive of release 1.30.2"}},
		{"not a chart", strange, "1.31.1", []string{"chart base", "no Helm chart"}},
		{"a chart without its sheet", torn, "1.31.1", []string{"chart base", "no Chart.yaml"}},
		{"a closed registry", mesh.OCI + guarded + "/charts", "1.31.1", []string{"the registry refuses", "docker login " + guarded}},
		{"no reference", mesh.OCI + "UPPER case", "1.31.1", []string{"UPPER case"}},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			r, m := reader(t), shop(tt.from)
			for i := range m.Clusters {
				m.Clusters[i].Istio.Version = tt.version
			}
			_, err := r.Load(t.Context(), m)
			if err == nil {
				t.Fatal("no error")
			}
			for _, word := range append(tt.want, "cluster east") {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("the error does not say %q: %v", word, err)
				}
			}
			left, err := filepath.Glob(filepath.Join(r.Cache, "*"))
			if err != nil || len(left) > 0 {
				t.Errorf("left in the cache: %v, %v", left, err)
			}
		})
	}
}

// TestCredentialsAreUsed asks for charts as a registry that lets in only whom it knows.
func TestCredentialsAreUsed(t *testing.T) {
	var seen atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if user, word, ok := q.BasicAuth(); ok && user == "me" && word == "secret" {
			seen.Store(true)
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="charts"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer server.Close()
	r := reader(t)
	r.Registry.Keychain = known{}
	m := shop(mesh.OCI + strings.TrimPrefix(server.URL, "http://") + "/charts:1.31.1")
	_, err := r.Load(context.Background(), m)
	if !seen.Load() {
		t.Errorf("nobody was asked for with credentials: %v", err)
	}
	if strings.Contains(fmt.Sprint(err), "secret") {
		t.Errorf("the error quotes the password: %v", err)
	}
}

type known struct{}

func (known) Resolve(authn.Resource) (authn.Authenticator, error) {
	return &authn.Basic{Username: "me", Password: "secret"}, nil
}
