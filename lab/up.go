package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"

	"isthmus.dev/isthmus/lab/build"
	"isthmus.dev/isthmus/lab/component"
	"isthmus.dev/isthmus/lab/layout"
	"isthmus.dev/isthmus/lab/pki"
	"isthmus.dev/isthmus/lab/registry"
	"isthmus.dev/isthmus/lab/seed"
	"isthmus.dev/isthmus/lab/wire"
)

// Options are what Up needs beside the document.
type Options struct {
	// Build says where the programs come from.
	Build build.Options
	// Programs is a folder with bin, cni and images to use instead of building them.
	Programs string
	// Executable is an isthmus-lab, whose hidden command "supervise" runs the supervisor; this program when empty.
	Executable string
	// Unpacking is called when the images are about to be unpacked, which takes seconds and is done once; nil for none.
	Unpacking func()
	// Report is told what is being waited for, whenever that changes; nil for none. Calls do not overlap.
	Report func(Status)
	// Timeout is how long to wait for the clusters once everything is built; without end when zero.
	Timeout time.Duration
	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

// poll is how often Up asks the supervisor how far it is.
const poll = 50 * time.Millisecond

// Up starts the lab that c describes and returns when every cluster can be used. A lab that runs already is only
// waited for; one that was left half way is gone on with; one with fewer clusters than c gets the others. When ctx
// ends, Up returns, and the lab goes on starting by itself.
func Up(ctx context.Context, c Config, o Options) (*Lab, error) {
	c = c.Defaulted()
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if err := checkMachine(ctx, len(c.Links) > 0); err != nil {
		return nil, err
	}
	programs, err := programs(ctx, c.Name, o)
	if err != nil {
		return nil, err
	}
	l, err := place(c, programs)
	if err != nil {
		return nil, err
	}
	if err := l.kubeconfig(o.Now()); err != nil {
		return nil, err
	}
	if err := l.supervise(ctx, o.Executable); err != nil {
		return nil, err
	}
	if o.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.Timeout)
		defer cancel()
	}
	return l, l.await(ctx, o)
}

// programs finds or builds what the lab runs. A lab that exists keeps the programs that it has.
func programs(ctx context.Context, name string, o Options) (layout.Programs, error) {
	if l, err := Open(name); err == nil && o.Programs == "" && l.Programs.There() {
		return l.Programs, nil
	}
	dir, cni := o.Programs, filepath.Join(o.Programs, "cni")
	if dir == "" {
		set, err := build.Ensure(ctx, o.Build)
		if err != nil {
			return layout.Programs{}, err
		}
		dir, cni = set.Dir, set.CNIDir
	}
	images, err := filepath.Glob(filepath.Join(dir, "images", "*.tar"))
	if err != nil {
		return layout.Programs{}, err
	}
	p := layout.Programs{Bin: filepath.Join(dir, "bin"), CNI: cni}
	p.Seed, err = seed.Ensure(ctx, SeedDir, p.Bin, images, o.Unpacking)
	return p, err
}

// place gives the lab its slot and folders and writes down what it is, all under the lock of the record: of two
// processes that start the same lab, one waits.
func place(c Config, programs layout.Programs) (*Lab, error) {
	root := c.Dir
	if root == "" {
		root = DefaultDir
	}
	dir, err := filepath.Abs(filepath.Join(root, c.Name))
	if err != nil {
		return nil, err
	}
	kubeconfig, err := kubeconfigPath(c)
	if err != nil {
		return nil, err
	}
	var l Lab
	err = registry.Change(func(r *registry.Record) error {
		old, err := load(dir)
		existed := err == nil
		if !existed {
			old.Slot = -1
		}
		used, err := inUse()
		if err != nil {
			return err
		}
		if existed && wire.Alive(old.SwitchNS()) {
			// What is in use there is this lab, which the record has forgotten.
			used = slices.DeleteFunc(used, old.Subnet().Overlaps)
		}
		slot, err := r.Claim(c.Name, dir, old.Slot, used)
		if err != nil {
			return err
		}
		l.Lab = layout.New(c, layout.Place{Slot: slot, Dir: dir, Run: registry.Run(c.Name), Kubeconfig: kubeconfig, Programs: programs})
		if err := errors.Join(checkPaths(l.Lab), checkRoom(dir, len(l.nodes()))); err != nil {
			return err
		}
		if existed {
			if err := compatible(old, l.Lab); err != nil {
				return err
			}
		}
		if err := raiseSysctls(r); err != nil {
			return err
		}
		if err := ensureDirs(r); err != nil {
			return err
		}
		return save(l.Lab)
	})
	return &l, err
}

// compatible refuses to turn a lab into another: what exists of old must be the same in l.
func compatible(old, l layout.Lab) error {
	other := func(why string) error {
		return &Error{
			Problem: fmt.Sprintf("lab %q exists and is another one: %s", l.Name, why),
			Do:      "take it down first: isthmus-lab down" + flag(l.Name) + "; or choose another name with --name; or give no flags and go on with it",
		}
	}
	if len(old.Clusters) > len(l.Clusters) {
		return other(fmt.Sprintf("it has %d clusters, and %d are asked for", len(old.Clusters), len(l.Clusters)))
	}
	for i, c := range old.Clusters {
		if !reflect.DeepEqual(c, l.Clusters[i]) {
			return other("its cluster " + c.Name + " differs from what is asked for")
		}
	}
	return nil
}

// inUse lists the address ranges that the machine uses, and those of slots whose link is there.
func inUse() ([]netip.Prefix, error) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("list the machine's routes: %w", err)
	}
	var list []netip.Prefix
	for _, r := range routes {
		if r.Dst == nil {
			continue
		}
		ip, ok := netip.AddrFromSlice(r.Dst.IP.To4())
		ones, _ := r.Dst.Mask.Size()
		if ok && ones > 0 {
			list = append(list, netip.PrefixFrom(ip, ones))
		}
	}
	for slot := range layout.Slots {
		if _, err := os.Stat("/sys/class/net/" + layout.HostLink(slot)); err == nil {
			list = append(list, layout.Lab{Slot: slot}.Subnet())
		}
	}
	return list, nil
}

// nodes are all nodes of the lab, also those of hollow clusters.
func (l *Lab) nodes() []layout.Node {
	var list []layout.Node
	for _, c := range l.Clusters {
		list = append(list, c.Nodes...)
	}
	return list
}

func kubeconfigPath(c Config) (string, error) {
	if c.Kubeconfig != "" {
		return filepath.Abs(c.Kubeconfig)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("where to write the kubeconfig: %w", err)
	}
	return filepath.Join(home, ".isthmus", "lab", c.Name, "kubeconfig"), nil
}

// kubeconfig makes every cluster's certificates and writes the file with a context for each.
func (l *Lab) kubeconfig(now time.Time) error {
	var entries []pki.Entry
	for _, c := range l.Clusters {
		if err := pki.Ensure(c.Path("pki"), c.Name, component.Leaves(c), now); err != nil {
			return err
		}
		entries = append(entries, pki.Entry{Context: c.Name, Server: c.APIServer(), Dir: c.Path("pki"), Leaf: "admin"})
	}
	return pki.WriteKubeconfig(l.Kubeconfig, entries...)
}

// supervise starts the lab's supervisor unless it runs.
func (l *Lab) supervise(ctx context.Context, executable string) error {
	if s, err := l.client().Status(ctx); err == nil {
		if s.Layout == l.Digest() {
			return nil
		}
		// It knows fewer clusters than there are now, or other distances or programs. It leaves the programs running and the next one takes them over.
		if err := l.client().Leave(ctx); err != nil {
			return fmt.Errorf("replace the supervisor: %w", err)
		}
	}
	if executable == "" {
		var err error
		if executable, err = os.Executable(); err != nil {
			return fmt.Errorf("find the program that supervises: %w", err)
		}
	}
	log, err := os.OpenFile(l.SupervisorLog(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("open the supervisor's log: %w", err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(executable, superviseCommand, l.Dir)
	cmd.Env = layout.Environ(l.Name)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the supervisor: %w", err)
	}
	return cmd.Process.Release()
}

// await returns when every cluster is ready.
func (l *Lab) await(ctx context.Context, o Options) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	silent := o.Now()
	var last Status
	for {
		s, err := l.client().Status(ctx)
		switch {
		case err == nil && s.Layout == l.Digest():
			silent, last = o.Now(), s
			if o.Report != nil {
				o.Report(s)
			}
			if s.Ready {
				return nil
			}
		case gone(l.StateFile()):
			return fmt.Errorf("lab %q was taken down meanwhile", l.Name)
		case err != nil && ctx.Err() == nil && o.Now().Sub(silent) > 10*time.Second:
			return &Error{Problem: "the lab's supervisor does not answer: " + lastLine(l.SupervisorLog()), Do: "see " + l.SupervisorLog(), Err: err}
		}
		select {
		case <-ctx.Done():
			return l.late(ctx.Err(), last)
		case <-tick.C:
		}
	}
}

func gone(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// late says what the lab was waiting for when its time was over.
func (l *Lab) late(err error, s Status) error {
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	do := "it goes on by itself; see isthmus-lab status" + flag(l.Name)
	if len(s.Faults) > 0 {
		do = "something is broken on purpose: isthmus-lab fault clear" + flag(l.Name)
	}
	for _, c := range s.Clusters {
		if !c.Ready {
			why := strings.TrimSpace("it waits for " + c.Doing + " " + c.Problem)
			return &Error{Problem: fmt.Sprintf("cluster %s is not ready in time: %s", c.Name, why), Do: do, Err: err}
		}
	}
	return err
}
