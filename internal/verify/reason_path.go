package verify

import (
	"fmt"
	"slices"
	"strings"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/probe"
)

// gateways that lead to the target, and whether enough was seen to say that there are no others.
func (c Case) gateways() (all []facts.Gateway, known bool) {
	if c.Path != Gateway {
		return nil, false
	}
	var members []string
	for _, x := range c.Mesh.Clusters {
		if x.Network == c.To.Network {
			members = append(members, x.Name)
		}
	}
	known = c.Evidence.may(c.To.Name, "services") && c.Evidence.may(c.To.Name, "deployments")
	return c.Evidence.gateways(c.To.Network, members), known
}

func gatewayMissing(c Case) (Reason, bool) {
	all, known := c.gateways()
	if !known || len(all) > 0 {
		return Reason{}, false
	}
	return Reason{
		Text:   fmt.Sprintf("%s has no east-west gateway, and %s is on another network", c.To.Name, c.From.Name),
		Next:   "isthmus apply",
		Proven: true,
	}, true
}

func gatewayNotReady(c Case) (Reason, bool) {
	all, known := c.gateways()
	if !known || len(all) == 0 || slices.ContainsFunc(all, func(g facts.Gateway) bool { return g.Ready > 0 }) {
		return Reason{}, false
	}
	g := all[0]
	return Reason{
		Text: fmt.Sprintf("%s's east-west gateway has no ready pod (Deployment %s/%s, %d/%d)",
			c.To.Name, g.Namespace, g.Name, g.Ready, g.Wanted),
		Next:   mendScale(c.To, g.Namespace, g.Name, g.Wanted),
		Proven: g.Wanted == 0,
	}, true
}

func gatewayNoAddress(c Case) (Reason, bool) {
	all, known := c.gateways()
	if !known || len(all) == 0 || slices.ContainsFunc(all, func(g facts.Gateway) bool { return len(g.Addresses) > 0 }) {
		return Reason{}, false
	}
	g := all[0]
	return Reason{
		Text: fmt.Sprintf("%s's east-west gateway has no address that others could call (Service %s/%s)",
			c.To.Name, g.Namespace, g.Name),
		Next: kubectl(c.To, fmt.Sprintf("describe service -n %s %s", g.Namespace, g.Name)),
	}, true
}

// crossing tells whether the caller's control plane must know the target's API server for this call by a remote secret.
func (c Case) crossing() bool {
	return c.knows().Name != c.To.Name && c.Kind.inside()
}

func remoteSecretMissing(c Case) (Reason, bool) {
	known := c.Evidence.may(c.Mesh.Host(c.knows()).Name, "secrets")
	_, _, found := c.Evidence.kubeconfig(c.Mesh, c.knows(), c.To.Name)
	if !c.crossing() || !known || found {
		return Reason{}, false
	}
	return Reason{
		Text: fmt.Sprintf("%s's control plane does not know %s: there is no remote secret for it in %s/%s",
			c.knows().Name, c.To.Name, c.Mesh.Host(c.knows()).Name, c.knows().IstioNamespace()),
		Next:   "isthmus apply",
		Proven: true,
	}, true
}

func remoteCredentialEnded(c Case) (Reason, bool) {
	k, secret, found := c.Evidence.kubeconfig(c.Mesh, c.knows(), c.To.Name)
	if !c.crossing() || !found || !ended(k.NotAfter, c.Evidence.Now.Taken) {
		return Reason{}, false
	}
	return Reason{
		Text: fmt.Sprintf("%s's credential for %s's API server ended at %s (Secret %s/%s)", c.knows().Name, c.To.Name,
			k.NotAfter.UTC().Format("2006-01-02 15:04 MST"), c.knows().IstioNamespace(), secret),
		Next:   "isthmus apply",
		Proven: true,
	}, true
}

func remoteNotSynced(c Case) (Reason, bool) {
	k, secret, found := c.Evidence.kubeconfig(c.Mesh, c.knows(), c.To.Name)
	remotes := c.Evidence.Sites[c.knows().Name].Remotes
	if !c.crossing() || !found || remotes == nil {
		return Reason{}, false
	}
	status := "has not taken up Secret " + c.knows().IstioNamespace() + "/" + secret
	for _, r := range remotes {
		switch {
		case r.ID != c.To.Name:
		case r.Status == "synced":
			return Reason{}, false
		default:
			status = fmt.Sprintf("cannot read its API server at %s (sync status: %s)", k.Server, r.Status)
		}
	}
	return Reason{
		Text: fmt.Sprintf("%s's istiod knows of %s but %s", c.knows().Name, c.To.Name, status),
		Next: c.istiodLogs(),
	}, true
}

// istiodLogs shows what the caller's istiod says.
func (c Case) istiodLogs() string {
	return kubectl(c.Mesh.Host(c.From), fmt.Sprintf("logs -n %s -l app=istiod --tail=50", c.knows().IstioNamespace()))
}

func noName(c Case) (Reason, bool) {
	if _, dns := c.any(func(p CallProof) bool { return p.Result.Class == probe.DNS }); !dns {
		return Reason{}, false
	}
	return Reason{
		Text: fmt.Sprintf("the name %s.%s does not resolve in %s", ServiceName(c.To.Name), c.Mesh.Verify.Namespace, c.From.Name),
		Next: kubectl(c.From, "get pods -n kube-system -l k8s-app=kube-dns"),
	}, true
}

// gatewayUnreachable: the stranger has no proxy, so how its connection to the gateway ended is the network's own
// word.
func gatewayUnreachable(c Case) (Reason, bool) {
	if c.Path != Gateway || c.Knock == nil || c.Knock.Verdict() != probe.NotReached {
		return Reason{}, false
	}
	if c.Knock.Class == probe.Reset {
		return Reason{
			Text: fmt.Sprintf("%s's east-west gateway %s closes calls for %s: it does not offer this service "+
				"(is there a Gateway that exposes services, and does its istiod know the server?)",
				c.To.Name, c.Door, ServiceName(c.To.Name)),
			Next: "isthmus apply",
		}, true
	}
	return Reason{
		Text: fmt.Sprintf("%s's east-west gateway %s cannot be reached from %s: %s",
			c.To.Name, c.Door, c.From.Name, Describe(*c.Knock)),
		Next: "open that port between the networks (firewall, security group, load balancer), then: isthmus verify",
	}, true
}

// podsUnreachable: clusters that the document puts in one network must reach each other's pods.
func podsUnreachable(c Case) (Reason, bool) {
	if c.Path != Direct {
		return Reason{}, false
	}
	call, flagged := c.any(func(p CallProof) bool {
		return p.Result.Flag == "UF" && !strings.Contains(p.Result.Body, "TLS_error") || p.Result.Class == probe.Timeout
	})
	knocked := c.Knock != nil && c.Knock.Verdict() == probe.NotReached && c.Knock.Class != probe.Reset
	if !flagged && !knocked {
		return Reason{}, false
	}
	how := call.Wrong
	if knocked {
		how = Describe(*c.Knock)
	}
	return Reason{
		Text: fmt.Sprintf("pods of %s cannot be reached from pods of %s (%s), though both are in network %s",
			c.To.Name, c.From.Name, how, c.To.Network),
		Next: "route the pod ranges between them, or give each its own spec.clusters[].network; then: isthmus apply",
	}, true
}

func noEndpoint(c Case) (Reason, bool) {
	known := c.from().Endpoints
	if known == nil || !c.Kind.inside() {
		return Reason{}, false
	}
	endpoints := known[c.To.Name]
	if len(endpoints) == 0 {
		return Reason{
			Text: fmt.Sprintf("the client's proxy in %s knows no endpoint in %s", c.From.Name, c.To.Name),
			Next: c.istiodLogs(),
		}, true
	}
	if slices.ContainsFunc(endpoints, func(e Endpoint) bool { return e.Healthy }) {
		return Reason{}, false
	}
	return Reason{
		Text: fmt.Sprintf("the client's proxy in %s holds every endpoint in %s for unhealthy (%s)",
			c.From.Name, c.To.Name, endpoints[0].Address),
		Next: "isthmus status",
	}, true
}
