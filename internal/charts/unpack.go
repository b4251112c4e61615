package charts

import (
	"archive/tar"
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

	"isthmus.dev/isthmus/internal/input"
	"isthmus.dev/isthmus/internal/mesh"
)

// most is how much is unpacked of an archive. Istio's charts and profiles are 3 MiB.
const most = 64 << 20

// inArchive finds the files of charts and profiles in a release archive (istio-1.31.1/manifests/charts/...), or in one
// of a manifests folder.
var inArchive = regexp.MustCompile(`^(?:\./)?(?:[^/]+/)?(?:manifests/)?((?:charts|profiles)/.+)$`)

// mostPacked bounds an archive: Istio's own, with istioctl in it, are 30 MiB.
const mostPacked = 256 << 20

// archive unpacks what is needed of a release archive.
func (r Reader) archive(ctx context.Context, from string) (mesh.Charts, error) {
	packed, err := input.ReadFile(from, mostPacked)
	if err != nil {
		return mesh.Charts{}, fmt.Errorf("spec.istio.charts: %w", err)
	}
	digest := sha256.Sum256(packed)
	dir, err := r.kept(hex.EncodeToString(digest[:]), func(into string) error {
		err := unpack(ctx, packed, into, func(name string) string {
			if m := inArchive.FindStringSubmatch(name); m != nil {
				return m[1]
			}
			return ""
		})
		if err != nil {
			return err
		}
		if lacks := missing(os.DirFS(into)); lacks != "" {
			return fmt.Errorf("it holds no %s: it is not the archive of an Istio release", lacks)
		}
		return nil
	})
	if err != nil {
		return mesh.Charts{}, fmt.Errorf("spec.istio.charts: %s: %w", from, err)
	}
	return folder(from, dir)
}

// verified begins the names of folders whose content was compared with its digest before anything of it was kept. Earlier
// releases compared after, and what they kept under the bare digest is not used.
const verified = "verified-"

// kept is the folder of content with a digest, which its bytes were found to have. Where there is none it is filled beside and then renamed, so that
// nobody ever finds half of one.
func (r Reader) kept(digest string, fill func(into string) error) (string, error) {
	cache := r.Cache
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find a folder to keep charts in: %w", err)
		}
		cache = filepath.Join(user, "isthmus", "charts")
	}
	dir := filepath.Join(cache, verified+digest)
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return dir, nil
	}
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return "", fmt.Errorf("make a folder to keep charts in: %w", err)
	}
	part, err := os.MkdirTemp(cache, "part-")
	if err != nil {
		return "", fmt.Errorf("make a folder to keep charts in: %w", err)
	}
	err = fill(part)
	if err == nil {
		if err = os.Rename(part, dir); err == nil {
			return dir, nil
		}
		if info, stat := os.Stat(dir); stat == nil && info.IsDir() {
			err = nil // somebody else was faster, with the same content
		}
	}
	return dir, errors.Join(err, os.RemoveAll(part))
}

// Bounds of what is in an archive. Istio's charts and profiles are 500 files in folders six deep.
const (
	mostFiles = 20000
	mostName  = 1024 // bytes
)

// unpack writes the files of a .tar.gz for which where gives a path in the folder. Its bytes were compared with their
// digest before. Links are left out: no chart has any. Nothing may follow the end of the archive: it would be in the
// digest, and nobody would have looked at it.
func unpack(ctx context.Context, packed []byte, into string, where func(name string) string) error {
	from := bytes.NewReader(packed)
	zipped, err := gzip.NewReader(from)
	if err != nil {
		return fmt.Errorf("it is no .tar.gz archive: %w", err)
	}
	zipped.Multistream(false)
	// What is not unpacked is unzipped all the same, to be passed over.
	unzipped := input.Limit(io.NopCloser(zipped), 16*mostPacked)
	left, files := int64(most), 0
	t := tar.NewReader(unzipped)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nothingFollows(unzipped, from)
		}
		if err != nil {
			return fmt.Errorf("read the archive; is all of it there? %w", err)
		}
		if files++; files > mostFiles || len(h.Name) > mostName {
			return fmt.Errorf("the archive holds more than %d files, or one whose name is longer than %d bytes", mostFiles, mostName)
		}
		name := where(strings.TrimPrefix(h.Name, "./"))
		if h.Typeflag != tar.TypeReg || name == "" {
			continue
		}
		if !filepath.IsLocal(name) {
			return fmt.Errorf("the archive's file %q leads out of it", h.Name)
		}
		if left -= h.Size; left < 0 {
			return fmt.Errorf("the archive holds more than %d MiB of charts", most>>20)
		}
		if err := write(filepath.Join(into, filepath.FromSlash(name)), t, h.Size); err != nil {
			return err
		}
	}
}

// nothingFollows tells whether an archive ends where tar does: after it there are zeros, to fill a block, and after the
// compressed stream there is nothing.
func nothingFollows(unzipped io.Reader, packed *bytes.Reader) error {
	rest := make([]byte, 64<<10)
	for {
		n, err := unzipped.Read(rest)
		if bytes.ContainsFunc(rest[:n], func(r rune) bool { return r != 0 }) {
			return errors.New("the archive goes on after its end")
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read the archive; is all of it there? %w", err)
		}
	}
	if packed.Len() > 0 {
		return errors.New("the archive goes on after its end")
	}
	return nil
}

func write(file string, from io.Reader, size int64) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.CopyN(f, from, size); err != nil {
		return errors.Join(fmt.Errorf("read the archive; is all of it there? %w", err), f.Close())
	}
	return f.Close()
}
