package analyze

import (
	"maps"
	"slices"
	"strings"
)

// clusterDomain is the DNS domain of a Kubernetes cluster.
const clusterDomain = "svc.cluster.local"

// A service is a host that proxies know: a Kubernetes Service in one cluster, or a host of a ServiceEntry.
type service struct {
	*Object
	cluster  string
	host     string
	ports    []port
	selector map[string]string
	// exportTo are the namespaces that may see it; empty is every one.
	exportTo []string
}

// A port of a service. proto is the protocol in lower case that its name or appProtocol gives; "" where Istio finds
// out by looking at the bytes.
type port struct {
	number int
	name   string
	proto  string
	Value
}

// isEntry tells that a service is from a ServiceEntry.
func (s *service) isEntry() bool { return s.Group == networking }

// protocols are those that a port's name may begin with (istio.io: protocol selection).
var protocols = []string{"http", "http2", "https", "grpc", "grpc-web", "tcp", "tls", "mongo", "mysql", "redis", "udp"}

func protocolOf(name, app string) string {
	for _, said := range []string{app, name} {
		said = strings.ToLower(strings.TrimPrefix(said, "kubernetes.io/"))
		switch said {
		case "h2c":
			return "http2"
		case "ws", "wss":
			return map[string]string{"ws": "http", "wss": "https"}[said]
		}
		if strings.HasPrefix(said, "grpc-web") {
			return "grpc-web"
		}
		head, _, _ := strings.Cut(said, "-")
		if slices.Contains(protocols, head) {
			return head
		}
	}
	return ""
}

func (w *World) addServices(m *member) {
	for _, o := range m.all("", "Service") {
		s := &service{Object: o, cluster: m.Name, host: hostOf(o.Name, o.Namespace), selector: o.Spec("selector").Map()}
		if to := o.Annotation("networking.istio.io/exportTo"); to != "" {
			for ns := range strings.SplitSeq(to, ",") {
				s.exportTo = append(s.exportTo, strings.TrimSpace(ns))
			}
		}
		for _, p := range o.Spec("ports").Items() {
			n, _ := p.Get("port").Int()
			s.ports = append(s.ports, port{n, p.Get("name").Str(), protocolOf(p.Get("name").Str(), p.Get("appProtocol").Str()), p})
		}
		w.services[s.host] = append(w.services[s.host], s)
		w.inspace[o.Namespace] = append(w.inspace[o.Namespace], s)
	}
	for _, o := range m.all(networking, "ServiceEntry") {
		for _, h := range o.Spec("hosts").Strings() {
			s := &service{Object: o, cluster: m.Name, host: h, exportTo: o.Spec("exportTo").Strings()}
			for _, p := range o.Spec("ports").Items() {
				n, _ := p.Get("number").Int()
				s.ports = append(s.ports, port{n, p.Get("name").Str(), strings.ToLower(p.Get("protocol").Str()), p})
			}
			if strings.HasPrefix(h, "*") {
				w.wild = append(w.wild, s)
			} else {
				w.services[h] = append(w.services[h], s)
			}
		}
	}
}

func hostOf(name, ns string) string { return name + "." + ns + "." + clusterDomain }

// expand is the full form of a host as Istio reads it: a name without a dot is a Service in the object's own
// namespace; everything else stands for itself (pilot/pkg/model, ResolveShortnameToFQDN).
func expand(host, ns string) string {
	if host == "" || strings.ContainsAny(host, ".*") {
		return host
	}
	return hostOf(host, ns)
}

// split takes a Kubernetes host apart; ok is false for other hosts.
func split(host string) (name, ns string, ok bool) {
	rest, ok := strings.CutSuffix(host, "."+clusterDomain)
	if !ok {
		if rest, ok = strings.CutSuffix(host, ".svc.clusterset.local"); !ok {
			return "", "", false
		}
	}
	name, ns, ok = strings.Cut(rest, ".")
	return name, ns, ok && name != "" && ns != "" && !strings.Contains(ns, ".")
}

// lookup finds a host in every cluster: what one cluster has, proxies of all can call.
func (w *World) lookup(host string) []*service {
	if found := w.services[host]; len(found) > 0 {
		return found
	}
	if rest, ok := strings.CutSuffix(host, ".svc.clusterset.local"); ok {
		if found := w.services[rest+"."+clusterDomain]; len(found) > 0 {
			return found
		}
	}
	var found []*service
	for _, s := range w.wild {
		if under(host, s.host) {
			found = append(found, s)
		}
	}
	return found
}

// under tells whether a wildcard host, "*" or "*.domain", takes in another host.
func under(host, wildcard string) bool {
	suffix, ok := strings.CutPrefix(wildcard, "*")
	return ok && strings.HasSuffix(host, suffix) && (len(host) > len(suffix) || host == wildcard)
}

// workloadsOf are the pods behind a host, in every cluster.
func (w *World) workloadsOf(host string) []*workload {
	var found []*workload
	for _, s := range w.lookup(host) {
		if s.isEntry() || len(s.selector) == 0 {
			continue
		}
		for _, x := range w.selected(s.Namespace, s.selector) {
			if x.cluster == s.cluster {
				found = append(found, x)
			}
		}
	}
	return found
}

// A target is a place in configuration that sends calls to a host.
type target struct {
	*member
	o      *Object
	host   Value
	subset Value
	port   Value
	proto  string // the rule it stands in: http, tls, tcp; "" where it is no route
	rule   Value  // that rule
	fqdn   string
}

// targetsOf are all places of a cluster that send calls to a host: routes and mirrors of VirtualServices, backends of
// the Gateway API's routes.
func targetsOf(m *member) []target { //nolint:gocognit // one walk over every place that may name a host
	var all []target
	add := func(o *Object, rule, d Value, proto string) {
		if d.IsNull() {
			return
		}
		host := d.Get("host")
		all = append(all, target{m, o, host, d.Get("subset"), d.Get("port", "number"), proto, rule, expand(host.Str(), o.Namespace)})
	}
	for _, o := range m.all(networking, "VirtualService") {
		for _, proto := range []string{"http", "tls", "tcp"} {
			for _, rule := range o.Spec(proto).Items() {
				for _, r := range rule.Get("route").Items() {
					add(o, rule, r.Get("destination"), proto)
				}
				add(o, rule, rule.Get("mirror"), proto)
				for _, r := range rule.Get("mirrors").Items() {
					add(o, rule, r.Get("destination"), proto)
				}
			}
		}
	}
	for _, kind := range []string{"HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute"} {
		for _, o := range m.all(gatewayAPI, kind) {
			for _, rule := range o.Spec("rules").Items() {
				for _, b := range rule.Get("backendRefs").Items() {
					if kind := b.Get("kind").Str(); kind != "" && kind != "Service" || b.Get("group").Str() != "" {
						continue
					}
					ns := b.Get("namespace").Str()
					if ns == "" {
						ns = o.Namespace
					}
					all = append(all, target{member: m, o: o, host: b.Get("name"), port: b.Get("port"), rule: rule, fqdn: hostOf(b.Get("name").Str(), ns)})
				}
			}
		}
	}
	return all
}

// visible tells whether a namespace may see what is exported to some. "." is the exporter's own namespace, "*" is
// every one, "~" is none.
func visible(exportTo []string, own, from string) bool {
	if len(exportTo) == 0 {
		return true
	}
	return slices.ContainsFunc(exportTo, func(to string) bool { return to == "*" || to == from || to == "." && own == from })
}

// hosts are all names that proxies know.
func (w *World) hosts() []string { return slices.Sorted(maps.Keys(w.services)) }
