//go:build lab

package build_test

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"isthmus.dev/isthmus/lab/build"
)

// ensure makes what is missing in the user's cache, and returns it with how many things were made.
func ensure(t *testing.T) (build.Set, int) {
	t.Helper()
	made := 0
	set, err := build.Ensure(context.Background(), build.Options{Report: func(e build.Event) {
		if e.Done && !e.Cached {
			made++
			t.Logf("%s %s, %d of %d, %s so far", e.Doing, e.Program, e.Finished, e.Total, e.Elapsed)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	return set, made
}

func TestEnsureOfThisRepository(t *testing.T) {
	set, _ := ensure(t)
	again, made := ensure(t)
	if again != set || made != 0 {
		t.Errorf("the second time %d things were made, and the set is %v, not %v", made, again, set)
	}
	for program, tc := range map[string]struct{ args, want string }{
		"kube-apiserver":  {args: "--version", want: "Kubernetes v1.36."},
		"kubelet":         {args: "--version", want: "Kubernetes v1.36."},
		"kubectl":         {args: "version --client", want: "Client Version: v1.36."},
		"containerd":      {args: "--version", want: "containerd github.com/containerd/containerd/v2 2."},
		"etcd":            {args: "--version", want: "etcd Version: 3."},
		"coredns":         {args: "-version", want: "CoreDNS-1."},
		"envoy":           {args: "--version", want: "/1.40.0/"},
		"istioctl":        {args: "version --remote=false", want: "1.31.0"},
		"pilot-discovery": {args: "version", want: `Version:"1.31.0"`},
		"pilot-agent":     {args: "version", want: `GitTag:"1.31.0"`},
	} {
		out, err := exec.Command(set.Program(program), strings.Fields(tc.args)...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), tc.want) {
			t.Errorf("%s %s: %v\n%s\nwant %s", program, tc.args, err, out, tc.want)
		}
	}
}

// The image of the proxy must hold every library of what it runs: so it is run with nothing else in sight.
func TestProxyImageIsComplete(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("chroot needs root")
	}
	set, _ := ensure(t)
	_, archive := set.Image("proxyv2")
	root := t.TempDir()
	unpack(t, archive, root)
	for _, args := range []string{
		"/usr/sbin/iptables --version", "/usr/sbin/ip6tables-restore --version", "/usr/sbin/nft --version",
		"/usr/sbin/iptables -m conntrack --help", "/usr/sbin/iptables -j REDIRECT --help",
		"/usr/local/bin/envoy --version", "/usr/local/bin/pilot-agent version",
	} {
		words := strings.Fields(args)
		cmd := exec.Command(words[0], words[1:]...)
		cmd.Dir, cmd.SysProcAttr = "/", &syscall.SysProcAttr{Chroot: root}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", args, err, out)
		}
	}
}

func unpack(t *testing.T, archive, root string) {
	t.Helper()
	img, err := tarball.ImageFromPath(archive, nil)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	r, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := unpackOne(filepath.Join(root, h.Name), h, tr); err != nil {
			t.Fatal(err)
		}
	}
}

func unpackOne(path string, h *tar.Header, r io.Reader) error {
	switch h.Typeflag {
	case tar.TypeDir:
		return os.MkdirAll(path, 0o755)
	case tar.TypeSymlink:
		return os.Symlink(h.Linkname, path)
	default:
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, os.FileMode(h.Mode))
		if err != nil {
			return err
		}
		_, err = io.Copy(f, r)
		return errors.Join(err, f.Close())
	}
}
