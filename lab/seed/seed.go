// Package seed unpacks the lab's images once and lets every node begin with them. A seed is the root folder of a
// containerd that has imported them; a node gets a copy in which all large files are the same files, by hard links:
// that takes milliseconds and no space, and nodes that run the same program share its pages in memory. containerd never
// writes into a blob or a layer, and a container's own changes go to a layer of its own.
package seed

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// keep is how many seeds are kept: this one, and the one before, so that two versions of a lab may take turns.
const keep = 2

// Ensure returns the folder of the seed with the images, docker archives, made by the containerd and ctr in bin. It lies
// below cache. One that is there is used; only one process makes one at a time. begin, if not nil, is called before one is
// made.
func Ensure(ctx context.Context, cache, bin string, images []string, begin func()) (string, error) {
	key, err := key(append([]string{filepath.Join(bin, "containerd")}, images...))
	if err != nil {
		return "", fmt.Errorf("unpack the lab's images: %w", err)
	}
	dir := filepath.Join(cache, key)
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("unpack the lab's images: %w", err)
	}
	lock, err := os.Open(cache)
	if err != nil {
		return "", fmt.Errorf("unpack the lab's images: %w", err)
	}
	defer func() { _ = lock.Close() }()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return "", fmt.Errorf("unpack the lab's images: lock %s: %w", cache, err)
	}
	if _, err := os.Stat(dir); err == nil {
		now := time.Now()
		return dir, os.Chtimes(dir, now, now)
	}
	if begin != nil {
		begin()
	}
	if err := build(ctx, dir, bin, images); err != nil {
		return "", fmt.Errorf("unpack the lab's images: %w", err)
	}
	return dir, prune(cache)
}

// key changes when a file does. Programs and images are kept by their content, so size and time are enough to tell.
func key(files []string) (string, error) {
	h := sha256.New()
	for _, f := range files {
		st, err := os.Stat(f)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(h, filepath.Base(f), st.Size(), st.ModTime().UnixNano())
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:10]), nil
}

const settings = `version = 3
root = %q
state = %q
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri"]
[grpc]
  address = %q
[ttrpc]
  address = %q
`

// build makes the seed aside and puts it into place whole.
func build(ctx context.Context, dir, bin string, images []string) (err error) {
	aside := dir + ".new"
	if err := os.RemoveAll(aside); err != nil {
		return err
	}
	run, err := os.MkdirTemp("/run", "isthmus-lab-seed-") // a short path: sockets lie in it
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(run)) }()
	config, socket := filepath.Join(run, "config.toml"), filepath.Join(run, "sock")
	text := fmt.Sprintf(settings, aside, filepath.Join(run, "state"), socket, socket+".ttrpc")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(run, "log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	daemon := exec.Command(filepath.Join(bin, "containerd"), "--config", config)
	daemon.Stdout, daemon.Stderr = log, log
	// Its mounts are its own, and it ends with this process.
	daemon.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Setpgid: true}
	if err := daemon.Start(); err != nil {
		return err
	}
	imported := load(ctx, bin, socket, images)
	_ = daemon.Process.Signal(syscall.SIGTERM)
	if err := daemon.Wait(); err != nil && imported == nil {
		return fmt.Errorf("containerd: %w: %s", err, tail(log.Name()))
	}
	if imported != nil {
		return fmt.Errorf("%w: %s", imported, tail(log.Name()))
	}
	return os.Rename(aside, dir)
}

func load(ctx context.Context, bin, socket string, images []string) error {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(socket); err == nil {
			break
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return errors.Join(errors.New("containerd does not start"), ctx.Err())
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, image := range images {
		g.Go(func() error {
			out, err := exec.CommandContext(ctx, filepath.Join(bin, "ctr"), "--address", socket, "--namespace", "k8s.io", "images", "import", image).CombinedOutput()
			if err != nil {
				return fmt.Errorf("import %s: %w: %s", image, err, strings.TrimSpace(string(out)))
			}
			return nil
		})
	}
	return g.Wait()
}

// prune removes all but the seeds that were used last. Nodes keep the files that they have links to.
func prune(cache string) error {
	entries, err := os.ReadDir(cache)
	if err != nil {
		return err
	}
	used := map[string]time.Time{}
	for _, e := range entries {
		if st, err := e.Info(); err == nil {
			used[e.Name()] = st.ModTime()
		}
	}
	slices.SortFunc(entries, func(a, b os.DirEntry) int { return used[b.Name()].Compare(used[a.Name()]) })
	for _, e := range entries[min(keep, len(entries)):] {
		if err := os.RemoveAll(filepath.Join(cache, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func tail(path string) string {
	data, _ := os.ReadFile(path)
	return string(data[max(0, len(data)-500):])
}
