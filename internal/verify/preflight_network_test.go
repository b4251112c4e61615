package verify

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"isthmus.dev/isthmus/internal/facts"
)

var networkCases = []checkCase{
	{id: "CHK024", reason: "as the document says", want: nil},
	{
		id: "CHK024", reason: "the label says otherwise", change: func(in *Input) { west(in).Namespaces[1].Labels[networkLabel] = "old" },
		want: []string{`warning west: namespace istio-system says network "old", the document "west"`},
	},
	{
		id: "CHK024", reason: "istiod says otherwise", change: func(in *Input) { westIstiod(in).Network = "old" },
		want: []string{`warning west: istiod says network "old", the document "west"`},
	},
	{
		id: "CHK024", reason: "both say otherwise: it is said once", change: func(in *Input) {
			westIstiod(in).Network = "old"
			west(in).Namespaces[1].Labels[networkLabel] = "old"
		},
		want: []string{`warning west: namespace istio-system says network "old", the document "west"`},
	},
	{id: "CHK025", reason: "one network, ranges apart", change: oneNetwork},
	{
		id: "CHK025", reason: "one network, one range", change: func(in *Input) {
			oneNetwork(in)
			west(in).Nodes[0].PodCIDRs = []string{"100.64.0.128/25"}
		},
		want: []string{"error west/east: pods of east (100.64.0.0/24) and of west (100.64.0.128/25) share addresses in network one: a call meets whoever has the address where it starts"},
	},
	{
		id: "CHK025", reason: "the plugin keeps its ranges to itself", change: func(in *Input) {
			oneNetwork(in)
			west(in).Nodes[0].PodCIDRs = nil
		},
		want: []string{"note west: its nodes do not tell their pod ranges, so nobody can say whether they overlap others of network one"},
	},
	{
		id: "CHK025", reason: "networks of their own may overlap", change: func(in *Input) { west(in).Nodes[0].PodCIDRs = []string{"100.64.0.0/24"} },
	},
	{
		id: "CHK026", reason: "every kind cluster has the same range", change: func(in *Input) { west(in).Nodes[0].PodCIDRs = []string{"100.64.0.0/16"} },
		want: []string{"note west/east: pods of east (100.64.0.0/24) and of west (100.64.0.0/16) share addresses; fine, since calls between their networks go through gateways"},
	},
	{id: "CHK026", reason: "apart", want: nil},
	{
		id: "CHK027", reason: "Services of one where pods of the other are", change: func(in *Input) {
			oneNetwork(in)
			west(in).ServiceCIDRs = []string{"100.64.0.0/16"}
		},
		want: []string{"error west/east: its Service range 100.64.0.0/16 holds pods of east (100.64.0.0/24) in network one: kube-proxy may catch calls to them"},
	},
	{id: "CHK027", reason: "other networks are out of kube-proxy's way", change: func(in *Input) { west(in).ServiceCIDRs = []string{"100.64.0.0/16"} }},
	{
		id: "CHK028", reason: "IPv4 here, IPv6 there", change: func(in *Input) {
			oneNetwork(in)
			west(in).Nodes[0].PodCIDRs = []string{"fd00::/64"}
		},
		want: []string{"error west/east: pods of east have IPv4 addresses, those of west IPv6, in one network one"},
	},
	{
		id: "CHK028", reason: "dual stack meets both", change: func(in *Input) {
			oneNetwork(in)
			west(in).Nodes[0].PodCIDRs = []string{"fd00::/64", "100.65.0.0/24"}
		},
	},
	{id: "CHK029", reason: "a load balancer that has proved itself", want: nil},
	{
		id: "CHK029", reason: "one network needs no gateway", change: func(in *Input) {
			oneNetwork(in)
			west(in).LoadBalancer = facts.LoadBalancer{Pending: 1}
		},
	},
	{
		id: "CHK029", reason: "bare metal: all wait", change: func(in *Input) { west(in).LoadBalancer = facts.LoadBalancer{Pending: 2} },
		want: []string{"error west: nothing here gives LoadBalancer Services an address: 2 wait for one, and none has any"},
	},
	{
		id: "CHK029", reason: "a cloud that takes its time, or has no more", change: func(in *Input) {
			west(in).LoadBalancer = facts.LoadBalancer{Seen: true, Pending: 1, Provider: "cloud"}
		},
		want: []string{"warning west: 1 waits for an address of the load balancer"},
	},
	{
		id: "CHK029", reason: "nobody has tried", change: func(in *Input) { west(in).LoadBalancer = facts.LoadBalancer{} },
		want: []string{"warning west: no LoadBalancer Service yet, and no known load balancer: the east-west gateway may wait for ever"},
	},
	{
		id: "CHK029", reason: "NodePort needs to know which nodes", change: func(in *Input) { in.Mesh.EastWest.ServiceType = "NodePort" },
		want: []string{
			"error east: a NodePort gateway has the addresses of the nodes that annotation traffic.istio.io/nodeSelector selects, and there is none",
			"error west: a NodePort gateway has the addresses of the nodes that annotation traffic.istio.io/nodeSelector selects, and there is none",
		},
	},
	{
		id: "CHK029", reason: "NodePort that knows, where no load balancer is", change: func(in *Input) {
			in.Mesh.EastWest.ServiceType, in.Mesh.EastWest.Annotations = "NodePort", map[string]string{nodeSelectorAnnotation: "{}"}
			west(in).LoadBalancer = facts.LoadBalancer{Pending: 2}
		},
	},
	{
		id: "CHK029", reason: "ClusterIP is for those who add externalIPs", change: func(in *Input) { in.Mesh.EastWest.ServiceType = "ClusterIP" },
		want: []string{
			"warning east: a gateway of type ClusterIP has no address for other networks, unless something else gives it externalIPs",
			"warning west: a gateway of type ClusterIP has no address for other networks, unless something else gives it externalIPs",
		},
	},
	{
		id: "CHK030", reason: "pending", change: func(in *Input) { west(in).Gateways[0].Addresses = nil },
		want: []string{"warning west: the east-west gateway has no address: nobody outside reaches network west"},
	},
	{id: "CHK030", reason: "no gateway yet is no gateway without address", change: func(in *Input) { west(in).Gateways = nil }},
	{
		id: "CHK031", reason: "AWS gives names", change: func(in *Input) { west(in).Gateways[0].Addresses = []string{"a1.elb.amazonaws.com"} },
		want: []string{"note west: the gateway's address is a host name, a1.elb.amazonaws.com: other clusters' istiods resolve it themselves"},
	},
	{id: "CHK031", reason: "IPv6 is an address", change: func(in *Input) { west(in).Gateways[0].Addresses = []string{"2001:db8::1"} }},
	{
		id: "CHK032", reason: "somebody scaled it to 0", change: func(in *Input) { west(in).Gateways[0].Ready, west(in).Gateways[0].Wanted = 0, 0 },
		want: []string{"warning west: the east-west gateway is scaled to 0"},
	},
	{
		id: "CHK032", reason: "one of two", change: func(in *Input) { west(in).Gateways[0].Wanted = 2 },
		want: []string{"warning west: 1 of 2 pods of the east-west gateway ready"},
	},
	{id: "CHK032", reason: "ready", want: nil},
}

func TestOverlapFindsOneIfThereIsOne(t *testing.T) {
	block := rapid.Custom(func(t *rapid.T) netip.Prefix {
		bits := rapid.IntRange(16, 28).Draw(t, "bits")
		addr := netip.AddrFrom4([4]byte{10, byte(rapid.IntRange(0, 3).Draw(t, "b")), rapid.Byte().Draw(t, "c"), rapid.Byte().Draw(t, "d")})
		return netip.PrefixFrom(addr, bits).Masked()
	})
	// apart keeps what overlaps nothing before it, as the ranges of one cluster's nodes do.
	apart := func(all []netip.Prefix) []string {
		var out []string
		var kept []netip.Prefix
	next:
		for _, p := range all {
			for _, k := range kept {
				if k.Overlaps(p) {
					continue next
				}
			}
			kept, out = append(kept, p), append(out, p.String())
		}
		return out
	}
	rapid.Check(t, func(t *rapid.T) {
		a := prefixes(apart(rapid.SliceOfN(block, 0, 12).Draw(t, "a")))
		b := prefixes(apart(rapid.SliceOfN(block, 0, 12).Draw(t, "b")))
		want := false
		for _, x := range a {
			for _, y := range b {
				want = want || x.Overlaps(y)
			}
		}
		x, y, got := overlap(a, b)
		if got != want || got && !x.Overlaps(y) {
			t.Fatalf("overlap(%v, %v) = %v, %v, %v; want %v", a, b, x, y, got, want)
		}
	})
}

func TestOverlapsAcrossManyNetworksAreOneNote(t *testing.T) {
	in := fresh()
	for _, name := range []string{"north", "south"} {
		c, f := in.Mesh.Clusters[0], *in.Now.Clusters["east"]
		c.Name, c.Network = name, name
		in.Mesh.Clusters = append(in.Mesh.Clusters, c)
		in.Now.Clusters[name] = &f
	}
	want := []Finding{{
		Cluster: "north", Other: "east", Do: "nothing, as long as their networks stay apart",
		Seen: "pods of east (100.64.0.0/24) and of north (100.64.0.0/24) share addresses, as those of 2 other pairs do; fine, since calls between their networks go through gateways",
	}}
	if diff := cmp.Diff(want, podRangesAcross(in)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
