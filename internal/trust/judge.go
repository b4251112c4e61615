package trust

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// JudgeRoot says whether the mesh's root must be made: it is not there, or it can sign nothing. It is an error
// where that would take the ground from under intermediates that exist, or where it cannot be known; and where
// the Secret is somebody else's. A root that nears its end is no reason: to replace it is a rotation, in which
// every proxy learns the new root before the old one goes. Errors do not name the Secret: plan does.
func JudgeRoot(m mesh.Mesh, cluster string, o object.Object, now facts.Snapshot) (string, error) {
	at := now.Clusters[cluster]
	if !at.Answered() {
		return "", fmt.Errorf("%s, which keeps the mesh's root, does not answer: %s", cluster, whyNot(at))
	}
	s := at.Secrets[object.SystemNamespace+"/"+RootSecret]
	if s != nil && s.Labels[object.LabelMesh] != m.Name {
		return "", fmt.Errorf("it was not made for mesh %s and is left alone. If it is another mesh's root, give one of the two another home, which is the first of spec.clusters. If it is nobody's: kubectl --context %s -n %s delete secret %s",
			m.Name, contextOf(m, cluster), object.SystemNamespace, RootSecret)
	}
	wrong := rootProblem(m, s, now.Taken)
	if wrong == "" {
		return "", nil
	}
	if s == nil {
		if k := FindKeeper(m, now); k.Err != "" {
			return "", errors.New(k.Err)
		} else if k.Cluster != "" {
			return "moves here", nil
		}
	}
	with, unknown := holders(m, now)
	switch {
	case s == nil && len(with) > 0 && len(silent(now)) > 0:
		return "", fmt.Errorf("the mesh's root %s, and it may be in %s, which does not answer: mend the access, and apply moves the root here. Or put the cluster that keeps it first in spec.clusters",
			wrong, strings.Join(silent(now), ", "))
	case len(with) > 0:
		return "", fmt.Errorf("the mesh's root %s, and %s: a new root would make new workloads refuse running ones. Put the Secret back from a backup. Or begin anew, which interrupts every call: delete Secret %s/%s in %s, run isthmus apply, then restart all workloads",
			wrong, intermediates(with), Namespace, CACerts, strings.Join(with, ", "))
	case len(unknown) > 0:
		return "", fmt.Errorf("the mesh's root %s, and %s does not answer, so it is not known whether an earlier root signed for it. Mend the access or take it out of spec.clusters, then run the command again",
			wrong, strings.Join(unknown, ", "))
	case s != nil: // nothing is known to rely on it, and what it holds cannot be made again
		return "", fmt.Errorf("the mesh's root %s. Put the Secret back from a backup. Or, if nothing relies on it, delete it: kubectl --context %s -n %s delete secret %s, then run isthmus apply",
			wrong, contextOf(m, cluster), object.SystemNamespace, RootSecret)
	}
	return wrong, nil
}

// silent are the clusters that do not answer, members or not any more.
func silent(now facts.Snapshot) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(now.Clusters)) {
		if f := now.Clusters[name]; !f.Answered() {
			names = append(names, name)
		}
	}
	return names
}

func intermediates(with []string) string {
	if len(with) == 1 {
		return with[0] + " has an intermediate of it"
	}
	return strings.Join(with, ", ") + " have intermediates of it"
}

// holders are the clusters that have an intermediate which Isthmus made for this mesh, and those that do not
// answer.
func holders(m mesh.Mesh, now facts.Snapshot) (with, unknown []string) {
	for _, c := range m.Governors() {
		f := now.Clusters[m.Host(c).Name]
		if !f.Answered() {
			unknown = append(unknown, c.Name)
			continue
		}
		if s := f.Secrets[c.IstioNamespace()+"/"+CACerts]; s != nil && s.Labels[object.LabelMesh] == m.Name {
			with = append(with, c.Name)
		}
	}
	return with, unknown
}

// rootProblem says why a Secret is no root that can sign for a mesh; "" if it is one.
func rootProblem(m mesh.Mesh, s *facts.Secret, now time.Time) string {
	if s == nil {
		return "does not exist"
	}
	if missing := lacks(s, RootCert, RootKey); missing != "" {
		return missing
	}
	if certs := s.Certificates[RootCert]; len(certs) == 0 {
		return "holds no certificate"
	} else if !certs[0].IsCA {
		return "is no authority: it may not sign certificates"
	} else if !certs[0].NotAfter.After(now) {
		return "ended on " + date(certs[0].NotAfter)
	} else if certs[0].NotBefore.After(now) {
		return "is valid only from " + date(certs[0].NotBefore) + " on"
	} else if want := m.Trust.RootFingerprint; want != "" && certs[0].Fingerprint != want {
		return fmt.Sprintf("has fingerprint %s, and spec.trust.root.selfSigned.fingerprint says %s", certs[0].Fingerprint, want)
	}
	if !s.KeyMatches {
		return "holds a key that is not its certificate's"
	}
	return ""
}

// JudgeIntermediate says whether a cluster's intermediate must be made anew: it is not there, is not whole, ends
// within a third of its life, or was not signed by the mesh's root. To do so is safe at any time: what it signs
// goes back to the same root. It is an error where the Secret is somebody else's authority, or where a new one
// is needed and the root that must sign it cannot be had.
func JudgeIntermediate(m mesh.Mesh, cluster string, o object.Object, now facts.Snapshot) (string, error) {
	at := now.Clusters[cluster]
	if !at.Answered() {
		return "", fmt.Errorf("%s does not answer: %s", cluster, whyNot(at))
	}
	s := at.Secrets[o.Body.GetNamespace()+"/"+CACerts]
	if s != nil && s.Labels[object.LabelMesh] != m.Name {
		return "", foreign(m, cluster, s)
	}
	root, noRoot := rootOf(m, now)
	wrong, urgent := intermediateProblem(m, s, root, now.Taken)
	switch {
	case wrong == "":
		return "", nil
	case noRoot == "":
		return wrong, nil
	case !urgent:
		return "", nil // it still serves; the next apply that reaches the root makes it anew
	}
	return "", fmt.Errorf("it %s, and the root that would sign a new one cannot be had: %s", wrong, noRoot)
}

func foreign(m mesh.Mesh, cluster string, s *facts.Secret) error {
	whose := "somebody else's"
	if other := s.Labels[object.LabelMesh]; other != "" {
		whose = "mesh " + other + "'s"
	}
	root := ""
	if certs := s.Certificates[RootBundle]; len(certs) > 0 {
		root = fmt.Sprintf(" (root %s, %s…)", certs[0].Subject, short(certs[0].Fingerprint))
	}
	return fmt.Errorf("it is %s%s and is left alone: workloads that trust it would refuse those of mesh %s. To give it up, keep a copy, run kubectl --context %s -n %s delete secret %s, then isthmus apply, and restart the workloads there",
		whose, root, m.Name, contextOf(m, cluster), Namespace, CACerts)
}

// rootOf finds the mesh's root certificate. no says why it cannot sign now, "" if it can or will be made by the
// same apply that asks for the intermediate.
func rootOf(m mesh.Mesh, now facts.Snapshot) (root *facts.Certificate, no string) {
	home := m.Home().Name
	f := now.Clusters[home]
	if !f.Answered() {
		return nil, fmt.Sprintf("%s, which keeps it, does not answer: %s", home, whyNot(f))
	}
	s := f.Secrets[object.SystemNamespace+"/"+RootSecret]
	if s == nil {
		s = FindKeeper(m, now).Root
	}
	switch wrong := rootProblem(m, s, now.Taken); {
	case wrong == "":
		return &s.Certificates[RootCert][0], ""
	case s == nil:
		if with, _ := holders(m, now); len(with) == 0 {
			return nil, ""
		}
		fallthrough
	default:
		return nil, fmt.Sprintf("Secret %s/%s of %s %s", object.SystemNamespace, RootSecret, home, wrong)
	}
}

// intermediateProblem says what is wrong with a cacerts, and whether it fails to serve now. A nil root is one
// that is not known: then the signature is not judged.
func intermediateProblem(m mesh.Mesh, s *facts.Secret, root *facts.Certificate, now time.Time) (wrong string, urgent bool) {
	if s == nil {
		return "does not exist yet", true
	}
	if missing := lacks(s, CACert, CAKey, CertChain, RootBundle); missing != "" {
		return missing, true
	}
	certs := s.Certificates[CACert]
	if len(certs) == 0 {
		return "holds no certificate in " + CACert, true
	}
	ca := certs[0]
	chain := s.Certificates[CertChain]
	switch left, life := ca.NotAfter.Sub(now), ca.NotAfter.Sub(ca.NotBefore); {
	case !ca.IsCA:
		return "is no authority: it may not sign certificates", true
	case !s.KeyMatches:
		return "holds a key that is not its certificate's", true
	case len(chain) == 0 || chain[0].Fingerprint != ca.Fingerprint:
		return "has a chain (" + CertChain + ") that does not begin with its certificate", true
	case root != nil && !signedBy(ca, *root):
		return fmt.Sprintf("is signed by %s, not by the mesh's root (%s…)", ca.Issuer, short(root.Fingerprint)), true
	case root != nil && !slices.ContainsFunc(s.Certificates[RootBundle], func(c facts.Certificate) bool { return c.Fingerprint == root.Fingerprint }):
		return fmt.Sprintf("does not trust the mesh's root (%s…)", short(root.Fingerprint)), true
	case left <= 0:
		return "ended on " + date(ca.NotAfter), true
	case ca.NotBefore.After(now):
		return "is valid only from " + date(ca.NotBefore) + " on", true
	case left < life/3 && lastsLonger(m, ca, root, now):
		return fmt.Sprintf("ends on %s, within a third of its life", date(ca.NotAfter)), false
	}
	return "", false
}

// lastsLonger tells whether a new intermediate would end later than this one: not where both end with the root.
// Without that, every apply would make one.
func lastsLonger(m mesh.Mesh, ca facts.Certificate, root *facts.Certificate, now time.Time) bool {
	ends := now.Add(m.Trust.IntermediateTTL)
	if root != nil && root.NotAfter.Before(ends) {
		ends = root.NotAfter
	}
	return ends.After(ca.NotAfter)
}

func signedBy(c, by facts.Certificate) bool {
	cert, parent := c.X509(), by.X509()
	return cert != nil && parent != nil && cert.CheckSignatureFrom(parent) == nil
}

func lacks(s *facts.Secret, keys ...string) string {
	for _, key := range keys {
		if !slices.Contains(s.Keys, key) {
			return "lacks " + key
		}
	}
	return ""
}

func whyNot(f *facts.Cluster) string {
	if f == nil {
		return "it was not asked"
	}
	return f.Err
}

func contextOf(m mesh.Mesh, cluster string) string {
	if c, ok := m.Cluster(cluster); ok && c.Context != "" {
		return c.Context
	}
	return cluster
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

func short(fingerprint string) string { return fingerprint[:min(8, len(fingerprint))] }
