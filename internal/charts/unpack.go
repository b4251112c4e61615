package charts

import (
	"archive/tar"
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

	"isthmus.dev/isthmus/internal/mesh"
)

// most is how much is unpacked of an archive. Istio's charts and profiles are 3 MiB.
const most = 64 << 20

// inArchive finds the files of charts and profiles in a release archive (istio-1.31.1/manifests/charts/...), or in one
// of a manifests folder.
var inArchive = regexp.MustCompile(`^(?:\./)?(?:[^/]+/)?(?:manifests/)?((?:charts|profiles)/.+)$`)

// archive unpacks what is needed of a release archive.
func (r Reader) archive(ctx context.Context, from string) (mesh.Charts, error) {
	digest, err := digestOf(from)
	if err != nil {
		return mesh.Charts{}, fmt.Errorf("spec.istio.charts: %w", err)
	}
	dir, err := r.kept(digest, func(into string) error {
		f, err := os.Open(from)
		if err != nil {
			return err
		}
		defer f.Close()
		err = unpack(ctx, f, into, func(name string) string {
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

func digestOf(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read %s: %w", file, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// kept is the folder of content with a digest. Where there is none it is filled beside and then renamed, so that
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
	dir := filepath.Join(cache, digest)
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

// unpack writes the files of a .tar.gz for which where gives a path in the folder. Links are left out: no chart has any.
func unpack(ctx context.Context, from io.Reader, into string, where func(name string) string) error {
	zipped, err := gzip.NewReader(from)
	if err != nil {
		return fmt.Errorf("it is no .tar.gz archive: %w", err)
	}
	left := int64(most)
	for t := tar.NewReader(zipped); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := t.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read the archive; is all of it there? %w", err)
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
