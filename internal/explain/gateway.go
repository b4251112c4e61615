package explain

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"isthmus.dev/isthmus/internal/facts"
)

// gatewayPort is the port that istiod tells proxies of other networks, unless the gateway's Service says another
// (label networking.istio.io/gatewayPort).
const gatewayPort = 15443

// gateway: is the callee's east-west gateway there, open, and does it offer the service?
func (j *judge) gateway() (Hop, bool) {
	s := j.to()
	if s.Err != "" || s.Facts == nil || j.From.Cluster == j.To.Cluster || !j.multiNetwork() {
		return Hop{}, false
	}
	h := hop("gateway", s.Cluster, "")
	if len(s.Facts.Gateways) == 0 {
		if slices.ContainsFunc(s.Facts.Denied, func(r facts.Right) bool { return r.Resource == "services" || r.Resource == "deployments" }) {
			return h.unknown("the gateway of %s may not be read", s.Cluster), true
		}
		h.Seen = "none"
		return h.broken("gateway-missing", "isthmus apply", "%s has no east-west gateway, and %s is on another network", s.Cluster, j.From.Cluster), true
	}
	g := s.Facts.Gateways[0]
	h.Seen = fmt.Sprintf("%s/%s, %d of %d pods ready", g.Namespace, g.Name, g.Ready, g.Wanted)
	if len(g.Addresses) == 0 {
		return h.broken("gateway-no-address", s.kubectl("describe service -n %s %s", g.Namespace, g.Name), "%s's east-west gateway has no address that others could call (Service %s/%s)", s.Cluster, g.Namespace, g.Name), true
	}
	h = h.with("address %s", strings.Join(g.Addresses, ", "))
	if g.Ready == 0 {
		mend := "isthmus apply"
		if g.Wanted > 0 {
			mend = s.kubectl("describe pods -n %s -l istio=eastwestgateway", g.Namespace)
		}
		return h.broken("gateway-not-ready", mend, "%s's east-west gateway has no ready pod (Deployment %s/%s, %d/%d)", s.Cluster, g.Namespace, g.Name, g.Ready, g.Wanted), true
	}
	return j.gatewayOpen(h, g), true
}

// port is where the caller's proxy goes.
func (j *judge) port() int {
	if len(j.chosen) > 0 {
		if _, p, err := net.SplitHostPort(j.chosen[0].Address); err == nil {
			if n, err := strconv.Atoi(p); err == nil {
				return n
			}
		}
	}
	return gatewayPort
}

func (j *judge) gatewayOpen(h Hop, g facts.Gateway) Hop {
	s, port := j.to(), gatewayPort
	if j.through {
		port = j.port()
	}
	target := ""
	for _, p := range s.GatewayPorts {
		if p.Port == port {
			target = p.Target
		}
	}
	if target == "" && len(s.GatewayPorts) > 0 {
		return h.broken("gateway-port-closed", "isthmus apply", "%s's east-west gateway Service %s/%s has no port %d, which proxies of other networks call", s.Cluster, g.Namespace, g.Name, port)
	}
	listens, err := strconv.Atoi(target)
	if err != nil {
		listens = port
	}
	p := s.Gateway
	if p == nil || p.Err != "" {
		why := "was not asked"
		if p != nil {
			why = p.Err
		}
		return h.with("its proxy could not be asked: %s", why)
	}
	i := slices.IndexFunc(p.Listeners, func(l Listener) bool { return l.Port == listens })
	if i < 0 {
		return h.broken("gateway-not-listening", "isthmus apply", "%s's east-west gateway listens on no port %d: no Gateway with a server for it in mode AUTO_PASSTHROUGH chooses it", s.Cluster, listens)
	}
	if j.Whole() {
		return j.gatewayTrust(h.with("listens on %d for %d services", listens, len(p.Listeners[i].Chains)), p)
	}
	return j.gatewayOffers(h, p, p.Listeners[i])
}

// gatewayOffers: does it know the service by the name that the caller's proxy asks for?
func (j *judge) gatewayOffers(h Hop, p *Proxy, l Listener) Hop {
	u, ok := parseUpstream(j.target)
	if !ok {
		return h
	}
	s, sni := j.to(), u.sni()
	offers := func(name string) bool {
		return slices.ContainsFunc(l.Chains, func(c Chain) bool { return slices.Contains(c.ServerNames, name) })
	}
	h = h.with("SNI %s", sni)
	switch {
	case offers(sni):
	case u.subset != "" && offers(u.base().sni()):
		return h.broken("gateway-not-offering", fmt.Sprintf("apply the DestinationRule with subset %s in %s too", u.subset, s.Cluster),
			"%s's east-west gateway knows %s and not its subset %s: no DestinationRule in %s defines it", s.Cluster, u.host, u.subset, s.Cluster)
	default:
		return h.broken("gateway-not-offering", s.kubectl("get gateways.networking.istio.io -A -o yaml"), "%s's east-west gateway does not offer %s port %d: the hosts of its Gateway leave it out, or %s has no such Service", s.Cluster, u.host, u.port, s.Cluster)
	}
	behind := p.Clusters[sni]
	if behind == nil {
		return h
	}
	usable := 0
	for _, e := range behind.Endpoints {
		if e.Usable() {
			usable++
		}
	}
	if usable == 0 {
		if h, ok := j.calleeUnready(h); ok {
			return h
		}
		if u.subset != "" {
			return h.broken("subset-empty", "correct the labels of subset "+u.subset+" in DestinationRule "+behind.Rule, "subset %s of %s chooses no endpoint in %s", u.subset, u.host, s.Cluster)
		}
		return h.broken("gateway-no-endpoint", "isthmus status", "%s's east-west gateway knows no endpoint of %s", s.Cluster, u.host)
	}
	first := behind.Endpoints[slices.IndexFunc(behind.Endpoints, Endpoint.Usable)]
	return h.with("%d endpoints behind it, the first %s", usable, first.Address)
}

// gatewayTrust looks at the gateway's certificate where no workload is asked about.
func (j *judge) gatewayTrust(h Hop, p *Proxy) Hop {
	if len(p.Chain) > 0 {
		h = h.with("%s", describeChain(p.Chain, j.Taken))
		if c := ended(p.Chain, j.Taken); c != nil {
			return h.doubtful("certificate-ended", "isthmus apply", "the certificate of %s's gateway (%s) has ended", j.To.Cluster, c.Subject)
		}
	}
	return h
}
