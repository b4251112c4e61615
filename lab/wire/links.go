package wire

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"isthmus.dev/isthmus/lab/layout"
)

const (
	bridge = "br0"  // in the switch's namespace
	uplink = "host" // the switch's end of the cable to the machine
	// NIC is a node's end of its cable.
	NIC = "eth0"
)

// Switch makes the lab's bridge and the machine's cable to it.
func Switch(l layout.Lab) error {
	if err := EnsureNS(l.SwitchNS()); err != nil {
		return err
	}
	sw, err := open(l.SwitchNS())
	if err != nil {
		return err
	}
	defer sw.Close()
	if err := sw.ensure(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridge}}); err != nil {
		return fmt.Errorf("make bridge of lab %s: %w", l.Name, err)
	}
	if err := sw.up(bridge); err != nil {
		return err
	}
	if _, err := sw.LinkByName(uplink); err != nil {
		self, err := netns.Get()
		if err != nil {
			return fmt.Errorf("open the machine's network namespace: %w", err)
		}
		defer func() { _ = self.Close() }()
		cable := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: uplink}, PeerName: l.HostLink(), PeerNamespace: netlink.NsFd(self)}
		if err := sw.LinkAdd(cable); err != nil {
			return fmt.Errorf("make cable %s between the machine and lab %s: %w", l.HostLink(), l.Name, err)
		}
	}
	if err := sw.plug(uplink); err != nil {
		return err
	}
	host, err := netlink.NewHandle()
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	h := handle{host, "the machine"}
	defer h.Close()
	return h.address(l.HostLink(), netip.PrefixFrom(l.Host(), l.Subnet().Bits()))
}

// Node makes the node's namespace and its cable, gives it its address and the routes it may have.
// It has no default route: what has one sends its image pulls and DNS questions out of the machine.
func Node(l layout.Lab, c layout.Cluster, n layout.Node) error {
	if err := EnsureNS(n.NetNS); err != nil {
		return err
	}
	if err := cable(l, n); err != nil {
		return err
	}
	h, err := open(n.NetNS)
	if err != nil {
		return err
	}
	defer h.Close()
	if err := h.up("lo"); err != nil {
		return err
	}
	if err := h.address(NIC, netip.PrefixFrom(n.Address, l.Subnet().Bits())); err != nil {
		return err
	}
	// A Service's address needs a route before kube-proxy rewrites it; where the route leads does not matter.
	if err := h.route(c.Services, netip.Addr{}); err != nil {
		return err
	}
	for _, other := range Neighbours(l, c, n) {
		if err := h.route(other.Pods, other.Address); err != nil {
			return err
		}
	}
	return In(n.NetNS, func() error { return settings(n.NetNS) })
}

// Neighbours are the nodes whose pods can be reached from node n of cluster c: the others of its network.
func Neighbours(l layout.Lab, c layout.Cluster, n layout.Node) []layout.Node {
	var list []layout.Node
	for _, k := range l.Clusters {
		if k.Network != c.Network || k.Hollow {
			continue
		}
		for _, m := range k.Nodes {
			if m.Name != n.Name {
				list = append(list, m)
			}
		}
	}
	return list
}

func cable(l layout.Lab, n layout.Node) error {
	sw, err := open(l.SwitchNS())
	if err != nil {
		return err
	}
	defer sw.Close()
	if _, err := sw.LinkByName(n.Port); err != nil {
		ns, err := netns.GetFromName(n.NetNS)
		if err != nil {
			return fmt.Errorf("open network namespace %s: %w", n.NetNS, err)
		}
		defer func() { _ = ns.Close() }()
		veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: n.Port}, PeerName: NIC, PeerNamespace: netlink.NsFd(ns)}
		if err := sw.LinkAdd(veth); err != nil {
			return fmt.Errorf("make cable of node %s: %w", n.Name, err)
		}
	}
	return sw.plug(n.Port)
}

// DeleteHostLink takes the machine's end of the cable of the lab in slot away, and with it the other end.
func DeleteHostLink(slot int) error {
	link, err := netlink.LinkByName(layout.HostLink(slot))
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for link %s: %w", layout.HostLink(slot), err)
	}
	if err := netlink.LinkDel(link); err != nil {
		return fmt.Errorf("delete link %s: %w", layout.HostLink(slot), err)
	}
	return nil
}

// handle is netlink in one network namespace.
type handle struct {
	*netlink.Handle
	where string
}

func open(name string) (handle, error) {
	ns, err := netns.GetFromName(name)
	if err != nil {
		return handle{}, fmt.Errorf("open network namespace %s: %w", name, err)
	}
	defer func() { _ = ns.Close() }()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return handle{}, fmt.Errorf("open netlink in %s: %w", name, err)
	}
	return handle{h, name}, nil
}

func (h handle) ensure(l netlink.Link) error {
	if err := h.LinkAdd(l); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil
}

func (h handle) up(name string) error {
	link, err := h.LinkByName(name)
	if err != nil {
		return fmt.Errorf("link %s in %s: %w", name, h.where, err)
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("set link %s in %s up: %w", name, h.where, err)
	}
	return nil
}

// plug puts the link into the bridge and sets it up.
func (h handle) plug(name string) error {
	port, err := h.LinkByName(name)
	if err != nil {
		return fmt.Errorf("link %s in %s: %w", name, h.where, err)
	}
	br, err := h.LinkByName(bridge)
	if err != nil {
		return fmt.Errorf("link %s in %s: %w", bridge, h.where, err)
	}
	if err := h.LinkSetMaster(port, br); err != nil {
		return fmt.Errorf("plug %s into the bridge of %s: %w", name, h.where, err)
	}
	return h.up(name)
}

func (h handle) address(name string, p netip.Prefix) error {
	link, err := h.LinkByName(name)
	if err != nil {
		return fmt.Errorf("link %s in %s: %w", name, h.where, err)
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("set link %s in %s up: %w", name, h.where, err)
	}
	if err := h.AddrReplace(link, &netlink.Addr{IPNet: ipnet(p)}); err != nil {
		return fmt.Errorf("give %s in %s the address %s: %w", name, h.where, p, err)
	}
	return nil
}

// route leads to p through via, or straight onto the wire if via is not valid.
func (h handle) route(p netip.Prefix, via netip.Addr) error {
	link, err := h.LinkByName(NIC)
	if err != nil {
		return fmt.Errorf("link %s in %s: %w", NIC, h.where, err)
	}
	// Priority: a distant cluster's route (RouteFar) comes first while it is there.
	r := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipnet(p), Scope: netlink.SCOPE_LINK, Priority: 100}
	if via.IsValid() {
		r.Gw, r.Scope = via.AsSlice(), netlink.SCOPE_UNIVERSE
	}
	if err := h.RouteReplace(r); err != nil {
		return fmt.Errorf("route %s in %s: %w", p, h.where, err)
	}
	return nil
}

func ipnet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}
}
