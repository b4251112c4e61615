package status

import (
	"encoding/json"
	"testing"
)

func TestWhatAnIstiodStillHasOfAClusterThatLeaves(t *testing.T) {
	const shards = `{"echo.demo.svc.cluster.local": {"demo": {"Shards": {"Kubernetes/east": [{}], "Kubernetes/west": [{}]}}}}`
	const without = `{"echo.demo.svc.cluster.local": {"demo": {"Shards": {"Kubernetes/east": [{}]}}}}`
	const watched = `[{"id": "east"}, {"id": "west", "secretName": "istio-system/istio-remote-secret-west"}]`
	const behind = `[{"proxy": "client.demo", "resources": {"EDS": {"sent": "2", "acked": "1"}}}]`
	cases := []struct{ reason, remotes, shards, proxies, want string }{
		{"it watches it", watched, shards, `[]`, "istiod-1 still watches west"},
		{"endpoints stay behind", `[{"id": "east"}]`, shards, `[]`, "istiod-1 still has endpoints of echo.demo.svc.cluster.local in west"},
		{"a proxy has not heard of it", `[{"id": "east"}]`, without, behind, "1 proxies of istiod-1 have not taken the last change: client.demo"},
		{"nothing", `[{"id": "east"}]`, without, `[{"proxy": "client.demo", "resources": {"EDS": {"sent": "2", "acked": "2"}}}]`, ""},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			var remotes []RemoteStatus
			var found endpoints
			var proxies []ProxyStatus
			for text, into := range map[string]any{c.remotes: &remotes, c.shards: &found, c.proxies: &proxies} {
				if err := json.Unmarshal([]byte(text), into); err != nil {
					t.Fatal(err)
				}
			}
			if got := judgeSends("istiod-1", remotes, found, proxies, []string{"west"}); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}
