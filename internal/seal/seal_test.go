package seal

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"istio.io/istio/pkg/kube"
	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	ktesting "k8s.io/client-go/testing"

	"isthmus.dev/isthmus/internal/cluster"
	"isthmus.dev/isthmus/internal/discovery"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/trust"
)

// canary is a secret that no error may show.
const canary = "c4n4ry"

// token is what the fake API servers issue, with the UID of its ServiceAccount in it.
var token = "e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"kubernetes.io":{"serviceaccount":{"uid":"uid-1"}}}`)) + "." + canary

var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// A bench is two clusters, east (home) and west, behind fake clients, and what would be sealed in them.
type bench struct {
	mesh  mesh.Mesh
	kube  map[string]*fake.Clientset
	conns map[string]*cluster.Conn
	asked []*authv1.TokenRequest
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{kube: map[string]*fake.Clientset{}, conns: map[string]*cluster.Conn{}}
	b.mesh = mesh.Mesh{
		Name: "shop", CredentialTTL: 24 * time.Hour, Trust: mesh.Trust{Domain: "cluster.local", RootTTL: 1000 * time.Hour, IntermediateTTL: 100 * time.Hour},
		Clusters: []mesh.Cluster{{Name: "east", Network: "a"}, {Name: "west", Network: "b"}},
	}
	for _, c := range b.mesh.Clusters {
		k := fake.NewClientset()
		k.PrependReactor("create", "serviceaccounts", func(a ktesting.Action) (bool, runtime.Object, error) {
			create, ok := a.(ktesting.CreateAction)
			if !ok || a.GetSubresource() != "token" {
				return false, nil, nil
			}
			request, _ := create.GetObject().(*authv1.TokenRequest)
			b.asked = append(b.asked, request)
			issued := request.DeepCopy()
			issued.Status.Token = token
			return true, issued, nil
		})
		b.kube[c.Name] = k
		b.conns[c.Name] = &cluster.Conn{Name: c.Name, Kube: k, Config: &rest.Config{
			Host: "https://" + c.Name + ".test:6443", TLSClientConfig: rest.TLSClientConfig{CAData: caOf(t)},
		}}
	}
	return b
}

func caOf(t *testing.T) []byte {
	t.Helper()
	data, err := trust.NewRoot("api", time.Hour, time.Now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return data[trust.RootCert]
}

// seal fills the object of a kind in a cluster.
func (b *bench) seal(t *testing.T, kind object.SealKind, in string) (*unstructured.Unstructured, error) {
	t.Helper()
	remotes, err := discovery.Objects(b.mesh)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range slices.Concat(trust.Objects(b.mesh)[in], remotes[in]) {
		if o.Sealed == nil || o.Sealed.Kind != kind {
			continue
		}
		before := o.Body.DeepCopy()
		body, err := Sealers(b.mesh, b.conns, func() time.Time { return now }, rand.Reader)[kind](t.Context(), in, o)
		if diff := cmp.Diff(before, o.Body); diff != "" {
			t.Errorf("the wanted object was changed:\n%s", diff)
		}
		if err == nil {
			kept := body.DeepCopy()
			delete(kept.Object, "data")
			notes := kept.GetAnnotations()
			maps.DeleteFunc(notes, func(k, _ string) bool { return strings.HasPrefix(k, "isthmus.dev/") })
			kept.SetAnnotations(notes)
			if diff := cmp.Diff(before, kept); diff != "" {
				t.Errorf("more than content was changed:\n%s", diff)
			}
		}
		return body, err
	}
	t.Fatalf("nothing of kind %s in %s", kind, in)
	return nil, nil
}

func dataOf(t *testing.T, body *unstructured.Unstructured) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for k, v := range body.Object["data"].(map[string]any) {
		raw, err := base64.StdEncoding.DecodeString(v.(string))
		if err != nil {
			t.Fatal(err)
		}
		out[k] = raw
	}
	body.DeepCopy() // panics on what is no JSON type
	return out
}

func (b *bench) keepRoot(t *testing.T, data map[string][]byte) {
	t.Helper()
	_, err := b.kube["east"].CoreV1().Secrets(object.SystemNamespace).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: trust.RootSecret, Namespace: object.SystemNamespace}, Data: data,
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

func TestRootAndIntermediatesHoldTogether(t *testing.T) {
	b := newBench(t)
	body, err := b.seal(t, object.SealRoot, "east")
	if err != nil {
		t.Fatal(err)
	}
	root := dataOf(t, body)
	b.keepRoot(t, root)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(root[trust.RootCert])
	for _, c := range b.mesh.Clusters {
		body, err := b.seal(t, object.SealIntermediate, c.Name)
		if err != nil {
			t.Fatal(err)
		}
		data := dataOf(t, body)
		block, _ := pem.Decode(data[trust.CACert])
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cert.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: now}); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
		if !slices.Equal(cert.Subject.Locality, []string{c.Name}) {
			t.Errorf("%s got the intermediate of %v", c.Name, cert.Subject.Locality)
		}
		for k, v := range data {
			if bytes.Contains(v, root[trust.RootKey]) {
				t.Errorf("%s: %s holds the root's key", c.Name, k)
			}
		}
	}
}

func TestRootIsNotReplacedWhileItCanSign(t *testing.T) {
	b := newBench(t)
	body, err := b.seal(t, object.SealRoot, "east")
	if err != nil {
		t.Fatal(err)
	}
	root := dataOf(t, body)
	b.keepRoot(t, root)
	if _, err := b.seal(t, object.SealRoot, "east"); err == nil || !strings.Contains(err.Error(), "run isthmus apply again") {
		t.Errorf("a root that can sign is replaced: %v", err)
	}
	broken := newBench(t)
	broken.keepRoot(t, map[string][]byte{trust.RootCert: root[trust.RootCert]})
	if _, err := broken.seal(t, object.SealRoot, "east"); err != nil {
		t.Errorf("a root that lost its key is not replaced: %v", err)
	}
}

func TestIntermediateRefusals(t *testing.T) {
	tests := []struct {
		reason string
		change func(*testing.T, *bench)
		want   string
	}{
		{"no root yet", func(*testing.T, *bench) {}, "cluster east: read the root"},
		{"no connection to the root's cluster", func(_ *testing.T, b *bench) { delete(b.conns, "east") }, "no connection to cluster east"},
		{"a root that cannot be read is not quoted", func(t *testing.T, b *bench) {
			b.keepRoot(t, map[string][]byte{trust.RootCert: caOf(t), trust.RootKey: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte(canary)})})
		}, "isthmus-system/isthmus-root: tls.key holds no private key"},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			b := newBench(t)
			tt.change(t, b)
			_, err := b.seal(t, object.SealIntermediate, "west")
			refused(t, err, tt.want)
		})
	}
}

func refused(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case err == nil:
		t.Fatal("no error")
	case !strings.Contains(err.Error(), want):
		t.Errorf("error %v, want %q in it", err, want)
	case strings.Contains(err.Error(), canary):
		t.Errorf("the error shows a secret: %v", err)
	}
}

// TestIstiodTakesTheRemoteSecret reads the kubeconfig with the code that istiod reads it with.
func TestIstiodTakesTheRemoteSecret(t *testing.T) {
	b := newBench(t)
	b.conns["west"].Config.ServerName = "kubernetes.default"
	body, err := b.seal(t, object.SealRemoteSecret, "east")
	if err != nil {
		t.Fatal(err)
	}
	data := dataOf(t, body)
	if got := slices.Collect(maps.Keys(data)); !slices.Equal(got, []string{"west"}) {
		t.Fatalf("keys %v: istiod takes the key for the cluster's name", got)
	}
	cfg, err := kube.NewUntrustedRestConfig(data["west"])
	if err != nil {
		t.Fatalf("istiod refuses the kubeconfig: %v", err)
	}
	if cfg.Host != "https://west.test:6443" || cfg.BearerToken != token || !bytes.Equal(cfg.CAData, b.conns["west"].Config.CAData) || cfg.ServerName != "kubernetes.default" {
		t.Errorf("istiod would go to %s (%s)", cfg.Host, cfg.ServerName)
	}
	want := map[string]string{
		discovery.AnnotationCluster: "west", discovery.AnnotationIssued: "2026-11-24T12:00:00Z", discovery.AnnotationReader: "uid-1",
	}
	if diff := cmp.Diff(want, body.GetAnnotations()); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	if len(b.asked) != 1 || *b.asked[0].Spec.ExpirationSeconds != 24*3600 {
		t.Errorf("asked for %v", b.asked)
	}
}

func TestAuthorityFromAFileOrTheSystem(t *testing.T) {
	b := newBench(t)
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, caOf(t), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []rest.TLSClientConfig{{CAFile: file}, {}} {
		b.conns["west"].Config.TLSClientConfig = c
		body, err := b.seal(t, object.SealRemoteSecret, "east")
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := kube.NewUntrustedRestConfig(dataOf(t, body)["west"])
		if err != nil {
			t.Fatal(err)
		}
		want, _ := os.ReadFile(c.CAFile)
		if !bytes.Equal(cfg.CAData, want) {
			t.Errorf("istiod would trust %q, want %q", cfg.CAData, want)
		}
	}
}

func TestRemoteSecretRefusals(t *testing.T) {
	at := func(server string) func(*bench) { return func(b *bench) { b.conns["west"].Config.Host = server } }
	tests := []struct {
		reason string
		change func(*bench)
		want   string
	}{
		{"kind's default address", at("https://127.0.0.1:34567"), "spec.clusters[west].server"},
		{"an address without a scheme", at("127.0.0.1:6443"), "spec.clusters[west].server"},
		{"IPv6's own", at("https://[::1]:6443"), "spec.clusters[west].server"},
		{"a name for the same", at("https://localhost:6443"), "spec.clusters[west].server"},
		{"another name for the same", at("https://west.localhost.:6443"), "spec.clusters[west].server"},
		{"no address at all", at("https://0.0.0.0:6443"), "spec.clusters[west].server"},
		{"the document's own is no better", func(b *bench) { b.mesh.Clusters[1].Server = "https://localhost" }, "spec.clusters[west].server"},
		{"an API server that nobody verifies", func(b *bench) { b.conns["west"].Config.Insecure = true }, "insecure-skip-tls-verify"},
		{"an authority that is not there", func(b *bench) {
			b.conns["west"].Config.TLSClientConfig = rest.TLSClientConfig{CAFile: "/nonexistent"}
		}, "cluster west: read the kubeconfig's certificate authority"},
		{"no connection", func(b *bench) { delete(b.conns, "west") }, "no connection to cluster west"},
		{"the API server issues no token", func(b *bench) {
			b.kube["west"].PrependReactor("create", "serviceaccounts", func(ktesting.Action) (bool, runtime.Object, error) {
				return true, nil, errors.New("serviceaccounts \"isthmus-reader\" not found")
			})
		}, "cluster west: request a token for ServiceAccount isthmus-system/isthmus-reader"},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			b := newBench(t)
			tt.change(b)
			_, err := b.seal(t, object.SealRemoteSecret, "east")
			refused(t, err, tt.want)
		})
	}
	b := newBench(t)
	b.conns["west"].Config.Host = "https://127.0.0.1:34567"
	b.mesh.Clusters[1].Server = "https://198.51.100.7:6443"
	if _, err := b.seal(t, object.SealRemoteSecret, "east"); err != nil {
		t.Errorf("the document's address is not taken: %v", err)
	}
}

func TestReaderUID(t *testing.T) {
	claims := func(s string) string { return "e30." + base64.RawURLEncoding.EncodeToString([]byte(s)) + ".x" }
	for token, want := range map[string]string{
		token: "uid-1", "opaque": "", "a.!.c": "", claims("no JSON"): "", claims("{}"): "",
	} {
		if got := readerUID(token); got != want {
			t.Errorf("%q: %q, want %q", token, got, want)
		}
	}
}
