package explain

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

type filterChain struct {
	Name  string `json:"name"`
	Match struct {
		Port        int      `json:"destination_port"`
		ServerNames []string `json:"server_names"`
		Transport   string   `json:"transport_protocol"`
	} `json:"filter_chain_match"`
	Socket  *transportSocket `json:"transport_socket"`
	Filters []struct {
		Name   string       `json:"name"`
		Config filterConfig `json:"typed_config"`
	} `json:"filters"`
}

type filterConfig struct {
	Cluster  string `json:"cluster"`
	Weighted struct {
		Clusters []struct {
			Name string `json:"name"`
		} `json:"clusters"`
	} `json:"weighted_clusters"`
	Rules *rbacRules `json:"rules"`
	RDS   struct {
		Name string `json:"route_config_name"`
	} `json:"rds"`
	Filters []struct {
		Config struct {
			Rules *rbacRules `json:"rules"`
		} `json:"typed_config"`
	} `json:"http_filters"`
}

type rbacRules struct {
	Policies map[string]json.RawMessage `json:"policies"`
}

func (r *rbacRules) names() []string {
	if r == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(r.Policies))
}

func (f filterChain) chain() Chain {
	c := Chain{Name: f.Name, Port: f.Match.Port, ServerNames: f.Match.ServerNames, TLS: f.Socket != nil}
	for _, x := range f.Filters {
		c.Policies = append(c.Policies, x.Config.Rules.names()...)
		switch x.Name {
		case "envoy.filters.network.tcp_proxy":
			c.Cluster = x.Config.Cluster
			if w := x.Config.Weighted.Clusters; c.Cluster == "" && len(w) > 0 {
				c.Cluster = w[0].Name
			}
		case "envoy.filters.network.http_connection_manager":
			c.HTTP, c.Routes = true, x.Config.RDS.Name
			for _, h := range x.Config.Filters {
				c.Policies = append(c.Policies, h.Config.Rules.names()...)
			}
		}
	}
	return c
}

type listenerDump struct {
	Name    string        `json:"name"`
	Address address       `json:"address"`
	Chains  []filterChain `json:"filter_chains"`
	Default *filterChain  `json:"default_filter_chain"`
}

func (p *Proxy) readListeners(raw json.RawMessage) error {
	var d struct {
		Dynamic []struct {
			Name   string `json:"name"`
			Active struct {
				Listener listenerDump `json:"listener"`
			} `json:"active_state"`
			Error struct {
				Details string `json:"details"`
			} `json:"error_state"`
		} `json:"dynamic_listeners"`
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		return err
	}
	for _, x := range d.Dynamic {
		in := x.Active.Listener
		l := Listener{Name: x.Name, Address: in.Address.Socket.Address, Port: in.Address.Socket.Port, Err: x.Error.Details}
		for _, c := range in.Chains {
			l.Chains = append(l.Chains, c.chain())
		}
		if in.Default != nil {
			l.Chains = append(l.Chains, in.Default.chain())
		}
		p.Listeners = append(p.Listeners, l)
	}
	return nil
}

type routeDump struct {
	Name  string    `json:"name"`
	Match matchDump `json:"match"`
	Route struct {
		Cluster  string `json:"cluster"`
		Weighted struct {
			Clusters []struct {
				Name   string `json:"name"`
				Weight int    `json:"weight"`
			} `json:"clusters"`
		} `json:"weighted_clusters"`
	} `json:"route"`
	Redirect *struct{} `json:"redirect"`
	Direct   *struct {
		Status int `json:"status"`
	} `json:"direct_response"`
	Metadata metadata `json:"metadata"`
	Filters  struct {
		Fault struct {
			Abort *struct {
				Status     int `json:"http_status"`
				Percentage struct {
					Numerator   float64 `json:"numerator"`
					Denominator string  `json:"denominator"`
				} `json:"percentage"`
			} `json:"abort"`
		} `json:"envoy.filters.http.fault"`
	} `json:"typed_per_filter_config"`
}

type matchDump struct {
	Prefix    *string `json:"prefix"`
	Path      string  `json:"path"`
	Separated string  `json:"path_separated_prefix"`
	Regex     struct {
		Regex string `json:"regex"`
	} `json:"safe_regex"`
	Headers []struct {
		Name    string      `json:"name"`
		Exact   string      `json:"exact_match"`
		Present *bool       `json:"present_match"`
		Invert  bool        `json:"invert_match"`
		String  stringMatch `json:"string_match"`
	} `json:"headers"`
	Query []json.RawMessage `json:"query_parameters"`
}

func (m matchDump) match() Match {
	out := Match{Exact: m.Path, Regex: m.Regex.Regex, Query: len(m.Query) > 0}
	switch {
	case m.Prefix != nil:
		out.Prefix = *m.Prefix
	case m.Separated != "":
		out.Prefix = m.Separated
	}
	for _, h := range m.Headers {
		out.Headers = append(out.Headers, HeaderMatch{
			Name: strings.ToLower(h.Name), Exact: cmp.Or(h.Exact, h.String.Exact), Prefix: h.String.Prefix, Suffix: h.String.Suffix,
			Contains: h.String.Contains, Regexp: h.String.Regex.Regex, Present: h.Present, Invert: h.Invert,
		})
	}
	return out
}

func (r routeDump) route() Route {
	out := Route{Name: r.Name, Match: r.Match.match(), Config: r.Metadata.object("virtual-service")}
	if r.Route.Cluster != "" {
		out.To = []Weight{{r.Route.Cluster, 100}}
	}
	total := 0
	for _, w := range r.Route.Weighted.Clusters {
		total += w.Weight
	}
	for _, w := range r.Route.Weighted.Clusters {
		out.To = append(out.To, Weight{w.Name, w.Weight * 100 / max(1, total)})
	}
	switch {
	case r.Redirect != nil:
		out.Direct = 301
	case r.Direct != nil:
		out.Direct = r.Direct.Status
	}
	if a := r.Filters.Fault.Abort; a != nil {
		per := map[string]float64{"TEN_THOUSAND": 100, "MILLION": 10000}[a.Percentage.Denominator]
		out.Abort = &Abort{Status: a.Status, Percent: a.Percentage.Numerator / max(1, per)}
	}
	return out
}

func (p *Proxy) readRoutes(raw json.RawMessage) error {
	type entry struct {
		Config struct {
			Name  string `json:"name"`
			Hosts []struct {
				Name    string      `json:"name"`
				Domains []string    `json:"domains"`
				Routes  []routeDump `json:"routes"`
			} `json:"virtual_hosts"`
		} `json:"route_config"`
	}
	var d struct {
		Dynamic []entry `json:"dynamic_route_configs"`
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		return err
	}
	for _, x := range d.Dynamic {
		rc := RouteConfig{Name: x.Config.Name}
		for _, h := range x.Config.Hosts {
			vh := VirtualHost{Name: h.Name, Domains: h.Domains}
			for _, r := range h.Routes {
				vh.Routes = append(vh.Routes, r.route())
			}
			rc.Hosts = append(rc.Hosts, vh)
		}
		p.Routes = append(p.Routes, rc)
	}
	return nil
}
