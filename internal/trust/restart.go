package trust

import (
	"fmt"
	"slices"
	"time"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// JudgeIstiod says why an istiod must start anew: it holds another root than its cacerts has, or will have. It takes
// up a new intermediate of the same root by itself, but never another root: "Multi root is disabled, updating new
// ROOT-CA not supported", and with ISTIO_MULTIROOT_MESH only one that comes beside the old (istio:
// pilot/pkg/bootstrap/istio_ca.go, handleEvent). Pods that started after cacerts was written have read it, whatever
// is still told to workloads. Everything that is no istiod need not start anew.
func JudgeIstiod(m mesh.Mesh, cluster string, o object.Object, now facts.Snapshot) (string, error) {
	at := now.Clusters[cluster]
	if m.Trust.ExistingRoot {
		return "", nil // its authority is nobody's to change here
	}
	if !at.Answered() || o.Body.GetKind() != "Deployment" {
		return "", nil
	}
	i := slices.IndexFunc(at.Istiods, func(i facts.Istiod) bool {
		return i.Namespace == o.Body.GetNamespace() && i.Name == o.Body.GetName()
	})
	if i < 0 || len(at.Istiods[i].Roots) == 0 || at.Istiods[i].Since.IsZero() {
		return "", nil
	}
	istiod := at.Istiods[i]
	stale, err := JudgeIntermediate(m, cluster, o, now)
	if err != nil {
		return "", nil //nolint:nilerr // said where cacerts is judged: nothing is going to be written
	}
	var root *facts.Certificate
	if stale != "" {
		root, _ = rootOf(m, now) // nil for one that is still to be made, which is another in any case
	} else if s := at.Secrets[o.Body.GetNamespace()+"/"+CACerts]; s != nil && len(s.Certificates[RootBundle]) > 0 {
		root = &s.Certificates[RootBundle][0]
	}
	switch {
	case root == nil && stale == "", root != nil && slices.Contains(istiod.Roots, root.Fingerprint):
		return "", nil
	case stale == "" && !istiod.Since.Before(written(at, o.Body.GetNamespace())):
		return "", nil
	}
	other := "the new root"
	if root != nil {
		other = "the mesh's root (" + short(root.Fingerprint) + "…)"
	}
	return fmt.Sprintf("holds the root %s… since it started, and takes up %s only when it starts anew; workloads keep their certificates of the old root until they are renewed or restarted",
		short(istiod.Roots[0]), other), nil
}

// written is when the cacerts of a namespace was last changed, by whomever.
func written(at *facts.Cluster, namespace string) time.Time {
	var last time.Time
	live := at.Object(object.Ref{Kind: "Secret", Namespace: namespace, Name: CACerts})
	if live == nil {
		return last
	}
	for _, e := range live.GetManagedFields() {
		if e.Time != nil && e.Time.After(last) {
			last = e.Time.Time
		}
	}
	return last
}
