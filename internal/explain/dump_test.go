package explain

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestParseProxy reads what an Envoy of the lab really says.
func TestParseProxy(t *testing.T) {
	dump, err := os.ReadFile("testdata/config_dump.json")
	if err != nil {
		t.Fatal(err)
	}
	clusters, err := os.ReadFile("testdata/clusters.json")
	if err != nil {
		t.Fatal(err)
	}
	p, err := ParseProxy("demo", "client", dump, clusters)
	if err != nil {
		t.Fatal(err)
	}
	want := &Upstream{
		TLS: "auto", Sans: []string{"spiffe://cluster.local/ns/demo/sa/echo"},
		Endpoints: []Endpoint{{Address: "198.18.0.144:15443", Health: "HEALTHY", Mutual: true, Cluster: "west", Region: "west"}},
	}
	if diff := cmp.Diff(want, p.Clusters[echo80]); diff != "" {
		t.Errorf("%s (-want +got):\n%s", echo80, diff)
	}
	if p.Identity != "spiffe://cluster.local/ns/demo/sa/client" || len(p.Chain) < 2 || len(p.Roots) != 1 {
		t.Errorf("identity %q, %d certificates, %d roots", p.Identity, len(p.Chain), len(p.Roots))
	}
	if err := verify(p.Chain, p.Roots, p.Chain[0].NotBefore.Add(3e9)); err != nil {
		t.Errorf("its chain does not lead to its root: %v", err)
	}
	vh, table := p.virtualHost(echoHost, 80)
	if vh == nil || table != "80" {
		t.Fatalf("no virtual host for %s in %+v", echoHost, p.Routes)
	}
	if r, ok := pick(vh.Routes, Call{Path: "/pay", Method: "GET"}); !ok || r.To[0].Cluster != echo80 {
		t.Errorf("route %+v", r)
	}
}

func TestParseProxyRefusesOtherThings(t *testing.T) {
	for _, bad := range []string{"", "nothing", `{"configs": 1}`} {
		if p, err := ParseProxy("demo", "client", []byte(bad), []byte("{}")); err == nil {
			t.Errorf("%q is taken for %+v", bad, p)
		}
	}
}

func TestMatchTakes(t *testing.T) {
	yes := true
	cases := []struct {
		reason string
		match  Match
		call   Call
		want   bool
	}{
		{"a prefix", Match{Prefix: "/pay"}, Call{Path: "/pay/1"}, true},
		{"another prefix", Match{Prefix: "/pay"}, Call{Path: "/"}, false},
		{"the very path, query apart", Match{Exact: "/pay"}, Call{Path: "/pay?x=1"}, true},
		{"an expression fits the whole", Match{Regex: "/pay/[0-9]+"}, Call{Path: "/pay/12/a"}, false},
		{"a method", Match{Prefix: "/", Headers: []HeaderMatch{{Name: ":method", Exact: "POST"}}}, Call{Path: "/", Method: "GET"}, false},
		{"a header", Match{Headers: []HeaderMatch{{Name: "user", Prefix: "a"}}}, Call{Headers: map[string]string{"user": "ada"}}, true},
		{"a header that is not there", Match{Headers: []HeaderMatch{{Name: "user", Exact: "ada"}}}, Call{}, false},
		{"not a header", Match{Headers: []HeaderMatch{{Name: "user", Exact: "ada", Invert: true}}}, Call{}, true},
		{"a header that must be there", Match{Headers: []HeaderMatch{{Name: "user", Present: &yes}}}, Call{}, false},
		{"a query", Match{Prefix: "/", Query: true}, Call{Path: "/"}, false},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			if got := c.match.takes(c.call); got != c.want {
				t.Errorf("%+v takes %+v: %t", c.match, c.call, got)
			}
		})
	}
}
