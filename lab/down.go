package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"isthmus.dev/isthmus/lab/config"
	"isthmus.dev/isthmus/lab/registry"
	"isthmus.dev/isthmus/lab/supervise"
	"isthmus.dev/isthmus/lab/sweep"
)

// Down takes the lab down, in whatever state it is, and leaves nothing of it. A lab that does not exist is no error:
// it is down. dir is where its folder would be if the record does not know it; DefaultDir when empty.
func Down(ctx context.Context, name, dir string) error {
	if os.Geteuid() != 0 {
		return &Error{Problem: "taking a lab down needs root", Do: "run it with sudo"}
	}
	c := config.Config{Name: name}.Defaulted()
	if err := c.Validate(); err != nil {
		return err
	}
	name = c.Name
	t, kubeconfig, err := target(name, dir)
	if err != nil {
		return err
	}
	// A supervisor that is told to stop starts nothing again while the rest is removed; one that does not answer is killed.
	quick, cancel := context.WithTimeout(ctx, 5*time.Second)
	_ = supervise.NewClient(filepath.Join(registry.Run(name), "supervisor.sock")).Stop(quick)
	cancel()
	if err := sweep.Remove(t); err != nil {
		return &Error{Problem: fmt.Sprintf("lab %q is not gone: %v", name, err), Do: "again: isthmus-lab down" + flag(name), Err: err}
	}
	if kubeconfig != "" {
		if err := os.Remove(kubeconfig); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove kubeconfig: %w", err)
		}
		// The folders that Up made for it, unless there is something else in them.
		for dir := filepath.Dir(kubeconfig); isOurs(dir, name) && os.Remove(dir) == nil; dir = filepath.Dir(dir) {
		}
	}
	_ = os.Remove(filepath.Dir(t.Dirs[0]))
	if _, err := os.Stat(registry.Root); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return registry.Change(func(r *registry.Record) error {
		delete(r.Labs, name)
		if len(r.Labs) > 0 {
			return nil
		}
		removeDirs(r)
		return restoreSysctls(r)
	})
}

// isOurs tells whether dir is one of ~/.isthmus/lab/NAME and the two above it.
func isOurs(dir, name string) bool {
	base, up := filepath.Base(dir), filepath.Base(filepath.Dir(dir))
	return base == ".isthmus" || base == "lab" && up == ".isthmus" || base == name && up == "lab"
}

// Leftovers lists what is on the machine of the lab called name: everything while it runs, nothing after Down. dir is
// as for Down.
func Leftovers(name, dir string) ([]Trace, error) {
	t, kubeconfig, err := target(name, dir)
	if err != nil {
		return nil, err
	}
	list, err := sweep.Find(t)
	if _, statErr := os.Stat(kubeconfig); kubeconfig != "" && statErr == nil {
		list = append(list, Trace{Kind: "file", Name: kubeconfig})
	}
	return list, err
}

// target says where to look for the lab, from the record, from its own state, and from its name, which must not be empty.
func target(name, dir string) (sweep.Target, string, error) {
	record, err := registry.Read()
	if err != nil {
		return sweep.Target{}, "", err
	}
	if dir == "" {
		dir = DefaultDir
	}
	t := sweep.Target{Name: name, Slot: -1}
	own := filepath.Join(dir, name)
	if e, ok := record.Labs[name]; ok {
		own, t.Slot = e.Dir, e.Slot
	}
	t.Dirs = []string{own, registry.Run(name)}
	kubeconfig := ""
	if l, err := load(own); err == nil {
		kubeconfig = l.Kubeconfig
	}
	return t, kubeconfig, nil
}
