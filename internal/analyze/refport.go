package analyze

import (
	"fmt"
	"slices"
	"strings"
)

// wrongPort finds routes to a port that no cluster's service has, routes from a gateway that name none where the
// service has several, and settings and matches for ports that the service does not have.
func wrongPort(w *World) []Finding {
	var all []Finding
	for _, m := range w.members {
		all = append(all, w.portsOfSettings(m)...)
		for _, t := range m.targets {
			found := w.lookup(t.fqdn)
			if len(found) == 0 || len(found[0].ports) == 0 {
				continue
			}
			n, named := t.port.Int()
			if named && slices.ContainsFunc(found, func(s *service) bool { return s.has(n) }) {
				continue
			}
			f := t.o.find(m.Name, t.port)
			f.Evidence = where(found[0].Object, found[0].ports[0].Value)
			if named {
				f.Seen = fmt.Sprintf("%s has no port %d", t.host.Str(), n)
				f.Do = "its ports are " + portList(found[0].ports)
				if ports := found[0].ports; len(ports) == 1 {
					f.Do = fmt.Sprintf("write %d, its only port", ports[0].number)
					f.Fix = t.o.number(t.port, ports[0].number, true)
				}
				all = append(all, f)
				continue
			}
			gateways, mesh := gatewaysOf(t.o)
			if t.port.Exists() || mesh || len(found[0].ports) == 1 || t.o.Group == gatewayAPI || w.listens(m, t.o, gateways, found[0]) {
				continue
			}
			f = t.o.find(m.Name, t.host)
			f.Evidence = where(found[0].Object, found[0].ports[0].Value)
			f.Seen = fmt.Sprintf("%s has several ports and this route names none: a gateway cannot choose", t.host.Str())
			f.Do = "add port: {number: …}; its ports are " + portList(found[0].ports)
			all = append(all, f)
		}
	}
	return all
}

// portsOfSettings judges the ports for which a DestinationRule has settings and those that a VirtualService's rules
// for sidecars match.
func (w *World) portsOfSettings(m *member) []Finding {
	var all []Finding
	judge := func(o *Object, v Value, host, what string) {
		n, ok := v.Int()
		found := w.lookup(host)
		if !ok || len(found) == 0 || len(found[0].ports) == 0 || slices.ContainsFunc(found, func(s *service) bool { return s.has(n) }) {
			return
		}
		f := o.find(m.Name, v)
		f.Seen = fmt.Sprintf("%s has no port %d: %s", host, n, what)
		f.Evidence = where(found[0].Object, found[0].ports[0].Value)
		f.Do = "its ports are " + portList(found[0].ports)
		all = append(all, f)
	}
	for _, r := range m.rules {
		policies := []Value{r.Spec("trafficPolicy")}
		for _, s := range r.Spec("subsets").Items() {
			policies = append(policies, s.Get("trafficPolicy"))
		}
		for _, p := range policies {
			for _, l := range p.Get("portLevelSettings").Items() {
				judge(r.Object, l.Get("port", "number"), r.host, "these settings apply to nothing")
			}
		}
	}
	for _, o := range m.all(networking, "VirtualService") {
		hosts := o.Spec("hosts").Items()
		if _, mesh := gatewaysOf(o); !mesh || len(hosts) != 1 {
			continue
		}
		for _, proto := range []string{"http", "tls", "tcp"} {
			for _, rule := range o.Spec(proto).Items() {
				for _, match := range rule.Get("match").Items() {
					if len(match.Get("gateways").Items()) == 0 && len(o.Spec("gateways").Items()) == 0 {
						judge(o, match.Get("port"), expand(hosts[0].Str(), o.Namespace), "this never matches")
					}
				}
			}
		}
	}
	return all
}

// listens tells whether a gateway of the route listens on a port that the service has too: Istio then takes that
// (pilot/pkg/networking/core/route, GetDestinationCluster). A Gateway that was not read may.
func (w *World) listens(m *member, o *Object, names []Value, s *service) bool {
	for _, v := range names {
		gateways := m.gatewayNamed(o, v.Str())
		if len(gateways) == 0 {
			return true
		}
		for _, g := range gateways {
			for _, server := range g.Spec("servers").Items() {
				if n, ok := server.Get("port", "number").Int(); ok && s.has(n) {
					return true
				}
			}
		}
	}
	return false
}

func (s *service) has(number int) bool {
	return slices.ContainsFunc(s.ports, func(p port) bool { return p.number == number })
}

func portList(ports []port) string {
	parts := make([]string, len(ports))
	for i, p := range ports {
		parts[i] = strings.TrimSpace(fmt.Sprintf("%d %s", p.number, p.name))
	}
	return strings.Join(parts, ", ")
}

// number is the edit that writes another number.
func (o *Object) number(v Value, n int, guess bool) *Edit {
	e := o.replace(v, "x", guess)
	if e == nil || e.New != "x" {
		return nil
	}
	e.New = fmt.Sprint(n)
	return e
}

// What a rule of a VirtualService needs of a port: the protocols that it works on. A port without a protocol is
// looked at by Istio at run time, and fits any.
var works = map[string][]string{
	"http": {"http", "http2", "grpc", "grpc-web"},
	"tls":  {"tls", "https"},
	"tcp":  {"tcp", "tls", "https", "mongo", "mysql", "redis"},
}

// wrongProtocol finds routes that never apply because the port that they are for speaks something else.
func wrongProtocol(w *World) []Finding {
	var all []Finding
	w.each(networking, "VirtualService", func(m *member, o *Object) {
		names, mesh := gatewaysOf(o)
		for _, proto := range []string{"http", "tls", "tcp"} {
			rules := o.Spec(proto)
			if len(rules.Items()) == 0 {
				continue
			}
			if mesh && len(names) == 0 {
				all = append(all, w.deafPorts(m, o, rules, proto)...)
			}
			all = append(all, deafServers(m, o, rules, proto, names)...)
		}
	})
	return all
}

// deafPorts judges a VirtualService for sidecars by the services whose calls it routes.
func (w *World) deafPorts(m *member, o *Object, rules Value, proto string) []Finding {
	for _, h := range o.Spec("hosts").Items() {
		for _, s := range w.lookup(expand(h.Str(), o.Namespace)) {
			if len(s.ports) == 0 || slices.ContainsFunc(s.ports, func(p port) bool { return p.proto == "" || slices.Contains(works[proto], p.proto) }) {
				continue
			}
			p := s.ports[0]
			f := o.find(m.Name, Value{node: rules.key})
			f.Seen = fmt.Sprintf("these %s routes never apply: port %d of %s is %s", proto, p.number, h.Str(), p.proto)
			f.Evidence = where(s.Object, p.Value)
			f.Do = fmt.Sprintf("name the port after what it speaks (%s…), or write the routes under %s", works[proto][0], fits(p.proto))
			return []Finding{f}
		}
	}
	return nil
}

func fits(proto string) string {
	for _, rule := range []string{"http", "tls", "tcp"} {
		if slices.Contains(works[rule], proto) {
			return rule
		}
	}
	return "tcp"
}

// deafServers judges a VirtualService for gateways by the servers of the Gateways that it names.
func deafServers(m *member, o *Object, rules Value, proto string, names []Value) []Finding {
	for _, v := range names {
		gateways := m.gatewayNamed(o, v.Str())
		var servers []Value
		for _, g := range gateways {
			servers = append(servers, g.Spec("servers").Items()...)
		}
		if len(servers) == 0 || slices.ContainsFunc(servers, func(s Value) bool { return serverTakes(s) == proto || serverTakes(s) == "" }) {
			continue
		}
		f, g := o.find(m.Name, Value{node: rules.key}), gateways[0]
		p := servers[0].Get("port", "protocol")
		f.Seen = fmt.Sprintf("these %s routes never apply: every server of Gateway %s/%s takes %s routes", proto, g.Namespace, g.Name, serverTakes(servers[0]))
		f.Evidence = fmt.Sprintf("%s has protocol %s", where(g, p), p.Str())
		if mode := servers[0].Get("tls", "mode").Str(); mode != "" {
			f.Evidence += ", tls mode " + mode
		}
		f.Do = fmt.Sprintf("write the routes under %s, or change the server", serverTakes(servers[0]))
		return []Finding{f}
	}
	return nil
}

// serverTakes is the kind of rules that apply on a Gateway's server (pilot/pkg/networking/core/gateway.go).
func serverTakes(s Value) string {
	mode := s.Get("tls", "mode").Str()
	passes := mode == "PASSTHROUGH" || mode == "AUTO_PASSTHROUGH"
	switch strings.ToUpper(s.Get("port", "protocol").Str()) {
	case "HTTP", "HTTP2", "GRPC", "GRPC-WEB":
		return "http"
	case "HTTPS":
		if passes {
			return "tls"
		}
		return "http"
	case "TLS":
		if passes {
			return "tls"
		}
		return "tcp"
	case "TCP", "MONGO", "MYSQL", "REDIS":
		return "tcp"
	}
	return ""
}
