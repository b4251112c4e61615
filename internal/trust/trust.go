// Package trust decides which certificates a mesh has and makes them, out of crypto/x509 and nothing else.
//
// Where keys live, and where they never go:
//
//   - The root's key is in one place: Secret isthmus-system/isthmus-root of the mesh's home cluster (the first of
//     the document). It is made there, once, and read again only to sign an intermediate. Whoever may read that
//     Secret may speak for every workload of the mesh. It is in no other cluster and on no disk of whoever runs
//     Isthmus.
//   - Each istiod has an intermediate of its own in Secret cacerts beside it, where it looks for it. A cluster that
//     another's istiod serves has none: its workloads' certificates are signed there. Its
//     key is made new for every certificate and written into that cluster alone. A path length of zero keeps it
//     from making further authorities.
//   - Workloads' keys are made by their proxies and leave them never; istiod signs.
//
// So no plan, log or file holds a key: Objects returns Secrets without content, internal/seal fills them while
// they are applied, and Judge decides from facts, which hold certificates only, whether they are still right.
//
// A root is never replaced while anything relies on it, and nobody else's is ever overwritten: those are errors
// that say what to do.
package trust

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/label"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

const (
	// RootSecret is the Secret of the root, in object.SystemNamespace of the mesh's home cluster.
	RootSecret = "isthmus-root"
	// RootCert is the data key of its certificate, that of the type kubernetes.io/tls.
	RootCert = "tls.crt"
	// RootKey is the data key of its key.
	RootKey = "tls.key"

	// Namespace is where istiod reads its authority from.
	Namespace = object.IstioNamespace
	// CACerts is the Secret that it reads (istio.io/istio/security/pkg/pki/ca: CACertsSecret).
	CACerts = facts.CACerts
	// CACert is the data key of the intermediate in cacerts (the same file, as are the next three).
	CACert = "ca-cert.pem"
	// CAKey is the data key of its key.
	CAKey = "ca-key.pem"
	// CertChain is the data key of the intermediate and all above it.
	CertChain = "cert-chain.pem"
	// RootBundle is the data key of what proxies are told to trust.
	RootBundle = facts.RootFile
)

// Objects returns the Secrets of a mesh's trust, without content: the root in the home cluster, an intermediate
// beside every istiod; none where the clusters have authorities of their own, see Guard.
func Objects(m mesh.Mesh) object.Objects {
	out := object.Objects{}
	if m.Trust.ExistingRoot {
		return out
	}
	home := m.Home().Name
	out.Add(home, label.Own(m.Name, object.Object{
		Part:   object.PartTrust,
		Reason: "the root that every certificate of mesh " + m.Name + " goes back to",
		Body:   secret(object.SystemNamespace, RootSecret, "kubernetes.io/tls"),
		Sealed: &object.Sealed{Kind: object.SealRoot, About: home},
	}))
	for _, c := range m.Governors() {
		out.Add(m.Host(c).Name, label.Own(m.Name, object.Object{
			Part:   object.PartTrust,
			Reason: c.Name + "'s intermediate: istiod signs workloads' certificates with it",
			Body:   secret(c.IstioNamespace(), CACerts, "Opaque"),
			Sealed: &object.Sealed{Kind: object.SealIntermediate, About: c.Name},
			For:    c.Elsewhere(),
		}))
	}
	return out
}

func secret(namespace, name, kind string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": kind,
		"metadata": map[string]any{"namespace": namespace, "name": name},
	}}
}
