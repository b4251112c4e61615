package cli

import (
	"cmp"
	"crypto/rand"
	"errors"
	"os"
	"os/user"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"isthmus.dev/isthmus/internal/apply"
	"isthmus.dev/isthmus/internal/engine"
	"isthmus.dev/isthmus/internal/facts"
)

func addForget(c *cobra.Command, forget *[]string) {
	c.Flags().StringSliceVar(forget, "forget", nil, "give up on this cluster, which is no longer in the document and does not answer; may be repeated")
}

func left(name string) func(facts.Member) bool {
	return func(m facts.Member) bool { return m.Name == name }
}

// mayForget refuses names of clusters that nobody remembers: a typing error must not look like a success.
func mayForget(p engine.Prospect, forget []string) error {
	for _, name := range forget {
		if slices.ContainsFunc(p.Facts.Left, left(name)) {
			continue
		}
		names := make([]string, 0, len(p.Facts.Left))
		for _, m := range p.Facts.Left {
			names = append(names, m.Name)
		}
		return usagef("--forget %s: no such cluster has left the mesh; there are: %s", name, cmp.Or(strings.Join(names, ", "), "none"))
	}
	return nil
}

// lockFlags are the flags of commands that write.
type lockFlags struct{ steal bool }

func (f *lockFlags) add(c *cobra.Command) {
	c.Flags().BoolVar(&f.steal, "steal-lock", false, "take the lock over from another run, which is known to be dead")
}

// lock says who runs what.
func (f *lockFlags) lock(eng engine.Engine, command string) *apply.Lock {
	return &apply.Lock{Home: eng.Mesh.Home().Name, Holder: holder(command), Dead: dead, Steal: f.steal}
}

// holder is this process.
func holder(command string) apply.Holder {
	h := apply.Holder{ID: rand.Text(), User: "somebody", Host: "an unknown host", Place: place(), PID: os.Getpid(), Command: command}
	if u, err := user.Current(); err == nil {
		h.User = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		h.Host = host
	}
	return h
}

// place tells this machine's process table from all others: its boot, and the namespace of its process numbers.
// Where there is no such thing it is empty, and a lock is only free when it has run out.
func place() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	pids, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(boot)) + " " + pids
}

// dead tells that a holder was a process of this machine and is none any more.
func dead(h apply.Holder) bool {
	if h.Place == "" || h.Place != place() || h.PID <= 0 {
		return false
	}
	p, err := os.FindProcess(h.PID)
	if err != nil {
		return errors.Is(err, os.ErrProcessDone)
	}
	return errors.Is(p.Signal(syscall.Signal(0)), os.ErrProcessDone)
}
