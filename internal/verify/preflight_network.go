package verify

import (
	"fmt"
	"net/netip"
	"slices"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
)

const (
	networkLabel = "topology.istio.io/network"
	// nodeSelectorAnnotation tells istiod which nodes' addresses a NodePort gateway has; without it there are
	// none (isNodePortGatewayService in istio pilot/pkg/serviceregistry/kube/controller/util.go).
	nodeSelectorAnnotation = "traffic.istio.io/nodeSelector"
)

func networkAgrees(in Input) []Finding {
	var out []Finding
	for _, m := range in.Members() {
		do := fmt.Sprintf("set spec.clusters[name:%s].network to what is there, or let apply change it: calls in flight between the networks may fail meanwhile", m.Name)
		if f, differs := networkSaid(m); differs {
			f.Cluster, f.Do = m.Name, do
			out = append(out, f)
		}
	}
	return out
}

// networkSaid finds who in a cluster says another network than the document.
func networkSaid(m Member) (f Finding, differs bool) {
	for _, ns := range m.Facts.Namespaces {
		if have := ns.Labels[networkLabel]; ns.Name == istioNamespace && have != "" && have != m.Network {
			return Finding{
				Object: "Namespace " + ns.Name, Seen: fmt.Sprintf("namespace %s says network %q, the document %q", ns.Name, have, m.Network),
			}, true
		}
	}
	for _, i := range m.Facts.Istiods {
		if i.Network != "" && i.Network != m.Network {
			return Finding{
				Object: "Deployment " + i.Namespace + "/" + i.Name, Seen: fmt.Sprintf("istiod says network %q, the document %q", i.Network, m.Network),
			}, true
		}
	}
	return f, false
}

func podRanges(f *facts.Cluster) []netip.Prefix {
	var all []string
	for _, n := range f.Nodes {
		all = append(all, n.PodCIDRs...)
	}
	return prefixes(all)
}

// prefixes parses ranges and puts them in order; what is no range is left out.
func prefixes(cidrs []string) []netip.Prefix {
	var out []netip.Prefix
	for _, c := range cidrs {
		if p, err := netip.ParsePrefix(c); err == nil {
			out = append(out, p.Masked())
		}
	}
	slices.SortFunc(out, netip.Prefix.Compare)
	return out
}

// overlap finds a range of a and one of b that share an address. Both are in order and overlap nothing in
// themselves, so one walk over both is enough: a cluster may have thousands of nodes.
func overlap(a, b []netip.Prefix) (x, y netip.Prefix, found bool) {
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i].Overlaps(b[j]):
			return a[i], b[j], true
		case a[i].Addr().Less(b[j].Addr()):
			i++
		default:
			j++
		}
	}
	return x, y, false
}

func podRangesApart(in Input) []Finding {
	var out []Finding
	for a, b := range in.Couples() {
		if a.Network != b.Network {
			continue
		}
		if x, y, found := overlap(a.pods, b.pods); found {
			out = append(out, Finding{
				Cluster: b.Name, Other: a.Name,
				Seen: fmt.Sprintf("pods of %s (%s) and of %s (%s) share addresses in network %s: a call meets whoever has the address where it starts", a.Name, x, b.Name, y, a.Network),
				Do:   fmt.Sprintf("give them networks of their own (spec.clusters[name:%s].network), or another pod range", b.Name),
			})
		}
	}
	for _, m := range in.Members() {
		shared := slices.ContainsFunc(in.Mesh.Clusters, func(c mesh.Cluster) bool { return c.Name != m.Name && c.Network == m.Network })
		if shared && len(m.Facts.Nodes) > 0 && len(m.pods) == 0 {
			out = append(out, Finding{
				Cluster: m.Name, Severity: Note, Seen: "its nodes do not tell their pod ranges, so nobody can say whether they overlap others of network " + m.Network,
				Do: "ask the CNI plugin for them (Calico: IPPools; Cilium: CiliumNodes) and compare",
			})
		}
	}
	return out
}

func podRangesAcross(in Input) []Finding {
	overlapping := 0
	var first Finding
	for a, b := range in.Couples() {
		if a.Network == b.Network {
			continue
		}
		if x, y, found := overlap(a.pods, b.pods); found {
			if overlapping == 0 {
				first = Finding{Cluster: b.Name, Other: a.Name, Seen: fmt.Sprintf("pods of %s (%s) and of %s (%s) share addresses", a.Name, x, b.Name, y)}
			}
			overlapping++
		}
	}
	if overlapping == 0 {
		return nil
	}
	if overlapping > 1 {
		first.Seen += fmt.Sprintf(", as those of %d other pairs do", overlapping-1)
	}
	first.Seen += "; fine, since calls between their networks go through gateways"
	first.Do = "nothing, as long as their networks stay apart"
	return []Finding{first}
}

func serviceRangesApart(in Input) []Finding {
	var out []Finding
	for a, b := range in.Couples() {
		if a.Network != b.Network {
			continue
		}
		for _, side := range [][2]*Member{{a, b}, {b, a}} {
			services, pods := side[0], side[1]
			if x, y, found := overlap(prefixes(services.Facts.ServiceCIDRs), pods.pods); found {
				out = append(out, Finding{
					Cluster: services.Name, Other: pods.Name,
					Seen: fmt.Sprintf("its Service range %s holds pods of %s (%s) in network %s: kube-proxy may catch calls to them", x, pods.Name, y, services.Network),
					Do:   fmt.Sprintf("give them networks of their own (spec.clusters[name:%s].network), or another Service range", services.Name),
				})
			}
		}
	}
	return out
}

func familiesMeet(in Input) []Finding {
	var out []Finding
	for one, other := range in.Couples() {
		a, b := families(one), families(other)
		if one.Network != other.Network || a == "" || b == "" || a == b || a == dualStack || b == dualStack {
			continue
		}
		out = append(out, Finding{
			Cluster: other.Name, Other: one.Name,
			Seen: fmt.Sprintf("pods of %s have %s addresses, those of %s %s, in one network %s", one.Name, a, other.Name, b, one.Network),
			Do:   fmt.Sprintf("give them networks of their own: spec.clusters[name:%s].network", other.Name),
		})
	}
	return out
}

const dualStack = "IPv4 and IPv6"

func families(m *Member) string {
	var four, six bool
	for _, p := range m.pods {
		four, six = four || p.Addr().Is4(), six || p.Addr().Is6()
	}
	switch {
	case four && six:
		return dualStack
	case four:
		return "IPv4"
	case six:
		return "IPv6"
	}
	return ""
}

func gatewayWillHaveAddress(in Input) []Finding {
	var out []Finding
	for _, m := range in.Members() {
		if !in.Mesh.HasGateway(m.Cluster) {
			continue
		}
		var f *Finding
		switch in.Mesh.EastWest.ServiceType {
		case "NodePort":
			if in.Mesh.EastWest.Annotations[nodeSelectorAnnotation] == "" {
				f = &Finding{
					Seen: "a NodePort gateway has the addresses of the nodes that annotation " + nodeSelectorAnnotation + " selects, and there is none",
					Do:   `set spec.gateways.eastWest.annotations: {` + nodeSelectorAnnotation + `: '{"kubernetes.io/os":"linux"}'}; the nodes need an ExternalIP`,
				}
			}
		case "ClusterIP":
			f = &Finding{
				Severity: Warning, Seen: "a gateway of type ClusterIP has no address for other networks, unless something else gives it externalIPs",
				Do: "set spec.gateways.eastWest.serviceType: LoadBalancer or NodePort",
			}
		default:
			f = judgeLoadBalancer(m)
		}
		if f != nil {
			f.Cluster = m.Name
			out = append(out, *f)
		}
	}
	return out
}

func judgeLoadBalancer(m Member) *Finding {
	lb := m.Facts.LoadBalancer
	const other = "install one (MetalLB, the cloud's controller), or set spec.gateways.eastWest.serviceType: NodePort"
	switch {
	case lb.Pending > 0 && !lb.Seen && lb.Provider == "":
		return &Finding{
			Seen: fmt.Sprintf("nothing here gives LoadBalancer Services an address: %s for one, and none has any", waits(lb.Pending)),
			Do:   other,
		}
	case lb.Pending > 0:
		return &Finding{
			Severity: Warning, Seen: fmt.Sprintf("%s for an address of the load balancer", waits(lb.Pending)),
			Do: kubectl(m.Cluster, "get services -A --field-selector spec.type=LoadBalancer") + "; its events say why",
		}
	case !lb.Seen && lb.Provider == "":
		return &Finding{
			Severity: Warning, Seen: "no LoadBalancer Service yet, and no known load balancer: the east-west gateway may wait for ever",
			Do: "if there is none, " + other,
		}
	}
	return nil
}

func waits(n int) string {
	if n == 1 {
		return "1 waits"
	}
	return fmt.Sprintf("%d wait", n)
}

func gatewayHasAddress(in Input) []Finding {
	var out []Finding
	for _, m := range in.Members() {
		for _, g := range m.Facts.Gateways {
			if len(g.Addresses) == 0 && g.Type != "NodePort" {
				out = append(out, Finding{
					Cluster: m.Name, Object: "Service " + g.Namespace + "/" + g.Name,
					Seen: fmt.Sprintf("the east-west gateway has no address: nobody outside reaches network %s", g.Network),
					Do:   kubectl(m.Cluster, fmt.Sprintf("-n %s describe service %s", g.Namespace, g.Name)),
				})
			}
		}
	}
	return out
}

func gatewayAddressIsIP(in Input) []Finding {
	var out []Finding
	for _, m := range in.Members() {
		for _, g := range m.Facts.Gateways {
			for _, address := range g.Addresses {
				if _, err := netip.ParseAddr(address); err == nil {
					continue
				}
				out = append(out, Finding{
					Cluster: m.Name, Object: "Service " + g.Namespace + "/" + g.Name,
					Seen: fmt.Sprintf("the gateway's address is a host name, %s: other clusters' istiods resolve it themselves", address),
					Do:   "see that their DNS knows it, and leave RESOLVE_HOSTNAME_GATEWAYS on (it is by default); a fixed IP is steadier",
				})
			}
		}
	}
	return out
}

func gatewayReady(in Input) []Finding {
	var out []Finding
	for _, m := range in.Members() {
		for _, g := range m.Facts.Gateways {
			switch {
			case g.Wanted == 0:
				out = append(out, Finding{
					Cluster: m.Name, Object: "Deployment " + g.Namespace + "/" + g.Name, Seen: "the east-west gateway is scaled to 0",
					Do: "isthmus apply",
				})
			case g.Ready < g.Wanted:
				out = append(out, Finding{
					Cluster: m.Name, Object: "Deployment " + g.Namespace + "/" + g.Name,
					Seen: fmt.Sprintf("%d of %s of the east-west gateway ready", g.Ready, plural(int(g.Wanted), "pod")),
					Do:   kubectl(m.Cluster, fmt.Sprintf("-n %s describe pods -l istio=eastwestgateway", g.Namespace)),
				})
			}
		}
	}
	return out
}
