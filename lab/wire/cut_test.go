package wire

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCutRules(t *testing.T) {
	cases := []struct {
		reason string
		ranges []string
		want   string
	}{
		{"nothing is dropped: the table goes", nil, "table ip isthmus-lab-cut\ndelete table ip isthmus-lab-cut\n"},
		{
			"ranges are dropped in both directions, each named once",
			[]string{"198.18.0.128/26", "100.65.0.0/16", "198.18.0.128/26"},
			`table ip isthmus-lab-cut
delete table ip isthmus-lab-cut
table ip isthmus-lab-cut {
	set far { type ipv4_addr; flags interval; auto-merge; elements = { 100.65.0.0/16, 198.18.0.128/26 } }
	chain from { type filter hook prerouting priority raw - 10; policy accept; ip saddr @far drop; }
	chain to { type filter hook postrouting priority srcnat + 10; policy accept; ip daddr @far drop; }
}
`,
		},
	}
	for _, c := range cases {
		var ranges []netip.Prefix
		for _, r := range c.ranges {
			ranges = append(ranges, netip.MustParsePrefix(r))
		}
		if diff := cmp.Diff(c.want, cutRules(ranges)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", c.reason, diff)
		}
	}
}
