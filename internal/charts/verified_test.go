package charts

import (
	"bytes"
	"context"
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
)

// lying is a registry that serves blobs as somebody changed them, under the digests of the genuine ones.
func lying(t *testing.T, genuine string, change func([]byte) []byte) string {
	t.Helper()
	host, _, _ := strings.Cut(strings.TrimPrefix(genuine, mesh.OCI), "/")
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: host})
	proxy.ModifyResponse = func(res *http.Response) error {
		if res.Request.Method != http.MethodGet || !strings.Contains(res.Request.URL.Path, "/blobs/") {
			return nil
		}
		body, err := io.ReadAll(res.Body)
		if err != nil || !bytes.HasPrefix(body, []byte("\x1f\x8b")) { // configurations are no charts
			res.Body = io.NopCloser(bytes.NewReader(body))
			return err
		}
		body = change(body)
		res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		res.Header.Del("Content-Length")
		return nil
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	return strings.Replace(genuine, host, strings.TrimPrefix(server.URL, "http://"), 1)
}

// TestARegistryThatLiesLeavesNothing: it names a genuine digest and serves other bytes; an honest registry that serves the
// genuine ones afterwards is read, and not what the liar left.
func TestARegistryThatLiesLeavesNothing(t *testing.T) {
	genuine, _ := toRegistry(t, "1.31.1", released("1.31.1"))
	evil := zipped(t, "istiod/", map[string][]byte{"Chart.yaml": []byte("name: evil\nversion: 1.31.1\n"), "templates/evil.yaml": []byte("kind: Evil\n")})
	for _, c := range []struct {
		reason string
		change func([]byte) []byte
	}{
		{"other bytes", func([]byte) []byte { return evil }},
		{"those of another chart", func(b []byte) []byte { return zipped(t, "x/", map[string][]byte{"Chart.yaml": []byte("name: x\n")}) }},
		{"a part", func(b []byte) []byte { return b[:len(b)/2] }},
		{"one bit more", func(b []byte) []byte { b = bytes.Clone(b); b[len(b)-1] ^= 1; return b }},
		{"nothing", func([]byte) []byte { return nil }},
	} {
		t.Run(c.reason, func(t *testing.T) {
			r := reader(t)
			if _, err := r.Load(context.Background(), shop(lying(t, genuine, c.change)+":1.31.1")); err == nil {
				t.Error("it is believed")
			}
			if left, err := filepath.Glob(filepath.Join(r.Cache, "*")); err != nil || len(left) > 0 {
				t.Errorf("left in the cache: %v, %v", left, err)
			}
			m, err := r.Load(context.Background(), shop(genuine+":1.31.1"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(filepath.Join(m.Clusters[0].Istio.Charts.Dir, "charts/istio-control/istio-discovery/templates/evil.yaml")); err == nil {
				t.Error("the liar's files are used")
			}
		})
	}
}

// TestWhatWasKeptUnverifiedIsNotUsed: an earlier release compared digests after it had unpacked.
func TestWhatWasKeptUnverifiedIsNotUsed(t *testing.T) {
	r := reader(t)
	file := toArchive(t, released("1.31.1"))
	m, err := r.Load(context.Background(), shop(file))
	if err != nil {
		t.Fatal(err)
	}
	dir := m.Clusters[0].Istio.Charts.Dir
	old := filepath.Join(filepath.Dir(dir), strings.TrimPrefix(filepath.Base(dir), verified))
	if old == dir {
		t.Fatalf("%s says nothing of verification", dir)
	}
	if err := os.Rename(dir, old); err != nil {
		t.Fatal(err)
	}
	if m, err = r.Load(context.Background(), shop(file)); err != nil || m.Clusters[0].Istio.Charts.Dir == old {
		t.Errorf("%s, %v", m.Clusters[0].Istio.Charts.Dir, err)
	}
}

func TestNothingFollowsAnArchive(t *testing.T) {
	whole := zipped(t, "istio/", map[string][]byte{"manifests/charts/base/Chart.yaml": []byte("x")})
	second := zipped(t, "istio/", map[string][]byte{"manifests/charts/base/evil.yaml": []byte("x")})
	for _, c := range []struct {
		reason string
		packed []byte
		want   string
	}{
		{"it ends", whole, ""},
		{"a second stream", append(bytes.Clone(whole), second...), "goes on after its end"},
		{"bytes", append(bytes.Clone(whole), "x"...), "goes on after its end"},
		{"it is cut", whole[:len(whole)-9], "is all of it there"},
		{"it is none", []byte("x"), "no .tar.gz archive"},
	} {
		err := unpack(context.Background(), c.packed, t.TempDir(), func(name string) string { return name })
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.reason, err)
		}
	}
}

// TestCredentialsAreNotSentInClearText: the library takes a registry with a private address for one that may be spoken to so.
func TestCredentialsAreNotSentInClearText(t *testing.T) {
	for _, c := range []struct {
		address, header string
		sent            bool
	}{
		{"http://10.1.2.3/v2/", "Basic bWU6c2VjcmV0", false},
		{"http://registry.local/v2/", "Bearer x", false},
		{"http://10.1.2.3/v2/", "", true},
		{"http://127.0.0.1:5000/v2/", "Basic bWU6c2VjcmV0", true},
		{"http://localhost:5000/v2/", "Basic bWU6c2VjcmV0", true},
		{"https://10.1.2.3/v2/", "Basic bWU6c2VjcmV0", true},
	} {
		sent := false
		req, err := http.NewRequest(http.MethodGet, c.address, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if c.header != "" {
			req.Header.Set("Authorization", c.header)
		}
		res, err := guarded{seen(func() { sent = true })}.RoundTrip(req)
		if err == nil {
			_ = res.Body.Close()
		}
		if sent != c.sent || (err == nil) != c.sent || err != nil && strings.Contains(err.Error(), c.header) {
			t.Errorf("%s with %q: sent %t, %v", c.address, c.header, sent, err)
		}
	}
}

type seen func()

func (s seen) RoundTrip(*http.Request) (*http.Response, error) {
	s()
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}
