package facts

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"isthmus.dev/isthmus/internal/object"
)

// remoteSecrets reads what istiods here know of other clusters.
func (g *gatherer) remoteSecrets(ctx context.Context) error {
	got, err := g.conn.Kube.CoreV1().Secrets("").List(ctx, metav1.ListOptions{LabelSelector: object.LabelRemoteSecret + "=true"})
	if err != nil {
		return g.tolerate(err, list("secrets", ""))
	}
	for _, s := range got.Items {
		g.keep(Reduce(s))
	}
	return nil
}

func (g *gatherer) wellKnownSecrets(ctx context.Context) error {
	if err := g.secret(ctx, object.SystemNamespace, "isthmus-root"); err != nil {
		return err
	}
	for _, name := range g.pull {
		if err := g.secret(ctx, object.IstioNamespace, name); err != nil {
			return err
		}
	}
	return g.secretsOf(ctx, object.IstioNamespace)
}

const (
	// CACerts is the Secret with the authority that an istiod was given (istio: security/pkg/pki/ca, CACertsSecret).
	CACerts = "cacerts"
	// SelfSigned is the Secret in which an istiod keeps the root that it makes for itself where it finds no cacerts (the
	// same file, CASecret).
	SelfSigned = "istio-ca-secret"
	// RootConfigMap is the ConfigMap by which istiod tells the workloads of each namespace what to trust (istio:
	// pilot/pkg/serviceregistry/kube/controller, CACertNamespaceConfigMap).
	RootConfigMap = "istio-ca-root-cert"
	// RootFile is the data key of the roots in either.
	RootFile = "root-cert.pem"
)

// secretsOf reads what an istiod of a namespace signs with: an intermediate that it was given, or the root that it
// made itself.
func (g *gatherer) secretsOf(ctx context.Context, namespace string) error {
	for _, name := range []string{CACerts, SelfSigned} {
		if err := g.secret(ctx, namespace, name); err != nil {
			return err
		}
	}
	return nil
}

func (g *gatherer) secret(ctx context.Context, namespace, name string) error {
	s, err := g.conn.Kube.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return g.tolerate(err, Right{Verb: "get", Resource: "secrets", Namespace: namespace})
	}
	g.keep(Reduce(*s))
	return nil
}

func (g *gatherer) keep(s *Secret) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.out.Secrets[s.Namespace+"/"+s.Name] = s
}

// Reduce leaves of a Secret what the world may know: certificates, addresses and dates, and no private byte.
func Reduce(s corev1.Secret) *Secret {
	out := &Secret{
		Namespace: s.Namespace, Name: s.Name, Labels: s.Labels, Annotations: publicNotes(s.Annotations),
		Keys: slices.Sorted(maps.Keys(s.Data)), Certificates: map[string][]Certificate{}, Kubeconfigs: map[string]Kubeconfig{},
	}
	remote := s.Labels[object.LabelRemoteSecret] == "true"
	var all []*x509.Certificate
	for _, k := range out.Keys {
		if certs := parse(s.Data[k]); len(certs) > 0 {
			all = append(all, certs...)
		}
		if remote {
			if c, ok := kubeconfigOf(s.Data[k]); ok {
				out.Kubeconfigs[k] = c
			}
		}
	}
	if c, ok := kubeconfigOf(s.Data["config"]); ok && s.Name == "istio-kubeconfig" { // an external istiod's own
		c.Subject, c.NotAfter = claims(string(s.Data["token"]))
		out.Kubeconfigs["config"] = c
	}
	for _, k := range out.Keys {
		for _, c := range parse(s.Data[k]) {
			out.Certificates[k] = append(out.Certificates[k], certificateOf(c, all))
		}
	}
	for _, pair := range [][2]string{{"ca-cert.pem", "ca-key.pem"}, {corev1.TLSCertKey, corev1.TLSPrivateKeyKey}} {
		out.KeyMatches = out.KeyMatches || keyMatches(parse(s.Data[pair[0]]), s.Data[pair[1]])
	}
	return out
}

// copies are annotations in which tools keep the whole object, content and all.
var copies = []string{corev1.LastAppliedConfigAnnotation, "kapp.k14s.io/original", "objectset.rio.cattle.io/applied"}

func withoutCopies(notes map[string]string) map[string]string {
	notes = maps.Clone(notes)
	for _, k := range copies {
		delete(notes, k)
	}
	return notes
}

// noted are the annotations of a Secret that a plan needs: ours, Istio's, and those that tell whose it is. Any other may
// hold a copy of the content: which tools keep one nobody can list.
var noted = []string{"isthmus.dev/", "networking.istio.io/", "meta.helm.sh/", "argocd.argoproj.io/tracking-id", "kubernetes.io/service-account."}

// longestNote is how long such an annotation may be, in bytes: names and times are shorter, and copies are longer.
const longestNote = 512

// publicNotes are the annotations of a Secret that may be known.
func publicNotes(notes map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range notes {
		if len(v) <= longestNote && slices.ContainsFunc(noted, func(p string) bool { return strings.HasPrefix(k, p) }) {
			out[k] = v
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

func parse(data []byte) []*x509.Certificate {
	var certs []*x509.Certificate
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return certs
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			certs = append(certs, c)
		}
	}
}

// X509 is the certificate as the library knows it; nil where its PEM is none.
func (c Certificate) X509() *x509.Certificate {
	all := parse([]byte(c.PEM))
	if len(all) == 0 {
		return nil
	}
	return all[0]
}

// Certificates are the public faces of the certificates in a PEM text, in its order.
func Certificates(pem []byte) []Certificate {
	all := parse(pem)
	out := make([]Certificate, 0, len(all))
	for _, c := range all {
		out = append(out, certificateOf(c, all))
	}
	return out
}

func certificateOf(c *x509.Certificate, beside []*x509.Certificate) Certificate {
	out := Certificate{
		Subject: c.Subject.String(), Issuer: c.Issuer.String(), NotBefore: c.NotBefore.UTC(), NotAfter: c.NotAfter.UTC(),
		IsCA: c.IsCA, Fingerprint: sum(c.Raw), SPKI: sum(c.RawSubjectPublicKeyInfo),
		PEM: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})),
	}
	for _, by := range beside {
		if bytes.Equal(by.RawSubject, c.RawIssuer) && c.CheckSignatureFrom(by) == nil {
			out.IssuedBy = sum(by.Raw)
			break
		}
	}
	return out
}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

// keyMatches tells whether a PEM private key belongs to the first certificate. The key is looked at and forgotten.
func keyMatches(certs []*x509.Certificate, data []byte) bool {
	block, _ := pem.Decode(data)
	if block == nil || len(certs) == 0 {
		return false
	}
	var key any
	var err error
	switch block.Type {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		return false
	}
	public, ok := signer.Public().(interface {
		Equal(other crypto.PublicKey) bool
	})
	return ok && public.Equal(certs[0].PublicKey)
}

// kubeconfigOf leaves of a kubeconfig where it leads, whom it trusts, and when its token ends.
func kubeconfigOf(data []byte) (Kubeconfig, bool) {
	cfg, err := clientcmd.Load(data)
	if err != nil {
		return Kubeconfig{}, false
	}
	context := cfg.Contexts[cfg.CurrentContext]
	if context == nil {
		return Kubeconfig{}, false
	}
	var out Kubeconfig
	if c := cfg.Clusters[context.Cluster]; c != nil {
		out.Server, out.CABundle = c.Server, certificatesOnly(c.CertificateAuthorityData)
	}
	if a := cfg.AuthInfos[context.AuthInfo]; a != nil {
		out.Subject, out.NotAfter = claims(a.Token)
	}
	return out, true
}

// claims reads who a service account token speaks for and when it ends. It proves nothing: the API server does.
func claims(token string) (subject string, ends time.Time) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", time.Time{}
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", time.Time{}
	}
	var c struct {
		Subject string `json:"sub"`
		Expires int64  `json:"exp"`
	}
	if json.Unmarshal(raw, &c) != nil || c.Expires == 0 {
		return c.Subject, time.Time{}
	}
	return c.Subject, time.Unix(c.Expires, 0).UTC()
}
