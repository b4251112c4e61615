package verify

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/trust"
)

const (
	cacerts    = istioNamespace + "/" + facts.CACerts
	rootSecret = object.SystemNamespace + "/isthmus-root" // in the home cluster, the mesh's own root
	// clusterNameDefault is the name of every Istio that was given none (DefaultClusterName in istio
	// pkg/config/constants).
	clusterNameDefault = "Kubernetes"
)

// madeHere tells whether Isthmus made a Secret for this mesh, and so mends it.
func madeHere(s *facts.Secret, m mesh.Mesh) bool {
	return s != nil && s.Labels[object.LabelMesh] == m.Name
}

func clusterNameFree(in Input) []Finding {
	var out []Finding
	for _, m := range in.Members() {
		if m.Name == clusterNameDefault {
			out = append(out, Finding{
				Cluster: m.Name, Seen: "its name is the one that every Istio has that was given none: another of that name would be taken for it",
				Do: "give it another: spec.clusters[].name",
			})
		}
		for _, i := range m.Facts.Istiods {
			if i.ClusterName == "" || i.ClusterName == m.Name || i.Namespace != m.IstioNamespace() && ours(i, in.Mesh) {
				continue
			}
			out = append(out, Finding{
				Cluster: m.Name, Object: "Deployment " + i.Namespace + "/" + i.Name, Severity: Warning,
				Seen: fmt.Sprintf("istiod calls this cluster %q, the document %q", i.ClusterName, m.Name),
				Do:   "after apply, restart the workloads with sidecars: running ones keep the old name, and locality and telemetry with it",
			})
		}
	}
	return out
}

func meshIDsAgree(in Input) []Finding {
	var out []Finding
	first, at := "", ""
	for _, m := range in.Members() {
		for _, i := range m.Facts.Istiods {
			switch {
			case i.MeshID == "":
			case first == "":
				first, at = i.MeshID, m.Name
			case i.MeshID != first:
				out = append(out, Finding{
					Cluster: m.Name, Other: at, Object: "Deployment " + i.Namespace + "/" + i.Name,
					Seen: fmt.Sprintf("its mesh id is %q, %s's is %q", i.MeshID, at, first),
					Do:   "isthmus apply, and take values.global.meshID out of spec.clusters[].istio.values",
				})
			}
		}
	}
	return out
}

func trustDomainsAgree(in Input) []Finding {
	var out []Finding
	for _, m := range in.Members() {
		for _, i := range m.Facts.Istiods {
			if i.TrustDomain == "" || i.TrustDomain == in.Mesh.Trust.Domain || hasAlias(m.Cluster, i.TrustDomain) {
				continue
			}
			out = append(out, Finding{
				Cluster: m.Name, Object: "Deployment " + i.Namespace + "/" + i.Name,
				Seen: fmt.Sprintf("its trust domain is %q, the document's %q: policies and peers that know the old one refuse the new", i.TrustDomain, in.Mesh.Trust.Domain),
				Do:   fmt.Sprintf("set spec.trust.domain: %s, or first spec.istio.meshConfig.trustDomainAliases: [%s]", i.TrustDomain, i.TrustDomain),
			})
		}
	}
	return out
}

func hasAlias(c mesh.Cluster, domain string) bool {
	aliases, _ := c.Istio.MeshConfig["trustDomainAliases"].([]any)
	return slices.Contains(aliases, any(domain))
}

func certificatesLast(in Input) []Finding {
	var out []Finding
	for _, m := range in.Members() {
		seen := map[string]bool{}
		for _, name := range slices.Sorted(maps.Keys(m.Facts.Secrets)) {
			s := m.Facts.Secrets[name]
			for _, key := range slices.Sorted(maps.Keys(s.Certificates)) {
				for _, c := range s.Certificates[key] {
					if f, bad := judgeDates(in, m, s, key, c); bad && !seen[c.Fingerprint] {
						seen[c.Fingerprint] = true
						out = append(out, f)
					}
				}
			}
		}
	}
	return out
}

// judgeDates judges one certificate. An intermediate that Isthmus made it makes again; a root it does not.
func judgeDates(in Input, m Member, s *facts.Secret, key string, c facts.Certificate) (Finding, bool) {
	now := in.Now.Taken
	left, whole := c.NotAfter.Sub(now), c.NotAfter.Sub(c.NotBefore)
	root := c.Subject == c.Issuer
	what := "certificate"
	switch {
	case root:
		what = "root"
	case c.IsCA:
		what = "intermediate"
	}
	f := Finding{Cluster: m.Name, Object: fmt.Sprintf("Secret %s/%s (%s)", s.Namespace, s.Name, key), Do: "isthmus apply makes a new one"}
	mends := madeHere(s, in.Mesh) && !root
	if !mends {
		f.Do = "replace it in " + f.Object + "; all of the mesh's certificates below it end with it"
	}
	switch {
	case c.NotBefore.After(now):
		f.Seen = fmt.Sprintf("%s %q is valid only from %s on", what, c.Subject, c.NotBefore.UTC().Format(time.DateTime))
		f.Do = "see to the clocks (" + idClocks + "); it was made by one that is ahead"
	case left <= 0:
		f.Seen = fmt.Sprintf("%s %q %s", what, c.Subject, ends(c.NotAfter, now))
	case left < min(endsSoon, whole/3):
		f.Seen = fmt.Sprintf("%s %q %s", what, c.Subject, ends(c.NotAfter, now))
		mends = true // a warning either way: it is still good
	default:
		return f, false
	}
	if mends {
		f.Severity = Warning
	}
	return f, true
}

func cacertsWhole(in Input) []Finding {
	var out []Finding
	for _, m := range in.Members() {
		s := m.Facts.Secrets[cacerts]
		if s == nil {
			continue
		}
		f := Finding{Cluster: m.Name, Object: "Secret " + cacerts, Do: "replace it by a whole one"}
		if madeHere(s, in.Mesh) {
			f.Severity, f.Do = Warning, "isthmus apply"
		}
		for _, key := range []string{"ca-cert.pem", "ca-key.pem", facts.RootFile, "cert-chain.pem"} {
			if !slices.Contains(s.Keys, key) {
				f.Seen = fmt.Sprintf("cacerts lacks %s: istiod does not start with it", key)
				break
			}
		}
		switch {
		case f.Seen != "":
		case !s.KeyMatches:
			f.Seen = "the key in cacerts (ca-key.pem) is not that of its certificate (ca-cert.pem)"
		case !chainHolds(s):
			f.Seen = "the certificate in cacerts (ca-cert.pem) is not signed by a root in it (root-cert.pem)"
		default:
			continue
		}
		out = append(out, f)
	}
	return out
}

// chainHolds follows ca-cert.pem's signatures within the Secret to a root in root-cert.pem.
func chainHolds(s *facts.Secret) bool {
	ca := s.Certificates["ca-cert.pem"]
	if len(ca) == 0 {
		return false
	}
	by := map[string]facts.Certificate{}
	for _, certs := range s.Certificates {
		for _, c := range certs {
			by[c.Fingerprint] = c
		}
	}
	at := ca[0]
	for range len(by) + 1 {
		if slices.ContainsFunc(s.Certificates[facts.RootFile], func(r facts.Certificate) bool { return r.Fingerprint == at.Fingerprint }) {
			return true
		}
		above, ok := by[at.IssuedBy]
		if !ok {
			return false
		}
		at = above
	}
	return false
}

func cacertsAreOurs(in Input) []Finding {
	var out []Finding
	for _, m := range in.Members() {
		s := m.Facts.Secrets[cacerts]
		if s == nil || madeHere(s, in.Mesh) || in.Mesh.Trust.ExistingRoot || slices.Contains(in.Options.TakeOver, "Secret "+cacerts) {
			continue
		}
		who := "isthmus did not make"
		if other := s.Labels[object.LabelMesh]; other != "" {
			who = fmt.Sprintf("isthmus made for mesh %q", other)
		}
		out = append(out, Finding{
			Cluster: m.Name, Object: "Secret " + cacerts, Seen: "has a certificate authority (cacerts) that " + who + ": apply leaves it alone, and stops",
			Do: "if the cacerts of all clusters have one root, keep them: spec.trust.root: {existing: {}}. To give the root up, which fails calls until every workload was restarted, " +
				fmt.Sprintf("keep a copy and: isthmus apply --take-over=%q", "Secret "+cacerts),
		})
	}
	return out
}

func rootIsKept(in Input) []Finding {
	if len(in.Mesh.Clusters) == 0 || in.Mesh.Trust.ExistingRoot {
		return nil
	}
	home := in.Mesh.Home()
	f := in.Now.Clusters[home.Name]
	if !f.Answered() || f.Secrets[rootSecret] != nil {
		return nil
	}
	var with []string
	for _, m := range in.Members() {
		if madeHere(m.Facts.Secrets[cacerts], in.Mesh) {
			with = append(with, m.Name)
		}
	}
	if len(with) == 0 {
		return nil // a mesh that is to be: apply makes the root
	}
	return []Finding{{
		Cluster: home.Name, Object: "Secret " + rootSecret,
		Seen: fmt.Sprintf("the mesh's root is not here any more, and intermediates of it are in %s: a new root would cut running workloads off", some(with)),
		Do:   fmt.Sprintf("put Secret %s back from a backup; or, if the order of spec.clusters was changed, put the cluster that has it first again", rootSecret),
	}}
}

func rootsAgree(in Input) []Finding {
	var out []Finding
	var first []facts.Certificate
	at := ""
	for _, m := range in.Members() {
		roots, secret := trust.Roots(m.Facts)
		switch {
		case len(roots) == 0:
			continue
		case first == nil:
			first, at = roots, m.Name
			continue
		case trust.ShareRoot(roots, first):
			continue
		}
		f := Finding{
			Cluster: m.Name, Other: at, Object: fmt.Sprintf("Secret %s/%s", secret.Namespace, secret.Name),
			Seen: fmt.Sprintf("its root is %s, %s's is %s: each refuses the other's certificates", shortPrint(roots[0]), at, shortPrint(first[0])),
			Do:   "clusters of one mesh need one root: take the foreign one away",
		}
		if madeHere(secret, in.Mesh) {
			f.Severity, f.Do = Warning, "isthmus apply gives it an intermediate of the mesh's root"
		}
		out = append(out, f)
	}
	return out
}

func shortPrint(c facts.Certificate) string {
	return fmt.Sprintf("%q (%s…)", c.Subject, c.Fingerprint[:min(8, len(c.Fingerprint))])
}
