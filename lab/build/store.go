package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A store keeps finished things in folders named by their key. A folder gets its name when all of it is there,
// and holds a list of its files with their sizes, so what a kill or a full disk left is never taken for complete.
type store struct{ dir string }

const listFile = ".complete"

// keyOf returns a key that differs when any of the parts does.
func keyOf(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s\n", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil))[:32]
}

func (s store) path(kind, name, key string) string {
	return filepath.Join(s.dir, kind, name+"-"+key)
}

// complete tells whether a folder is there with every file of its list, whole.
func complete(dir string) bool {
	b, err := os.ReadFile(filepath.Join(dir, listFile))
	if err != nil {
		return false
	}
	var sizes map[string]int64
	if json.Unmarshal(b, &sizes) != nil || len(sizes) == 0 {
		return false
	}
	for name, size := range sizes {
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || st.Size() != size {
			return false
		}
	}
	return true
}

// put fills a new folder by fill and gives it the name dst, in place of an incomplete one. The caller holds the lock.
func (s store) put(dst string, fill func(dir string) error) (err error) {
	tmp := filepath.Join(s.dir, "tmp")
	if err := errors.Join(os.MkdirAll(tmp, 0o755), os.MkdirAll(filepath.Dir(dst), 0o755)); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(tmp, filepath.Base(dst)+".")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	// MkdirTemp makes folders for their owner alone; programs in pods run from images, but plugins and
	// libraries may be read by other users.
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	if err := fill(dir); err != nil {
		return err
	}
	if err := list(dir); err != nil {
		return err
	}
	if err := os.RemoveAll(dst); err != nil {
		return err
	}
	return os.Rename(dir, dst)
}

// list writes the list that makes a folder complete.
func list(dir string) error {
	sizes := map[string]int64{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		st, err := os.Stat(p)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		sizes[rel] = st.Size()
		return err
	})
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(sizes, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, listFile), b, 0o644)
}

// lock makes this process the only one that writes to the store, and removes what killed ones left. While it
// waits it tells once who has the lock. The lock ends with the process, however that ends.
func (s store) lock(ctx context.Context, waiting func(holder string)) (unlock func(), err error) {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the folder that keeps the lab's programs: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(s.dir, "lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock the folder that keeps the lab's programs: %w", err)
	}
	for told := false; ; told = true {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
		}
		if !told {
			waiting(holder(f))
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("wait for another build of the lab%s: %w", holder(f), ctx.Err()), f.Close())
		case <-time.After(200 * time.Millisecond):
		}
	}
	// Who holds the lock is a courtesy to those who wait: failing to write it harms nothing.
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	}
	if err := os.RemoveAll(filepath.Join(s.dir, "tmp")); err != nil {
		return nil, errors.Join(fmt.Errorf("remove what a killed build left: %w", err), f.Close())
	}
	return func() { _ = f.Close() }, nil
}

func holder(f *os.File) string {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 32))
	if pid := strings.TrimSpace(string(b)); err == nil && pid != "" {
		return " (process " + pid + ")"
	}
	return ""
}

// of returns the folder of an item.
func (s store) of(i item) string { return s.path("store", i.name, i.key) }

// lacking returns the names of the items that are not there.
func (s store) lacking(items []item) []string {
	var out []string
	for _, i := range items {
		if !complete(s.of(i)) {
			out = append(out, i.name)
		}
	}
	return out
}
