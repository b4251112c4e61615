package oci

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

func TestPlainLayer(t *testing.T) {
	var content bytes.Buffer
	w := tar.NewWriter(&content)
	if err := errors.Join(w.WriteHeader(&tar.Header{Name: "a", Mode: 0o644}), w.Close()); err != nil {
		t.Fatal(err)
	}
	opened := 0
	layer, err := PlainLayer(types.OCIUncompressedLayer, func() (io.ReadCloser, error) {
		opened++
		return io.NopCloser(bytes.NewReader(content.Bytes())), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content.Bytes())
	want := hex.EncodeToString(sum[:])
	for what, read := range map[string]func() (io.ReadCloser, error){"compressed": layer.Compressed, "uncompressed": layer.Uncompressed} {
		r, err := read()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, content.Bytes()) {
			t.Errorf("%s: %d bytes, %v, want the tar as it is", what, len(got), err)
		}
	}
	for what, hash := range map[string]func() (v1.Hash, error){"digest": layer.Digest, "diff ID": layer.DiffID} {
		if got, err := hash(); err != nil || got.Hex != want {
			t.Errorf("%s %s, %v, want %s", what, got.Hex, err, want)
		}
	}
	if size, err := layer.Size(); err != nil || size != int64(content.Len()) {
		t.Errorf("size %d, %v", size, err)
	}
	if opened < 2 {
		t.Errorf("opened %d times: it was kept in memory", opened)
	}
	gone := errors.New("gone")
	if _, err := PlainLayer(types.OCIUncompressedLayer, func() (io.ReadCloser, error) { return nil, gone }); !errors.Is(err, gone) {
		t.Errorf("error %v, want %v", err, gone)
	}
}
