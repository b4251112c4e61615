package charts

import (
	"context"
	"fmt"

	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/registry"
)

// A MovedError says that the tag of a chart leads elsewhere than the document's lock says. Nothing was read from there.
type MovedError struct {
	Reference string // oci://HOST/PATH:TAG
	// Locked is the digest of the lock; Now is the registry's, "" where it has the tag no more.
	Locked, Now string
}

func (e *MovedError) Error() string {
	now := "leads to " + e.Now + " now"
	if e.Now == "" {
		now = "is gone from the registry"
	}
	return fmt.Sprintf("the tag has moved: %s %s, and the document's lock says %s. Nothing was read from there\n  To take what is there now, once it is known why: isthmus lock\n  To stay with what was: pin it in spec.istio.chartDigests",
		e.Reference, now, e.Locked)
}

// manifest is a chart's manifest by whoever vouches for it: the document, the lock, or for want of both the registry
// alone. A chart without a digest is none: nobody has one of that name.
func (f *fetching) manifest(ctx context.Context, name string, optional bool) (mesh.Chart, []byte, error) {
	repository := f.base + "/" + name
	found := mesh.Chart{Reference: mesh.OCI + repository + ":" + f.tag}
	switch {
	case f.pins != nil:
		if found.Digest = f.pins[name]; found.Digest == "" {
			return found, nil, nil // the document says which charts there are
		}
		found.By = mesh.ByDocument
	case f.Locked != nil:
		if found.Digest = f.Locked[found.Reference]; found.Digest == "" {
			if optional {
				return found, nil, nil // there was none when the lock was written
			}
			return found, nil, fmt.Errorf("%s is not in the document's lock, which is written by isthmus lock: run it, and look at what it adds", found.Reference)
		}
		found.By = mesh.ByLock
		if err := f.stayed(ctx, &found); err != nil {
			return found, nil, err
		}
	default:
		m, err := f.Registry.Manifest(ctx, repository+":"+f.tag)
		if err != nil && optional && registry.Missing(err) {
			return found, nil, nil
		}
		found.Digest = m.Digest
		return found, m.Raw, err
	}
	if kept := f.blob(found.Digest, -1); kept != nil {
		return found, kept, nil
	}
	m, err := f.Registry.Manifest(ctx, repository+"@"+found.Digest)
	return found, m.Raw, err
}

// stayed asks whether a tag leads where the lock says. A registry that does not answer is no reason to stop: what is read
// has the lock's digest or is refused.
func (f *fetching) stayed(ctx context.Context, c *mesh.Chart) error {
	if c.Unasked = f.silent; f.silent {
		return nil
	}
	now, err := f.Registry.Resolve(ctx, c.Reference[len(mesh.OCI):])
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case registry.Missing(err):
		return &MovedError{Reference: c.Reference, Locked: c.Digest}
	case registry.Unreachable(err):
		f.silent, c.Unasked = true, true
		return nil
	case err == nil && now != c.Digest:
		return &MovedError{Reference: c.Reference, Locked: c.Digest, Now: now}
	}
	return err
}
