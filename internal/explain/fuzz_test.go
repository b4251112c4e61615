package explain

import (
	"os"
	"testing"
)

// FuzzParseProxy: whatever an Envoy answers, it is read or refused.
func FuzzParseProxy(f *testing.F) {
	clusters, err := os.ReadFile("testdata/clusters.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"configs":[{"@type":"type.googleapis.com/envoy.admin.v3.ClustersConfigDump","dynamic_active_clusters":[{"cluster":{"name":"outbound|80||a.b","type":"EDS"}}]}]}`), clusters)
	f.Add([]byte(`{"configs":[{"@type":"type.googleapis.com/envoy.admin.v3.ListenersConfigDump","dynamic_listeners":[{"active_state":{"listener":{"address":{"socket_address":{"port_value":-1}}}}}]}]}`), []byte(`{}`))
	f.Add([]byte(`{"configs":[{"@type":"type.googleapis.com/envoy.admin.v3.RoutesConfigDump","dynamic_route_configs":[{"route_config":{"virtual_hosts":[{"domains":["*"],"routes":[{"match":{}}]}]}}]}]}`), []byte(`{"cluster_statuses":[{"host_statuses":[{}]}]}`))
	f.Add([]byte(`{"configs":[{"@type":"type.googleapis.com/envoy.admin.v3.SecretsConfigDump","dynamic_active_secrets":[{"name":"default","secret":{"tls_certificate":{"certificate_chain":{"inline_bytes":"AA=="}}}}]}]}`), []byte(`null`))
	f.Fuzz(func(t *testing.T, dump, clusters []byte) {
		p, err := ParseProxy("demo", "client", dump, clusters)
		if err == nil && p == nil {
			t.Error("nothing and no error")
		}
	})
}
