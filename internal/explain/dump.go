package explain

import (
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"isthmus.dev/isthmus/internal/facts"
)

// ParseProxy reads a proxy's /config_dump?include_eds and /clusters?format=json. Private keys are not in the first
// (Envoy redacts them), and nothing but certificates is kept of its secrets.
func ParseProxy(namespace, pod string, dump, clusters []byte) (*Proxy, error) {
	var d struct {
		Configs []json.RawMessage `json:"configs"`
	}
	if err := json.Unmarshal(dump, &d); err != nil {
		return nil, fmt.Errorf("read config_dump of pod %s/%s: %w", namespace, pod, err)
	}
	p := &Proxy{Namespace: namespace, Pod: pod, Clusters: map[string]*Upstream{}}
	var eds []json.RawMessage
	for _, raw := range d.Configs {
		var head struct {
			Type string `json:"@type"`
		}
		if err := json.Unmarshal(raw, &head); err != nil {
			return nil, fmt.Errorf("read config_dump of pod %s/%s: %w", namespace, pod, err)
		}
		var err error
		switch head.Type[strings.LastIndexByte(head.Type, '.')+1:] {
		case "ClustersConfigDump":
			err = p.readClusters(raw)
		case "ListenersConfigDump":
			err = p.readListeners(raw)
		case "RoutesConfigDump":
			err = p.readRoutes(raw)
		case "SecretsConfigDump":
			err = p.readSecrets(raw)
		case "EndpointsConfigDump":
			eds = append(eds, raw)
		}
		if err != nil {
			return nil, fmt.Errorf("read %s of pod %s/%s: %w", head.Type, namespace, pod, err)
		}
	}
	if err := p.readHosts(clusters); err != nil {
		return nil, fmt.Errorf("read clusters of pod %s/%s: %w", namespace, pod, err)
	}
	for _, raw := range eds {
		if err := p.readEndpoints(raw); err != nil {
			return nil, fmt.Errorf("read endpoints of pod %s/%s: %w", namespace, pod, err)
		}
	}
	return p, nil
}

type metadata struct {
	Filter struct {
		Istio struct {
			Config   string `json:"config"`
			Workload string `json:"workload"`
		} `json:"istio"`
		Match struct {
			TLSMode string `json:"tlsMode"`
		} `json:"envoy.transport_socket_match"`
	} `json:"filter_metadata"`
}

// object is "namespace/name" of ".../namespaces/demo/virtual-service/echo", for one kind.
func (m metadata) object(kind string) string {
	_, rest, ok := strings.Cut(m.Filter.Istio.Config, "/namespaces/")
	parts := strings.Split(rest, "/")
	if !ok || len(parts) != 3 || parts[1] != kind {
		return ""
	}
	return parts[0] + "/" + parts[2]
}

type transportSocket struct {
	Name   string `json:"name"`
	Config struct {
		Common struct {
			Certificates []struct {
				Name string `json:"name"`
			} `json:"tls_certificate_sds_secret_configs"`
			Combined struct {
				Default struct {
					Old   []stringMatch `json:"match_subject_alt_names"`
					Typed []struct {
						Matcher stringMatch `json:"matcher"`
					} `json:"match_typed_subject_alt_names"`
				} `json:"default_validation_context"`
			} `json:"combined_validation_context"`
		} `json:"common_tls_context"`
	} `json:"typed_config"`
}

// mutual tells that it shows the workload's own certificate.
func (t *transportSocket) mutual() bool {
	return t != nil && slices.ContainsFunc(t.Config.Common.Certificates, func(c struct {
		Name string `json:"name"`
	},
	) bool {
		return c.Name == "default"
	})
}

func (t *transportSocket) sans() []string {
	var out []string
	for _, m := range t.Config.Common.Combined.Default.Old {
		out = append(out, m.Exact)
	}
	for _, m := range t.Config.Common.Combined.Default.Typed {
		out = append(out, m.Matcher.Exact)
	}
	return slices.DeleteFunc(out, func(s string) bool { return s == "" })
}

type stringMatch struct {
	Exact    string `json:"exact"`
	Prefix   string `json:"prefix"`
	Suffix   string `json:"suffix"`
	Contains string `json:"contains"`
	Regex    struct {
		Regex string `json:"regex"`
	} `json:"safe_regex"`
}

type clusterDump struct {
	Name    string           `json:"name"`
	Socket  *transportSocket `json:"transport_socket"`
	Matches []struct {
		Name   string            `json:"name"`
		Match  map[string]string `json:"match"`
		Socket transportSocket   `json:"transport_socket"`
	} `json:"transport_socket_matches"`
	Outlier  *struct{} `json:"outlier_detection"`
	Metadata metadata  `json:"metadata"`
}

func (p *Proxy) readClusters(raw json.RawMessage) error {
	type entry struct {
		Cluster clusterDump `json:"cluster"`
	}
	var d struct {
		Static []entry `json:"static_clusters"`
		Active []entry `json:"dynamic_active_clusters"`
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		return err
	}
	for _, c := range slices.Concat(d.Static, d.Active) {
		p.Clusters[c.Cluster.Name] = c.Cluster.upstream()
	}
	return nil
}

func (c clusterDump) upstream() *Upstream {
	u := &Upstream{TLS: "none", Rule: c.Metadata.object("destination-rule"), Outlier: c.Outlier != nil}
	switch {
	case c.Socket.mutual():
		u.TLS, u.Sans = "mutual", c.Socket.sans()
	case c.Socket != nil && strings.Contains(c.Socket.Name, "tls"):
		u.TLS = "other"
	}
	for _, m := range c.Matches {
		if m.Match["tlsMode"] == "istio" {
			u.TLS, u.Sans = "auto", m.Socket.sans()
		}
	}
	return u
}

// readHosts takes endpoints and their health from the clusters page.
func (p *Proxy) readHosts(page []byte) error {
	var d struct {
		Clusters []struct {
			Name  string `json:"name"`
			Hosts []struct {
				Address  address `json:"address"`
				Locality struct {
					Region string `json:"region"`
				} `json:"locality"`
				Health struct {
					EDS     string `json:"eds_health_status"`
					Outlier bool   `json:"failed_outlier_check"`
					Active  bool   `json:"failed_active_health_check"`
				} `json:"health_status"`
				Stats []struct {
					Name  string `json:"name"`
					Value string `json:"value"`
				} `json:"stats"`
			} `json:"host_statuses"`
		} `json:"cluster_statuses"`
	}
	if err := json.Unmarshal(page, &d); err != nil {
		return err
	}
	for _, c := range d.Clusters {
		u := p.Clusters[c.Name]
		if u == nil {
			continue
		}
		for _, h := range c.Hosts {
			e := Endpoint{
				Address: h.Address.String(), Health: h.Health.EDS, Ejected: h.Health.Outlier, Active: h.Health.Active, Region: h.Locality.Region,
			}
			for _, s := range h.Stats {
				if s.Name == "cx_connect_fail" {
					e.ConnectFails, _ = strconv.Atoi(s.Value) // Envoy's own number
				}
			}
			u.Endpoints = append(u.Endpoints, e)
		}
	}
	return nil
}

type address struct {
	Socket struct {
		Address string `json:"address"`
		Port    int    `json:"port_value"`
	} `json:"socket_address"`
}

func (a address) String() string {
	return net.JoinHostPort(a.Socket.Address, strconv.Itoa(a.Socket.Port))
}

// readEndpoints adds what the control plane said of endpoints: the cluster that each is in, and mutual TLS.
func (p *Proxy) readEndpoints(raw json.RawMessage) error {
	type config struct {
		Config struct {
			Cluster   string `json:"cluster_name"`
			Endpoints []struct {
				List []struct {
					Endpoint struct {
						Address address `json:"address"`
					} `json:"endpoint"`
					Metadata metadata `json:"metadata"`
				} `json:"lb_endpoints"`
			} `json:"endpoints"`
		} `json:"endpoint_config"`
	}
	var d struct {
		Dynamic []config `json:"dynamic_endpoint_configs"`
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		return err
	}
	for _, c := range d.Dynamic {
		u := p.Clusters[c.Config.Cluster]
		if u == nil {
			continue
		}
		for _, group := range c.Config.Endpoints {
			for _, x := range group.List {
				i := slices.IndexFunc(u.Endpoints, func(e Endpoint) bool { return e.Address == x.Endpoint.Address.String() })
				if i < 0 {
					continue
				}
				u.Endpoints[i].Mutual = x.Metadata.Filter.Match.TLSMode == "istio"
				if parts := strings.Split(x.Metadata.Filter.Istio.Workload, ";"); len(parts) == 5 {
					u.Endpoints[i].Cluster = parts[4]
				}
			}
		}
	}
	return nil
}

// readSecrets keeps certificates.
func (p *Proxy) readSecrets(raw json.RawMessage) error {
	type bytes struct {
		Inline []byte `json:"inline_bytes"`
		Text   string `json:"inline_string"`
	}
	var d struct {
		Active []struct {
			Name   string `json:"name"`
			Secret struct {
				Certificate struct {
					Chain bytes `json:"certificate_chain"`
				} `json:"tls_certificate"`
				Validation struct {
					Trusted bytes `json:"trusted_ca"`
				} `json:"validation_context"`
			} `json:"secret"`
		} `json:"dynamic_active_secrets"`
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		return err
	}
	pem := func(b bytes) []byte {
		if len(b.Inline) > 0 {
			return b.Inline
		}
		return []byte(b.Text)
	}
	for _, s := range d.Active {
		switch s.Name {
		case "default":
			p.Chain = facts.Certificates(pem(s.Secret.Certificate.Chain))
			p.Identity = identityOf(p.Chain)
		case "ROOTCA":
			p.Roots = facts.Certificates(pem(s.Secret.Validation.Trusted))
		}
	}
	return nil
}
