package registry

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestClaim(t *testing.T) {
	full := Record{Labs: map[string]Entry{}}
	for i := range 16 {
		full.Labs["l"+string(rune('a'+i))] = Entry{Slot: i, Dir: "/d"}
	}
	labs := func(m map[string]Entry) Record { return Record{Labs: m} }
	cases := []struct {
		reason string
		record Record
		wish   int
		used   []string
		want   int
		err    string
	}{
		{"the first lab gets the first slot", labs(map[string]Entry{}), -1, nil, 0, ""},
		{"a lab keeps its slot", labs(map[string]Entry{"x": {Slot: 7, Dir: "/x"}}), 3, nil, 7, ""},
		{"the slot of another lab is left alone", labs(map[string]Entry{"y": {Slot: 0, Dir: "/y"}}), -1, nil, 1, ""},
		{"a wish is fulfilled if it can be", labs(map[string]Entry{"y": {Slot: 0, Dir: "/y"}}), 5, nil, 5, ""},
		{"a wish that another lab has is not", labs(map[string]Entry{"y": {Slot: 5, Dir: "/y"}}), 5, nil, 0, ""},
		{"a subnet that the machine uses is left alone", labs(map[string]Entry{}), -1, []string{"198.18.0.0/24", "198.18.31.1/32"}, 2, ""},
		{"what the machine uses elsewhere does not matter", labs(map[string]Entry{}), -1, []string{"10.0.0.0/8", "198.20.0.0/16"}, 0, ""},
		{"a lab of this name in another folder", labs(map[string]Entry{"x": {Slot: 7, Dir: "/elsewhere"}}), -1, nil, 0, "isthmus-lab down --name x"},
		{"somebody has the whole range", labs(map[string]Entry{}), -1, []string{"198.18.0.0/15"}, 0, ErrFull.Error()},
		{"every slot has its lab", full, -1, nil, 0, ErrFull.Error()},
	}
	for _, c := range cases {
		var used []netip.Prefix
		for _, u := range c.used {
			used = append(used, netip.MustParsePrefix(u))
		}
		got, err := c.record.Claim("x", "/x", c.wish, used)
		if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: error %v, want %q in it", c.reason, err, c.err)
			continue
		}
		if errors.Is(err, ErrFull) != (c.err == ErrFull.Error()) {
			t.Errorf("%s: error %v is not what it says", c.reason, err)
		}
		if err == nil && (got != c.want || c.record.Labs["x"].Slot != c.want) {
			t.Errorf("%s: slot %d, recorded %d, want %d", c.reason, got, c.record.Labs["x"].Slot, c.want)
		}
	}
}
