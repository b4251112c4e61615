package probe

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/url"
	"time"
)

// istioALPN are the protocols by which Istio's proxies know a call between proxies. An east-west gateway passes
// nothing else on (pilot/pkg/networking/core: allIstioMtlsALPNs), so without them a call would prove nothing
// about certificates.
var istioALPN = []string{"istio-peer-exchange", "istio"}

// tlsCaller shakes hands as somebody who is not of the mesh: with no certificate or with a forged one. The
// error it returns is the news that is hoped for; nil means that the other side answered.
func (c Caller) tlsCaller(target *url.URL, call Call) (func(context.Context, *Result) error, func()) {
	return func(ctx context.Context, r *Result) error {
		config := &tls.Config{
			ServerName: call.SNI, NextProtos: istioALPN, MinVersion: tls.VersionTLS12,
			// Whether the server is who it says does not matter here: nothing is told to it. What it shows is
			// recorded, and compared by those who know the mesh's root.
			InsecureSkipVerify: true, //nolint:gosec // G402: as said above
		}
		config.VerifyPeerCertificate = func(raw [][]byte, _ [][]*x509.Certificate) error { //nolint:gosec // G123: it only records; nothing is resumed
			shown := showOf(raw)
			if r.Shown != nil {
				shown.AskedForCertificate = r.Shown.AskedForCertificate
			}
			r.Shown = shown
			return nil
		}
		forged, err := c.forge(call.Forge)
		if err != nil {
			return err
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if r.Shown == nil { // TLS 1.3 asks before it shows
				r.Shown = &Shown{}
			}
			r.Shown.AskedForCertificate = true
			return forged, nil
		}
		raw, err := new(net.Dialer).DialContext(ctx, "tcp", target.Host)
		if err != nil {
			return fmt.Errorf("connect: %w", err)
		}
		defer raw.Close()
		if deadline, ok := ctx.Deadline(); ok {
			if err := raw.SetDeadline(deadline); err != nil {
				return fmt.Errorf("set deadline: %w", err)
			}
		}
		return knock(ctx, tls.Client(raw, config), r)
	}, func() {}
}

// knock shakes hands, asks for something and waits for a byte. In TLS 1.3 the client's side of the handshake is
// done before the server has looked at the client's certificate: only reading shows whether it was taken.
func knock(ctx context.Context, conn *tls.Conn, r *Result) error {
	if err := conn.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	_, sent := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: isthmus-probe\r\nConnection: close\r\n\r\n")
	answer := make([]byte, maxBody)
	n, err := conn.Read(answer) // also if nothing could be sent: the alert that says why may be waiting
	if n > 0 {
		r.Body = clip(answer[:n])
		return nil
	}
	if sent != nil && classify(err) != TLSAlert {
		return fmt.Errorf("send: %w", sent)
	}
	return fmt.Errorf("read: %w", err)
}

// showOf reads the chain that a server sent.
func showOf(raw [][]byte) *Shown {
	shown := &Shown{}
	for i, der := range raw {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return shown
		}
		if i == 0 {
			for _, u := range cert.URIs {
				shown.Identities = append(shown.Identities, u.String())
			}
		}
		shown.Issuer = cert.Issuer.String()
		if cert.CheckSignatureFrom(cert) == nil {
			sum := sha256.Sum256(der)
			shown.Root = hex.EncodeToString(sum[:])
		}
	}
	return shown
}

// forge makes a certificate for an identity, signed by a root that nobody trusts; an empty one for "".
func (c Caller) forge(identity string) (*tls.Certificate, error) {
	if identity == "" {
		return &tls.Certificate{}, nil
	}
	uri, err := url.Parse(identity)
	if err != nil {
		return nil, fmt.Errorf("parse identity to forge: %w", err)
	}
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), c.Rand)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), c.Rand)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	now := c.Now()
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{uri.Host}, CommonName: "Root CA"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), URIs: []*url.URL{uri}, NotBefore: root.NotBefore, NotAfter: root.NotAfter,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	rootDER, err := x509.CreateCertificate(c.Rand, root, root, rootKey.Public(), rootKey)
	if err != nil {
		return nil, fmt.Errorf("forge root: %w", err)
	}
	leafDER, err := x509.CreateCertificate(c.Rand, leaf, root, leafKey.Public(), rootKey)
	if err != nil {
		return nil, fmt.Errorf("forge certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{leafDER, rootDER}, PrivateKey: leafKey}, nil
}
