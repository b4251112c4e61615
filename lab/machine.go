package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"isthmus.dev/isthmus/lab/build"
	"isthmus.dev/isthmus/lab/layout"
	"isthmus.dev/isthmus/lab/registry"
)

// running are the programs of the machine that a running lab uses; what building needs beside is lab/build's matter.
var running = []string{"runc", "nft", "iptables", "mount"}

// checkMachine refuses a machine on which no lab can run, naming what is missing and how to get it. distance: clusters
// are to be far from each other.
func checkMachine(ctx context.Context, distance bool) error {
	if os.Geteuid() != 0 {
		return &Error{Problem: "a lab needs root: it makes network namespaces and mounts", Do: "run it with sudo"}
	}
	paths, err := findTools(ctx, running)
	if err != nil {
		return err
	}
	return checkKernel(ctx, paths["nft"], distance)
}

// findTools returns where the programs are, or one error that names all packages that are missing.
func findTools(ctx context.Context, names []string) (map[string]string, error) {
	known := append(build.Need(), build.Tool{Program: "mount", Package: "mount", For: "mounts volumes for kubelet"})
	paths := map[string]string{}
	var missing, packages []string
	for _, name := range names {
		i := slices.IndexFunc(known, func(t build.Tool) bool { return t.Program == name })
		t := build.Tool{Program: name, Package: name}
		if i >= 0 {
			t = known[i]
		}
		path, err := t.Find(ctx)
		if err != nil {
			missing = append(missing, fmt.Sprintf("%s (it %s)", t.Program, t.For))
			packages = append(packages, t.Package)
		}
		paths[name] = path
	}
	if len(missing) > 0 {
		return nil, &Error{Problem: "not installed: " + strings.Join(missing, ", "), Do: "apt-get install " + strings.Join(packages, " ")}
	}
	return paths, nil
}

// A feature is something the kernel must have, with the file that shows it and the module that brings it.
type feature struct{ name, shown, module, use string }

var features = []feature{
	{"overlayfs", "overlay", "overlay", "images are stacked with it"},
	{"bridge netfilter", "/proc/sys/net/bridge/bridge-nf-call-iptables", "br_netfilter", "Services between pods of one node need it"},
}

// tun is needed only for distance between clusters.
var tun = feature{"tun devices", "/dev/net/tun", "tun", "distance between clusters is made with them"}

func checkKernel(ctx context.Context, nft string, distance bool) error {
	list := features
	if distance {
		list = append(slices.Clone(list), tun)
	}
	for _, f := range list {
		if f.there() {
			continue
		}
		_ = exec.CommandContext(ctx, "modprobe", f.module).Run()
		if !f.there() {
			return &Error{
				Problem: fmt.Sprintf("the kernel has no %s: %s", f.name, f.use),
				Do:      "modprobe " + f.module + ", or a kernel built with it",
			}
		}
	}
	if out, err := exec.CommandContext(ctx, nft, "list", "tables").CombinedOutput(); err != nil {
		return &Error{
			Problem: "the kernel has no nftables: " + strings.TrimSpace(string(out)),
			Do:      "modprobe nf_tables, or a kernel built with it", Err: err,
		}
	}
	return nil
}

func (f feature) there() bool {
	if filepath.IsAbs(f.shown) {
		_, err := os.Stat(f.shown)
		return err == nil
	}
	known, _ := os.ReadFile("/proc/filesystems")
	return slices.Contains(strings.Fields(string(known)), f.shown)
}

// sysctls are settings of the whole machine that two nodes do not fit into, with the least value that many do.
var sysctls = map[string]int{
	"fs.inotify.max_user_instances": 8192,
	"fs.inotify.max_user_watches":   524288,
}

// raiseSysctls raises what is too low and notes what it was.
func raiseSysctls(r *registry.Record) error {
	for key, least := range sysctls {
		path := sysctlPath(key)
		data, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read %s: %w", key, err)
		}
		old := strings.TrimSpace(string(data))
		if n, err := strconv.Atoi(old); err != nil || n >= least {
			continue
		}
		if err := os.WriteFile(path, []byte(strconv.Itoa(least)), 0o644); err != nil {
			return fmt.Errorf("set %s: %w", key, err)
		}
		if _, ok := r.Sysctls[key]; !ok {
			r.Sysctls[key] = old
		}
	}
	return nil
}

// restoreSysctls puts back what was raised, unless somebody has set it to something else since.
func restoreSysctls(r *registry.Record) error {
	var problems []error
	for key, old := range r.Sysctls {
		data, _ := os.ReadFile(sysctlPath(key))
		if strings.TrimSpace(string(data)) == strconv.Itoa(sysctls[key]) {
			if err := os.WriteFile(sysctlPath(key), []byte(old), 0o644); err != nil {
				problems = append(problems, fmt.Errorf("put %s back to %s: %w", key, old, err))
				continue
			}
		}
		delete(r.Sysctls, key)
	}
	return errors.Join(problems...)
}

// ensureDirs makes the folders that nodes have their own in place of, and notes those that were not there.
func ensureDirs(r *registry.Record) error {
	for _, d := range layout.FixedDirs {
		err := os.Mkdir(d, 0o755)
		if err == nil {
			r.Dirs = append(r.Dirs, d)
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make folder: %w", err)
		}
	}
	return nil
}

// removeDirs removes what ensureDirs made, unless somebody has put something into it since.
func removeDirs(r *registry.Record) {
	for _, d := range r.Dirs {
		_ = os.Remove(d)
	}
	r.Dirs = nil
}

func sysctlPath(key string) string {
	return filepath.Join("/proc/sys", strings.ReplaceAll(key, ".", "/"))
}

// roomPerNode is what a cluster or node writes within its first hour: etcd sets 128 MiB aside at once.
const roomPerNode = 256 << 20

// checkRoom refuses a disk that is too full for so many nodes. dir need not exist yet.
func checkRoom(dir string, nodes int) error {
	for filepath.Dir(dir) != dir {
		if _, err := os.Stat(dir); err == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("look at the disk of %s: %w", dir, err)
	}
	free, need := st.Bavail*uint64(st.Bsize), uint64(nodes)*roomPerNode
	if free < need {
		return &Error{
			Problem: fmt.Sprintf("no disk space: %s has %d MiB left, and %d nodes need %d MiB", dir, free>>20, nodes, need>>20),
			Do:      "make room, or put the lab elsewhere with --dir",
		}
	}
	return nil
}

// maxSocket is the longest path of a Unix socket (unix(7)); kubelet makes one of socketTail below its folder.
const (
	maxSocket  = 107
	socketTail = len("/pod-resources/kubelet.sock") + len(".4294967295")
)

// checkPaths refuses a folder so deep that sockets in it could not be reached.
func checkPaths(l layout.Lab) error {
	for _, c := range l.Clusters {
		for _, n := range c.Nodes {
			if over := len(n.Path("kubelet")) + socketTail - maxSocket; over > 0 {
				return &Error{
					Problem: fmt.Sprintf("the folder %s is %d characters too long for the sockets in it", l.Dir, over),
					Do:      "choose a shorter one with --dir",
				}
			}
		}
	}
	return nil
}
