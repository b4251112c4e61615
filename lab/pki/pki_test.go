package pki

import (
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"
)

var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func certificate(t *testing.T, path string) *x509.Certificate {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := pem.Decode(data)
	c, err := x509.ParseCertificate(b.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestEnsure(t *testing.T) {
	dir := t.TempDir()
	leaf := Leaf{File: "admin", CommonName: "admin", Organization: []string{"system:masters"}, DNS: []string{"localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}}
	if err := Ensure(dir, "east", []Leaf{leaf}, now); err != nil {
		t.Fatal(err)
	}
	ca, admin := certificate(t, filepath.Join(dir, "ca.crt")), certificate(t, filepath.Join(dir, "admin.crt"))
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	for reason, at := range map[string]time.Time{"now": now, "for a clock that is behind": now.Add(-59 * time.Minute), "in eleven months": now.AddDate(0, 11, 0)} {
		for _, name := range []string{"localhost", "127.0.0.1"} {
			opts := x509.VerifyOptions{Roots: roots, CurrentTime: at, DNSName: name, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
			if _, err := admin.Verify(opts); err != nil {
				t.Errorf("%s, as %s: %v", reason, name, err)
			}
		}
	}
	if diff := cmp.Diff([]string{"admin", "system:masters"}, append([]string{admin.Subject.CommonName}, admin.Subject.Organization...)); diff != "" {
		t.Errorf("user and group: -want +got:\n%s", diff)
	}
	if err := Ensure(dir, "east", []Leaf{leaf, {File: "late", CommonName: "late"}}, now); err != nil {
		t.Fatal(err)
	}
	if !certificate(t, filepath.Join(dir, "admin.crt")).Equal(admin) {
		t.Error("the second time made another certificate")
	}
	if _, err := certificate(t, filepath.Join(dir, "late.crt")).Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		t.Errorf("a leaf that was added later: %v", err)
	}
}

func TestKubeconfig(t *testing.T) {
	dir := t.TempDir()
	if err := Ensure(dir, "east", []Leaf{{File: "admin", CommonName: "admin"}}, now); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "new", "kubeconfig")
	err := WriteKubeconfig(path, Entry{Context: "east", Server: "https://e", Dir: dir, Leaf: "admin"}, Entry{Context: "west", Server: "https://w", Dir: dir, Leaf: "admin"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := clientcmd.LoadFromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{"current": c.CurrentContext}
	for name, k := range c.Contexts {
		got[name] = c.Clusters[k.Cluster].Server
		if len(c.AuthInfos[k.AuthInfo].ClientKeyData) == 0 {
			t.Errorf("context %s has no key", name)
		}
	}
	if diff := cmp.Diff(map[string]string{"current": "east", "east": "https://e", "west": "https://w"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode().Perm() != 0o600 {
		t.Errorf("others may read it: %s", st.Mode())
	}
}
