package mesh

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// Digest tells documents apart by what they mean, --set included: SHA-256, hex. Where the document, the kubeconfigs
// and unpacked charts lie does not count, nor how those are reached that were members: what goes there is told by the
// plan.
func (m Mesh) Digest() (string, error) {
	m.Source, m.Istio.Charts.Dir, m.Istio.Charts.Read, m.Former = "", "", nil, nil
	clusters := make([]Cluster, len(m.Clusters))
	for i, c := range m.Clusters {
		c.Kubeconfig, c.Istio.Charts.Dir, c.Istio.Charts.Read = "", "", nil
		clusters[i] = c
	}
	m.Clusters = clusters
	raw, err := json.Marshal(m)
	if err != nil {
		return "", fmt.Errorf("digest the document: %w", err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:]), nil
}
