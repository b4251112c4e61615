package wire

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"isthmus.dev/isthmus/lab/layout"
)

// cutTable is the nftables table that holds what a node is cut off from.
const cutTable = "isthmus-lab-cut"

// Cut drops every packet that node n exchanges with the given ranges, whatever was dropped before; with none it drops
// nothing. Connections are not ended: to them it is as if a cable had been pulled.
func Cut(n layout.Node, ranges []netip.Prefix) error {
	return In(n.NetNS, func() error { return nft(cutRules(ranges)) })
}

func cutRules(ranges []netip.Prefix) string {
	rules := fmt.Sprintf("table ip %[1]s\ndelete table ip %[1]s\n", cutTable)
	if len(ranges) == 0 {
		return rules
	}
	var list []string
	for _, r := range ranges {
		list = append(list, r.String())
	}
	slices.Sort(list)
	return rules + fmt.Sprintf(`table ip %s {
	set far { type ipv4_addr; flags interval; auto-merge; elements = { %s } }
	chain from { type filter hook prerouting priority raw - 10; policy accept; ip saddr @far drop; }
	chain to { type filter hook postrouting priority srcnat + 10; policy accept; ip daddr @far drop; }
}
`, cutTable, strings.Join(slices.Compact(list), ", "))
}
