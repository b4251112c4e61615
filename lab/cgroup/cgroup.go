// Package cgroup makes, lists and removes control groups by their path, in every hierarchy of the machine at once:
// version 1 has one for each controller, version 2 one for all, and many machines have both.
package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A hierarchy is one mounted cgroup file system.
type hierarchy struct {
	root string
	v2   bool
}

// Ensure makes the group in every hierarchy. path begins with a slash.
func Ensure(path string) error {
	list, err := hierarchies()
	if err != nil {
		return err
	}
	for _, h := range list {
		if err := h.ensure(path); err != nil {
			return fmt.Errorf("make cgroup %s: %w", filepath.Join(h.root, path), err)
		}
	}
	return nil
}

func (h hierarchy) ensure(path string) error {
	dir := h.root
	for part := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if h.v2 {
			delegate(dir)
		}
		dir = filepath.Join(dir, part)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		// Version 1 gives a new cpuset no CPU and no memory, and then nothing can be put into it.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			if err := inherit(dir, file); err != nil && !h.v2 {
				return err
			}
		}
	}
	return nil
}

// delegate lets the groups in dir have the controllers that dir has. Not every one can be given on: that is no error.
func delegate(dir string) {
	data, _ := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	for c := range strings.FieldsSeq(string(data)) {
		_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+c), 0o644)
	}
}

// Weigh gives the group so many times the weight that a new one has where processors are shared. Only version 1 is told:
// there the group stands beside every process or session of the machine that is in none, in version 2 beside a few slices.
func Weigh(path string, times int) error {
	list, err := hierarchies()
	if err != nil {
		return err
	}
	for _, h := range list {
		shares := filepath.Join(h.root, path, "cpu.shares")
		if _, err := os.Stat(shares); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := os.WriteFile(shares, []byte(strconv.Itoa(1024*times)), 0o644); err != nil {
			return fmt.Errorf("weigh cgroup %s: %w", path, err)
		}
	}
	return nil
}

func inherit(dir, file string) error {
	have, err := os.ReadFile(filepath.Join(dir, file))
	if errors.Is(err, fs.ErrNotExist) || err == nil && strings.TrimSpace(string(have)) != "" {
		return nil
	}
	if err != nil {
		return err
	}
	parent, err := os.ReadFile(filepath.Join(filepath.Dir(dir), file))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, file), parent, 0o644)
}

// List returns the folders of the group and of all groups in it, in every hierarchy, outermost first.
func List(path string) ([]string, error) {
	list, err := hierarchies()
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, h := range list {
		err := filepath.WalkDir(filepath.Join(h.root, path), func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, p)
			}
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("list cgroups: %w", err)
		}
	}
	return dirs, nil
}

// Remove removes the group and all groups in it. It waits up to patience for the kernel to let go of groups whose last
// process has just ended.
func Remove(path string, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for {
		dirs, err := List(path)
		if err != nil || len(dirs) == 0 {
			return err
		}
		var last error
		for _, d := range slices.Backward(dirs) {
			if err := os.Remove(d); err != nil && !errors.Is(err, fs.ErrNotExist) {
				last = fmt.Errorf("remove cgroup: %w", err)
			}
		}
		if last == nil || time.Now().After(deadline) {
			return last
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// ProcessesIn returns what runs in the groups with those folders, each once.
func ProcessesIn(dirs []string) ([]string, error) {
	var pids []string
	for _, d := range dirs {
		data, err := os.ReadFile(filepath.Join(d, "cgroup.procs"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("list processes of cgroup: %w", err)
		}
		pids = append(pids, strings.Fields(string(data))...)
	}
	slices.Sort(pids)
	return slices.Compact(pids), nil
}

func hierarchies() ([]hierarchy, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list cgroup hierarchies: %w", err)
	}
	var list []hierarchy
	for line := range strings.Lines(string(data)) {
		before, after, ok := strings.Cut(line, " - ")
		fields, kind := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(kind) == 0 || fields[3] != "/" {
			continue
		}
		if kind[0] == "cgroup" || kind[0] == "cgroup2" {
			list = append(list, hierarchy{root: fields[4], v2: kind[0] == "cgroup2"})
		}
	}
	return list, nil
}
