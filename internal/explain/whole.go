package explain

import (
	"fmt"
	"slices"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/status"
)

// remote is what the caller's istiods say of the callee's cluster: the worst of what they say.
func (j *judge) remote() (status.RemoteStatus, bool) {
	var found status.RemoteStatus
	have := false
	for _, istiod := range sortedKeys(j.from().Pages.Clusters) {
		for _, r := range j.from().Pages.Clusters[istiod] {
			if r.ID == j.To.Cluster && r.SecretName != "" && (!have || r.SyncStatus != status.Synced) {
				found, have = r, true
			}
		}
	}
	return found, have
}

// controlPlane: where whole clusters are asked about, the caller's istiod comes first.
func (j *judge) controlPlane() (Hop, bool) {
	s := j.from()
	h := hop("control plane", s.Cluster, "")
	if h, away := j.away(h, s); away {
		return h, true
	}
	n, ready := istiods(s)
	h.Seen = fmt.Sprintf("%d istiod pods ready", ready)
	if n == 0 || ready == 0 {
		return h.broken("control-plane-not-ready", "isthmus apply", "%s has no ready control plane", s.Cluster), true
	}
	return h, true
}

// knowledge: does the caller's istiod read the callee's cluster, and find its gateway?
func (j *judge) knowledge() (Hop, bool) {
	s := j.from()
	if s.Err != "" {
		return Hop{}, false
	}
	h := hop("knowledge", s.Cluster, "nothing of %s", j.To.Cluster)
	if h, away := j.away(h, j.to()); away {
		return h, true
	}
	if h, broken := j.unknownCluster(h); broken {
		return h, true
	}
	h.Seen = fmt.Sprintf("%s is known", j.To.Cluster)
	if r, ok := j.remote(); ok {
		h.Seen = fmt.Sprintf("%s is known, %s", j.To.Cluster, r.SyncStatus)
	}
	if h, broken := j.labelsWrong(h, []Endpoint{{}}); broken {
		return h, true
	}
	return h, true
}

// trust: do both clusters sign under one root?
func (j *judge) trust() (Hop, bool) {
	a, b := j.from(), j.to()
	if a.Err != "" || b.Err != "" || a.Facts == nil || b.Facts == nil {
		return Hop{}, false
	}
	h := hop("trust", b.Cluster, "roots of both clusters")
	ra, rb := roots(a), roots(b)
	if len(ra) == 0 || len(rb) == 0 {
		return h.unknown("the roots of %s and %s could not be read (Secret %s/cacerts)", a.Cluster, b.Cluster, rootNamespace), true
	}
	same := slices.ContainsFunc(ra, func(x facts.Certificate) bool {
		return slices.ContainsFunc(rb, func(y facts.Certificate) bool { return x.SPKI == y.SPKI })
	})
	h.Seen = "one root: " + short(ra[0])
	if !same {
		h.Seen = "two roots"
		return h.broken("other-root", "isthmus apply, then restart istiod and the workloads of the cluster with the other root", "%s signs under %s, and %s under %s",
			a.Cluster, short(ra[0]), b.Cluster, short(rb[0])), true
	}
	for _, s := range []*Site{a, b} {
		for _, c := range intermediates(s) {
			h = h.with("%s: intermediate %s, ends %s", s.Cluster, c.Subject, c.NotAfter.UTC().Format("2006-01-02"))
			if !c.NotAfter.After(j.Taken) {
				return h.broken("certificate-ended", "isthmus apply", "%s's intermediate %s has ended", s.Cluster, c.Subject), true
			}
		}
	}
	return h, true
}

func roots(s *Site) []facts.Certificate {
	if x := s.Facts.Secrets[rootNamespace+"/"+facts.CACerts]; x != nil {
		return x.Certificates[facts.RootFile]
	}
	if x := s.Facts.Secrets[rootNamespace+"/istio-ca-secret"]; x != nil {
		return x.Certificates["ca-cert.pem"]
	}
	return nil
}

func intermediates(s *Site) []facts.Certificate {
	if x := s.Facts.Secrets[rootNamespace+"/"+facts.CACerts]; x != nil && len(x.Certificates["ca-cert.pem"]) > 0 {
		return x.Certificates["ca-cert.pem"][:1]
	}
	return nil
}
