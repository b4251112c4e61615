package charts

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"isthmus.dev/isthmus/internal/registry"
)

// A store keeps content in the user's cache folder under a name that proves it: blobs under their digest, folders under
// the digest of a list of all that is in them. Both are looked at each time before they are used, so that it does not
// matter who has written there. What older versions kept under other names is not looked at.
type store struct{ dir string }

// store is where this reader keeps things.
func (r Reader) store() (store, error) {
	if r.Cache != "" {
		return store{r.Cache}, nil
	}
	user, err := os.UserCacheDir()
	if err != nil {
		return store{}, fmt.Errorf("find a folder to keep charts in: %w", err)
	}
	return store{filepath.Join(user, "isthmus", "charts")}, nil
}

// The folders of a store.
const (
	blobs = "blobs-sha256"
	trees = "trees-sha256"
)

func (s store) blobFile(digest string) (string, bool) {
	sum, ok := strings.CutPrefix(digest, "sha256:")
	raw, err := hex.DecodeString(sum)
	return filepath.Join(s.dir, blobs, sum), ok && err == nil && len(raw) == sha256.Size && sum == strings.ToLower(sum)
}

// blob is what is kept under a digest, if it has that digest and the size (a negative one is any); nil otherwise.
func (s store) blob(digest string, size int64) []byte {
	file, ok := s.blobFile(digest)
	if !ok {
		return nil
	}
	info, err := os.Lstat(file)
	if err != nil || !info.Mode().IsRegular() || info.Size() > registry.MostBlob || size >= 0 && info.Size() != size {
		return nil
	}
	text, err := os.ReadFile(file)
	if err != nil || registry.Digest(text) != digest {
		return nil
	}
	return text
}

// putBlob keeps what has a digest.
func (s store) putBlob(digest string, text []byte) error {
	file, ok := s.blobFile(digest)
	if !ok || registry.Digest(text) != digest || s.blob(digest, int64(len(text))) != nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("make a folder to keep charts in: %w", err)
	}
	part, err := os.CreateTemp(filepath.Dir(file), "part-*")
	if err != nil {
		return fmt.Errorf("keep a chart: %w", err)
	}
	_, err = part.Write(text)
	if err = errors.Join(err, part.Close()); err == nil {
		err = os.Rename(part.Name(), file)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("keep a chart: %w", err), os.Remove(part.Name()))
	}
	return nil
}

// tree is a folder that holds these files and nothing else. One that is there is compared with them. Where there is none,
// or one that somebody changed, it is written beside and then renamed, so that nobody ever finds half of one.
func (s store) tree(files map[string][]byte) (string, error) {
	dir := filepath.Join(s.dir, trees, listing(files))
	switch err := holds(dir, files); {
	case err == nil:
		return dir, nil
	case !errors.Is(err, fs.ErrNotExist):
		if err := os.RemoveAll(dir); err != nil {
			return "", fmt.Errorf("make a folder of charts anew that was changed since it was written: %w", err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return "", fmt.Errorf("make a folder to keep charts in: %w", err)
	}
	part, err := os.MkdirTemp(filepath.Dir(dir), "part-")
	if err != nil {
		return "", fmt.Errorf("make a folder to keep charts in: %w", err)
	}
	if err := write(part, files); err != nil {
		return "", errors.Join(err, os.RemoveAll(part))
	}
	if err := os.Rename(part, dir); err != nil && holds(dir, files) != nil {
		return "", errors.Join(fmt.Errorf("keep charts: %w", err), os.RemoveAll(part))
	} else if err != nil { // somebody else was faster, with the same content
		return dir, os.RemoveAll(part)
	}
	return dir, nil
}

// listing is the digest of a list of files: each with its path, and the digest of what it holds.
func listing(files map[string][]byte) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(h, "%s %q\n", registry.Digest(files[name]), name)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// holds looks whether a folder holds these files and nothing else.
func holds(dir string, files map[string][]byte) error {
	if info, err := os.Lstat(dir); err != nil || !info.IsDir() {
		return cmp.Or(err, fmt.Errorf("%s is no folder", dir))
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	seen := 0
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		want, known := files[name]
		info, err := d.Info()
		if err != nil || !known || !d.Type().IsRegular() || info.Size() != int64(len(want)) {
			return cmp.Or(err, fmt.Errorf("%s in %s is not as it was written", name, dir))
		}
		text, err := root.ReadFile(name)
		if err != nil || !bytes.Equal(text, want) {
			return cmp.Or(err, fmt.Errorf("%s in %s is not as it was written", name, dir))
		}
		seen++
		return nil
	})
	if err == nil && seen != len(files) {
		err = fmt.Errorf("%s does not hold all that was written", dir)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%s changes while it is read", dir) // it is there, so this is no reason to find it missing
	}
	return err
}

func write(dir string, files map[string][]byte) error {
	for name, text := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return fmt.Errorf("keep charts: %w", err)
		}
		f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return fmt.Errorf("keep charts: %w", err)
		}
		_, err = f.Write(text)
		if err = errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("keep charts: %w", err)
		}
	}
	return nil
}

// treeFS lets files that are in memory be read and looked for as those of a folder are.
type treeFS map[string][]byte

// Open is what a file system must have; nothing here is read in pieces.
func (t treeFS) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// ReadFile is one file's content.
func (t treeFS) ReadFile(name string) ([]byte, error) {
	if text, ok := t[name]; ok {
		return text, nil
	}
	return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
}

// Glob is as fs.Glob.
func (t treeFS) Glob(pattern string) ([]string, error) {
	var names []string
	for name := range t {
		if fits, err := path.Match(pattern, name); err != nil {
			return nil, err
		} else if fits {
			names = append(names, name)
		}
	}
	return names, nil
}
