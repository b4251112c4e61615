package wire

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"isthmus.dev/isthmus/lab/layout"
)

// rules of a node: a pod that calls somebody who is no pod of its network shows the node's address, as behind any
// router; a pod that calls a pod shows its own.
var rules = fmt.Sprintf(`
table ip isthmus-lab
delete table ip isthmus-lab
table ip isthmus-lab {
	chain leave {
		type nat hook postrouting priority srcnat - 10; policy accept;
		ip saddr %[1]s ip daddr != %[1]s oifname { %[2]q, %[3]q } masquerade
	}
}
`, layout.Pods, NIC, Far)

// settings must run inside the node's network namespace.
func settings(name string) error {
	for _, s := range []struct{ key, value string }{
		{"net.ipv4.ip_forward", "1"},
		{"net.ipv4.conf.all.rp_filter", "0"},
		{"net.ipv4.conf.default.rp_filter", "0"},
		{"net.ipv6.conf.all.disable_ipv6", "1"},
		// Replies between pods of one node pass the bridge: kube-proxy must see them to turn addresses back.
		{"net.bridge.bridge-nf-call-iptables", "1"},
	} {
		if err := sysctl(s.key, s.value); err != nil {
			return fmt.Errorf("set %s in %s: %w", s.key, name, err)
		}
	}
	return nft(rules)
}

// nft loads rules into the network namespace of the calling thread.
func nft(rules string) error {
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("load nftables rules: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// sysctl writes a setting of the calling thread's network namespace.
func sysctl(key, value string) error {
	return os.WriteFile(filepath.Join("/proc/sys", strings.ReplaceAll(key, ".", "/")), []byte(value), 0o644)
}
