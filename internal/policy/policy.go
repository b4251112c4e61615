// Package policy computes what every workload of a mesh must obey: values in, objects out.
package policy

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/label"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// Objects returns the mesh-wide PeerAuthentication of every cluster: one named "default" without a selector in
// Istio's root namespace holds for the whole mesh (istio.io: PeerAuthentication).
func Objects(m mesh.Mesh) (object.Objects, error) {
	out := object.Objects{}
	for _, c := range m.Clusters {
		out.Add(c.Name, label.Own(m.Name, object.Object{
			Part:   object.PartPolicy,
			Reason: fmt.Sprintf("every workload of %s takes mutual TLS: %s", c.Name, m.MTLS),
			Body: &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "security.istio.io/v1",
				"kind":       "PeerAuthentication",
				"metadata":   map[string]any{"name": "default", "namespace": object.IstioNamespace},
				"spec":       map[string]any{"mtls": map[string]any{"mode": m.MTLS}},
			}},
		}))
	}
	return out, nil
}
