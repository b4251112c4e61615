package engine

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"isthmus.dev/isthmus/internal/lockfile"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/plan"
)

const (
	// askedAtOnce is of how many images registries are asked at the same time, about each for tagPatience at most: this is
	// good to know, and nothing waits for it.
	askedAtOnce = 8
	tagPatience = 10 * time.Second
)

// A Resolved image is where its tag leads, or why that is not known.
type Resolved struct{ Digest, Unknown string }

// Digests asks registries where the tags of images lead. One that does not answer makes an image unknown and nothing else.
func (e Engine) Digests(ctx context.Context, images []string) map[string]Resolved {
	found := make([]Resolved, len(images))
	var all errgroup.Group
	all.SetLimit(askedAtOnce)
	for n, image := range images {
		all.Go(func() error {
			asked, cancel := context.WithTimeout(ctx, tagPatience)
			defer cancel()
			digest, err := e.Charts.Registry.Resolve(asked, image)
			switch {
			case errors.Is(err, context.DeadlineExceeded):
				found[n].Unknown = "the registry did not answer within " + tagPatience.String()
			case err != nil:
				found[n].Unknown = err.Error()
			default:
				found[n].Digest = digest
			}
			return nil
		})
	}
	_ = all.Wait() // none returns an error
	out := make(map[string]Resolved, len(images))
	for n, image := range images {
		out[image] = found[n]
	}
	return out
}

// LockedImages asks registries whether the tags of a lock's images still lead where it says.
func (e Engine) LockedImages(ctx context.Context, locked map[string]string) []plan.LockedImage {
	images := slices.Sorted(maps.Keys(locked))
	found := e.Digests(ctx, images)
	var out []plan.LockedImage
	for _, image := range images {
		out = append(out, plan.LockedImage{Image: image, Locked: locked[image], Now: found[image].Digest, Unknown: found[image].Unknown})
	}
	return out
}

// LockFile is the lock of the document as its registries are now, and the images of which that is not known, with why: those
// keep what the lock before said, nil for none. The engine's charts were read without a lock. What the document pins
// itself is not in it.
func (e Engine) LockFile(ctx context.Context, before *lockfile.File) (now lockfile.File, unknown map[string]string, err error) {
	images, err := e.Images()
	if err != nil {
		return lockfile.File{}, nil, err
	}
	now = lockfile.File{Charts: map[string]string{}, Images: map[string]string{}}
	for _, c := range e.Mesh.Clusters {
		for _, chart := range c.Istio.Charts.Read {
			if chart.By == "" && strings.HasPrefix(chart.Reference, mesh.OCI) {
				now.Charts[chart.Reference] = chart.Digest
			}
		}
	}
	var tags []string
	for _, i := range images {
		if !strings.Contains(i.Image, "@") {
			tags = append(tags, i.Image)
		}
	}
	unknown = map[string]string{}
	for image, found := range e.Digests(ctx, tags) {
		switch {
		case found.Unknown == "":
			now.Images[image] = found.Digest
			continue
		case before != nil && before.Images[image] != "":
			now.Images[image] = before.Images[image]
		}
		unknown[image] = found.Unknown
	}
	return now, unknown, ctx.Err()
}
