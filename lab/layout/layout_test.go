package layout

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"isthmus.dev/isthmus/lab/config"
)

func place(slot int) Place {
	return Place{Slot: slot, Dir: "/var/lib/isthmus-lab/x", Run: "/run/isthmus-lab/x", Kubeconfig: "/k"}
}

func TestAddresses(t *testing.T) {
	c := config.Config{Name: "x", Clusters: []config.Cluster{{Nodes: 2, Zones: []string{"z1", "z2"}}, {}}}.Defaulted()
	l := New(c, place(1))
	type seen struct{ Node, Address, Pods, Zone, NetNS, Port string }
	var got []seen
	for _, k := range l.Clusters {
		for _, n := range k.Nodes {
			got = append(got, seen{n.Name, n.Address.String(), n.Pods.String(), n.Zone, n.NetNS, n.Port})
		}
	}
	want := []seen{
		{"east-1", "198.18.16.65", "100.64.0.0/24", "z1", "isthmus-lab.x.east.1", "n0-1"},
		{"east-2", "198.18.16.66", "100.64.1.0/24", "z2", "isthmus-lab.x.east.2", "n0-2"},
		{"west-1", "198.18.16.129", "100.65.0.0/24", "west-a", "isthmus-lab.x.west.1", "n1-1"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("nodes: -want +got:\n%s", diff)
	}
	west := l.Clusters[1]
	if diff := cmp.Diff([]string{
		"198.18.16.0/20", "198.18.16.1", "https://198.18.16.129:6443", "198.19.16.0/20", "198.19.16.10", "198.18.16.128/26", "198.18.16.144", "198.18.16.190",
	}, []string{
		l.Subnet().String(), l.Host().String(), west.APIServer(), west.Services.String(), west.ServiceIP(10).String(), west.Block().String(),
		west.Pool()[0].String(), west.Pool()[46].String(),
	}); diff != "" {
		t.Errorf("cluster west: -want +got:\n%s", diff)
	}
}

// Whatever labs of whatever size live side by side: no two things have one address, nothing lies outside its range, and
// no name is too long for the kernel.
func TestNothingCollides(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		owner := map[netip.Addr]string{}
		claim := func(a netip.Addr, who string, in netip.Prefix) {
			if !in.Contains(a) {
				t.Fatalf("%s has %s, outside %s", who, a, in)
			}
			if o, ok := owner[a]; ok {
				t.Fatalf("%s belongs to %s and to %s", a, o, who)
			}
			owner[a] = who
		}
		slots := rapid.SliceOfNDistinct(rapid.IntRange(0, Slots-1), 1, 3, rapid.ID[int]).Draw(t, "slots")
		for _, slot := range slots {
			clusters := make([]config.Cluster, rapid.IntRange(1, config.MaxClusters).Draw(t, "clusters"))
			for i := range clusters {
				clusters[i].Nodes = rapid.IntRange(1, config.MaxNodes).Draw(t, "nodes")
			}
			l := New(config.Config{Clusters: clusters}.Defaulted(), place(slot))
			claim(l.Host(), "the machine", l.Subnet())
			var pods []netip.Prefix
			for _, c := range l.Clusters {
				for _, n := range c.Nodes {
					claim(n.Address, n.Name, c.Block())
					if len(n.Port) > 15 || len(l.HostLink()) > 15 {
						t.Fatalf("link name %s or %s is longer than 15", n.Port, l.HostLink())
					}
					if !Pods.Overlaps(n.Pods) || !c.Pods.Overlaps(n.Pods) || slices.ContainsFunc(pods, n.Pods.Overlaps) {
						t.Fatalf("pods of %s, %s, overlap others or lie outside %s", n.Name, n.Pods, c.Pods)
					}
					pods = append(pods, n.Pods)
				}
				for _, a := range c.Pool() {
					claim(a, "a Service of "+c.Name, c.Block())
				}
				if !Services.Overlaps(c.Services) || !l.Subnet().Overlaps(c.Block()) {
					t.Fatalf("%s: Services %s or block %s lie outside", c.Name, c.Services, c.Block())
				}
			}
		}
	})
}

func TestNamesOfOneLabNeverBeginThoseOfAnother(t *testing.T) {
	for _, other := range []string{"ab", "a-b", "a1"} {
		l := New(config.Config{Name: other}.Defaulted(), place(0))
		for _, name := range []string{l.SwitchNS(), l.Clusters[0].Nodes[0].NetNS} {
			if len(name) >= len(NetNSPrefix("a")) && name[:len(NetNSPrefix("a"))] == NetNSPrefix("a") {
				t.Errorf("%s of lab %s looks like one of lab a", name, other)
			}
		}
	}
}

func TestDigestTellsLayoutsApart(t *testing.T) {
	one := New(config.Config{}.Defaulted(), place(0))
	same := New(config.Config{}.Defaulted(), place(0))
	other := New(config.Config{Clusters: make([]config.Cluster, 3)}.Defaulted(), place(0))
	if one.Digest() != same.Digest() || one.Digest() == other.Digest() {
		t.Errorf("digests: %s, %s for the same, %s for another", one.Digest(), same.Digest(), other.Digest())
	}
}

func TestSocketsAreShortEnough(t *testing.T) {
	c := config.Config{Name: "abcdefghijklmnop", Clusters: make([]config.Cluster, config.MaxClusters)}.Defaulted()
	l := New(c, Place{Run: "/run/isthmus-lab/abcdefghijklmnop"})
	last := l.Clusters[config.MaxClusters-1].Nodes[0]
	// containerd refuses a socket folder of more than 42 characters (core/runtime/v2, maxSocketDirLen).
	if dir := last.Run + "/s"; len(dir) > 42 {
		t.Errorf("%s has %d characters", dir, len(dir))
	}
}
