package charts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"istio.io/istio/manifests"

	"isthmus.dev/isthmus/internal/istio"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/registry"
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
func (r Reader) registry(ctx context.Context, i mesh.Istio) (mesh.Charts, error) {
	from := i.Charts.From
	base, tag := strings.TrimSuffix(strings.TrimPrefix(from, mesh.OCI), "/"), i.Version
	if at := strings.LastIndex(base, ":"); at > strings.LastIndex(base, "/") {
		base, tag = base[:at], base[at+1:]
	}
	if strings.Count(tag, ".") < 2 {
		return mesh.Charts{}, fmt.Errorf("spec.istio.charts: %s: which release of %s? Set spec.istio.version: %s.PATCH, or write it behind the reference", from, tag, tag)
	}
	s, err := r.store()
	if err != nil {
		return mesh.Charts{}, err
	}
	f := fetching{Reader: r, store: s, base: base, tag: tag, pins: i.Charts.Digests, files: map[string][]byte{}, blobs: map[string][]byte{}}
	for _, chart := range published {
		if err := f.fetch(ctx, chart.name, "charts/"+chart.dir+"/", chart.optional); err != nil {
			return mesh.Charts{}, fmt.Errorf("spec.istio.charts: %s: chart %s:%s: %w", from, chart.name, tag, remedied(err, base))
		}
	}
	if err := completed(f.files); err != nil {
		return mesh.Charts{}, fmt.Errorf("spec.istio.charts: %s: %w", from, err)
	}
	dir, err := s.tree(f.files)
	if err != nil {
		return mesh.Charts{}, fmt.Errorf("spec.istio.charts: %s: %w", from, err)
	}
	for digest, text := range f.blobs {
		if err := s.putBlob(digest, text); err != nil {
			return mesh.Charts{}, err
		}
	}
	found, err := folder(from, dir)
	found.Read = f.read
	return found, err
}

// A fetching is what has been read of a folder of charts in a registry.
type fetching struct {
	Reader
	store
	base, tag string
	pins      map[string]string
	files     map[string][]byte // by their place in a manifests folder
	blobs     map[string][]byte // by digest
	read      []mesh.Chart
	silent    bool // the registry has not answered before
}

// fetch reads a chart, if the registry and whoever vouches for it have one of that name.
func (f *fetching) fetch(ctx context.Context, name, place string, optional bool) error {
	found, manifest, err := f.manifest(ctx, name, optional)
	if err != nil || found.Digest == "" {
		return err
	}
	blob, err := f.chart(ctx, f.base+"/"+name, manifest)
	if err != nil {
		return err
	}
	unpacked, err := unpack(ctx, bytes.NewReader(blob), ofChart)
	if err != nil {
		return err
	}
	if unpacked["Chart.yaml"] == nil {
		return errors.New("it holds no Chart.yaml")
	}
	for file, text := range unpacked {
		f.files[place+file] = text
	}
	f.blobs[found.Digest], f.blobs[registry.Digest(blob)] = manifest, blob
	f.read = append(f.read, found)
	return nil
}

// chart is the packed chart that a manifest names, from what is kept or from the registry. Either way its bytes have the
// size and the digest that the manifest says.
func (f *fetching) chart(ctx context.Context, repository string, manifest []byte) ([]byte, error) {
	layer, err := layerOf(manifest)
	if err != nil {
		return nil, err
	}
	if kept := f.blob(layer.Digest.String(), layer.Size); kept != nil {
		return kept, nil
	}
	return f.Registry.Blob(ctx, repository, layer.Digest.String(), layer.Size)
}

// layerOf finds the chart in a manifest.
func layerOf(manifest []byte) (v1.Descriptor, error) {
	m, err := v1.ParseManifest(bytes.NewReader(manifest))
	if err != nil {
		return v1.Descriptor{}, fmt.Errorf("read its manifest: %w", err)
	}
	var found []v1.Descriptor
	for _, layer := range m.Layers {
		if string(layer.MediaType) == content {
			found = append(found, layer)
		}
	}
	if len(found) != 1 {
		return v1.Descriptor{}, fmt.Errorf("it is no Helm chart: it has %d layers of type %s, and a chart has one", len(found), content)
	}
	return found[0], nil
}

// ofChart is the place of a packed file in its chart, whose files are in a folder of its name.
func ofChart(name string) string {
	_, file, _ := strings.Cut(name, "/")
	return file
}

// completed adds to the charts what goes with them.
func completed(all map[string][]byte) error {
	release, err := releaseOf(treeFS(all))
	if err != nil {
		return err
	}
	if istio.Line(release) != istio.Version() {
		return fmt.Errorf("the charts are of Istio %s, and the profiles and gateways that go with them, which are in no registry, are here those of %s: name the archive of release %s in spec.istio.charts, which has all of them",
			release, istio.Version(), release)
	}
	for _, part := range unpublished {
		err := fs.WalkDir(manifests.FS, part, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			all[path], err = manifests.FS.ReadFile(path)
			return err
		})
		if err != nil {
			return fmt.Errorf("read this program's own %s: %w", part, err)
		}
	}
	return nil
}

// remedied says what to do about a registry's refusal.
func remedied(err error, base string) error {
	var refused *transport.Error
	host, _, _ := strings.Cut(base, "/")
	switch {
	case registry.Missing(err):
		return fmt.Errorf("it is not there: the reference names the folder that holds base, istiod, cni and ztunnel, and spec.istio.version their tag: %w", err)
	case errors.As(err, &refused) && (refused.StatusCode == http.StatusUnauthorized || refused.StatusCode == http.StatusForbidden):
		return fmt.Errorf("the registry refuses: docker login %s, or helm registry login %s: %w", host, host, err)
	}
	return err
}
