// Package pki makes the certificates of a cluster: one authority, and a certificate for each program that speaks to
// another. Keys are ECDSA P-256, which takes microseconds to make. What exists already is kept, so that a lab started
// again is still the one its clients know.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Lifetimes: a lab lives for days, a cluster's authority is never renewed.
const (
	authorityLife = 10 * 365 * 24 * time.Hour
	leafLife      = 365 * 24 * time.Hour
	skew          = time.Hour // certificates begin this long ago, for clocks that were set back
)

// A Leaf is what a certificate is for.
type Leaf struct {
	File         string   // NAME.crt and NAME.key
	CommonName   string   // the user, for Kubernetes
	Organization []string // its groups
	DNS          []string
	IPs          []net.IP
}

// Ensure makes ca, sa (the key that signs service account tokens) and every leaf in dir, as FILE.crt and FILE.key.
// Files that exist stay as they are. now is the time at which certificates begin.
func Ensure(dir string, name string, leaves []Leaf, now time.Time) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make folder for certificates: %w", err)
	}
	ca, key, err := authority(dir, name, now)
	if err != nil {
		return err
	}
	if err := ensureKey(filepath.Join(dir, "sa.key")); err != nil {
		return err
	}
	for _, l := range leaves {
		if exists(filepath.Join(dir, l.File+".crt")) {
			continue
		}
		if err := leaf(dir, l, ca, key, now); err != nil {
			return fmt.Errorf("make certificate %s: %w", l.File, err)
		}
	}
	return nil
}

func authority(dir, name string, now time.Time) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	crt, keyFile := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")
	if exists(crt) && exists(keyFile) {
		return read(crt, keyFile)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make key of the cluster's authority: %w", err)
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name + " authority"},
		NotBefore: now.Add(-skew), NotAfter: now.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, nil, fmt.Errorf("make certificate of the cluster's authority: %w", err)
	}
	if err := writeKey(keyFile, key); err != nil {
		return nil, nil, err
	}
	if err := write(crt, "CERTIFICATE", der); err != nil {
		return nil, nil, err
	}
	return read(crt, keyFile)
}

func leaf(dir string, l Leaf, ca *x509.Certificate, caKey *ecdsa.PrivateKey, now time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: l.CommonName, Organization: l.Organization},
		NotBefore: now.Add(-skew), NotAfter: now.Add(leafLife), DNSNames: l.DNS, IPAddresses: l.IPs,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, ca, key.Public(), caKey)
	if err != nil {
		return err
	}
	if err := writeKey(filepath.Join(dir, l.File+".key"), key); err != nil {
		return err
	}
	return write(filepath.Join(dir, l.File+".crt"), "CERTIFICATE", der)
}

func ensureKey(path string) error {
	if exists(path) {
		return nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make key %s: %w", path, err)
	}
	return writeKey(path, key)
}

func read(crt, key string) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	c, err := block(crt)
	if err != nil {
		return nil, nil, err
	}
	k, err := block(key)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(c)
	if err != nil {
		return nil, nil, fmt.Errorf("read certificate %s: %w", crt, err)
	}
	priv, err := x509.ParseECPrivateKey(k)
	if err != nil {
		return nil, nil, fmt.Errorf("read key %s: %w", key, err)
	}
	return cert, priv, nil
}

func block(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	b, _ := pem.Decode(data)
	if b == nil {
		return nil, fmt.Errorf("read %s: no PEM block in it", path)
	}
	return b.Bytes, nil
}

func writeKey(path string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return write(path, "EC PRIVATE KEY", der)
}

// write is atomic: a certificate that is there is whole, even if the machine died while it was made.
func write(path, kind string, der []byte) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
