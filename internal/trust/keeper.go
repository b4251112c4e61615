package trust

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// A Keeper is who keeps the mesh's root when that is not the home cluster: it was the home before, and the root moves.
type Keeper struct {
	// Cluster and Root are the keeper and its Secret; "" and nil if there is none, or if the home has a root.
	Cluster string
	Root    *facts.Secret
	// Doubted are Secrets that say they are the mesh's root and are not believed.
	Doubted []Doubted
	// Err says why it cannot be told which of several is the root.
	Err string
}

// Doubted is a Secret that says it is the mesh's root, and why nobody believes it.
type Doubted struct{ Cluster, Fingerprint, Why string }

// FindKeeper finds the root of a mesh whose home has none. A Secret with the right name and label is a claim of the
// cluster that holds it. It counts if its fingerprint is the one that the document names; or if it signed the
// intermediate of another cluster than its own, or, where no other has an intermediate of the mesh, that of its own.
func FindKeeper(m mesh.Mesh, now facts.Snapshot) Keeper {
	var k Keeper
	if m.Trust.ExistingRoot {
		return k
	}
	home := m.Home().Name
	if f := now.Clusters[home]; f.Answered() && f.Secrets[object.SystemNamespace+"/"+RootSecret] != nil {
		home = "" // it has one: whatever others keep is none
	}
	var found []string
	for _, name := range slices.Sorted(maps.Keys(now.Clusters)) {
		f := now.Clusters[name]
		if f == nil || name == m.Home().Name {
			continue
		}
		s := f.Secrets[object.SystemNamespace+"/"+RootSecret]
		if s == nil || s.Labels[object.LabelMesh] != m.Name || len(s.Certificates[RootCert]) == 0 {
			continue
		}
		cert := s.Certificates[RootCert][0]
		why := rootProblem(m, s, now.Taken)
		if why == "" && m.Trust.RootFingerprint == "" {
			why = unproved(m, now, name, cert)
		}
		if why != "" || home == "" {
			if home != "" || !sameAs(now.Clusters[m.Home().Name], cert) {
				k.Doubted = append(k.Doubted, Doubted{name, cert.Fingerprint, orElse(why, "the home cluster has another")})
			}
			continue
		}
		if k.Root != nil && k.Root.Certificates[RootCert][0].Fingerprint == cert.Fingerprint {
			continue // a copy
		}
		k.Cluster, k.Root, found = name, s, append(found, fmt.Sprintf("%s (%s)", name, cert.Fingerprint))
	}
	if len(found) > 1 {
		k.Cluster, k.Root = "", nil
		k.Err = fmt.Sprintf("several clusters keep a root that signed intermediates of the mesh: %s. Name the right one: spec.trust.root.selfSigned.fingerprint", strings.Join(found, ", "))
	}
	return k
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// sameAs tells whether a cluster keeps this very root.
func sameAs(f *facts.Cluster, root facts.Certificate) bool {
	s := f.Secrets[object.SystemNamespace+"/"+RootSecret]
	return s != nil && len(s.Certificates[RootCert]) > 0 && s.Certificates[RootCert][0].Fingerprint == root.Fingerprint
}

// unproved says why a root that a cluster keeps is not known to be the mesh's; "" if it is. What the cluster itself says
// proves nothing where another could say it.
func unproved(m mesh.Mesh, now facts.Snapshot, keeper string, root facts.Certificate) string {
	own, others := false, 0
	for _, c := range governors(m, now) {
		host := c.host
		s := now.Clusters[host].Secrets[c.namespace+"/"+CACerts]
		if s == nil || s.Labels[object.LabelMesh] != m.Name || len(s.Certificates[CACert]) == 0 {
			continue
		}
		signed := signedBy(s.Certificates[CACert][0], root)
		switch {
		case host == keeper:
			own = own || signed
		case signed:
			return ""
		default:
			others++
		}
	}
	switch {
	case others > 0:
		return "it signed no intermediate of another cluster, and is left alone. If it is the mesh's root, name it: spec.trust.root.selfSigned.fingerprint"
	case own:
		return ""
	}
	return "it signed nothing in the mesh, and is left alone. If it is the mesh's root, name it: spec.trust.root.selfSigned.fingerprint"
}

type governor struct{ host, namespace string }

// governors are where intermediates of the mesh may be: beside the istiods of its clusters that answer, and in those
// that have left it.
func governors(m mesh.Mesh, now facts.Snapshot) []governor {
	var all []governor
	for _, c := range m.Governors() {
		if host := m.Host(c).Name; now.Clusters[host].Answered() {
			all = append(all, governor{host, c.IstioNamespace()})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(now.Clusters)) {
		if _, member := m.Cluster(name); !member && now.Clusters[name].Answered() {
			all = append(all, governor{name, Namespace})
		}
	}
	return all
}

// InUse are the fingerprints of the roots that workloads of the mesh's clusters trust, sorted.
func InUse(m mesh.Mesh, now facts.Snapshot) []string {
	var all []string
	for _, c := range governors(m, now) {
		if s := now.Clusters[c.host].Secrets[c.namespace+"/"+CACerts]; s != nil {
			for _, cert := range s.Certificates[RootBundle] {
				all = append(all, cert.Fingerprint)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
