package charts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"istio.io/istio/manifests"

	"isthmus.dev/isthmus/internal/istio"
	"isthmus.dev/isthmus/internal/mesh"
)

// content is the media type of a Helm chart's layer.
const content = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"

// published are the charts that Istio publishes in a registry and istioctl renders from, with their place in a
// manifests folder.
var published = []struct {
	name, dir string
	optional  bool // only some profiles need it
}{
	{"base", "base", false},
	{"istiod", "istio-control/istio-discovery", false},
	{"cni", "istio-cni", true},
	{"ztunnel", "ztunnel", true},
}

// unpublished are the parts of a manifests folder that Istio publishes in no registry; they come from the program.
// The chart "gateway" that is published is another one than istioctl's gateways are made from.
var unpublished = []string{"profiles", "charts/default", "charts/gateways"}

// registry puts together a manifests folder from the charts in a registry.
func (r Reader) registry(ctx context.Context, from, version string) (mesh.Charts, error) {
	base, tag := strings.TrimSuffix(strings.TrimPrefix(from, mesh.OCI), "/"), version
	if at := strings.LastIndex(base, ":"); at > strings.LastIndex(base, "/") {
		base, tag = base[:at], base[at+1:]
	}
	if strings.Count(tag, ".") < 2 {
		return mesh.Charts{}, fmt.Errorf("spec.istio.charts: %s: which release of %s? Set spec.istio.version: %s.PATCH, or write it behind the reference", from, tag, tag)
	}
	layers := map[string]v1.Layer{}
	sum := sha256.New()
	fmt.Fprintln(sum, mesh.Release) // what is not published is of this program
	for _, chart := range published {
		layer, err := r.layer(ctx, base+"/"+chart.name+":"+tag)
		if err != nil && chart.optional && isMissing(err) {
			continue
		}
		if err != nil {
			return mesh.Charts{}, fmt.Errorf("spec.istio.charts: %s: chart %s:%s: %w", from, chart.name, tag, remedied(err, base))
		}
		digest, err := layer.Digest()
		if err != nil {
			return mesh.Charts{}, fmt.Errorf("digest of chart %s: %w", chart.name, err)
		}
		fmt.Fprintln(sum, chart.name, digest)
		layers[chart.name] = layer
	}
	dir, err := r.kept(hex.EncodeToString(sum.Sum(nil)), func(into string) error { return assemble(ctx, into, layers) })
	if err != nil {
		return mesh.Charts{}, fmt.Errorf("spec.istio.charts: %s: %w", from, err)
	}
	return folder(from, dir)
}

// assemble writes the charts, and what goes with them.
func assemble(ctx context.Context, into string, layers map[string]v1.Layer) error {
	for _, chart := range published {
		layer := layers[chart.name]
		if layer == nil {
			continue
		}
		if err := pull(ctx, layer, filepath.Join(into, "charts", filepath.FromSlash(chart.dir))); err != nil {
			return fmt.Errorf("chart %s: %w", chart.name, err)
		}
	}
	release, err := releaseOf(os.DirFS(into))
	if err != nil {
		return err
	}
	if istio.Line(release) != istio.Version() {
		return fmt.Errorf("the charts are of Istio %s, and the profiles and gateways that go with them, which are in no registry, are here those of %s: name the archive of release %s in spec.istio.charts, which has all of them",
			release, istio.Version(), release)
	}
	for _, part := range unpublished {
		if err := embedded(part, into); err != nil {
			return err
		}
	}
	return nil
}

// pull unpacks a chart, whose files are in a folder of its name.
func pull(ctx context.Context, layer v1.Layer, into string) error {
	r, err := layer.Compressed()
	if err != nil {
		return err
	}
	defer r.Close()
	err = unpack(ctx, r, into, func(name string) string {
		_, file, _ := strings.Cut(name, "/")
		return file
	})
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(into, "Chart.yaml")); err != nil {
		return errors.New("it holds no Chart.yaml")
	}
	return nil
}

// embedded copies a part of the program's own manifests.
func embedded(part, into string) error {
	return fs.WalkDir(manifests.FS, part, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := manifests.FS.Open(path)
		if err != nil {
			return err
		}
		info, err := f.Stat()
		if err == nil {
			err = write(filepath.Join(into, filepath.FromSlash(path)), f, info.Size())
		}
		return errors.Join(err, f.Close())
	})
}

// layer finds a chart in a registry. Its content is not fetched yet.
func (r Reader) layer(ctx context.Context, reference string) (v1.Layer, error) {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return nil, err
	}
	keychain := r.Keychain
	if keychain == nil {
		keychain = authn.DefaultKeychain
	}
	image, err := remote.Image(ref, remote.WithContext(ctx), remote.WithAuthFromKeychain(keychain), remote.WithUserAgent("isthmus"))
	if err != nil {
		return nil, err
	}
	layers, err := image.Layers()
	if err != nil {
		return nil, err
	}
	for _, layer := range layers {
		if kind, err := layer.MediaType(); err == nil && string(kind) == content {
			return layer, nil
		}
	}
	return nil, errors.New("it is no Helm chart: it has no layer of type " + content)
}

func isMissing(err error) bool {
	var refused *transport.Error
	return errors.As(err, &refused) && refused.StatusCode == http.StatusNotFound
}

// remedied says what to do about a registry's refusal.
func remedied(err error, base string) error {
	var refused *transport.Error
	host, _, _ := strings.Cut(base, "/")
	switch {
	case isMissing(err):
		return fmt.Errorf("it is not there: the reference names the folder that holds base, istiod, cni and ztunnel, and spec.istio.version their tag: %w", err)
	case errors.As(err, &refused) && (refused.StatusCode == http.StatusUnauthorized || refused.StatusCode == http.StatusForbidden):
		return fmt.Errorf("the registry refuses: docker login %s, or helm registry login %s: %w", host, host, err)
	}
	return err
}
