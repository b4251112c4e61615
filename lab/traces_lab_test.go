//go:build lab

package lab_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"isthmus.dev/isthmus/lab"
)

// A lab comes and goes, and the machine is as it was. What other labs do meanwhile is not looked at.
func TestDownLeavesNothing(t *testing.T) {
	const name = "t-traces"
	before := machine(t)
	l := up(t, lab.Config{Name: name, Clusters: []lab.Cluster{{Nodes: 2}, {}}})
	echo(t, l, "east")
	there, err := lab.Leftovers(name, "")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, x := range there {
		kinds[x.Kind]++
	}
	for _, k := range []string{"process", "mount", "namespace", "link", "cgroup", "file"} {
		if kinds[k] == 0 {
			t.Errorf("Leftovers sees no %s of a lab that runs: it would not see one that is left either", k)
		}
	}
	downAndGone(t, name)
	if diff := cmp.Diff(before, machine(t)); diff != "" {
		t.Errorf("the machine is not as it was: -before +after:\n%s", diff)
	}
	downAndGone(t, name) // again
}

// Whatever of the lab is killed before: down leaves nothing.
func TestDownAfterCrash(t *testing.T) {
	t.Parallel()
	const name = "t-crash"
	cases := map[string]func(*testing.T, *lab.Lab){
		"the supervisor": func(t *testing.T, l *lab.Lab) { kill(t, supervisor(t, l)) },
		"the supervisor and every other program": func(t *testing.T, l *lab.Lab) {
			s, err := l.Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			kill(t, s.PID)
			n := 0
			for _, c := range s.Clusters {
				for _, k := range c.Components {
					if n++; n%2 == 0 {
						kill(t, k.PID)
					}
				}
			}
		},
		"the supervisor, and its record is lost": func(t *testing.T, l *lab.Lab) {
			kill(t, supervisor(t, l))
			if err := os.Remove(filepath.Join(l.Run, "processes.json")); err != nil {
				t.Fatal(err)
			}
		},
		"the supervisor is frozen": func(t *testing.T, l *lab.Lab) {
			if err := syscall.Kill(supervisor(t, l), syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
		},
	}
	for what, crash := range cases {
		t.Run(what, func(t *testing.T) {
			l := up(t, lab.Config{Name: name, Clusters: []lab.Cluster{{}}})
			crash(t, l)
		})
	}
}

// up is killed at some moment: the next one goes on, and down leaves nothing.
func TestUpKilled(t *testing.T) {
	t.Parallel()
	const name = "t-killed"
	program := filepath.Join(t.TempDir(), "isthmus-lab")
	if out, err := exec.Command("go", "build", "-o", program, "isthmus.dev/isthmus/cmd/isthmus-lab").CombinedOutput(); err != nil {
		t.Fatalf("build isthmus-lab: %v: %s", err, out)
	}
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	start := func() *exec.Cmd {
		cmd := exec.Command(program, "up", "--name", name, "--clusters", "1", "--kubeconfig", kubeconfig)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	for range 4 {
		cmd := start()
		after := time.Duration(rand.Int64N(int64(4 * time.Second)))
		time.Sleep(after)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		// Sometimes the supervisor goes with it.
		if l, err := lab.Open(name); err == nil && rand.IntN(2) == 0 {
			if s, err := l.Status(t.Context()); err == nil {
				kill(t, s.PID)
			}
		}
		if rand.IntN(2) == 0 {
			if err := start().Wait(); err != nil {
				t.Errorf("up, after one that was killed after %s: %v", after, err)
			}
		}
		downAndGone(t, name)
	}
}

func TestSideBySide(t *testing.T) {
	t.Parallel()
	done := make(chan error)
	names := []string{"t-left", "t-right"}
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	for _, n := range names {
		t.Cleanup(func() { downAndGone(t, n) })
		go func() {
			_, err := lab.Up(t.Context(), lab.Config{Name: n, Kubeconfig: kubeconfig + n, Clusters: []lab.Cluster{{}}}, options(t))
			done <- err
		}()
	}
	if err := errors.Join(<-done, <-done); err != nil {
		t.Fatal(err)
	}
	left, right := open(t, "t-left"), open(t, "t-right")
	if left.Slot == right.Slot || left.Subnet().Overlaps(right.Subnet()) {
		t.Errorf("slots %d and %d, subnets %s and %s", left.Slot, right.Slot, left.Subnet(), right.Subnet())
	}
	echo(t, left, "east")
	address := echo(t, right, "east")
	downAndGone(t, "t-left")
	if err := fromHost(t, address); err != nil {
		t.Errorf("the lab that stays: %v", err)
	}
	s, err := right.Status(t.Context())
	if err != nil || !s.Ready {
		t.Errorf("the lab that stays is ready: %v, %v", s.Ready, err)
	}
	for _, k := range s.Clusters[0].Components {
		if k.Restarts > 0 {
			t.Errorf("%s of the lab that stays was started again: %s", k.Name, k.LastEnd)
		}
	}
}

// A lab grows while it runs, and refuses to become another.
func TestGrow(t *testing.T) {
	t.Parallel()
	const name = "t-grow"
	hollow := lab.Cluster{Hollow: true}
	l := up(t, lab.Config{Name: name, Clusters: []lab.Cluster{hollow}})
	before := component(t, l, "east", "kube-apiserver").PID
	l = up(t, lab.Config{Name: name, Clusters: []lab.Cluster{hollow, hollow}})
	for _, c := range []string{"east", "west"} {
		if _, err := client(t, l, c).Discovery().ServerVersion(); err != nil {
			t.Errorf("cluster %s: %v", c, err)
		}
	}
	if now := component(t, l, "east", "kube-apiserver").PID; now != before {
		t.Error("the first cluster was started anew")
	}
	if nodes := s(t, l).Clusters[0].Nodes; len(nodes) != 0 {
		t.Errorf("a hollow cluster has nodes: %v", nodes)
	}
	c := l.Document
	c.Clusters = []lab.Cluster{{Name: "east"}, hollow}
	var e *lab.Error
	if _, err := lab.Up(t.Context(), c, options(t)); !errors.As(err, &e) || !strings.Contains(e.Problem, "east differs") {
		t.Errorf("made another lab of it: %v", err)
	}
}

func s(t *testing.T, l *lab.Lab) lab.Status {
	t.Helper()
	s, err := l.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func open(t *testing.T, name string) *lab.Lab {
	t.Helper()
	l, err := lab.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func supervisor(t *testing.T, l *lab.Lab) int { t.Helper(); return s(t, l).PID }

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Fatal(err)
	}
}

// machine is everything that a lab could leave behind, seen without the lab's help, except what belongs to other labs
// that come and go meanwhile.
func machine(t *testing.T) []string {
	t.Helper()
	var list []string
	for _, cmd := range []string{
		`awk '{print "mount " $5}' /proc/self/mountinfo`,
		`ls /run/netns 2>/dev/null | sed 's/^/namespace /'`,
		`ls /sys/class/net | sed 's/^/link /'`,
		`nft list ruleset | sed 's/^/nft /'`,
		`iptables-save 2>/dev/null | grep -v '^#' | sed 's/^/iptables /'`,
		`find /sys/fs/cgroup -type d -name '*isthmus-lab*' -o -type d -name 'k8s.io*' -o -type d -name 'kubepods*' | sed 's/^/cgroup /'`,
		`ls -d /run/containerd /run/runc /run/isthmus-lab/* /etc/cni /opt/cni /var/lib/isthmus-lab/* 2>/dev/null | sed 's/^/file /'`,
		`find /var/lib/kubelet /var/lib/cni /var/log/containers /var/log/pods /usr/libexec/kubernetes 2>/dev/null | sed 's/^/file /'`,
		`ip -4 route | sed 's/^/route /'`,
	} {
		out, err := exec.CommandContext(context.Background(), "sh", "-c", cmd).Output()
		if err != nil && len(out) > 0 {
			t.Fatal(fmt.Errorf("%s: %w", cmd, err))
		}
		list = append(list, strings.Split(strings.TrimSpace(string(out)), "\n")...)
	}
	others, err := os.ReadDir("/run/isthmus-lab")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	list = append(list, processes(t)...)
	slices.Sort(list)
	return slices.DeleteFunc(list, func(line string) bool {
		return line == "" || slices.ContainsFunc(others, func(o os.DirEntry) bool {
			return strings.Contains(line, "lab/"+o.Name()) || strings.Contains(line, "isthmus-lab."+o.Name())
		})
	})
}

// processes lists those that run one of the lab's programs, or a container's, by what the kernel says they run. Their
// cgroup and mark are in the line, so that those of other labs can be told.
func processes(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		exe, err := os.Readlink("/proc/" + e.Name() + "/exe")
		if err != nil {
			continue // not a process, gone, or only its remains
		}
		program := filepath.Base(exe)
		if !slices.Contains([]string{"etcd", "kubelet", "containerd", "containerd-shim-runc-v2", "coredns", "pause", "server", "runc"}, program) && !strings.HasPrefix(program, "kube-") {
			continue
		}
		stat, _ := os.ReadFile("/proc/" + e.Name() + "/stat")
		cgroup, _ := os.ReadFile("/proc/" + e.Name() + "/cgroup")
		environ, _ := os.ReadFile("/proc/" + e.Name() + "/environ")
		where := ""
		if _, rest, ok := strings.Cut(string(cgroup), "isthmus-lab."); ok {
			where, _, _ = strings.Cut(rest, "/")
		}
		if _, rest, ok := strings.Cut(string(environ), "ISTHMUS_LAB="); ok {
			where, _, _ = strings.Cut(rest, "\x00")
		}
		// One that is nobody's, and whose parent lives, belongs to somebody's test.
		if orphan := strings.Contains(string(stat), ") S 1 "); where == "" && !orphan {
			continue
		}
		list = append(list, "process "+program+" isthmus-lab."+where)
	}
	return list
}
