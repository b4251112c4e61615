package verify

import (
	"time"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/object"
)

// foreign takes the mesh's label off a Secret.
func foreign(s *facts.Secret) *facts.Secret {
	s.Labels = map[string]string{object.LabelRemoteSecret: s.Labels[object.LabelRemoteSecret]}
	return s
}

func westCA(in *Input) *facts.Secret { return west(in).Secrets[cacerts] }

var trustCases = []checkCase{
	{id: "CHK033", reason: "names of their own", want: nil},
	{
		id: "CHK033", reason: "the name that Istio has when it has none", change: func(in *Input) {
			in.Mesh.Clusters[1].Name = "Kubernetes"
			in.Now.Clusters["Kubernetes"] = &facts.Cluster{}
		},
		want: []string{"error Kubernetes: its name is the one that every Istio has that was given none: another of that name would be taken for it"},
	},
	{
		id: "CHK033", reason: "the cluster was renamed", change: func(in *Input) { westIstiod(in).ClusterName = "wild-west" },
		want: []string{`warning west: istiod calls this cluster "wild-west", the document "west"`},
	},
	{
		id: "CHK034", reason: "a mesh id of its own", change: func(in *Input) { westIstiod(in).MeshID = "bank" },
		want: []string{`warning west/east: its mesh id is "bank", east's is "shop"`},
	},
	{id: "CHK034", reason: "not seen is not different", change: func(in *Input) { westIstiod(in).MeshID = "" }},
	{
		id: "CHK035", reason: "another domain", change: func(in *Input) { westIstiod(in).TrustDomain = "west.example.com" },
		want: []string{`warning west: its trust domain is "west.example.com", the document's "cluster.local": policies and peers that know the old one refuse the new`},
	},
	{
		id: "CHK035", reason: "an alias for the old one", change: func(in *Input) {
			westIstiod(in).TrustDomain = "west.example.com"
			in.Mesh.Clusters[1].Istio.MeshConfig = map[string]any{"trustDomainAliases": []any{"west.example.com"}}
		},
	},
	{id: "CHK036", reason: "years left", want: nil},
	{
		id: "CHK036", reason: "an intermediate of ours that ended is apply's to mend", change: func(in *Input) {
			westCA(in).Certificates["ca-cert.pem"][0].NotAfter = noon.Add(-72 * time.Hour)
		},
		want: []string{`warning west: intermediate "CN=intermediate west" ended 3 d ago (2026-11-21)`},
	},
	{
		id: "CHK036", reason: "a root that ended is not", change: func(in *Input) {
			for _, key := range []string{"root-cert.pem", "cert-chain.pem"} {
				for i := range westCA(in).Certificates[key] {
					if c := &westCA(in).Certificates[key][i]; c.Subject == "CN=root" {
						c.NotAfter = noon.Add(-30 * time.Minute)
					}
				}
			}
		},
		want: []string{`error west: root "CN=root" ended 30 min ago (2026-11-24)`},
	},
	{
		id: "CHK036", reason: "30 days are few for a year", change: func(in *Input) {
			c := &westCA(in).Certificates["ca-cert.pem"][0]
			c.NotBefore, c.NotAfter = noon.AddDate(-1, 0, 29), noon.Add(29*24*time.Hour)
		},
		want: []string{`warning west: intermediate "CN=intermediate west" ends in 29 d (2026-12-23)`},
	},
	{
		id: "CHK036", reason: "and many for a day", change: func(in *Input) {
			c := &westCA(in).Certificates["ca-cert.pem"][0]
			c.NotBefore, c.NotAfter = noon.Add(-time.Hour), noon.Add(23*time.Hour)
		},
	},
	{
		id: "CHK036", reason: "made by a clock that is ahead", change: func(in *Input) {
			westCA(in).Certificates["ca-cert.pem"][0].NotBefore = noon.Add(5 * time.Minute)
		},
		want: []string{`warning west: intermediate "CN=intermediate west" is valid only from 2026-11-24 12:05:00 on`},
	},
	{
		id: "CHK036", reason: "an intermediate of others that ended", change: func(in *Input) {
			foreign(westCA(in)).Certificates["ca-cert.pem"][0].NotAfter = noon.Add(-5 * time.Hour)
		},
		want: []string{`error west: intermediate "CN=intermediate west" ended 5 h ago (2026-11-24)`},
	},
	{id: "CHK037", reason: "whole", want: nil},
	{
		id: "CHK037", reason: "a file is missing", change: func(in *Input) { foreign(westCA(in)).Keys = []string{"ca-cert.pem", "ca-key.pem", "root-cert.pem"} },
		want: []string{"error west: cacerts lacks cert-chain.pem: istiod does not start with it"},
	},
	{
		id: "CHK037", reason: "another key; ours, so apply mends it", change: func(in *Input) { westCA(in).KeyMatches = false },
		want: []string{"warning west: the key in cacerts (ca-key.pem) is not that of its certificate (ca-cert.pem)"},
	},
	{
		id: "CHK037", reason: "an intermediate of another root", change: func(in *Input) { westCA(in).Certificates["ca-cert.pem"][0].IssuedBy = "" },
		want: []string{"warning west: the certificate in cacerts (ca-cert.pem) is not signed by a root in it (root-cert.pem)"},
	},
	{
		id: "CHK037", reason: "an intermediate of an intermediate", change: func(in *Input) {
			middle := certificate("middle", "root", noon, noon.AddDate(1, 0, 0))
			middle.IssuedBy = "fp-of-root"
			s := westCA(in)
			s.Certificates["ca-cert.pem"][0].IssuedBy = middle.Fingerprint
			s.Certificates["cert-chain.pem"] = append(s.Certificates["cert-chain.pem"], middle)
		},
	},
	{id: "CHK038", reason: "ours", want: nil},
	{id: "CHK038", reason: "none yet", change: func(in *Input) { delete(west(in).Secrets, cacerts) }},
	{
		id: "CHK038", reason: "plugged in by hand", change: func(in *Input) { foreign(westCA(in)) },
		want: []string{"error west: has a certificate authority (cacerts) that isthmus did not make: apply leaves it alone, and stops"},
	},
	{
		id: "CHK038", reason: "of another mesh", change: func(in *Input) { westCA(in).Labels["isthmus.dev/mesh"] = "bank" },
		want: []string{`error west: has a certificate authority (cacerts) that isthmus made for mesh "bank": apply leaves it alone, and stops`},
	},
	{id: "CHK039", reason: "one root", want: nil},
	{
		id: "CHK039", reason: "a root of its own; apply mends what it made", change: func(in *Input) {
			westCA(in).Certificates["root-cert.pem"] = []facts.Certificate{certificate("other", "other", noon, noon.AddDate(9, 0, 0))}
		},
		want: []string{`warning west/east: its root is "CN=other" (fp-of-ot…), east's is "CN=root" (fp-of-ro…): each refuses the other's certificates`},
	},
	{
		id: "CHK039", reason: "an istiod that made itself a root", change: func(in *Input) {
			delete(west(in).Secrets, cacerts)
			west(in).Secrets[istioNamespace+"/istio-ca-secret"] = &facts.Secret{
				Namespace: istioNamespace, Name: "istio-ca-secret",
				Certificates: map[string][]facts.Certificate{"ca-cert.pem": {certificate("self", "self", noon, noon.AddDate(9, 0, 0))}},
			}
		},
		want: []string{`error west/east: its root is "CN=self" (fp-of-se…), east's is "CN=root" (fp-of-ro…): each refuses the other's certificates`},
	},
	{
		id: "CHK039", reason: "in the middle of a rotation both roots are in one bundle", change: func(in *Input) {
			s := westCA(in)
			s.Certificates["root-cert.pem"] = append([]facts.Certificate{certificate("new", "new", noon, noon.AddDate(9, 0, 0))}, s.Certificates["root-cert.pem"]...)
		},
	},
}

var rootCases = []checkCase{
	{id: "CHK045", reason: "kept in the first cluster", want: nil},
	{
		id: "CHK045", reason: "somebody deleted it", change: func(in *Input) { delete(in.Now.Clusters["east"].Secrets, rootSecret) },
		want: []string{"error east: the mesh's root is not here any more, and intermediates of it are in east, west: a new root would cut running workloads off"},
	},
	{
		id: "CHK045", reason: "a mesh that is to be has none yet", change: func(in *Input) {
			for _, f := range in.Now.Clusters {
				f.Secrets = nil
			}
		},
	},
	{id: "CHK045", reason: "whether it is there is not known where nobody answers", change: func(in *Input) { in.Now.Clusters["east"].Err = "down" }},
}

// give changes the kubeconfig that west holds for east.
func give(change func(*facts.Kubeconfig)) func(*Input) {
	return func(in *Input) {
		k := westRemote(in).Kubeconfigs["east"]
		change(&k)
		westRemote(in).Kubeconfigs["east"] = k
	}
}

var credentialCases = []checkCase{
	{id: "CHK040", reason: "two months left", want: nil},
	{
		id: "CHK040", reason: "nobody ran apply for long", change: give(func(k *facts.Kubeconfig) { k.NotAfter = noon.Add(49 * time.Hour) }),
		want: []string{"warning west/east: its credential for east ends in 2 d (2026-11-26)"},
	},
	{
		id: "CHK040", reason: "ended", change: give(func(k *facts.Kubeconfig) { k.NotAfter = noon.Add(-time.Hour) }),
		want: []string{"warning west/east: its credential for east ended 60 min ago (2026-11-24)"},
	},
	{
		id: "CHK040", reason: "a day is long where credentials live for one", change: func(in *Input) {
			in.Mesh.CredentialTTL = 24 * time.Hour
			give(func(k *facts.Kubeconfig) { k.NotAfter = noon.Add(20 * time.Hour) })(in)
		},
	},
	{
		id: "CHK041", reason: "istioctl create-remote-secret", change: func(in *Input) {
			give(func(k *facts.Kubeconfig) { k.NotAfter = time.Time{} })(in)
			foreign(westRemote(in))
		},
		want: []string{"warning west/east: its credential for east has no end: who steals it keeps it"},
	},
	{id: "CHK041", reason: "it ends", want: nil},
	{id: "CHK042", reason: "the same address", want: nil},
	{
		id: "CHK042", reason: "the cluster moved", change: give(func(k *facts.Kubeconfig) { k.Server = "https://198.18.0.99:6443" }),
		want: []string{"warning west/east: sends istiod to https://198.18.0.99:6443 for east, which is at https://198.18.0.11:6443 now"},
	},
	{
		id: "CHK042", reason: "the cluster was made anew", change: give(func(k *facts.Kubeconfig) { k.CABundle = "old CA" }),
		want: []string{"warning west/east: trusts another authority for east's API server than the kubeconfig does now"},
	},
	{
		id: "CHK042", reason: "the document's address, not the kubeconfig's", change: func(in *Input) {
			in.Mesh.Clusters[0].Server = "https://east.example.com"
			give(func(k *facts.Kubeconfig) { k.Server = "https://east.example.com/" })(in)
		},
	},
	{
		id: "CHK043", reason: "a cluster left the document", change: func(in *Input) { in.Mesh.Clusters = in.Mesh.Clusters[1:] },
		want: []string{"warning west: istiod still watches east, which is not in the document: its endpoints stay in use"},
	},
	{
		id: "CHK043", reason: "one that does not answer is still in the document", change: func(in *Input) { in.Now.Clusters["east"].Err = "down" },
	},
	{id: "CHK044", reason: "ours", want: nil},
	{
		id: "CHK044", reason: "one by hand beside ours", change: func(in *Input) {
			west(in).Secrets["istio-system/by-hand"] = &facts.Secret{
				Namespace: istioNamespace, Name: "by-hand", Labels: map[string]string{object.LabelRemoteSecret: "true"},
				Kubeconfigs: map[string]facts.Kubeconfig{"east": {}},
			}
		},
		want: []string{"error west/east: isthmus did not make this credential for east: istiod takes whichever of two it sees first and ignores the other"},
	},
	{
		id: "CHK044", reason: "one for itself", change: func(in *Input) {
			west(in).Secrets["istio-system/by-hand"] = &facts.Secret{
				Namespace: istioNamespace, Name: "by-hand", Labels: map[string]string{object.LabelRemoteSecret: "true"},
				Kubeconfigs: map[string]facts.Kubeconfig{"west": {}},
			}
		},
		want: []string{"note west/west: a remote secret for the cluster that it is in: istiod ignores it"},
	},
	{id: "CHK046", reason: "both know each other", want: nil},
	{
		id: "CHK046", reason: "somebody deleted one", change: func(in *Input) { west(in).Secrets = nil },
		want: []string{"warning west/east: has no credential for east: it knows nothing of the services there"},
	},
	{
		id: "CHK046", reason: "a cluster that joins has none yet, and nobody has one for it", change: func(in *Input) {
			west(in).Secrets, west(in).Istiods = nil, nil
			in.Now.Clusters["east"].Secrets = nil
		},
	},
}
