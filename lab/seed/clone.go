package seed

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Clone gives a node its copy of the seed, whole or not at all. A node that has one keeps it.
func Clone(seed, to string) error {
	if _, err := os.Stat(to); err == nil {
		return nil
	}
	aside := to + ".new"
	if err := os.RemoveAll(aside); err != nil {
		return fmt.Errorf("copy images: %w", err)
	}
	if err := clone(seed, aside); err != nil {
		return fmt.Errorf("copy images: %w", err)
	}
	return os.Rename(aside, to)
}

func clone(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := to + strings.TrimPrefix(path, from)
		switch {
		case d.IsDir():
			return cloneDir(path, target)
		case d.Type().IsRegular() && !strings.HasSuffix(path, ".db"):
			err := os.Link(path, target) //nolint:gosec // G122: both folders are the lab's own
			if errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EMLINK) {
				return copyFile(path, target)
			}
			return err
		case d.Type().IsRegular():
			return copyFile(path, target) // a database, which each node writes
		case d.Type()&fs.ModeSymlink != 0:
			return cloneLink(path, target)
		}
		return nil // sockets of a daemon that has ended
	})
}

func cloneDir(from, to string) error {
	var st unix.Stat_t
	if err := unix.Lstat(from, &st); err != nil {
		return err
	}
	if err := os.Mkdir(to, 0o700); err != nil {
		return err
	}
	if err := unix.Lchown(to, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	return unix.Chmod(to, st.Mode&0o7777)
}

func cloneLink(from, to string) error {
	dest, err := os.Readlink(from)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Lstat(from, &st); err != nil {
		return err
	}
	if err := os.Symlink(dest, to); err != nil {
		return err
	}
	return unix.Lchown(to, int(st.Uid), int(st.Gid))
}

func copyFile(from, to string) error {
	var st unix.Stat_t
	if err := unix.Lstat(from, &st); err != nil {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return err
	}
	if err := errors.Join(out.Chown(int(st.Uid), int(st.Gid)), unix.Fchmod(int(out.Fd()), st.Mode&0o7777)); err != nil {
		_ = out.Close()
		return err
	}
	return out.Close()
}
