// Package mountns gives each node of a lab its own mount namespace. What kubelet, containerd and their containers mount
// is seen only there and goes with it, and the few folders whose place these programs have fixed in their code are the
// node's own: a kubelet of the machine itself is never disturbed.
//
// A namespace is held by a file that it is mounted on, so it outlives the processes in it and the supervisor.
package mountns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// A Node is what the namespace needs to know.
type Node struct {
	// File is what the namespace is held by. Its folder must be in a private mount: see Private.
	File string
	// Shared is a folder in which mounts are shared between all processes of the namespace and their containers.
	Shared string
	// Own maps folders of the machine, which must exist, to those that are there instead in the namespace.
	Own map[string]string
}

// Private makes dir a mount of its own that does not propagate: the kernel holds no mount namespace in a shared one.
func Private(dir string) error {
	if !mounted(dir) {
		if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s onto itself: %w", dir, err)
		}
	}
	if err := unix.Mount("", dir, "", unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mount %s private: %w", dir, err)
	}
	return nil
}

// Ensure makes the namespace unless it is there.
func Ensure(n Node) error {
	var st unix.Statfs_t
	if unix.Statfs(n.File, &st) == nil && st.Type == unix.NSFS_MAGIC {
		return nil
	}
	f, err := os.OpenFile(n.File, os.O_CREATE|os.O_RDONLY, 0o444)
	if err != nil {
		return fmt.Errorf("make mount namespace: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("make mount namespace: %w", err)
	}
	made, hold, done := make(chan int), make(chan struct{}), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := n.enterNew()
		if err != nil {
			close(made)
		} else {
			made <- unix.Gettid()
			<-hold
		}
		done <- err
	}()
	tid, ok := <-made
	if ok {
		// From outside: a namespace cannot hold itself.
		err = unix.Mount(fmt.Sprintf("/proc/self/task/%d/ns/mnt", tid), n.File, "", unix.MS_BIND, "")
		close(hold)
	}
	if inner := <-done; inner != nil {
		return fmt.Errorf("make mount namespace %s: %w", n.File, inner)
	}
	if err != nil {
		return fmt.Errorf("hold mount namespace in %s: %w", n.File, err)
	}
	return nil
}

// enterNew moves the calling thread into a new namespace and furnishes it.
func (n Node) enterNew() error {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	// The machine's mounts go on appearing here, and nothing of here appears there.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("make mounts one-way: %w", err)
	}
	forgetNetworks()
	if err := unix.Mount(n.Shared, n.Shared, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s onto itself: %w", n.Shared, err)
	}
	// kubelet makes its folder a shared mount by itself, while it moves a socket within; about one in eight ended for
	// it: "rename ... invalid cross-device link".
	if err := unix.Mount("", n.Shared, "", unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("make mount %s shared: %w", n.Shared, err)
	}
	for dir, own := range n.Own {
		if err := unix.Mount(own, dir, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s over %s: %w", own, dir, err)
		}
	}
	return nil
}

// forgetNetworks takes the copies of named network namespaces away: they would keep the networks of labs alive that are
// long down.
func forgetNetworks() {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/mountinfo", unix.Gettid()))
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 4 && strings.HasPrefix(fields[4], "/run/netns/") {
			_ = unix.Unmount(fields[4], unix.MNT_DETACH)
		}
	}
}

// Enter moves the calling thread, which must be locked and must end with its goroutine, into the namespace held by file.
func Enter(file string) error {
	fd, err := unix.Open(file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open mount namespace %s: %w", file, err)
	}
	defer func() { _ = unix.Close(fd) }()
	// Threads of one process share their root and working folder; who changes namespace must not.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("enter mount namespace %s: %w", file, err)
	}
	if err := unix.Setns(fd, unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("enter mount namespace %s: %w", file, err)
	}
	return nil
}

func mounted(dir string) bool {
	var parent, own unix.Stat_t
	if unix.Lstat(dir, &own) != nil || unix.Lstat(filepath.Dir(dir), &parent) != nil {
		return false
	}
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, dir, 0, unix.STATX_BASIC_STATS, &st); err == nil && st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
	}
	return own.Dev != parent.Dev
}

// Release lets go of the namespace; it ends with its last process. A file that is not there is fine.
func Release(file string) error {
	if err := unix.Unmount(file, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("release mount namespace %s: %w", file, err)
	}
	return nil
}
