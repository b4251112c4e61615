package charts

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"

	"isthmus.dev/isthmus/internal/mesh"
)

// What is taken of an archive. Istio's charts and profiles are 150 files of 3 MiB together; a release archive holds
// istioctl besides, 120 MiB, and some thousand samples.
const (
	most        = 64 << 20 // bytes of charts
	mostFiles   = 4096     // files of charts
	mostName    = 512      // bytes of a file's path
	mostAll     = 1 << 30  // bytes of everything in an archive
	mostEntries = 100_000  // everything in an archive
)

// inArchive finds the files of charts and profiles in a release archive (istio-1.31.1/manifests/charts/...), or in one
// of a manifests folder.
var inArchive = regexp.MustCompile(`^(?:\./)?(?:[^/]+/)?(?:manifests/)?((?:charts|profiles)/.+)$`)

// archive unpacks what is needed of a release archive. It is read every time: an older copy of what was in it would have
// to be believed.
func (r Reader) archive(ctx context.Context, from, pin string) (mesh.Charts, error) {
	s, err := r.store()
	if err != nil {
		return mesh.Charts{}, err
	}
	all, digest, err := fromArchive(ctx, from)
	if err == nil && pin != "" && digest != pin {
		err = fmt.Errorf("the archive has digest %s, and spec.istio.chartDigests.archive is %s", digest, pin)
	}
	if err != nil {
		return mesh.Charts{}, fmt.Errorf("spec.istio.charts: %s: %w", from, err)
	}
	dir, err := s.tree(all)
	if err != nil {
		return mesh.Charts{}, fmt.Errorf("spec.istio.charts: %s: %w", from, err)
	}
	found, err := folder(from, dir)
	found.Read = []mesh.Chart{{Reference: from, Digest: digest}}
	if pin != "" {
		found.Read[0].By = mesh.ByDocument
	}
	return found, err
}

// fromArchive is what there is of charts and profiles in an archive, and the archive's digest.
func fromArchive(ctx context.Context, from string) (all map[string][]byte, digest string, err error) {
	if info, err := os.Stat(from); err != nil || !info.Mode().IsRegular() { // to open a pipe is to wait for who writes
		return nil, "", errors.Join(errors.New("it is no regular file"), err)
	}
	f, err := os.Open(from)
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	sum := sha256.New()
	all, err = unpack(ctx, io.TeeReader(f, sum), func(name string) string {
		if m := inArchive.FindStringSubmatch(name); m != nil {
			return m[1]
		}
		return ""
	})
	if err != nil {
		return nil, "", err
	}
	if lacks := missing(treeFS(all)); lacks != "" {
		return nil, "", fmt.Errorf("it holds no %s: it is not the archive of an Istio release", lacks)
	}
	return all, "sha256:" + hex.EncodeToString(sum.Sum(nil)), nil
}

// unpack returns the files of a .tar.gz for which where gives a path, by that path. It reads to the end, and refuses what
// is cut, what goes on after its end, and what no chart has: links, paths that lead out, and more than is bearable.
func unpack(ctx context.Context, from io.Reader, where func(name string) string) (map[string][]byte, error) {
	packed := bufio.NewReader(from) // a ByteReader, so that gzip reads no byte too many
	zipped, err := gzip.NewReader(packed)
	if err != nil {
		return nil, fmt.Errorf("it is no .tar.gz archive: %w", err)
	}
	zipped.Multistream(false)
	stream := &counted{Reader: zipped, left: mostAll}
	u := unpacking{files: map[string][]byte{}, left: most}
	t := tar.NewReader(stream)
	for range mostEntries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		h, err := t.Next()
		switch {
		case errors.Is(err, io.EOF):
			return u.files, ended(stream, packed)
		case err != nil:
			return nil, fmt.Errorf("read the archive; is all of it there? %w", err)
		}
		if err := u.take(h, t, where(strings.TrimPrefix(h.Name, "./"))); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("the archive holds more than %d files and folders", mostEntries)
}

// An unpacking is what has been taken of an archive.
type unpacking struct {
	files map[string][]byte
	left  int64
}

// take takes a file that belongs at a path; "" is none of ours.
func (u *unpacking) take(h *tar.Header, content io.Reader, path string) error {
	if path == "" || h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	path = strings.TrimSuffix(path, "/")
	switch {
	case !filepath.IsLocal(path) || path != filepath.ToSlash(filepath.Clean(path)):
		return fmt.Errorf("the archive's file %q leads out of it", h.Name)
	case len(path) > mostName || strings.Contains(path, `\`) || strings.ContainsFunc(path, func(r rune) bool { return !unicode.IsPrint(r) }):
		return fmt.Errorf("the archive's file %.100q has a name that no chart's file has", h.Name)
	case h.Typeflag == tar.TypeDir:
		return nil
	case h.Typeflag != tar.TypeReg:
		return fmt.Errorf("the archive's %q is no file but a link or a device: no chart has any", h.Name)
	case u.files[path] != nil:
		return fmt.Errorf("the archive holds %q twice", h.Name)
	case len(u.files) == mostFiles:
		return fmt.Errorf("the archive holds more than %d files of charts", mostFiles)
	}
	if u.left -= h.Size; u.left < 0 {
		return fmt.Errorf("the archive holds more than %d MiB of charts", most>>20)
	}
	var text bytes.Buffer
	if n, err := io.Copy(&text, content); err != nil || n != h.Size {
		return fmt.Errorf("read the archive; is all of it there? %w", errors.Join(io.ErrUnexpectedEOF, err))
	}
	u.files[path] = append([]byte{}, text.Bytes()...)
	return nil
}

// ended reads what is left of a tar stream, which is zeros by which tar fills its last record, to the end of gzip's, whose
// checksum is known then; and looks that nothing follows.
func ended(stream *counted, packed *bufio.Reader) error {
	rest := make([]byte, 32<<10)
	for {
		n, err := stream.Read(rest)
		if len(bytes.Trim(rest[:n], "\x00")) > 0 {
			return errors.New("the archive goes on after its end")
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read the archive; is all of it there? %w", err)
		}
	}
	switch _, err := packed.ReadByte(); {
	case err == nil:
		return errors.New("something follows the archive's end")
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("read the archive: %w", err)
	}
	return nil
}

// counted ends a stream that is longer than it may be.
type counted struct {
	io.Reader
	left int64
}

// Read reads, and counts.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if c.left -= int64(n); c.left < 0 {
		return n, fmt.Errorf("unpacked it has more than %d MiB", mostAll>>20)
	}
	return n, err
}
