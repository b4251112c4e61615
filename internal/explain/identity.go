package explain

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/facts"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// Modes of a PeerAuthentication.
const (
	strict     = "STRICT"
	permissive = "PERMISSIVE"
	disable    = "DISABLE"
)

// A peerMode is how a callee takes callers, and what says so.
type peerMode struct{ mode, namespace, name string }

func (m peerMode) String() string {
	if m.name == "" {
		return "no PeerAuthentication says otherwise than " + m.mode
	}
	return fmt.Sprintf("PeerAuthentication %s/%s is %s", m.namespace, m.name, m.mode)
}

// peerMode is the mode that holds for the callee's pods: the narrowest PeerAuthentication that sets one.
func (j *judge) peerMode() peerMode {
	s := j.to()
	var labels map[string]string
	if len(s.Callees) > 0 {
		labels = s.Callees[0].Labels
	}
	best, rank := peerMode{mode: permissive}, 0
	for _, u := range s.kind("PeerAuthentication") {
		selector, _, _ := unstructured.NestedStringMap(u.Object, "spec", "selector", "matchLabels") // of another type: none
		r := 0
		switch {
		case u.GetNamespace() == j.To.Namespace && len(selector) > 0 && selects(u, labels, "spec", "selector", "matchLabels"):
			r = 3
		case u.GetNamespace() == j.To.Namespace && len(selector) == 0:
			r = 2
		case u.GetNamespace() == rootNamespace && len(selector) == 0:
			r = 1
		}
		mode := text(u, "spec", "mtls", "mode")
		if r == 3 {
			if p := j.calleePort(); p != 0 {
				mode = cmp.Or(text(u, "spec", "portLevelMtls", fmt.Sprint(p), "mode"), mode)
			}
		}
		if r > rank && mode != "" && mode != "UNSET" {
			best, rank = peerMode{mode, u.GetNamespace(), u.GetName()}, r
		}
	}
	return best
}

// identity: who does the caller say that it is, and will each end believe the other?
func (j *judge) identity() (Hop, bool) {
	s := j.from()
	if !j.decided || s.CallerProxy == nil {
		return Hop{}, false
	}
	p, u := s.CallerProxy, s.CallerProxy.Clusters[j.target]
	h := hop("identity", s.Cluster, "")
	mode := j.peerMode()
	if h, broken := j.speaks(h, u, mode); broken || j.plain {
		return h, true
	}
	h.Seen = fmt.Sprintf("mutual TLS, presents %s", cmp.Or(p.Identity, "nothing"))
	if u.Rule != "" && u.TLS == "mutual" {
		h = h.with("DestinationRule %s: tls.mode ISTIO_MUTUAL", u.Rule)
	}
	h = h.with("%s in %s", mode, j.To.Cluster)
	if len(p.Chain) == 0 {
		return h.broken("no-certificate", s.kubectl("logs -n %s %s -c istio-proxy --tail=50", p.Namespace, p.Pod), "the caller's proxy in %s has no certificate", s.Cluster), true
	}
	h = h.with("%s", describeChain(p.Chain, j.Taken))
	if c := ended(p.Chain, j.Taken); c != nil {
		return h.broken("certificate-ended", "isthmus apply, then "+s.kubectl("delete pod -n %s %s", p.Namespace, p.Pod), "the caller's certificate in %s (%s) ended at %s", s.Cluster, c.Subject, c.NotAfter.Format(time.RFC3339)), true
	}
	return j.believed(h), true
}

// speaks tells how the caller's proxy speaks to the chosen endpoints, and whether the callee listens to that.
func (j *judge) speaks(h Hop, u *Upstream, mode peerMode) (Hop, bool) {
	mutual := u.TLS == "mutual"
	if u.TLS == "auto" {
		mutual = slices.ContainsFunc(j.chosen, func(e Endpoint) bool { return e.Mutual })
		if len(j.chosen) == 0 {
			mutual = mode.mode != disable
		}
	}
	rule := "the caller's proxy"
	if u.Rule != "" {
		rule = "DestinationRule " + u.Rule
	}
	switch {
	case !mutual && (mode.mode == strict || j.through):
		word, does := "DISABLE", "sends plain text"
		if u.TLS == "other" {
			word, does = "SIMPLE or MUTUAL", "shows no certificate of the mesh"
		}
		h.Seen = does
		takes := fmt.Sprintf("%s in %s", mode, j.To.Cluster)
		if mode.mode != strict {
			takes = "the gateway cannot tell where to pass it"
		}
		if u.TLS == "auto" {
			return h.broken("plaintext-against-strict", "isthmus status", "the caller's proxy sends plain text, since its control plane takes the callee for one without mutual TLS, and %s", takes), true
		}
		return h.with("%s: tls.mode %s", rule, word).broken("plaintext-against-strict", "take spec.trafficPolicy.tls out of "+rule, "%s in %s %s (tls.mode %s), and %s", rule, j.From.Cluster, does, word, takes), true
	case mutual && mode.mode == disable:
		h.Seen = "mutual TLS"
		return h.broken("mtls-off", j.to().kubectl("edit peerauthentication -n %s %s", mode.namespace, mode.name), "%s in %s, and %s in %s uses mutual TLS", mode, j.To.Cluster, rule, j.From.Cluster), true
	case !mutual:
		j.plain = true
		h.Seen = "plain text"
		return h.with("%s in %s", mode, j.To.Cluster), false
	}
	return h, false
}

// believed checks each end's certificate against the roots of the other.
func (j *judge) believed(h Hop) Hop {
	a, b := j.from().CallerProxy, j.to().CalleeProxy
	mend := "isthmus apply, then restart istiod and the workloads of the cluster with the other root"
	if b == nil || b.Err != "" || len(b.Chain) == 0 || len(b.Roots) == 0 {
		return h.with("the callee's certificate could not be read")
	}
	for _, x := range []struct {
		shows, takes          *Proxy
		shown, taker          string
		showsWhere, takeWhere string
	}{
		{a, b, "caller", "callee", j.From.Cluster, j.To.Cluster},
		{b, a, "callee", "caller", j.To.Cluster, j.From.Cluster},
	} {
		if c := ended(x.shows.Chain, j.Taken); c != nil {
			return h.broken("certificate-ended", mend, "the %s's certificate in %s (%s) ended at %s", x.shown, x.showsWhere, c.Subject, c.NotAfter.Format(time.RFC3339))
		}
		if err := verify(x.shows.Chain, x.takes.Roots, j.Taken); err != nil {
			return h.broken("other-root", mend, "the %s's certificate in %s was signed under root %s, and the %s in %s trusts %s", x.shown, x.showsWhere,
				rootName(x.shows), x.taker, x.takeWhere, rootNames(x.takes.Roots))
		}
	}
	if u := a.Clusters[j.target]; len(u.Sans) > 0 && b.Identity != "" && !slices.Contains(u.Sans, b.Identity) {
		return h.broken("identity-unexpected", "give both clusters one spec.trust.domain, or take subjectAltNames out of the DestinationRule", "the callee in %s presents %s, and the caller's proxy takes only %s",
			j.To.Cluster, b.Identity, strings.Join(u.Sans, ", "))
	}
	return h.with("callee presents %s, %s", b.Identity, describeChain(b.Chain, j.Taken))
}

// verify checks a chain against roots at a time.
func verify(chain, roots []facts.Certificate, at time.Time) error {
	options := x509.VerifyOptions{Roots: pool(roots), Intermediates: pool(chain[1:]), CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	leaf := chain[0].X509()
	if leaf == nil {
		return fmt.Errorf("certificate %s cannot be read", chain[0].Subject)
	}
	_, err := leaf.Verify(options)
	return err
}

func pool(list []facts.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range list {
		if x := c.X509(); x != nil {
			p.AddCert(x)
		}
	}
	return p
}

// identityOf is the SPIFFE identity in the first certificate of a chain.
func identityOf(chain []facts.Certificate) string {
	if len(chain) == 0 {
		return ""
	}
	if x := chain[0].X509(); x != nil && len(x.URIs) > 0 {
		return x.URIs[0].String()
	}
	return ""
}

func ended(chain []facts.Certificate, at time.Time) *facts.Certificate {
	for i, c := range chain {
		if !c.NotAfter.After(at) {
			return &chain[i]
		}
	}
	return nil
}

// describeChain: "signed by CN=..., root 9f3c…, ends 2026-11-25 14:00 UTC".
func describeChain(chain []facts.Certificate, at time.Time) string {
	s := "ends in " + chain[0].NotAfter.Sub(at).Round(time.Minute).String()
	if len(chain) > 1 {
		s = fmt.Sprintf("signed by %s (ends %s), %s", chain[1].Subject, chain[1].NotAfter.UTC().Format("2006-01-02"), s)
	}
	return s
}

// rootName is the root that a proxy's chain leads to, by what the chain itself says.
func rootName(p *Proxy) string {
	last := p.Chain[len(p.Chain)-1]
	if last.IsCA && last.Subject == last.Issuer {
		return short(last)
	}
	for _, r := range p.Roots {
		if r.Subject == last.Issuer && verify(p.Chain, []facts.Certificate{r}, p.Chain[0].NotBefore.Add(time.Minute)) == nil {
			return short(r)
		}
	}
	return "of " + last.Issuer
}

func rootNames(roots []facts.Certificate) string {
	var all []string
	for _, r := range roots {
		all = append(all, short(r))
	}
	return strings.Join(all, ", ")
}

func short(c facts.Certificate) string { return fmt.Sprintf("%s (%.8s…)", c.Subject, c.Fingerprint) }
