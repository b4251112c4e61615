package trust

import (
	"fmt"
	"slices"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// Roots are what a cluster's workloads trust, and the Secret that says so: cacerts, or where there is none the root
// that its istiod made for itself.
func Roots(at *facts.Cluster) ([]facts.Certificate, *facts.Secret) {
	if s := at.Secrets[Namespace+"/"+CACerts]; s != nil {
		return s.Certificates[RootBundle], s
	}
	if s := at.Secrets[Namespace+"/"+facts.SelfSigned]; s != nil && len(at.Istiods) > 0 {
		return s.Certificates[CACert], s
	}
	return nil, nil
}

// ShareRoot tells whether two clusters that trust these roots accept each other's certificates: one of them is in both.
// A root that was made anew with its old key and name is the same.
func ShareRoot(a, b []facts.Certificate) bool {
	return slices.ContainsFunc(a, func(x facts.Certificate) bool {
		return slices.ContainsFunc(b, func(y facts.Certificate) bool { return x.SPKI == y.SPKI && x.Subject == y.Subject })
	})
}

// Guard stands before a mesh whose clusters bring their own authorities (spec.trust.root.existing): a cluster that has
// none, or one of another root than the first, would be cut off. It has type plan.Guard.
func Guard(m mesh.Mesh, cluster string, now facts.Snapshot) (ref object.Ref, why, do string) {
	if c, _ := m.Cluster(cluster); !m.Trust.ExistingRoot || c.IsRemote() { // a remote has its primary's
		return ref, "", ""
	}
	ref = object.Ref{Kind: "Secret", Namespace: Namespace, Name: CACerts}
	give := fmt.Sprintf("give it an intermediate of the mesh's root (kubectl --context %s -n %s create secret generic %s ...), or let Isthmus make root and intermediates: spec.trust.root: {selfSigned: {}}",
		contextOf(m, cluster), Namespace, CACerts)
	roots, secret := Roots(now.Clusters[cluster])
	if len(roots) == 0 {
		return ref, "does not exist, and spec.trust.root.existing says that every cluster brings its own authority", give
	}
	ref.Name = secret.Name
	for _, c := range m.Clusters {
		other := now.Clusters[c.Name]
		if c.Name == cluster {
			return ref, "", "" // the first that has one; the others are compared with it
		}
		if !other.Answered() {
			continue
		}
		if theirs, _ := Roots(other); len(theirs) > 0 && !ShareRoot(roots, theirs) {
			return ref, fmt.Sprintf("has root %s, and %s has %s: they would refuse each other's workloads, and the mesh would be cut in two",
				name(roots[0]), c.Name, name(theirs[0])), give
		} else if len(theirs) > 0 {
			return ref, "", ""
		}
	}
	return ref, "", ""
}

func name(c facts.Certificate) string {
	return fmt.Sprintf("%q (%s…)", c.Subject, short(c.Fingerprint))
}
