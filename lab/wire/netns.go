// Package wire is the lab's network: a namespace for each node, one for the bridge between them, the cables, addresses
// and routes. Nothing but one cable's end is ever put into the machine's own namespace, so the machine's firewall does
// not see the lab's traffic and nothing has to be taken out of it again. Every function may be called twice.
package wire

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// netnsDir is where named network namespaces are mounted, as iproute2 does.
const netnsDir = "/run/netns"

// Path is where the network namespace called name is mounted.
func Path(name string) string { return filepath.Join(netnsDir, name) }

// EnsureNS makes the network namespace called name unless it is there.
func EnsureNS(name string) error {
	if Alive(name) {
		return nil
	}
	// A file without a namespace on it is what a crash between the two steps leaves.
	if err := DeleteNS(name); err != nil {
		return err
	}
	return onThread(func() error {
		ns, err := netns.NewNamed(name)
		if err != nil {
			return fmt.Errorf("make network namespace %s: %w", name, err)
		}
		return ns.Close()
	})
}

// DeleteNS takes the name away; the namespace goes with its last process. A name that is not there is fine.
func DeleteNS(name string) error {
	path := Path(name)
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount network namespace %s: %w", name, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove network namespace %s: %w", name, err)
	}
	return nil
}

// Alive tells whether the network namespace called name is there.
func Alive(name string) bool {
	var st unix.Statfs_t
	return unix.Statfs(Path(name), &st) == nil && st.Type == unix.NSFS_MAGIC
}

// In runs f on a thread that is in the network namespace called name, and nowhere else: not the mount namespace, so
// that f, and programs it starts, see the machine's own /sys with its cgroups.
func In(name string, f func() error) error {
	return onThread(func() error {
		ns, err := netns.GetFromName(name)
		if err != nil {
			return fmt.Errorf("open network namespace %s: %w", name, err)
		}
		defer func() { _ = ns.Close() }()
		if err := netns.Set(ns); err != nil {
			return fmt.Errorf("enter network namespace %s: %w", name, err)
		}
		return f()
	})
}

// onThread runs f on a thread of its own, which ends with it: whatever f did to the thread cannot leak.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the runtime ends the thread with the goroutine
		done <- f()
	}()
	return <-done
}
