package explain

import (
	"fmt"
	"slices"
	"strings"

	"isthmus.dev/isthmus/internal/facts"
)

// An endpointRule recognises why the proxy has no endpoint in the callee's cluster that it can use. The first that
// speaks is the cause.
type endpointRule func(*judge, Hop) (Hop, bool)

// noEndpointRules in the order in which links are to be mended.
var noEndpointRules = []endpointRule{
	(*judge).calleeUnready, (*judge).calleeUnproxied, (*judge).unknownCluster, (*judge).portsDiffer, (*judge).emptySubset,
	(*judge).noWayIn, (*judge).calleeRefusesTLS,
}

// endpoints: which endpoints are there, where are they, and does the proxy use them?
func (j *judge) endpoints() (Hop, bool) {
	s := j.from()
	h := hop("endpoints", s.Cluster, "")
	if !j.decided {
		return Hop{}, false
	}
	all := s.CallerProxy.Clusters[j.target].Endpoints
	local, through, direct := j.place(all)
	h.Seen = j.count(local, through, direct)
	if h.Seen == "" {
		h.Seen = "none"
	}
	there := direct
	switch {
	case j.From.Cluster == j.To.Cluster:
		there = local
	case len(through) > 0:
		j.through, there = true, through
	}
	j.chosen = there
	if h, away := j.away(h, j.to()); away {
		return h, true
	}
	if h, wrong := j.labelsWrong(h, direct); wrong {
		return h, true
	}
	if len(there) == 0 {
		for _, rule := range noEndpointRules {
			if h, ok := rule(j, h); ok {
				return h, true
			}
		}
		return h.broken("no-endpoint", "isthmus status", "the caller's proxy in %s has no endpoint of %s in %s, and nothing that was read says why", s.Cluster, j.target, j.To.Cluster), true
	}
	return j.health(h, there), true
}

// health tells of endpoints that are there and not used, and of what may be wrong though they are.
func (j *judge) health(h Hop, there []Endpoint) Hop {
	s := j.from()
	if !slices.ContainsFunc(there, Endpoint.Usable) {
		// A callee that is gone is what brought it about, if it is gone.
		if h, ok := j.calleeUnready(h); ok {
			return h
		}
		e, u := there[0], s.CallerProxy.Clusters[j.target]
		how := "its control plane calls it " + strings.ToLower(e.Health)
		switch {
		case e.Ejected:
			how = "its proxy ejected it after failures in a row (outlier detection"
			if u.Rule != "" {
				how += " of DestinationRule " + u.Rule
			}
			how += ")"
		case e.Active:
			how = "it fails its proxy's health checks"
		}
		mend := j.to().kubectl("logs -n %s -l %s -c istio-proxy --tail=20", j.To.Namespace, j.labels())
		return h.broken("endpoint-ejected", mend, "%s of %s is there and %s takes no calls to it: %s", e.Address, j.Call.Host, s.Cluster, how)
	}
	for _, e := range there {
		if !e.Usable() {
			h = h.with("%s is not used (%s)", e.Address, strings.ToLower(unused(e)))
		}
	}
	if h, ok := j.calleeUnready(h); ok {
		return h
	}
	// Endpoints may be stale: what they came from is gone.
	if j.From.Cluster != j.To.Cluster {
		if stale, ok := j.unknownCluster(h); ok {
			stale.State = Warning
			return stale
		}
		if r, ok := j.remote(); ok {
			h = h.with("remote secret %s: %s", r.SecretName, r.SyncStatus)
		}
	}
	return h
}

func unused(e Endpoint) string {
	switch {
	case e.Ejected:
		return "ejected by outlier detection"
	case e.Active:
		return "failed health checks"
	}
	return e.Health
}

// place tells endpoints in the caller's cluster from those through the callee's gateway and those of the callee's
// cluster that are called by their own address.
func (j *judge) place(all []Endpoint) (local, through, direct []Endpoint) {
	gateways := j.gatewayAddresses()
	pods := map[string]bool{}
	for _, p := range j.to().Callees {
		pods[p.IP] = true
	}
	for _, e := range all {
		switch {
		case slices.Contains(gateways, e.host()):
			through = append(through, e)
		case e.Cluster == j.From.Cluster, e.Cluster == "" && j.From.Cluster == j.To.Cluster:
			local = append(local, e)
		case e.Cluster == j.To.Cluster, e.Cluster == "" && pods[e.host()]:
			direct = append(direct, e)
		}
	}
	return local, through, direct
}

func (j *judge) gatewayAddresses() []string {
	f := j.to().Facts
	if f == nil || j.From.Cluster == j.To.Cluster {
		return nil
	}
	var all []string
	for _, g := range f.Gateways {
		all = append(all, g.Addresses...)
	}
	return all
}

func (j *judge) count(local, through, direct []Endpoint) string {
	var parts []string
	if len(local) > 0 {
		parts = append(parts, fmt.Sprintf("%d local", len(local)))
	}
	if len(through) > 0 {
		parts = append(parts, fmt.Sprintf("%d through %s's gateway %s", len(through), j.To.Cluster, through[0].Address))
	}
	if len(direct) > 0 {
		parts = append(parts, fmt.Sprintf("%d in %s by its own address %s", len(direct), j.To.Cluster, direct[0].Address))
	}
	return strings.Join(parts, ", ")
}

// multiNetwork tells whether caller and callee are on different networks, by the document.
func (j *judge) multiNetwork() bool { return j.from().Network != j.to().Network }

// labelsWrong: istiod takes an endpoint for reachable by its own address when no gateway of its network is known.
func (j *judge) labelsWrong(h Hop, direct []Endpoint) (Hop, bool) {
	s := j.to()
	if j.From.Cluster == j.To.Cluster || !j.multiNetwork() || s.Facts == nil {
		return h, false
	}
	labels, _ := s.namespace(rootNamespace)
	space := labels["topology.istio.io/network"]
	wrong, where, mend := "", "", "isthmus apply"
	if space != s.Network && (space != "" || len(direct) > 0) {
		wrong, where = space, "namespace "+rootNamespace
	}
	for _, g := range s.Facts.Gateways {
		if g.Network != s.Network {
			wrong, where = g.Network, fmt.Sprintf("gateway Service %s/%s", g.Namespace, g.Name)
		}
	}
	if where == "" {
		return h, false
	}
	h = h.with("%s: topology.istio.io/network=%s", where, wrong)
	if len(direct) == 0 && len(j.chosen) > 0 {
		return h.doubtful("network-label-wrong", mend, "%s of %s says network %q, and the mesh knows the cluster's as %q", where, s.Cluster, wrong, s.Network), false
	}
	return h.broken("network-label-wrong", mend, "%s of %s says network %q, and the mesh knows the cluster's as %q: no gateway is found for its pods", where, s.Cluster, wrong, s.Network), true
}

// calleeUnready: is there a ready pod that the Service chooses?
func (j *judge) calleeUnready(h Hop) (Hop, bool) {
	s := j.to()
	service := s.service(j.Call.Host)
	if s.Unread["Pod"] != "" || s.Unread["Service"] != "" {
		return h, false
	}
	if service == nil {
		return h.broken("callee-missing", fmt.Sprintf("create the Service in %s", s.Cluster), "%s has no Service for %s, so its pods are no endpoints of it", s.Cluster, j.Call.Host), true
	}
	if len(s.Callees) == 0 {
		return h.broken("callee-missing", s.kubectl("get pods -n %s -l %s", service.Namespace, selectorText(service.Selector)),
			"no pod in %s has the labels that Service %s/%s chooses (%s)", s.Cluster, service.Namespace, service.Name, selectorText(service.Selector)), true
	}
	if slices.ContainsFunc(s.Callees, func(p Pod) bool { return p.Ready }) {
		return h, false
	}
	p := s.Callees[0]
	if why := rejects(s, nil, &p); why != "" {
		return h.broken("proxy-rejects", s.kubectl("logs -n %s %s -c istio-proxy --tail=20", p.Namespace, p.Name),
			"the callee's proxy in %s does not get ready, since it rejects %s", s.Cluster, why), true
	}
	return h.broken("callee-not-ready", s.kubectl("describe pod -n %s %s", p.Namespace, p.Name), "no pod of %s in %s is ready: %s: %s",
		j.Call.Host, s.Cluster, p.Name, p.Problem), true
}

// calleeUnproxied: pods without a sidecar cannot be reached through a gateway.
func (j *judge) calleeUnproxied(h Hop) (Hop, bool) {
	s := j.to()
	if !j.multiNetwork() || slices.ContainsFunc(s.Callees, func(p Pod) bool { return p.Ready && p.Sidecar }) {
		return h, false
	}
	p := s.Callees[0]
	return h.broken("callee-no-proxy", injectionMend(s, &p), "the callee's pods in %s have no proxy%s, and without mutual TLS no gateway leads to them", s.Cluster, whyNoProxy(s, &p)), true
}

// unknownCluster: does the caller's control plane read the callee's cluster?
func (j *judge) unknownCluster(h Hop) (Hop, bool) {
	s := j.from()
	if j.From.Cluster == j.To.Cluster || s.Facts == nil {
		return h, false
	}
	k, secret, found := s.kubeconfig(j.To.Cluster)
	if !found {
		if slices.ContainsFunc(s.Facts.Denied, func(r facts.Right) bool { return r.Resource == "secrets" && r.Verb == "list" }) {
			return h, false
		}
		if d := facts.Drains(facts.Snapshot{Taken: j.Taken, Clusters: map[string]*facts.Cluster{s.Cluster: s.Facts}})[j.To.Cluster]; d.On {
			return h.broken("cluster-drained", "isthmus undrain "+j.To.Cluster, "%s is drained since %s: no other cluster's proxies know it until it is undrained",
				j.To.Cluster, d.Since.UTC().Format("2006-01-02 15:04 MST")), true
		}
		return h.broken("remote-secret-missing", "isthmus apply", "%s's control plane does not know %s: there is no remote secret for it in %s/%s",
			s.Cluster, j.To.Cluster, s.Cluster, rootNamespace), true
	}
	h = h.with("remote secret %s → %s", secret, k.Server)
	if !k.NotAfter.IsZero() && !k.NotAfter.After(j.Taken) {
		return h.broken("remote-credential-ended", "isthmus apply", "%s's credential for %s's API server ended at %s (Secret %s)", s.Cluster, j.To.Cluster,
			k.NotAfter.UTC().Format("2006-01-02 15:04 MST"), secret), true
	}
	r, known := j.remote()
	switch {
	case s.Pages.Err != "" || len(s.Pages.Clusters) == 0:
		return h, false
	case !known:
		return h.broken("remote-not-synced", s.kubectl("logs -n %s -l app=istiod --tail=50", rootNamespace), "%s's istiod has not taken up Secret %s for %s", s.Cluster, secret, j.To.Cluster), true
	case r.SyncStatus != "synced":
		why := ""
		if k.Subject == "" {
			why = ": its token is none of Kubernetes' own"
		}
		return h.broken("remote-not-synced", "isthmus apply", "%s's istiod cannot read %s's API server at %s (sync status: %s; Secret %s%s)",
			s.Cluster, j.To.Cluster, k.Server, r.SyncStatus, secret, why), true
	}
	return h, false
}

// portsDiffer: endpoints of another cluster count where the port's name is the same.
func (j *judge) portsDiffer(h Hop) (Hop, bool) {
	a, b := j.from().service(j.Call.Host), j.to().service(j.Call.Host)
	if j.From.Cluster == j.To.Cluster || a == nil || b == nil {
		return h, false
	}
	pa, pb := a.port(j.Call.Port), b.port(j.Call.Port)
	mend := fmt.Sprintf("give Service %s/%s the same ports in both, with the same names", b.Namespace, b.Name)
	switch {
	case pa == nil:
		return h, false
	case pb == nil:
		return h.broken("ports-differ", mend, "Service %s/%s has port %d in %s and not in %s, where it has %s", b.Namespace, b.Name, j.Call.Port, j.From.Cluster, j.To.Cluster, portsOf(b)), true
	case pa.Name != pb.Name:
		return h.broken("ports-differ", mend, "port %d of Service %s/%s is called %q in %s and %q in %s: the mesh does not take them for one", j.Call.Port, b.Namespace, b.Name, pa.Name, j.From.Cluster, pb.Name, j.To.Cluster), true
	}
	return h, false
}

// emptySubset: the host has endpoints there, and the subset has none.
func (j *judge) emptySubset(h Hop) (Hop, bool) {
	u, ok := parseUpstream(j.target)
	if !ok || u.subset == "" {
		return h, false
	}
	p := j.from().CallerProxy
	whole := p.Clusters[u.base().String()]
	if whole == nil || len(whole.Endpoints) == 0 {
		return h, false
	}
	rule := p.Clusters[j.target].Rule
	return h.broken("subset-empty", "correct the labels of subset "+u.subset+" in DestinationRule "+rule, "subset %s of DestinationRule %s in %s chooses no endpoint in %s: %d of %s have other labels",
		u.subset, rule, j.From.Cluster, j.To.Cluster, len(whole.Endpoints), u.host), true
}

// noWayIn: another network without a gateway that has an address.
func (j *judge) noWayIn(h Hop) (Hop, bool) {
	s := j.to()
	if !j.multiNetwork() || s.Facts == nil {
		return h, false
	}
	if len(s.Facts.Gateways) == 0 {
		return h.broken("gateway-missing", "isthmus apply", "%s has no east-west gateway, and %s is on another network", s.Cluster, j.From.Cluster), true
	}
	if len(j.gatewayAddresses()) == 0 {
		g := s.Facts.Gateways[0]
		return h.broken("gateway-no-address", s.kubectl("describe service -n %s %s", g.Namespace, g.Name), "%s's east-west gateway has no address that others could call (Service %s/%s)", s.Cluster, g.Namespace, g.Name), true
	}
	return h, false
}

// calleeRefusesTLS: without mutual TLS no gateway leads to an endpoint.
func (j *judge) calleeRefusesTLS(h Hop) (Hop, bool) {
	if m := j.peerMode(); j.multiNetwork() && m.mode == disable {
		return h.broken("mtls-off", j.to().kubectl("edit peerauthentication -n %s %s", m.namespace, m.name), "%s in %s turns mutual TLS off, and without it no gateway leads to the callee", m, j.To.Cluster), true
	}
	return h, false
}

// kubeconfig is what a control plane knows another cluster by.
func (s *Site) kubeconfig(about string) (k facts.Kubeconfig, secret string, found bool) {
	for _, key := range sortedKeys(s.Facts.Secrets) {
		x := s.Facts.Secrets[key]
		if x.Labels["istio/multiCluster"] != "true" {
			continue
		}
		if k, ok := x.Kubeconfigs[about]; ok {
			return k, key, true
		}
		if slices.Contains(x.Keys, about) {
			return facts.Kubeconfig{}, key, true
		}
	}
	return k, "", false
}

func (j *judge) labels() string {
	if s := j.to().service(j.Call.Host); s != nil {
		return selectorText(s.Selector)
	}
	return "app=" + j.To.Name
}

func selectorText(selector map[string]string) string {
	var all []string
	for _, k := range sortedKeys(selector) {
		all = append(all, k+"="+selector[k])
	}
	return strings.Join(all, ",")
}
