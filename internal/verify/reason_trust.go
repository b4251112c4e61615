package verify

import (
	"fmt"
	"slices"
	"strings"

	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/probe"
)

// rootNotTakenUp: istiod refuses to change to another root while it runs, and says so only in its log (Istio
// without ISTIO_MULTIROOT_MESH: "Multi root is disabled, updating new ROOT-CA not supported").
func rootNotTakenUp(c Case) (Reason, bool) {
	for _, x := range c.ends() {
		wanted, used := c.Evidence.roots(c.Mesh, x.Cluster), c.Evidence.Shown[x.Name]
		if len(wanted) == 0 || used == "" || slices.Contains(wanted, used) {
			continue
		}
		return Reason{
			Text: fmt.Sprintf("%s's workloads have certificates of the root %.8s…, while its Secret %s/cacerts holds %.8s…: "+
				"istiod does not take up another root while it runs", x.Name, used, c.Mesh.Primary(x.Cluster).IstioNamespace(), wanted[0]),
			Next:   "isthmus apply",
			Proven: true,
		}, true
	}
	return Reason{}, false
}

// otherRoot: two clusters whose roots have nothing in common refuse each other's certificates.
func otherRoot(c Case) (Reason, bool) {
	if c.From.Name == c.To.Name || !c.Kind.inside() {
		return Reason{}, false
	}
	ours, theirs := c.Evidence.roots(c.Mesh, c.From), c.Evidence.roots(c.Mesh, c.To)
	if len(ours) == 0 || len(theirs) == 0 || slices.ContainsFunc(ours, func(r string) bool { return slices.Contains(theirs, r) }) {
		return Reason{}, false
	}
	a, b := c.From.Name, c.To.Name
	if a > b { // the same words whoever calls
		a, b, ours, theirs = b, a, theirs, ours
	}
	return Reason{
		Text: fmt.Sprintf("%s and %s have different roots (%.8s… and %.8s…), so neither trusts the other's certificates",
			a, b, ours[0], theirs[0]),
		Next:   "isthmus apply",
		Proven: true,
	}, true
}

// certificateRefused: a proxy says that it does not trust a certificate, and why is not to be seen.
func certificateRefused(c Case) (Reason, bool) {
	if !c.saw("CERTIFICATE_VERIFY_FAILED") {
		return Reason{}, false
	}
	return Reason{
		Text: fmt.Sprintf("the client's proxy in %s does not trust the certificate that %s's server shows", c.From.Name, c.To.Name),
		Next: kubectl(c.Mesh.Host(c.To), fmt.Sprintf("get secret -n %s cacerts -o jsonpath='{.data.root-cert\\.pem}'", c.Mesh.Primary(c.To).IstioNamespace())),
	}, true
}

// mtlsOff: what the PeerAuthentications of the target say is not strict; or those of the caller, whose control
// plane then holds every server for one without mutual TLS and drops what can only be reached through a gateway.
func mtlsOff(c Case) (Reason, bool) {
	to, from := c.Mesh.Primary(c.To), c.knows() // where configuration is read from
	if reason, ok := mtlsOffIn(c, to, c.Evidence.Sites[to.Name]); ok {
		return reason, true
	}
	if c.Path != Gateway || !c.Kind.inside() {
		return Reason{}, false
	}
	return mtlsOffIn(c, from, c.Evidence.Sites[from.Name])
}

func mtlsOffIn(c Case, where mesh.Cluster, site SiteEvidence) (Reason, bool) {
	if !site.PeerKnown {
		return Reason{}, false
	}
	p, found := effective(site.Peer, where.IstioNamespace(), c.Mesh.Verify.Namespace)
	// Permissive hurts no call of the mesh; it lets others in.
	if p.Mode == "STRICT" || p.Mode != "DISABLE" && (c.Kind.inside() || c.Mesh.MTLS != "STRICT") {
		return Reason{}, false
	}
	text := fmt.Sprintf("no PeerAuthentication in %s makes mutual TLS strict, so plain text is accepted", where.Name)
	if found {
		text = fmt.Sprintf("PeerAuthentication %s/%s in %s says %s instead of %s, so calls without mutual TLS are accepted",
			p.Namespace, p.Name, where.Name, p.Mode, c.Mesh.MTLS)
	}
	next := "isthmus apply"
	if found && p.Namespace != where.IstioNamespace() {
		next = kubectl(where, fmt.Sprintf("delete peerauthentication -n %s %s", p.Namespace, p.Name))
	}
	return Reason{Text: text, Next: next, Proven: true}, true
}

// uninvitedServed: the policy that verify brought lets in the client alone, and yet somebody else was served.
func uninvitedServed(c Case) (Reason, bool) {
	if c.Kind != NotAllowed || c.Insider == nil || !c.Insider.OK {
		return Reason{}, false
	}
	return Reason{
		Text: fmt.Sprintf("%s serves %s from %s, whom no policy lets in: AuthorizationPolicy %s/%s lets in %s alone", c.To.Name,
			Identity(c.Mesh, Server), c.From.Name, c.Mesh.Verify.Namespace, Server, Identity(c.Mesh, Client)),
		Next: kubectl(c.To, "get authorizationpolicies -A"),
	}, true
}

// forbidden: the other end's proxy refuses the identity, not the certificate.
func forbidden(c Case) (Reason, bool) {
	if _, refused := c.any(func(p CallProof) bool { return p.Result.Flag == "RBAC" }); !refused {
		return Reason{}, false
	}
	who := "an AuthorizationPolicy"
	at := c.Mesh.Primary(c.To)
	policies := c.Evidence.Sites[at.Name].Policies
	if p := policies; len(p) > 0 {
		who = "AuthorizationPolicy " + p[0]
		if len(p) > 1 {
			who = fmt.Sprintf("one of %d AuthorizationPolicies (%s and others)", len(p), p[0])
		}
	}
	if strings.Contains(who, istioNamespace+"/isthmus-default") {
		who += " (the document's spec.access.default: deny)"
	}
	return Reason{
		Text: fmt.Sprintf("%s in %s refuses %s (RBAC: access denied)", who, at.Name, Identity(c.Mesh, Client)),
		Next: kubectl(at, "get authorizationpolicies -A"),
		// Without one, the policy that refused may just have been deleted.
		Proven: len(policies) > 0,
	}, true
}

func wrongCluster(c Case) (Reason, bool) {
	call, other := c.any(func(p CallProof) bool { return p.Result.OK && !p.Delivered })
	if !other {
		return Reason{}, false
	}
	return Reason{
		Text: fmt.Sprintf("calls from %s to %s are answered elsewhere: %s", c.From.Name, c.To.Name, call.Wrong),
		Next: kubectl(c.From, fmt.Sprintf("get service -n %s %s -o yaml", c.Mesh.Verify.Namespace, ServiceName(c.To.Name))),
	}, true
}

func notEncrypted(c Case) (Reason, bool) {
	call, bare := c.any(func(p CallProof) bool { return p.Delivered && p.bare() })
	if !bare {
		return Reason{}, false
	}
	if call.Result.Reply != nil && call.Result.Reply.Caller != "" {
		return Reason{
			Text: fmt.Sprintf("%s's server saw another identity than the expected one: %s", c.To.Name, call.Wrong),
			Next: "check spec.trust.domain against meshConfig.trustDomain of each cluster: isthmus plan",
		}, true
	}
	return Reason{
		Text: fmt.Sprintf("calls from %s to %s arrive in plain text: %s's proxy saw no certificate", c.From.Name, c.To.Name, c.To.Name),
		Next: kubectl(c.From, "get destinationrules,peerauthentications -A"),
	}, true
}

func strangerServed(c Case) (Reason, bool) {
	if c.Kind.inside() || c.Knock == nil || c.Knock.Verdict() != probe.Accepted {
		return Reason{}, false
	}
	return Reason{
		Text: fmt.Sprintf("%s serves a stranger (%s) at %s", c.To.Name, c.Kind, c.Door),
		Next: kubectl(c.To, "get peerauthentications,envoyfilters -A"),
	}, true
}
