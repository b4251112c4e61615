package verify

import (
	"fmt"
	"slices"

	"isthmus.dev/isthmus/internal/facts"
)

var servedChecks = []Check{
	{
		ID: "CHK048", Severity: Warning, Needs: answered(idRights), Run: servedHaveAWay,
		Question: "Does every cluster without an istiod reach the one that serves it?",
		Why:      "Its API server asks that istiod for every new pod, and its proxies get certificates and endpoints from it, all through one east-west gateway. Without that, new pods are refused and running ones go on with what they know.",
		Fix:      "See to the gateway of the cluster that spec.clusters[].controlPlane names: isthmus status, isthmus apply.",
	},
	{
		ID: "CHK049", Severity: Warning, Needs: answered(idRights, idIstioOurs), Run: noIstiodTooMany,
		Question: "Is there no istiod left in a cluster that another's serves?",
		Why:      "A cluster that was a primary and becomes a remote keeps its istiod until apply takes it away. Two control planes would give their proxies different configuration.",
		Fix:      "isthmus apply takes away what it made; restart the workloads then, so that they ask the new one.",
	},
}

// servedHaveAWay asks it of clusters that have joined: where a webhook is, pods depend on it.
func servedHaveAWay(in Input) []Finding {
	var out []Finding
	for _, m := range in.Members() {
		host := in.Mesh.Host(m.Cluster)
		if host.Name == m.Name || len(m.Facts.Webhooks) == 0 {
			continue
		}
		f := Finding{Cluster: m.Name, Other: host.Name, Do: "isthmus status, and mend " + host.Name}
		switch h := in.Now.Clusters[host.Name]; {
		case !h.Answered():
			f.Seen = fmt.Sprintf("%s, whose istiod serves it, does not answer: whether it still serves cannot be told", host.Name)
		case !slices.ContainsFunc(h.Gateways, func(g facts.Gateway) bool { return g.Ready > 0 && len(g.Addresses) > 0 }):
			f.Seen = fmt.Sprintf("%s's east-west gateway, through which it reaches its istiod, has no address or no ready pod: new pods are refused", host.Name)
		case !slices.ContainsFunc(h.Istiods, func(i facts.Istiod) bool {
			return i.Ready > 0 && i.Namespace == in.Mesh.Primary(m.Cluster).IstioNamespace()
		}):
			f.Seen = fmt.Sprintf("the istiod in %s that serves it has no ready pod: new pods are refused", host.Name)
		default:
			continue
		}
		out = append(out, f)
	}
	return out
}

func noIstiodTooMany(in Input) []Finding {
	var out []Finding
	for _, m := range in.Members() {
		if m.IsPrimary() {
			continue
		}
		for _, i := range m.Facts.Istiods {
			if !ours(i, in.Mesh) {
				continue
			}
			out = append(out, Finding{
				Cluster: m.Name, Object: "Deployment " + i.Namespace + "/" + i.Name,
				Seen: fmt.Sprintf("an istiod runs here, and %s's is to serve this cluster", in.Mesh.Host(m.Cluster).Name),
				Do:   "isthmus apply takes it away; then restart the workloads with sidecars here",
			})
		}
	}
	return out
}
