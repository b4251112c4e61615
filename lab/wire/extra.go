package wire

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"isthmus.dev/isthmus/lab/layout"
)

// Answer makes node n answer for the addresses want, and for no others of pool.
func Answer(n layout.Node, pool, want []netip.Addr) error {
	h, err := open(n.NetNS)
	if err != nil {
		return err
	}
	defer h.Close()
	link, err := h.LinkByName(NIC)
	if err != nil {
		return fmt.Errorf("link %s in %s: %w", NIC, h.where, err)
	}
	have, err := h.AddrList(link, unix.AF_INET)
	if err != nil {
		return fmt.Errorf("list addresses of node %s: %w", n.Name, err)
	}
	for _, a := range have {
		ip, ok := netip.AddrFromSlice(a.IP.To4())
		if !ok || !slices.Contains(pool, ip) || slices.Contains(want, ip) {
			continue
		}
		if err := h.AddrDel(link, &a); err != nil {
			return fmt.Errorf("take address %s from node %s: %w", ip, n.Name, err)
		}
	}
	for _, ip := range want {
		if slices.ContainsFunc(have, func(a netlink.Addr) bool { return a.IP.Equal(net.IP(ip.AsSlice())) }) {
			continue
		}
		if err := h.AddrReplace(link, &netlink.Addr{IPNet: ipnet(netip.PrefixFrom(ip, 32))}); err != nil {
			return fmt.Errorf("give node %s the address %s: %w", n.Name, ip, err)
		}
	}
	return nil
}
