package build

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A space is what one folder must be able to take.
type space struct {
	dir   string
	bytes int64
}

const mib = int64(1) << 20

// space is what building a module takes when Go's caches know nothing of it, and nothing when they do.
func (p pinned) space(env goEnv) []space {
	if src, err := p.source(env.GOMODCACHE, p.largest); err == nil {
		if _, err = os.Stat(src); err == nil {
			return nil
		}
	}
	return []space{{env.GOMODCACHE, p.modules * mib}, {env.GOCACHE, p.compiled * mib}}
}

// room tells early, rather than after minutes, that there is not enough space for what is missing.
func (b *builder) room() error {
	var need []space
	for _, c := range b.chains {
		lacking := b.store.lacking(c.items)
		if len(lacking) > 0 {
			// Each program is about 60 MiB, and may be in an image once more.
			need = append(append(need, c.space...), space{b.store.dir, int64(len(lacking)) * 80 * mib})
		}
	}
	return shortage(need, free)
}

// free returns which file system a folder is (or will be) on, and its free bytes for this user.
func free(dir string) (device uint64, bytes int64, err error) {
	for ; ; dir = filepath.Dir(dir) {
		var st unix.Stat_t
		if err := unix.Stat(dir, &st); err != nil {
			if err == unix.ENOENT && dir != filepath.Dir(dir) {
				continue
			}
			return 0, 0, fmt.Errorf("look at %s: %w", dir, err)
		}
		var fs unix.Statfs_t
		if err := unix.Statfs(dir, &fs); err != nil {
			return 0, 0, fmt.Errorf("ask for the free space of %s: %w", dir, err)
		}
		return uint64(st.Dev), int64(fs.Bavail) * int64(fs.Bsize), nil //nolint:unconvert // of other widths on other architectures
	}
}

// shortage returns an error that says how much is missing where, if the needs of the folders on one file system
// together are more than it has free.
func shortage(need []space, free func(dir string) (uint64, int64, error)) error {
	type total struct {
		dirs        []string
		want, spare int64
	}
	var order []uint64
	byDevice := map[uint64]*total{}
	for _, n := range need {
		dev, spare, err := free(n.dir)
		if err != nil {
			return err
		}
		t, ok := byDevice[dev]
		if !ok {
			t = &total{spare: spare}
			byDevice[dev] = t
			order = append(order, dev)
		}
		t.want += n.bytes
		if !slices.Contains(t.dirs, n.dir) {
			t.dirs = append(t.dirs, n.dir)
		}
	}
	for _, dev := range order {
		if t := byDevice[dev]; t.want > t.spare {
			return &Error{
				Problem: fmt.Sprintf("not enough disk space to build the lab: about %s needed, %s free, %s missing for %s",
					gib(t.want), gib(t.spare), gib(t.want-t.spare), strings.Join(t.dirs, ", ")),
				Do: "Make room, or name folders on another disk: GOMODCACHE and GOCACHE for Go, the lab's own cache folder.",
			}
		}
	}
	return nil
}

func gib(bytes int64) string { return fmt.Sprintf("%.1f GiB", float64(bytes)/float64(1<<30)) }
