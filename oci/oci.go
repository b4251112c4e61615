// Package oci is what the product and the lab both need of container images and the library that both make them with
// does not have: a layer that is stored as it is, since an image that stays on its machine gains nothing from being
// compressed. It knows neither the one nor the other.
package oci

import (
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// plain is a layer whose digest is its diff ID: what is stored is what is unpacked.
type plain struct {
	open func() (io.ReadCloser, error)
	kind types.MediaType
	hash v1.Hash
	size int64
}

// PlainLayer returns a layer of the tar stream that open gives. It is read now, for its digest, and again each time the
// layer is written: it must give the same every time, and need never be in memory as a whole.
func PlainLayer(kind types.MediaType, open func() (io.ReadCloser, error)) (v1.Layer, error) {
	content, err := open()
	if err != nil {
		return nil, err
	}
	hash, size, err := v1.SHA256(content)
	if err := errors.Join(err, content.Close()); err != nil {
		return nil, fmt.Errorf("digest: %w", err)
	}
	return &plain{open: open, kind: kind, hash: hash, size: size}, nil
}

func (l *plain) Digest() (v1.Hash, error)             { return l.hash, nil }
func (l *plain) DiffID() (v1.Hash, error)             { return l.hash, nil }
func (l *plain) Compressed() (io.ReadCloser, error)   { return l.open() }
func (l *plain) Uncompressed() (io.ReadCloser, error) { return l.open() }
func (l *plain) Size() (int64, error)                 { return l.size, nil }
func (l *plain) MediaType() (types.MediaType, error)  { return l.kind, nil }
