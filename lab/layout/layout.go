// Package layout gives everything in a lab its name, address and path. It is pure: the same document, slot and folder
// always give the same layout, so a lab can be found again, and taken down, by anybody who knows its name.
//
// The address plan. 198.18.0.0/15 is set aside for tests between networks (RFC 2544), 100.64.0.0/10 for addresses
// that never leave a provider (RFC 6598), so neither is likely to mean anything else on the machine:
//
//	198.18.0.0/16  the lab's wire: a /20 for each lab of the machine (its slot, 0 to 15); in it a /26 for each cluster:
//	               addresses 1 to 15 its nodes, 16 to 62 its LoadBalancer Services. The first /26 holds the host, .1.
//	198.19.0.0/16  Services: a /20 for each cluster; from the 16th cluster on they share the last one, since a
//	               Service address means something only inside its cluster.
//	100.64.0.0/10  pods: a /16 for each cluster; in it a /24 for each node.
package layout

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"isthmus.dev/isthmus/lab/config"
)

// Slots is how many labs fit on one machine.
const Slots = 16

var (
	// Wire holds the addresses of hosts, nodes and LoadBalancer Services of all labs.
	Wire = netip.MustParsePrefix("198.18.0.0/16")
	// Services holds the Service addresses of every cluster.
	Services = netip.MustParsePrefix("198.19.0.0/16")
	// Pods holds the pod addresses of every cluster.
	Pods = netip.MustParsePrefix("100.64.0.0/10")
)

// A Lab is a laid out lab: what its document says, made concrete for this machine.
type Lab struct {
	Name       string        `json:"name"`
	Document   config.Config `json:"document"`
	Slot       int           `json:"slot"`
	Dir        string        `json:"dir"` // files that may be large: data, logs, certificates
	Run        string        `json:"run"` // sockets and state: short paths
	Kubeconfig string        `json:"kubeconfig"`
	Programs   Programs      `json:"programs"`
	Clusters   []Cluster     `json:"clusters"`
	Links      []config.Link `json:"links,omitempty"`
}

// Programs says where the programs and images lie.
type Programs struct {
	Bin  string `json:"bin"`  // folder of kube-apiserver, etcd, containerd, ...
	CNI  string `json:"cni"`  // folder of the CNI plugins bridge, host-local and portmap
	Seed string `json:"seed"` // folder of a containerd that has unpacked the lab's images (lab/seed)
}

// There tells whether the programs and images are still where they were.
func (p Programs) There() bool {
	return !slices.ContainsFunc([]string{filepath.Join(p.Bin, "kubelet"), filepath.Join(p.CNI, "bridge"), p.Seed}, func(path string) bool {
		_, err := os.Stat(path)
		return err != nil
	})
}

// A Cluster is one cluster of a lab, with its addresses.
type Cluster struct {
	Name     string       `json:"name"`
	Lab      string       `json:"lab"`
	Index    int          `json:"index"`
	Network  string       `json:"network"`
	Region   string       `json:"region"`
	Hollow   bool         `json:"hollow,omitempty"`
	Address  netip.Addr   `json:"address"` // of the API server, which runs on the first node
	Services netip.Prefix `json:"services"`
	Pods     netip.Prefix `json:"pods"`
	Nodes    []Node       `json:"nodes"` // a hollow cluster has one, on which no kubelet runs
	Dir      string       `json:"dir"`
}

// A Node is one machine of a cluster: a network namespace with its own containerd and kubelet.
type Node struct {
	Name    string       `json:"name"` // CLUSTER-NUMBER
	Cluster string       `json:"cluster"`
	Number  int          `json:"number"` // from 1
	Address netip.Addr   `json:"address"`
	Pods    netip.Prefix `json:"pods"`
	Region  string       `json:"region"`
	Zone    string       `json:"zone"`
	NetNS   string       `json:"netns"` // name under /run/netns
	Port    string       `json:"port"`  // the bridge's end of its cable
	Dir     string       `json:"dir"`
	Run     string       `json:"run"`
}

// Place is where a lab goes on this machine.
type Place struct {
	Slot       int
	Dir        string // the lab's own folder
	Run        string // the lab's own folder for sockets
	Kubeconfig string
	Programs   Programs
}

// New lays out c, which must be defaulted and valid, at p.
func New(c config.Config, p Place) Lab {
	l := Lab{Name: c.Name, Document: c, Slot: p.Slot, Dir: p.Dir, Run: p.Run, Kubeconfig: p.Kubeconfig, Programs: p.Programs, Links: c.Links}
	for i, k := range c.Clusters {
		l.Clusters = append(l.Clusters, l.cluster(i, k))
	}
	return l
}

func (l Lab) cluster(i int, k config.Cluster) Cluster {
	c := Cluster{
		Name: k.Name, Lab: l.Name, Index: i, Network: k.Network, Region: k.Region, Hollow: k.Hollow,
		Address:  l.address(i, 1),
		Services: slice(Services, 20, min(i, 15)),
		Pods:     slice(Pods, 16, i),
		Dir:      filepath.Join(l.Dir, k.Name),
	}
	for n := 1; n <= max(k.Nodes, 1); n++ {
		c.Nodes = append(c.Nodes, Node{
			Name: k.Name + "-" + strconv.Itoa(n), Cluster: k.Name, Number: n,
			Address: l.address(i, n),
			Pods:    slice(c.Pods, 24, n-1),
			Region:  k.Region, Zone: k.Zones[(n-1)%len(k.Zones)],
			NetNS: fmt.Sprintf("%s%s.%d", NetNSPrefix(l.Name), k.Name, n),
			Port:  fmt.Sprintf("n%d-%d", i, n),
			Dir:   filepath.Join(c.Dir, "node-"+strconv.Itoa(n)),
			Run:   filepath.Join(l.Run, fmt.Sprintf("%d.%d", i, n)),
		})
	}
	return c
}

// Subnet is the lab's part of Wire.
func (l Lab) Subnet() netip.Prefix { return slice(Wire, 20, l.Slot) }

// Host is the address of the machine itself on the lab's wire.
func (l Lab) Host() netip.Addr { return add(l.Subnet().Addr(), 1) }

// HostLink is the name of the machine's end of the cable to the lab's bridge.
func (l Lab) HostLink() string { return HostLink(l.Slot) }

// HostLink is the name of the machine's end of the cable to the bridge of the lab in slot.
func HostLink(slot int) string { return "isthmus" + strconv.Itoa(slot) }

// SwitchNS names the network namespace that holds the lab's bridge.
func (l Lab) SwitchNS() string { return NetNSPrefix(l.Name) + "net" }

// NetNSPrefix begins the name of every network namespace of the lab. No name of a lab contains a full stop, so the
// prefix of one lab never begins the prefix of another.
func NetNSPrefix(lab string) string { return "isthmus-lab." + lab + "." }

// CgroupRoot is the cgroup, in every hierarchy, under which all containers of the lab run.
func CgroupRoot(lab string) string { return "/isthmus-lab." + lab }

// Mark is the environment variable that every program of the lab carries.
func Mark(lab string) string { return "ISTHMUS_LAB=" + lab }

// Environ is the whole environment of a program of the lab: nothing of the caller's, such as a proxy that would be asked
// for addresses of the lab, or the mark of another lab.
func Environ(lab string, more ...string) []string {
	return append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", Mark(lab)}, more...)
}

// StateFile holds the layout itself.
func (l Lab) StateFile() string { return StateFile(l.Dir) }

// StateFile is where the lab with the folder dir keeps its layout.
func StateFile(dir string) string { return filepath.Join(dir, "lab.json") }

// Socket is where the lab's supervisor listens.
func (l Lab) Socket() string { return filepath.Join(l.Run, "supervisor.sock") }

// Digest is the same for two layouts if they are.
func (l Lab) Digest() string {
	data, err := json.Marshal(l)
	if err != nil {
		panic(err) // plain values
	}
	return fmt.Sprintf("%x", sha256.Sum256(data))
}

// Cluster returns the cluster called name.
func (l Lab) Cluster(name string) (Cluster, bool) {
	for _, c := range l.Clusters {
		if c.Name == name {
			return c, true
		}
	}
	return Cluster{}, false
}

// Path joins parts to the cluster's folder.
func (c Cluster) Path(parts ...string) string {
	return filepath.Join(append([]string{c.Dir}, parts...)...)
}

// Log is the file that the component's output goes to; node is empty for those of the control plane.
func (c Cluster) Log(component, node string) string {
	if node == "" {
		return c.Path("log", component+".log")
	}
	return c.Path("log", node, component+".log")
}

// APIServer is the cluster's API address as a URL.
func (c Cluster) APIServer() string { return "https://" + netip.AddrPortFrom(c.Address, 6443).String() }

// ServiceIP returns the n-th address of the Service range: 1 is the API server's, 10 the DNS server's.
func (c Cluster) ServiceIP(n int) netip.Addr { return add(c.Services.Addr(), n) }

// Pool returns the addresses for LoadBalancer Services, lowest first.
func (c Cluster) Pool() []netip.Addr {
	first := add(c.Address, config.MaxNodes)
	var pool []netip.Addr
	for n := range 62 - config.MaxNodes {
		pool = append(pool, add(first, n))
	}
	return pool
}

// Block is the part of the wire that belongs to the cluster: its nodes and its LoadBalancer Services.
func (c Cluster) Block() netip.Prefix { return netip.PrefixFrom(c.Address, 26).Masked() }

// Path joins parts to the node's folder.
func (n Node) Path(parts ...string) string {
	return filepath.Join(append([]string{n.Dir}, parts...)...)
}

// Mounts is the file that holds the node's mount namespace.
func (n Node) Mounts() string { return filepath.Join(n.Run, "mnt") }

// FixedDirs are folders whose place kubelet and containerd have fixed in their code. On a node they are its own.
var FixedDirs = []string{"/var/lib/kubelet", "/var/lib/cni", "/var/log/containers"}

// Own is what the node has instead of one of FixedDirs.
func (n Node) Own(dir string) string {
	return n.Path("own", strings.ReplaceAll(strings.Trim(dir, "/"), "/", "-"))
}

// Containerd is the socket of the node's containerd.
func (n Node) Containerd() string { return filepath.Join(n.Run, "containerd.sock") }

func (l Lab) address(cluster, n int) netip.Addr {
	return add(slice(l.Subnet(), 26, cluster+1).Addr(), n)
}

// slice returns the i-th prefix of the given length in p.
func slice(p netip.Prefix, bits, i int) netip.Prefix {
	return netip.PrefixFrom(add(p.Addr(), i<<(32-bits)), bits)
}

func add(a netip.Addr, n int) netip.Addr {
	b := a.As4()
	v := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	v += uint32(n)
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})
}
