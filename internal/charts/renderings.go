package charts

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// mostRenderings is how many are kept: those used last. Each has a megabyte, most of it Istio's kinds.
const mostRenderings = 64

// Renderings keeps what charts gave, for this user's eyes only, in files by key. It is a help and no more: where the
// folder cannot be written nothing is kept, and a file that is not whole is none.
type Renderings struct {
	// Dir is the folder. Default: isthmus/renderings in the user's cache folder.
	Dir string
}

func (r Renderings) dir() (string, error) {
	if r.Dir != "" {
		return r.Dir, nil
	}
	user, err := os.UserCacheDir()
	return filepath.Join(user, "isthmus", "renderings"), err
}

// Get returns what was put under a key, or nil.
func (r Renderings) Get(key string) []byte {
	dir, err := r.dir()
	if err != nil {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(dir, key))
	if err != nil || len(text) < sha256.Size {
		return nil
	}
	sum := sha256.Sum256(text[sha256.Size:])
	if !bytes.Equal(sum[:], text[:sha256.Size]) {
		return nil
	}
	return text[sha256.Size:]
}

// Put keeps a text, and drops the oldest where there are too many.
func (r Renderings) Put(key string, text []byte) {
	dir, err := r.dir()
	if err != nil || os.MkdirAll(dir, 0o700) != nil {
		return
	}
	sum := sha256.Sum256(text)
	part, err := os.CreateTemp(dir, "part-*") // renamed when it is whole; readable for its owner alone
	if err != nil {
		return
	}
	_, err = part.Write(append(sum[:], text...))
	if err = errors.Join(err, part.Close()); err == nil {
		err = os.Rename(part.Name(), filepath.Join(dir, key))
	}
	if err != nil {
		_ = os.Remove(part.Name())
		return
	}
	prune(dir)
}

func prune(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) <= mostRenderings {
		return
	}
	var files []fs.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			files = append(files, info)
		}
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int {
		return cmp.Or(b.ModTime().Compare(a.ModTime()), cmp.Compare(a.Name(), b.Name()))
	})
	for _, f := range files[min(len(files), mostRenderings):] {
		_ = os.Remove(filepath.Join(dir, f.Name()))
	}
}
