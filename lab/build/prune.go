package build

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Prune removes from the cache of a set all that neither it nor the other sets use, which are named by their folders:
// programs and images of versions that were pinned before. It returns how many bytes that frees. A lab that runs from
// another set would lose its programs, so name the sets of all labs that there are.
func (s Set) Prune(ctx context.Context, others ...string) (freed int64, err error) {
	cache := filepath.Dir(filepath.Dir(s.Dir))
	unlock, err := store{dir: cache}.lock(ctx, func(string) {})
	if err != nil {
		return 0, err
	}
	defer unlock()
	kept := map[string]bool{}
	for _, dir := range append(others, s.Dir) {
		kept[filepath.Base(dir)] = true
	}
	sets, err := filepath.Glob(filepath.Join(cache, "sets", "*"))
	if err != nil {
		return 0, err
	}
	for _, dir := range sets {
		if kept[filepath.Base(dir)] {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			return 0, fmt.Errorf("remove what no lab uses: %w", err)
		}
	}
	entries, err := filepath.Glob(filepath.Join(cache, "store", "*"))
	if err != nil {
		return 0, err
	}
	for _, dir := range entries {
		size, used, err := usage(dir)
		if err != nil {
			return freed, fmt.Errorf("look at what is kept: %w", err)
		}
		if used {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			return freed, fmt.Errorf("remove what no lab uses: %w", err)
		}
		freed += size
	}
	return freed, nil
}

// usage returns the bytes of a folder, and whether a set has a hard link to one of its files.
func usage(dir string) (bytes int64, used bool, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		bytes += info.Size()
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Nlink > 1 {
			used = true
		}
		return nil
	})
	return bytes, used, err
}
