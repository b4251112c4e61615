// Package sweep finds and removes what belongs to a lab, knowing only its name and folders. What it looks for carries
// the lab's name: processes by their environment or cgroup, mounts by their path, network namespaces, links, cgroups
// and files by theirs. So it works in whatever state a lab was left, and never touches what is not the lab's.
package sweep

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"isthmus.dev/isthmus/lab/cgroup"
	"isthmus.dev/isthmus/lab/layout"
	"isthmus.dev/isthmus/lab/wire"
)

// A Target is the lab to look for.
type Target struct {
	Name string
	Slot int      // -1 if not known
	Dirs []string // its folders, which no other lab shares
}

// A Trace is one thing that belongs to the lab.
type Trace struct {
	Kind string `json:"kind"` // process, mount, namespace, link, cgroup, file
	Name string `json:"name"`
}

// String is the trace for people: "mount /run/isthmus-lab/x".
func (t Trace) String() string { return t.Kind + " " + t.Name }

// Find lists everything that belongs to the lab, sorted.
func Find(t Target) ([]Trace, error) {
	var list []Trace
	add := func(kind string, names []string) {
		for _, n := range names {
			list = append(list, Trace{kind, n})
		}
	}
	pids, err := processes(t.Name)
	if err != nil {
		return nil, err
	}
	for _, p := range pids {
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", p))
		add("process", []string{strconv.Itoa(p) + " " + strings.TrimSpace(string(comm))})
	}
	mounts, err := mounts(t.Dirs)
	if err != nil {
		return nil, err
	}
	add("mount", mounts)
	add("namespace", namespaces(t.Name))
	if t.Slot >= 0 && exists("/sys/class/net/"+layout.HostLink(t.Slot)) {
		add("link", []string{layout.HostLink(t.Slot)})
	}
	groups, err := cgroup.List(layout.CgroupRoot(t.Name))
	if err != nil {
		return nil, err
	}
	add("cgroup", groups)
	add("file", slices.DeleteFunc(slices.Clone(t.Dirs), func(d string) bool { return !exists(d) }))
	slices.SortFunc(list, func(a, b Trace) int { return strings.Compare(a.String(), b.String()) })
	return list, nil
}

// Remove removes everything that belongs to the lab. It goes on after an error, and returns them all.
func Remove(t Target) error {
	var problems []error
	note := func(err error) {
		if err != nil {
			problems = append(problems, err)
		}
	}
	note(kill(t.Name))
	note(unmount(t.Dirs))
	for _, n := range namespaces(t.Name) {
		note(wire.DeleteNS(n))
	}
	if t.Slot >= 0 {
		note(wire.DeleteHostLink(t.Slot))
	}
	note(cgroup.Remove(layout.CgroupRoot(t.Name), 10*time.Second))
	for _, d := range t.Dirs {
		note(os.RemoveAll(d))
	}
	return errors.Join(problems...)
}

// kill ends every process of the lab, again and again until none is left: one may start another meanwhile.
func kill(lab string) error {
	deadline := time.Now().Add(20 * time.Second)
	for {
		pids, err := processes(lab)
		if err != nil || len(pids) == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes of lab %s do not end: %v", lab, pids)
		}
		for _, p := range pids {
			_ = unix.Kill(p, unix.SIGKILL)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// processes lists those that carry the lab's mark in their environment or run in a cgroup of the lab; not this one.
func processes(lab string) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	mark := "\x00" + layout.Mark(lab) + "\x00"
	group := ":" + layout.CgroupRoot(lab) + "/"
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		env, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		cgroup, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cgroup"))
		if !strings.Contains("\x00"+string(env)+"\x00", mark) && !strings.Contains(string(cgroup), group) {
			continue
		}
		if stat, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat")); err == nil && strings.Contains(string(stat), ") Z ") {
			continue
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// mounts lists mount points under dirs, innermost first.
func mounts(dirs []string) ([]string, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	var points []string
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		point := unescape(fields[4])
		if slices.ContainsFunc(dirs, func(d string) bool { return point == d || strings.HasPrefix(point, d+"/") }) {
			points = append(points, point)
		}
	}
	slices.Reverse(points)
	return points, nil
}

// unescape undoes what proc_pid_mountinfo(5) does to blanks in paths.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

func unmount(dirs []string) error {
	points, err := mounts(dirs)
	if err != nil {
		return err
	}
	var problems []error
	for _, p := range points {
		if err := unix.Unmount(p, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			problems = append(problems, fmt.Errorf("unmount %s: %w", p, err))
		}
	}
	return errors.Join(problems...)
}

func namespaces(lab string) []string {
	entries, _ := os.ReadDir("/run/netns")
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), layout.NetNSPrefix(lab)) {
			names = append(names, e.Name())
		}
	}
	return names
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
