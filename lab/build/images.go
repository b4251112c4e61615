package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"isthmus.dev/isthmus/lab/image"
)

// refs are the images that the lab assembles, by the names of Set.Image. Those of Istio end in the names that
// its charts use with the hub lab.local.
var refs = map[string]string{
	"pause":   imageHub + "/pause:1",
	"coredns": imageHub + "/coredns:1",
	"pilot":   imageHub + "/pilot:" + istioVersion,
	"proxyv2": imageHub + "/proxyv2:" + istioVersion,
	"app":     imageHub + "/app:" + istioVersion,
}

// imageNames is the order in which they are made.
var imageNames = []string{"pause", "coredns", "pilot", "proxyv2", "app"}

// istioUser is the user of Istio's own images; its iptables rules leave this user's traffic alone.
const istioUser = "1337"

// specs says what each image holds. program gives the path of a built program.
func specs(ctx context.Context, program func(string) string, istio string) (map[string]image.Spec, error) {
	proxy, err := proxyFiles(ctx, program, istio)
	if err != nil {
		return nil, fmt.Errorf("gather the files of the proxy's image: %w", err)
	}
	const local = "/usr/local/bin/"
	certs := filepath.Join(istio, "tests", "testdata", "certs", "dns")
	all := map[string]image.Spec{
		"pause": {
			Entrypoint: []string{"/pause"}, User: "65535",
			Files: []image.File{{Path: "/pause", Source: program("pause")}},
		},
		"coredns": {
			Entrypoint: []string{"/coredns"},
			Files:      []image.File{{Path: "/coredns", Source: program("coredns")}},
		},
		"pilot": {
			Entrypoint: []string{local + "pilot-discovery"}, User: istioUser,
			Files: []image.File{{Path: local + "pilot-discovery", Source: program("pilot-discovery")}},
		},
		"proxyv2": {
			Entrypoint: []string{local + "pilot-agent"}, User: istioUser,
			Env:   []string{"ISTIO_META_ISTIO_VERSION=" + istioVersion},
			Files: proxy,
		},
		// The echo server wants these three files as soon as it is given a TLS port.
		"app": {
			Entrypoint: []string{local + "server"},
			Files: []image.File{
				{Path: local + "server", Source: program("echo-server")},
				{Path: local + "client", Source: program("echo-client")},
				{Path: "/cert.crt", Source: filepath.Join(certs, "cert-chain.pem"), Mode: 0o644},
				{Path: "/cert.key", Source: filepath.Join(certs, "key.pem"), Mode: 0o644},
				{Path: "/root-cert.pem", Source: filepath.Join(certs, "root-cert.pem"), Mode: 0o644},
			},
		},
	}
	for n, s := range all {
		s.Ref, s.Arch = refs[n], runtime.GOARCH
		all[n] = s
	}
	return all, nil
}

// proxyFiles are Istio's agent, Envoy and its bootstrap, and this machine's iptables and nft with the libraries
// that they and Envoy need.
func proxyFiles(ctx context.Context, program func(string) string, istio string) ([]image.File, error) {
	xtables, err := tool("xtables-nft-multi").Find(ctx)
	if err != nil {
		return nil, err
	}
	nft, err := tool("nft").Find(ctx)
	if err != nil {
		return nil, err
	}
	extensions, err := xtablesExtensions("/")
	if err != nil {
		return nil, err
	}
	files := []image.File{
		{Path: "/usr/local/bin/pilot-agent", Source: program("pilot-agent")},
		{Path: "/usr/local/bin/envoy", Source: program("envoy")},
		{
			Path: "/var/lib/istio/envoy/envoy_bootstrap_tmpl.json", Mode: 0o644,
			Source: filepath.Join(istio, "tools", "packaging", "common", "envoy_bootstrap.json"),
		},
		{Path: "/usr/sbin/xtables-nft-multi", Source: xtables},
		{Path: "/usr/sbin/nft", Source: nft},
	}
	for _, n := range []string{"iptables", "iptables-save", "iptables-restore"} {
		files = append(files,
			image.File{Path: "/usr/sbin/" + n, Link: "xtables-nft-multi"},
			image.File{Path: "/usr/sbin/" + strings.Replace(n, "ip", "ip6", 1), Link: "xtables-nft-multi"})
	}
	dynamic := []string{program("envoy"), xtables, nft}
	for _, e := range extensions {
		files = append(files, e)
		dynamic = append(dynamic, e.Source)
	}
	libs, err := image.Libraries(dynamic...)
	if err != nil {
		return nil, err
	}
	return append(files, libs...), nil
}

// xtablesExtensions are the libraries that iptables loads by name for its matches and targets.
func xtablesExtensions(root string) ([]image.File, error) {
	for _, dir := range []string{"/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"} {
		found, err := filepath.Glob(filepath.Join(root, dir, "xtables", "*.so"))
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			continue
		}
		files := make([]image.File, 0, len(found))
		for _, f := range found {
			files = append(files, image.File{Path: filepath.Join(dir, "xtables", filepath.Base(f)), Source: f})
		}
		return files, nil
	}
	return nil, &Error{
		Problem: "the extensions of iptables (libxt_*.so) are not in the usual folders",
		Do:      "Install it: apt-get install " + tool("xtables-nft-multi").Package,
	}
}

// imageItem is an image as a thing to make. Its key tells apart every file that goes into it: what the store
// holds by its path there, which ends in its key; the machine's own by their contents.
func (s store) imageItem(name string, spec image.Spec) (item, error) {
	desc, err := s.describe(spec)
	if err != nil {
		return item{}, fmt.Errorf("look at the files of the %s image: %w", name, err)
	}
	return item{
		name: name + ".tar", title: name + " image", place: "images", key: keyOf("image", desc),
		fill: func(_ context.Context, dir string, st *step) error {
			st.is("assembling", spec.Ref)
			img, err := image.Assemble(spec)
			if err != nil {
				return err
			}
			return image.WriteFile(filepath.Join(dir, name+".tar"), spec.Ref, img)
		},
	}, nil
}

func (s store) describe(spec image.Spec) (string, error) {
	type file struct {
		Path, Link, Content string
		Mode, Host          fs.FileMode
	}
	var files []file
	for _, f := range spec.Files {
		d := file{Path: f.Path, Link: f.Link, Mode: f.Mode}
		rel, inside := strings.CutPrefix(f.Source, s.dir+string(filepath.Separator))
		switch {
		case inside:
			d.Content = rel
		case f.Source != "":
			b, mode, err := contents(f.Source)
			if err != nil {
				return "", err
			}
			d.Content, d.Host = keyOf(b), mode
		default:
			d.Content = keyOf(string(f.Data))
		}
		files = append(files, d)
	}
	spec.Files = nil
	b, err := json.Marshal(struct {
		Spec  image.Spec
		Files []file
	}{spec, files})
	return string(b), err
}

func contents(path string) (string, fs.FileMode, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return "", 0, errors.Join(err, f.Close())
	}
	st, err := f.Stat()
	if err != nil {
		return "", 0, errors.Join(err, f.Close())
	}
	return string(b), st.Mode().Perm(), f.Close()
}
