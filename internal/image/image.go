// Package image makes a container image of the isthmus program itself, so that no Dockerfile, no builder and no
// published image is needed for the workloads that verify brings. The same program gives the same image, byte
// for byte: no time, no name and nothing of the machine that made it gets in.
package image

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"isthmus.dev/isthmus/internal/registry"
	"isthmus.dev/isthmus/oci"
)

// Path is where the program is in the image.
const Path = "/isthmus"

// User is who runs it: the number that distroless images use for "nonroot", so that runAsNonRoot is content.
const User = "65532:65532"

// DefaultTag names an image that is saved to a file and given no other name.
const DefaultTag = "lab.local/isthmus:dev"

// Build makes an image of a program file that Inspect found fit. Compressed layers are for registries; plain ones
// are made and unpacked in a fraction of the time, which is what a file on the same machine wants. Both have the
// same image ID.
func Build(p Program, compressed bool) (v1.Image, error) {
	layer, err := layerOf(p, compressed)
	if err != nil {
		return nil, fmt.Errorf("make layer of %s: %w", p.File, err)
	}
	base, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{
		OS: p.OS, Architecture: p.Arch, RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{
			Entrypoint: []string{Path}, User: User, WorkingDir: "/",
			Labels: map[string]string{
				"org.opencontainers.image.title":    "isthmus",
				"org.opencontainers.image.version":  p.Version,
				"org.opencontainers.image.licenses": "Apache-2.0",
			},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("make image configuration: %w", err)
	}
	base = mutate.ConfigMediaType(mutate.MediaType(base, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err := mutate.AppendLayers(base, layer)
	if err != nil {
		return nil, fmt.Errorf("add layer of %s: %w", p.File, err)
	}
	return img, nil
}

func layerOf(p Program, compressed bool) (v1.Layer, error) {
	open := func() (io.ReadCloser, error) { return files(p) }
	if !compressed {
		return oci.PlainLayer(types.OCIUncompressedLayer, open)
	}
	// The default level costs four times as long and saves a tenth of the size.
	return tarball.LayerFromOpener(open, tarball.WithCompressionLevel(gzip.BestSpeed), tarball.WithMediaType(types.OCILayer))
}

// Save writes an image in the form of "docker save", which containerd, podman, kind and k3s import too.
func Save(w io.Writer, img v1.Image, tag string) error {
	ref, err := name.NewTag(tag)
	if err != nil {
		return fmt.Errorf("image name: %w", err)
	}
	if err := tarball.Write(ref, img, w); err != nil {
		return fmt.Errorf("write image %s: %w", tag, err)
	}
	return nil
}

// Push writes an image to a registry, and returns the reference by digest.
func Push(ctx context.Context, c registry.Client, img v1.Image, to string) (string, error) {
	ref, err := c.Reference(to)
	if err != nil {
		return "", fmt.Errorf("image name: %w", err)
	}
	options, err := c.Options(ctx, ref)
	if err == nil {
		err = remote.Write(ref, img, options...)
	}
	if err != nil {
		return "", fmt.Errorf("push image %s: %w", to, err)
	}
	digest, err := img.Digest()
	if err != nil {
		return "", fmt.Errorf("digest of image %s: %w", to, err)
	}
	return ref.Context().Digest(digest.String()).String(), nil
}
