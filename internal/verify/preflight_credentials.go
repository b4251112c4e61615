package verify

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"isthmus.dev/isthmus/internal/discovery"
	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// A remote is one kubeconfig that a cluster holds for another.
type remote struct {
	holder Member
	secret *facts.Secret
	about  string // the data key: what istiod calls the other cluster
	facts.Kubeconfig
}

func (r remote) object() string { return "Secret " + r.secret.Namespace + "/" + r.secret.Name }

func (r remote) drop() string {
	return kubectl(r.holder.Cluster, fmt.Sprintf("-n %s delete secret %s", r.secret.Namespace, r.secret.Name))
}

// remotes lists what the members hold, in document order, then by Secret and cluster.
func remotes(in Input) []remote {
	var out []remote
	for _, m := range in.Members() {
		for _, name := range slices.Sorted(maps.Keys(m.Facts.Secrets)) {
			s := m.Facts.Secrets[name]
			if s.Labels[object.LabelRemoteSecret] != "true" {
				continue
			}
			for _, about := range slices.Sorted(maps.Keys(s.Kubeconfigs)) {
				out = append(out, remote{m, s, about, s.Kubeconfigs[about]})
			}
		}
	}
	return out
}

func tokensLast(in Input) []Finding {
	// apply replaces a token when a third of its time is left; half of that is late.
	late := min(7*24*time.Hour, in.Mesh.CredentialTTL/6)
	var out []Finding
	for _, r := range remotes(in) {
		if r.NotAfter.IsZero() || r.NotAfter.Sub(in.Now.Taken) > late {
			continue
		}
		f := Finding{
			Cluster: r.holder.Name, Other: r.about, Object: r.object(),
			Seen: fmt.Sprintf("its credential for %s %s", r.about, ends(r.NotAfter, in.Now.Taken)),
			Do:   "isthmus apply makes a new one",
		}
		if !madeHere(r.secret, in.Mesh) {
			f.Do = "isthmus did not make it; make a new one, or delete it: " + r.drop()
		}
		out = append(out, f)
	}
	return out
}

func tokensEnd(in Input) []Finding {
	var out []Finding
	for _, r := range remotes(in) {
		if !r.NotAfter.IsZero() {
			continue
		}
		f := Finding{
			Cluster: r.holder.Name, Other: r.about, Object: r.object(),
			Seen: fmt.Sprintf("its credential for %s has no end: who steals it keeps it", r.about),
			Do:   "isthmus apply replaces it by one that ends",
		}
		if !madeHere(r.secret, in.Mesh) {
			f.Do = "isthmus did not make it; delete it and let apply make one that ends: " + r.drop()
		}
		out = append(out, f)
	}
	return out
}

func remotesPointRight(in Input) []Finding {
	var out []Finding
	for _, r := range remotes(in) {
		c, member := in.Mesh.Cluster(r.about)
		if !member || !madeHere(r.secret, in.Mesh) {
			continue
		}
		want, ca := c.Server, ""
		if f := in.Now.Clusters[c.Name]; f.Answered() {
			ca = f.CABundle
			if want == "" {
				want = f.Server
			}
		}
		f := Finding{Cluster: r.holder.Name, Other: r.about, Object: r.object(), Do: "isthmus apply"}
		switch {
		case want != "" && strings.TrimSuffix(r.Server, "/") != strings.TrimSuffix(want, "/"):
			f.Seen = fmt.Sprintf("sends istiod to %s for %s, which is at %s now", r.Server, r.about, want)
		case ca != "" && r.CABundle != "" && strings.TrimSpace(ca) != strings.TrimSpace(r.CABundle):
			f.Seen = fmt.Sprintf("trusts another authority for %s's API server than the kubeconfig does now", r.about)
		default:
			continue
		}
		out = append(out, f)
	}
	return out
}

func remotesAreMembers(in Input) []Finding {
	var out []Finding
	for _, r := range remotes(in) {
		if _, member := in.Mesh.Cluster(r.about); member {
			continue
		}
		f := Finding{
			Cluster: r.holder.Name, Object: r.object(),
			Seen: fmt.Sprintf("istiod still watches %s, which is not in the document: its endpoints stay in use", r.about),
			Do:   "isthmus apply takes it away",
		}
		if !madeHere(r.secret, in.Mesh) {
			f.Do = "isthmus did not make it; add the cluster to spec.clusters, or: " + r.drop()
		}
		out = append(out, f)
	}
	return out
}

func remotesAreOnce(in Input) []Finding {
	var out []Finding
	for _, r := range remotes(in) {
		if _, member := in.Mesh.Cluster(r.about); !member || madeHere(r.secret, in.Mesh) {
			continue
		}
		f := Finding{
			Cluster: r.holder.Name, Other: r.about, Object: r.object(),
			Seen: fmt.Sprintf("isthmus did not make this credential for %s: istiod takes whichever of two it sees first and ignores the other", r.about),
			Do:   r.drop(),
		}
		switch ours := r.secret.Namespace == discovery.RemoteNamespace && r.secret.Name == discovery.RemoteSecret(r.about); {
		case r.about == r.holder.Name:
			f.Severity, f.Seen = Note, "a remote secret for the cluster that it is in: istiod ignores it"
		case ours && in.Options.Adopt:
			continue // it is taken over, with a token of ours
		case ours:
			f.Do = "take it over, with a token that ends: isthmus plan --adopt"
		}
		out = append(out, f)
	}
	return out
}

// remotesAreThere asks it of meshes that exist only: where an istiod is still to come, apply brings both.
func remotesAreThere(in Input) []Finding {
	runs := func(c mesh.Cluster) bool {
		f := in.Now.Clusters[in.Mesh.Host(c).Name]
		return f.Answered() && slices.ContainsFunc(f.Istiods, func(i facts.Istiod) bool {
			return ours(i, in.Mesh) && i.Namespace == in.Mesh.Primary(c).IstioNamespace()
		})
	}
	known := map[string]bool{}
	for _, r := range remotes(in) {
		known[r.holder.Name+"/"+r.secret.Namespace+"/"+r.about] = true
	}
	var out []Finding
	for a, b := range in.Couples() {
		for _, side := range [][2]*Member{{a, b}, {b, a}} {
			holder, about := in.Mesh.Host(side[0].Cluster), side[1]
			namespace := side[0].IstioNamespace()
			if side[0].IsRemote() || known[holder.Name+"/"+namespace+"/"+about.Name] || !runs(side[0].Cluster) || !runs(about.Cluster) {
				continue
			}
			if about.IsRemote() && len(about.Facts.Webhooks) == 0 {
				continue // about to join
			}
			out = append(out, Finding{
				Cluster: holder.Name, Other: about.Name, Object: "Secret " + namespace + "/istio-remote-secret-" + about.Name,
				Seen: fmt.Sprintf("has no credential for %s: it knows nothing of the services there", about.Name), Do: "isthmus apply",
			})
		}
	}
	return out
}
