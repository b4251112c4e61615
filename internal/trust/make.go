package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"time"
)

// backdate is how long before it is made a certificate begins to be valid, for clusters whose clock is behind.
const backdate = time.Hour

// An Authority is a certificate that may sign others, and its key. Nothing prints it: String says whose it is.
type Authority struct {
	Cert *x509.Certificate
	key  crypto.Signer
}

// String names the certificate, and no byte of the key.
func (a Authority) String() string {
	if a.Cert == nil {
		return "no authority"
	}
	return a.Cert.Subject.String()
}

// GoString is String, so that %#v shows no key either.
func (a Authority) GoString() string { return a.String() }

// NewRoot makes a self-signed root for a mesh and returns the data of its Secret. The key is ECDSA on P-256,
// which istiod takes for a plugged-in authority as it does RSA, and which every proxy can verify; signing with it
// is some twenty times faster than with RSA 2048. random must be fit for cryptography.
func NewRoot(mesh string, ttl time.Duration, now time.Time, random io.Reader) (map[string][]byte, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{Organization: []string{mesh}, CommonName: mesh + " root"},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(ttl),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLen:            1, // it signs intermediates, and those sign workloads
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	cert, key, err := sign(template, nil, random)
	if err != nil {
		return nil, fmt.Errorf("make root of mesh %s: %w", mesh, err)
	}
	return map[string][]byte{RootCert: cert, RootKey: key}, nil
}

// NewIntermediate makes a cluster's intermediate and returns the data of its cacerts. It ends no later than the
// root does. Names and extensions are those of Istio's own recipe (tools/certs/common.mk of Istio), with the mesh
// for organization and without keyEncipherment, which an ECDSA key cannot do.
func NewIntermediate(mesh, cluster string, root Authority, ttl time.Duration, now time.Time, random io.Reader) (map[string][]byte, error) {
	ends := now.Add(ttl)
	if root.Cert.NotAfter.Before(ends) {
		ends = root.Cert.NotAfter
	}
	if !ends.After(now) {
		return nil, fmt.Errorf("make intermediate of %s: the root ended at %s", cluster, ends.UTC().Format(time.RFC3339))
	}
	begins := now.Add(-backdate)
	if begins.Before(root.Cert.NotBefore) {
		begins = root.Cert.NotBefore
	}
	template := &x509.Certificate{
		Subject: pkix.Name{
			Organization: []string{mesh}, Locality: []string{cluster}, CommonName: cluster + " intermediate",
		},
		DNSNames:              []string{"istiod." + Namespace + ".svc"},
		NotBefore:             begins,
		NotAfter:              ends,
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	cert, key, err := sign(template, &root, random)
	if err != nil {
		return nil, fmt.Errorf("make intermediate of %s: %w", cluster, err)
	}
	top := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Cert.Raw})
	return map[string][]byte{
		CACert: cert, CAKey: key, RootBundle: top,
		CertChain: append(append([]byte{}, cert...), top...),
	}, nil
}

// sign makes a key and a certificate for it, by an authority or, without one, by itself. Both are returned as
// PEM; the key as PKCS #8.
func sign(template *x509.Certificate, by *Authority, random io.Reader) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	if template.SerialNumber, err = serial(random); err != nil {
		return nil, nil, err
	}
	if by == nil {
		by = &Authority{Cert: template, key: private}
	}
	der, err := x509.CreateCertificate(random, template, by.Cert, private.Public(), by.key)
	if err != nil {
		return nil, nil, fmt.Errorf("sign certificate: %w", err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, fmt.Errorf("encode key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), nil
}

// serial is a positive number of 127 random bits: no two certificates of a root share one (RFC 5280, 4.1.2.2).
func serial(random io.Reader) (*big.Int, error) {
	raw := make([]byte, 16)
	if _, err := io.ReadFull(random, raw); err != nil {
		return nil, fmt.Errorf("make serial number: %w", err)
	}
	raw[0] &= 0x7f
	return new(big.Int).SetBytes(raw), nil
}

// ParseRoot reads the data of a root's Secret and checks that it can sign: a certificate of an authority and the
// key of it. Errors say what is wrong and hold no byte of the key.
func ParseRoot(data map[string][]byte) (Authority, error) {
	block, _ := pem.Decode(data[RootCert])
	if block == nil {
		return Authority{}, errors.New(RootCert + " holds no PEM certificate")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return Authority{}, fmt.Errorf("read %s: %w", RootCert, err)
	}
	if !cert.IsCA {
		return Authority{}, errors.New(RootCert + " may not sign certificates: it is no authority")
	}
	if block, _ = pem.Decode(data[RootKey]); block == nil {
		return Authority{}, errors.New(RootKey + " holds no PEM key")
	}
	key, err := parseKey(block)
	if err != nil {
		return Authority{}, err
	}
	if public, ok := cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(key.Public()) {
		return Authority{}, errors.New(RootKey + " is not the key of " + RootCert)
	}
	return Authority{Cert: cert, key: key}, nil
}

// parseKey reads the three forms that istiod also reads. The causes are left out: they may quote what they read.
func parseKey(block *pem.Block) (crypto.Signer, error) {
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	}
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		return nil, errors.New(RootKey + " holds no private key that can sign")
	}
	return signer, nil
}
