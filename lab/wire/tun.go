package wire

import (
	"fmt"
	"net/netip"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"isthmus.dev/isthmus/lab/layout"
)

// Far is the device through which a node reaches distant clusters.
const Far = "wan0"

// OpenTun makes the node's tun device and returns it. Each read is one IP packet that the node sends, each write one that
// it receives. The device goes when it is closed.
func OpenTun(n layout.Node) (*os.File, error) {
	var fd int
	err := In(n.NetNS, func() (err error) {
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0); err != nil {
			return fmt.Errorf("open /dev/net/tun: %w", err)
		}
		req, err := unix.NewIfreq(Far)
		if err != nil {
			return err
		}
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
			_ = unix.Close(fd)
			return fmt.Errorf("make tun device: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("make %s on node %s: %w", Far, n.Name, err)
	}
	tun := os.NewFile(uintptr(fd), "/dev/net/tun")
	h, err := open(n.NetNS)
	if err != nil {
		_ = tun.Close()
		return nil, err
	}
	defer h.Close()
	if err := h.up(Far); err != nil {
		_ = tun.Close()
		return nil, err
	}
	return tun, nil
}

// RouteFar makes node n of cluster c reach the clusters peers, and no others, through its tun device: their nodes,
// their LoadBalancer Services, and their pods if they are of its network.
func RouteFar(c layout.Cluster, n layout.Node, peers []layout.Cluster) error {
	h, err := open(n.NetNS)
	if err != nil {
		return err
	}
	defer h.Close()
	link, err := h.LinkByName(Far)
	if err != nil {
		return fmt.Errorf("link %s in %s: %w", Far, h.where, err)
	}
	var want []netip.Prefix
	for _, p := range peers {
		want = append(want, p.Block())
		if p.Network == c.Network && !p.Hollow {
			for _, m := range p.Nodes {
				want = append(want, m.Pods)
			}
		}
	}
	have, err := h.RouteList(link, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("list routes of node %s: %w", n.Name, err)
	}
	for _, r := range have {
		if r.Dst == nil || slices.ContainsFunc(want, func(p netip.Prefix) bool { return r.Dst.String() == p.String() }) {
			continue
		}
		if err := h.RouteDel(&r); err != nil {
			return fmt.Errorf("remove route %s of node %s: %w", r.Dst, n.Name, err)
		}
	}
	for _, p := range want {
		r := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipnet(p), Scope: netlink.SCOPE_LINK, Src: n.Address.AsSlice()}
		if err := h.RouteReplace(r); err != nil {
			return fmt.Errorf("route %s of node %s: %w", p, n.Name, err)
		}
	}
	return nil
}
