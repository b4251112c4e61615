package status

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"isthmus.dev/isthmus/internal/facts"
)

func TestWhetherCallersPreferAnother(t *testing.T) {
	const to = `{"localityLbSetting": {"enabled": true, "failoverPriority": ["topology.istio.io/cluster=east"]}}`
	const other = `{"localityLbSetting": {"failoverPriority": ["topology.istio.io/cluster=northeast"]}}`
	const behind = `[{"proxy": "client.demo", "resources": {"EDS": {"sent": "2", "acked": "1"}}}]`
	// Proxies of which one was sent nothing since push 35, one nothing of endpoints ever.
	const uuid = "a7e1dce1-4fee-4491-85e7-73adaf2aa84b"
	const at35 = `[{"proxy": "client.demo", "resources": {
		"` + endpointType + `": {"sent": "2026-11-29T05:20:19Z/35` + uuid + `", "acked": "2026-11-29T05:20:19Z/35` + uuid + `"}}},
		{"proxy": "gateway.demo", "resources": {}}]`
	for _, c := range []struct {
		reason, config, proxies, want string
		before                        uint64
		asked                         bool
	}{
		{reason: "no preference", config: `{}`, proxies: `[]`, want: "istiod-1 does not prefer east yet"},
		{reason: "for a cluster whose name ends alike", config: other, proxies: `[]`, want: "istiod-1 does not prefer east yet"},
		{reason: "a proxy has not heard of it", config: to, proxies: behind, want: "1 proxies of istiod-1 have not taken the last change: client.demo"},
		{reason: "all have", config: to, proxies: `[]`},
		{reason: "none was told since", config: to, proxies: at35, before: 35, asked: true, want: "1 proxies of istiod-1 have not taken the last change: client.demo"},
		{reason: "all were told since", config: to, proxies: at35, before: 34, asked: true},
		{reason: "of an istiod that started since nothing is known", config: to, proxies: at35},
	} {
		var config meshConfig
		var proxies []ProxyStatus
		parse(t, c.config, &config)
		parse(t, c.proxies, &proxies)
		if got := judgePrefers("istiod-1", config, proxies, "east", c.before, c.asked); got != c.want {
			t.Errorf("%s: %q, want %q", c.reason, got, c.want)
		}
	}
}

func TestNumberOfAPush(t *testing.T) {
	const uuid = "a7e1dce1-4fee-4491-85e7-73adaf2aa84b"
	for nonce, want := range map[string]uint64{
		"2026-11-29T05:20:19Z/36" + uuid: 36, "2026-11-29T05:20:19Z/1" + uuid: 1, "2026-11-29T05:20:19Z/18446744073709551615" + uuid: 18446744073709551615,
		"": 0, "2": 0, "/": 0, "2026-11-29T05:20:19Z/" + uuid: 0, "2026-11-29T05:20:19Z/x" + uuid: 0,
	} {
		if got := push(nonce); got != want {
			t.Errorf("%q: %d, want %d", nonce, got, want)
		}
	}
}

func TestWhatIsInOneClusterAlone(t *testing.T) {
	var shards endpoints
	parse(t, `{
		"both.demo.svc": {"demo": {"Shards": {"Kubernetes/east": [{}], "Kubernetes/west": [{}]}}},
		"west.demo.svc": {"demo": {"Shards": {"Kubernetes/east": [], "Kubernetes/west": [{}]}}},
		"east.demo.svc": {"demo": {"Shards": {"Kubernetes/east": [{}]}}},
		"west.kube-system.svc": {"kube-system": {"Shards": {"Kubernetes/west": [{}]}}},
		"drained.demo.svc": {"demo": {"Shards": {"Kubernetes/west": [{}], "Kubernetes/north": [{}]}}}
	}`, &shards)
	mine := func(namespace string) bool { return namespace == "demo" }
	if diff := cmp.Diff([]string{"west.demo.svc"}, onlyIn(shards, []string{"west"}, mine)); diff != "" {
		t.Errorf("in west alone (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"drained.demo.svc", "west.demo.svc"}, onlyIn(shards, []string{"west", "north"}, mine)); diff != "" {
		t.Errorf("in west and north alone (-want +got):\n%s", diff)
	}
}

// A drained cluster that others do not watch is as it should be.
func TestADrainedClusterIsNoProblem(t *testing.T) {
	s := seen()
	s.Clusters["east"].Members = []facts.Member{{Name: "west", Drain: &facts.Drain{On: true, Since: noon.Add(-time.Hour), To: "east"}}}
	pages := answers(t)
	east := pages["east"]
	for pod := range east.Clusters {
		east.Clusters[pod] = []RemoteStatus{{ID: "east", SyncStatus: Synced}}
	}
	r := Make(shop(), s, pages)
	for _, c := range r.Clusters {
		if len(c.Problems) > 0 || (c.Drained != nil) != (c.Name == "west") {
			t.Errorf("%s: drained %v, problems %v", c.Name, c.Drained, c.Problems)
		}
	}
	s.Clusters["east"].Members = nil
	if r := Make(shop(), s, pages); r.Healthy {
		t.Error("without the drain it is a problem that east does not watch west, and nobody says so")
	}
}
