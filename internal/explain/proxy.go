package explain

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"isthmus.dev/isthmus/internal/facts"
)

// A Proxy is what a proxy says of itself: the parts of Envoy's config_dump and clusters pages that decide calls.
type Proxy struct {
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	// Err says why it could not be asked; the rest is empty then.
	Err       string               `json:"err,omitempty"`
	Listeners []Listener           `json:"listeners,omitempty"`
	Routes    []RouteConfig        `json:"routes,omitempty"`
	Clusters  map[string]*Upstream `json:"clusters,omitempty"`
	// Chain is the certificate that it shows, with its intermediates; Roots are those that it trusts.
	Chain    []facts.Certificate `json:"chain,omitempty"`
	Identity string              `json:"identity,omitempty"` // "spiffe://cluster.local/ns/demo/sa/client"
	Roots    []facts.Certificate `json:"roots,omitempty"`
}

// A Listener of a proxy.
type Listener struct {
	Name    string  `json:"name"`
	Address string  `json:"address,omitempty"`
	Port    int     `json:"port,omitempty"`
	Chains  []Chain `json:"chains,omitempty"`
	// Err is why the proxy refused its last version.
	Err string `json:"err,omitempty"`
}

// A Chain is a filter chain of a listener.
type Chain struct {
	Name        string   `json:"name,omitempty"`
	Port        int      `json:"port,omitempty"`        // destination port that it is for; 0 for any
	ServerNames []string `json:"serverNames,omitempty"` // SNI
	TLS         bool     `json:"tls,omitempty"`         // it ends TLS
	// Cluster is where a TCP proxy in it leads, "" for HTTP; Routes the route configuration of an HTTP one.
	Cluster string `json:"cluster,omitempty"`
	Routes  string `json:"routes,omitempty"`
	HTTP    bool   `json:"http,omitempty"`
	// Policies are the rules of its RBAC filters, "ns[demo]-policy[echo-allow]-rule[0]".
	Policies []string `json:"policies,omitempty"`
}

// A RouteConfig is a table of virtual hosts.
type RouteConfig struct {
	Name  string        `json:"name"` // "80"
	Hosts []VirtualHost `json:"hosts"`
}

// A VirtualHost is the routes for some domains.
type VirtualHost struct {
	Name    string   `json:"name"`
	Domains []string `json:"domains"`
	Routes  []Route  `json:"routes"`
}

// A Route is what calls it takes and where to.
type Route struct {
	Name   string   `json:"name,omitempty"`
	Match  Match    `json:"match"`
	To     []Weight `json:"to,omitempty"`
	Direct int      `json:"direct,omitempty"` // status that it answers itself; redirects are 301
	Abort  *Abort   `json:"abort,omitempty"`
	Config string   `json:"config,omitempty"` // "demo/echo": the VirtualService that it is made from
}

// A Weight is one of the clusters that a route leads to.
type Weight struct {
	Cluster string `json:"cluster"`
	Percent int    `json:"percent"`
}

// An Abort is a fault that a route answers with on purpose.
type Abort struct {
	Status  int     `json:"status"`
	Percent float64 `json:"percent"`
}

// A Match is what a route asks of a call.
type Match struct {
	Prefix  string        `json:"prefix,omitempty"`
	Exact   string        `json:"exact,omitempty"`
	Regex   string        `json:"regex,omitempty"`
	Headers []HeaderMatch `json:"headers,omitempty"`
	// Query tells that it asks for query parameters too, which are not judged.
	Query bool `json:"query,omitempty"`
}

// A HeaderMatch asks for a header; of Exact, Prefix, Suffix, Contains, Regex and Present one is set.
type HeaderMatch struct {
	Name                                    string
	Exact, Prefix, Suffix, Contains, Regexp string `json:",omitempty"`
	Present                                 *bool  `json:",omitempty"`
	Invert                                  bool   `json:",omitempty"`
}

// An Upstream is a cluster of a proxy: a service, or a subset of one.
type Upstream struct {
	// TLS is how it speaks to endpoints: "auto", "mutual", "other" (a certificate of somebody else's), "none".
	TLS  string `json:"tls"`
	Rule string `json:"rule,omitempty"` // "demo/echo": the DestinationRule that it is made from
	// Sans are the identities that it takes from callees.
	Sans []string `json:"sans,omitempty"`
	// Outlier tells that endpoints which fail are ejected.
	Outlier   bool       `json:"outlier,omitempty"`
	Endpoints []Endpoint `json:"endpoints,omitempty"`
}

// An Endpoint is one that a proxy may call.
type Endpoint struct {
	Address string `json:"address"` // host:port
	// Health is Envoy's word: "HEALTHY", "UNHEALTHY", "DRAINING", ...
	Health  string `json:"health"`
	Ejected bool   `json:"ejected,omitempty"`
	Active  bool   `json:"active,omitempty"`  // failed an active health check
	Mutual  bool   `json:"mutual,omitempty"`  // the control plane says that it takes mutual TLS
	Cluster string `json:"cluster,omitempty"` // the cluster that it is in, where the control plane says
	Region  string `json:"region,omitempty"`
	// ConnectFails counts connections to it that failed.
	ConnectFails int `json:"connectFails,omitempty"`
}

// Usable tells whether the proxy sends calls to it.
func (e Endpoint) Usable() bool {
	return !e.Ejected && !e.Active && (e.Health == "" || e.Health == "HEALTHY" || e.Health == "DEGRADED" || e.Health == "UNKNOWN")
}

func (e Endpoint) host() string {
	h, _, err := net.SplitHostPort(e.Address)
	if err != nil {
		return e.Address
	}
	return h
}

// knows tells whether a proxy has a cluster.
func (p *Proxy) knows(cluster string) bool { return p.Clusters[cluster] != nil }

// virtualHost finds who serves a host on a port: the table of the port, or the host's own where its protocol is
// detected ("echo.demo.svc.cluster.local:80").
func (p *Proxy) virtualHost(host string, port int) (*VirtualHost, string) {
	number := strconv.Itoa(port)
	for _, rc := range p.Routes {
		if rc.Name != number && rc.Name != host+":"+number {
			continue
		}
		for i, vh := range rc.Hosts {
			if slices.Contains(vh.Domains, host) || slices.Contains(vh.Domains, host+":"+number) {
				return &rc.Hosts[i], rc.Name
			}
		}
		// A table of one host's own has "*".
		if rc.Name == host+":"+number && len(rc.Hosts) > 0 {
			return &rc.Hosts[0], rc.Name
		}
	}
	return nil, ""
}

// tcp finds where TCP connections to a host's port go: a listener with a chain that leads to a cluster of the host.
func (p *Proxy) tcp(host string, port int) (cluster, listener string) {
	for _, l := range p.Listeners {
		if l.Port != port {
			continue
		}
		for _, c := range l.Chains {
			if u, ok := parseUpstream(c.Cluster); ok && u.host == host {
				return c.Cluster, l.Name
			}
		}
	}
	return "", ""
}

// An upstreamName is what Istio writes into the name of a cluster.
type upstreamName struct {
	direction, subset, host string
	port                    int
}

func (u upstreamName) String() string {
	return fmt.Sprintf("%s|%d|%s|%s", u.direction, u.port, u.subset, u.host)
}

// base is the service that a subset is part of.
func (u upstreamName) base() upstreamName {
	u.subset = ""
	return u
}

// sni is the name by which an east-west gateway knows it.
func (u upstreamName) sni() string {
	return fmt.Sprintf("outbound_.%d_.%s_.%s", u.port, u.subset, u.host)
}

func parseUpstream(name string) (upstreamName, bool) {
	parts := strings.Split(name, "|")
	if len(parts) != 4 {
		return upstreamName{}, false
	}
	port, err := strconv.Atoi(parts[1])
	return upstreamName{parts[0], parts[2], parts[3], port}, err == nil
}
