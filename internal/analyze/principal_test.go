package analyze

import (
	"testing"

	"pgregory.net/rapid"
)

func TestReadIdentity(t *testing.T) {
	cases := []struct {
		reason, in string
		want       identity
		ok         bool
	}{
		{"the whole", "cluster.local/ns/shop/sa/web", identity{"cluster.local", "shop", "web"}, true},
		{"anybody", "*", identity{}, true},
		{"open at the end", "cluster.local/ns/shop/*", identity{"cluster.local", "shop", ""}, true},
		{"open within a name", "cluster.local/ns/sh*", identity{"cluster.local", "", ""}, true},
		{"open within a fixed part", "cluster.local/n*", identity{"cluster.local", "", ""}, true},
		{"open at the beginning", "*/ns/shop/sa/web", identity{"", "shop", "web"}, true},
		{"open within the namespace", "*op/sa/web", identity{"", "", "web"}, true},
		{"open within the account", "*web", identity{}, true},
		{"a host", "web.shop.svc.cluster.local", identity{}, false},
		{"with its scheme", "spiffe://cluster.local/ns/shop/sa/web", identity{}, false},
		{"too long", "cluster.local/ns/shop/sa/web/x", identity{}, false},
		{"too short", "cluster.local/ns/shop", identity{}, false},
		{"another word", "cluster.local/namespace/shop/sa/web", identity{}, false},
		{"open at both ends", "*shop*", identity{}, false},
		{"an open end that no identity has", "*/shop/web", identity{}, false},
		{"a beginning that no identity has", "cluster.local/shop*", identity{}, false},
		{"an empty part", "cluster.local/ns//sa/web", identity{}, false},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			if got, ok := readIdentity(c.in); got != c.want || ok != c.ok {
				t.Errorf("readIdentity(%q) = %+v, %v; want %+v, %v", c.in, got, ok, c.want, c.ok)
			}
		})
	}
}

// TestEveryIdentityIsRead: whatever Istio can match with "*" at one end of a real identity, readIdentity lets pass.
func TestEveryIdentityIsRead(t *testing.T) {
	name := rapid.StringMatching(`[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?`)
	rapid.Check(t, func(t *rapid.T) {
		id := identity{name.Draw(t, "domain"), name.Draw(t, "ns"), name.Draw(t, "account")}.String()
		cut := rapid.IntRange(0, len(id)).Draw(t, "cut")
		for _, pattern := range []string{id, id[:cut] + "*", "*" + id[cut:]} {
			if _, ok := readIdentity(pattern); !ok {
				t.Fatalf("%q matches %q and is called no identity", pattern, id)
			}
		}
	})
}
