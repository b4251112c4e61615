package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// A file of the image beside the program.
type extra struct{ name, content string }

var extras = []extra{
	{"etc/group", "root:x:0:\nnonroot:x:65532:\n"},
	{"etc/nsswitch.conf", "hosts: files dns\n"},
	{"etc/passwd", "root:x:0:0::/:/sbin/nologin\nnonroot:x:65532:65532::/:/sbin/nologin\n"},
}

// files is the image's only layer as a tar stream. The program is read as the stream is: it is never in memory
// as a whole.
func files(p Program) (io.ReadCloser, error) {
	f, err := os.Open(p.File)
	if err != nil {
		return nil, fmt.Errorf("open program: %w", err)
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(errors.Join(writeFiles(w, f, p.Size), f.Close())) }()
	return r, nil
}

func writeFiles(w io.Writer, program io.Reader, size int64) error {
	t := tar.NewWriter(w)
	if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "etc/", Mode: 0o755}); err != nil {
		return fmt.Errorf("write layer: %w", err)
	}
	for _, x := range extras {
		if err := writeFile(t, x.name, 0o644, int64(len(x.content)), strings.NewReader(x.content)); err != nil {
			return err
		}
	}
	if err := writeFile(t, strings.TrimPrefix(Path, "/"), 0o755, size, program); err != nil {
		return err
	}
	if err := t.Close(); err != nil {
		return fmt.Errorf("write layer: %w", err)
	}
	return nil
}

func writeFile(t *tar.Writer, name string, mode, size int64, content io.Reader) error {
	if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: size}); err != nil {
		return fmt.Errorf("write layer: %s: %w", name, err)
	}
	if _, err := io.Copy(t, content); err != nil {
		return fmt.Errorf("write layer: %s: %w", name, err)
	}
	return nil
}

// A plainLayer is not compressed: what is stored is what is unpacked, so its digest is its diff ID.
type plainLayer struct {
	open func() (io.ReadCloser, error)
	hash v1.Hash
	size int64
}

func newPlainLayer(open func() (io.ReadCloser, error)) (*plainLayer, error) {
	content, err := open()
	if err != nil {
		return nil, err
	}
	defer content.Close()
	hash, size, err := v1.SHA256(content)
	if err != nil {
		return nil, fmt.Errorf("digest: %w", err)
	}
	return &plainLayer{open: open, hash: hash, size: size}, nil
}

func (l *plainLayer) Digest() (v1.Hash, error)             { return l.hash, nil }
func (l *plainLayer) DiffID() (v1.Hash, error)             { return l.hash, nil }
func (l *plainLayer) Compressed() (io.ReadCloser, error)   { return l.open() }
func (l *plainLayer) Uncompressed() (io.ReadCloser, error) { return l.open() }
func (l *plainLayer) Size() (int64, error)                 { return l.size, nil }
func (l *plainLayer) MediaType() (types.MediaType, error)  { return types.OCIUncompressedLayer, nil }
