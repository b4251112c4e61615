// Package charts reads Istio's charts and profiles from where a document says they are: the manifests folder of a
// release, a release archive, or the charts that Istio publishes in a registry. Nothing
// is unpacked before it was read to its end and had the digest that was promised. It is kept by the digest of its
// content, and compared with it each time it is used; what a registry sent once is not fetched again.
//
// Reading is all that happens here: rendering stays pure (package istio), and is handed a folder.
package charts

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"isthmus.dev/isthmus/internal/istio"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/registry"
)

// A Reader reads charts.
type Reader struct {
	// Cache is the folder in which content is kept by its digest. Default: isthmus/charts in the user's cache folder.
	Cache string
	// Registry reads from registries; its zero value will do.
	Registry registry.Client
	// Locked are the digests of manifests in registries that the document's lock has, by oci://HOST/PATH:TAG: nothing else
	// is read there, but what the document itself pins. nil is no lock.
	Locked map[string]string
}

// Load returns a mesh whose Istios have charts to render from: those that the document names are read, and what it
// leaves to them, version and tag, is filled in. A mesh of embedded charts comes back as it is.
func (r Reader) Load(ctx context.Context, m mesh.Mesh) (mesh.Mesh, error) {
	type key struct{ from, version, pins string }
	read := map[key]mesh.Charts{}
	load := func(i mesh.Istio) (mesh.Istio, error) {
		if i.Charts.From == "" || i.Charts.Dir != "" {
			return i, nil
		}
		k := key{i.Charts.From, i.Version, fmt.Sprint(i.Charts.Digests)}
		if _, known := read[k]; !known {
			found, err := r.read(ctx, i)
			if err != nil {
				return i, err
			}
			read[k] = found
		}
		return with(i, read[k])
	}
	clusters := make([]mesh.Cluster, len(m.Clusters))
	for n, c := range m.Clusters {
		var err error
		if c.Istio, err = load(c.Istio); err != nil {
			return mesh.Mesh{}, fmt.Errorf("cluster %s: %w", c.Name, err)
		}
		clusters[n] = c
	}
	m.Clusters = clusters
	return m, nil
}

// with fills in what the charts say of themselves.
func with(i mesh.Istio, found mesh.Charts) (mesh.Istio, error) {
	found.Digests = i.Charts.Digests
	i.Charts = found
	i.Version = cmp.Or(i.Version, found.Release)
	switch {
	case i.Tag != "":
	case strings.Count(found.Release, ".") == 2:
		i.Tag = found.Release
	case found.Release == istio.Version():
		i.Tag = istio.DefaultTag
	default:
		return i, fmt.Errorf("the charts at %s are of Istio %s and do not say of which patch release, so the images are not known: set spec.istio.tag",
			found.From, found.Release)
	}
	return i, nil
}

func (r Reader) read(ctx context.Context, i mesh.Istio) (mesh.Charts, error) {
	from := i.Charts.From
	if strings.HasPrefix(from, mesh.OCI) {
		return r.registry(ctx, i)
	}
	info, err := os.Stat(from)
	switch {
	case os.IsNotExist(err):
		return mesh.Charts{}, fmt.Errorf("spec.istio.charts: there is no %s: name the manifests folder of an Istio release, its archive, or oci://HOST/PATH", from)
	case err != nil:
		return mesh.Charts{}, fmt.Errorf("spec.istio.charts: %w", err)
	case info.IsDir():
		if i.Charts.Digests != nil {
			return mesh.Charts{}, fmt.Errorf("spec.istio.chartDigests: %s is a folder, which has no digest: name the release archive that it came from", from)
		}
		return folder(from, from)
	}
	return r.archive(ctx, from, i.Charts.Digests[mesh.Archive])
}

// folder finds the manifests in a folder: in itself or, of a whole release, in manifests.
func folder(from, dir string) (mesh.Charts, error) {
	if info, err := os.Stat(filepath.Join(dir, "manifests")); err == nil && info.IsDir() {
		dir = filepath.Join(dir, "manifests")
	}
	if lacks := missing(os.DirFS(dir)); lacks != "" {
		return mesh.Charts{}, fmt.Errorf("spec.istio.charts: %s has no %s: it is not the manifests folder of an Istio release", from, lacks)
	}
	release, err := releaseOf(os.DirFS(dir))
	if err != nil {
		return mesh.Charts{}, fmt.Errorf("spec.istio.charts: %s: %w", from, err)
	}
	return mesh.Charts{From: from, Dir: dir, Release: release}, nil
}

// needed are the files by which a manifests folder is known.
var needed = []string{
	"charts/base/Chart.yaml", "charts/istio-control/istio-discovery/Chart.yaml", "charts/default/Chart.yaml",
	"charts/gateways/istio-ingress/Chart.yaml", "profiles/default.yaml",
}

// missing names the first needed file that a manifests folder lacks; "" if it is whole.
func missing(f fs.FS) string {
	for _, name := range needed {
		if _, err := fs.ReadFile(f, name); err != nil {
			return name
		}
	}
	return ""
}
