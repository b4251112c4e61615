package cli

import (
	"cmp"
	"crypto/rand"
	"errors"
	"os"
	"os/user"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"isthmus.dev/isthmus/internal/apply"
	"isthmus.dev/isthmus/internal/engine"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/plan"
)

// memberFlags say what a person knows of clusters that records cannot be believed about.
type memberFlags struct{ leave []string }

// add adds those flags; what a plan keeps of them goes into its options.
func (f *memberFlags) add(c *cobra.Command, o *plan.Options) {
	c.Flags().StringSliceVar(&f.leave, "leave", nil, "NAME=CONTEXT: clean this cluster, which is no longer in the document, by this context of the kubeconfig; may be repeated")
	c.Flags().StringSliceVar(&o.Forget, "forget", nil, "give up on this cluster, which is no longer in the document and cannot be cleaned; may be repeated")
	c.Flags().StringSliceVar(&o.NewClusters, "new-cluster", nil, "this cluster of the document was made anew under its old name; may be repeated")
}

// former adds to a mesh what --leave says of clusters that have left it.
func (f *memberFlags) former(m mesh.Mesh) (mesh.Mesh, error) {
	for _, x := range f.leave {
		name, context, ok := strings.Cut(x, "=")
		if !ok || name == "" || context == "" {
			return m, usagef("--leave %s: it is NAME=CONTEXT, a cluster that left and the kubeconfig context that leads to it", x)
		}
		var err error
		if m, err = m.WithFormer(name, context); err != nil {
			return m, usagef("--leave %s: %w", x, err)
		}
	}
	return m, nil
}

// flags repeats them.
func (f *memberFlags) flags() string {
	var b strings.Builder
	for _, x := range f.leave {
		b.WriteString(" --leave " + x)
	}
	return b.String()
}

// known refuses names of clusters that nobody remembers: a typing error must not look like a success.
func (f *memberFlags) known(m mesh.Mesh, p engine.Prospect) error {
	for _, x := range f.leave {
		name, _, _ := strings.Cut(x, "=")
		if err := remembered(p, "--leave", name); err != nil {
			return err
		}
	}
	for _, name := range p.Plan.Options.Forget {
		if err := remembered(p, "--forget", name); err != nil {
			return err
		}
	}
	for _, name := range p.Plan.Options.NewClusters {
		if _, ok := m.Cluster(name); !ok {
			return usagef("--new-cluster %s: there is no such cluster; there are: %s", name, strings.Join(m.Names(), ", "))
		}
	}
	return nil
}

func remembered(p engine.Prospect, flag, name string) error {
	names := make([]string, 0, len(p.Facts.Left))
	for _, x := range p.Facts.Left {
		if x.Name == name {
			return nil
		}
		names = append(names, x.Name)
	}
	return usagef("%s %s: no such cluster has left the mesh; there are: %s", flag, name, cmp.Or(strings.Join(names, ", "), "none"))
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
