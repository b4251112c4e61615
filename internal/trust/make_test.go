package trust

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"istio.io/istio/security/pkg/pki/ca"
	"istio.io/istio/security/pkg/pki/util"

	"isthmus.dev/isthmus/internal/facts"
)

const year = 8760 * time.Hour

// now is the machine's time: Istio's loader asks no other clock.
var now = time.Now().Truncate(time.Second)

func makeRoot(t *testing.T, ttl time.Duration, at time.Time) (map[string][]byte, Authority) {
	t.Helper()
	data, err := NewRoot("shop", ttl, at, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root, err := ParseRoot(data)
	if err != nil {
		t.Fatal(err)
	}
	return data, root
}

func makeIntermediate(t *testing.T, cluster string, root Authority, ttl time.Duration, at time.Time) map[string][]byte {
	t.Helper()
	data, err := NewIntermediate("shop", cluster, root, ttl, at, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestIstioTakesTheBundle loads cacerts as istiod does and lets two clusters' authorities sign workloads, which
// then verify each other through what each trusts.
func TestIstioTakesTheBundle(t *testing.T) {
	_, root := makeRoot(t, 10*year, now)
	east, west := makeIntermediate(t, "east", root, year, now), makeIntermediate(t, "west", root, year, now)
	leaf, chain := signedByIstio(t, east)
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	if !roots.AppendCertsFromPEM(west[RootBundle]) || !between.AppendCertsFromPEM(chain) {
		t.Fatal("no certificates in the bundle")
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Errorf("west refuses a workload of east: %v", err)
	}
	if got := leaf.URIs[0].String(); got != "spiffe://cluster.local/ns/shop/sa/cart" {
		t.Errorf("identity %s", got)
	}
}

// signedByIstio starts Istio's authority from a cacerts and returns a workload's certificate and the chain that
// its proxy presents.
func signedByIstio(t *testing.T, data map[string][]byte) (*x509.Certificate, []byte) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range data {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	opts, err := ca.NewPluggedCertIstioCAOptions(ca.SigningCAFileBundle{
		RootCertFile: filepath.Join(dir, RootBundle), CertChainFiles: []string{filepath.Join(dir, CertChain)},
		SigningCertFile: filepath.Join(dir, CACert), SigningKeyFile: filepath.Join(dir, CAKey),
	}, time.Hour, time.Hour, 2048)
	if err != nil {
		t.Fatalf("istiod refuses cacerts: %v", err)
	}
	authority, err := ca.NewIstioCA(opts)
	if err != nil {
		t.Fatalf("istiod refuses cacerts: %v", err)
	}
	id := "spiffe://cluster.local/ns/shop/sa/cart"
	csr, _, err := util.GenCSR(util.CertOptions{Host: id, ECSigAlg: util.EcdsaSigAlg})
	if err != nil {
		t.Fatal(err)
	}
	chain, err := authority.SignWithCertChain(csr, ca.CertOpts{SubjectIDs: []string{id}, TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := util.ParsePemEncodedCertificate([]byte(chain[0]))
	if err != nil {
		t.Fatal(err)
	}
	return leaf, []byte(strings.Join(chain, ""))
}

func certOf(t *testing.T, text []byte) *x509.Certificate {
	t.Helper()
	c := facts.Certificate{PEM: string(text)}.X509()
	if c == nil {
		t.Fatal("no certificate")
	}
	return c
}

func TestCertificatesSayWhatTheyMay(t *testing.T) {
	data, root := makeRoot(t, 10*year, now)
	middle := makeIntermediate(t, "east", root, year, now)
	r, i := certOf(t, data[RootCert]), certOf(t, middle[CACert])
	if !r.IsCA || r.MaxPathLen == 0 || r.KeyUsage&x509.KeyUsageCertSign == 0 {
		t.Errorf("the root may not sign authorities: %+v", r.KeyUsage)
	}
	if !i.IsCA || !i.MaxPathLenZero || i.MaxPathLen != 0 {
		t.Error("the intermediate may make further authorities")
	}
	if got := i.Subject.String(); got != "CN=east intermediate,O=shop,L=east" {
		t.Errorf("subject %s", got)
	}
	if len(i.DNSNames) != 1 || i.DNSNames[0] != "istiod.istio-system.svc" {
		t.Errorf("names %v", i.DNSNames)
	}
	if r.SerialNumber.Cmp(i.SerialNumber) == 0 || r.SerialNumber.Sign() <= 0 {
		t.Error("serial numbers are not positive and apart")
	}
	if i.NotBefore.After(now.Add(-backdate)) || !i.NotAfter.Equal(now.Add(year).UTC()) {
		t.Errorf("valid from %s to %s", i.NotBefore, i.NotAfter)
	}
	if bytes.Count(middle[CertChain], []byte("BEGIN CERTIFICATE")) != 2 || !bytes.HasPrefix(middle[CertChain], middle[CACert]) {
		t.Error("the chain is not the intermediate and then the root")
	}
}

func TestIntermediateEndsWithItsRoot(t *testing.T) {
	_, root := makeRoot(t, 100*time.Hour, now)
	i := certOf(t, makeIntermediate(t, "east", root, year, now)[CACert])
	if !i.NotAfter.Equal(root.Cert.NotAfter) {
		t.Errorf("ends %s, its root %s", i.NotAfter, root.Cert.NotAfter)
	}
	if _, err := NewIntermediate("shop", "east", root, year, now.Add(101*time.Hour), rand.Reader); err == nil {
		t.Error("a root that has ended signs")
	}
}

func TestNoRandomNoCertificate(t *testing.T) {
	if _, err := NewRoot("shop", year, now, bytes.NewReader(nil)); err == nil {
		t.Error("a certificate without a random serial number")
	}
}

func TestParseRootRefuses(t *testing.T) {
	good, _ := makeRoot(t, year, now)
	other, root := makeRoot(t, year, now)
	leaf, key := makeLeaf(t, root)
	tests := []struct {
		reason string
		data   map[string][]byte
		want   string
	}{
		{"nothing there", nil, "tls.crt holds no PEM"},
		{"a certificate that is none", map[string][]byte{RootCert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})}, "read tls.crt"},
		{"no key", map[string][]byte{RootCert: good[RootCert]}, "tls.key holds no PEM"},
		{"a key of no known form", map[string][]byte{RootCert: good[RootCert], RootKey: pem.EncodeToMemory(&pem.Block{Type: "OTHER KEY", Bytes: []byte("canary")})}, "no private key"},
		{"a key that cannot be read is not quoted", map[string][]byte{RootCert: good[RootCert], RootKey: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("canary")})}, "no private key"},
		{"another root's key", map[string][]byte{RootCert: good[RootCert], RootKey: other[RootKey]}, "not the key of"},
		{"a workload's certificate", map[string][]byte{RootCert: leaf, RootKey: key}, "no authority"},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			_, err := ParseRoot(tt.data)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "canary") {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func makeLeaf(t *testing.T, root Authority) (cert, key []byte) {
	t.Helper()
	cert, key, err := sign(&x509.Certificate{NotBefore: now, NotAfter: now.Add(time.Hour), BasicConstraintsValid: true}, &root, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func TestAuthorityPrintsNoKey(t *testing.T) {
	data, root := makeRoot(t, year, now)
	block, _ := pem.Decode(data[RootKey])
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(format, root); got != "CN=shop root,O=shop" || strings.Contains(got, string(block.Bytes)) {
			t.Errorf("%s prints %s", format, got)
		}
	}
}
