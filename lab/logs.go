package lab

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"isthmus.dev/isthmus/lab/component"
	"isthmus.dev/isthmus/lab/layout"
	"isthmus.dev/isthmus/lab/supervise"
	"isthmus.dev/isthmus/lab/wire"
)

// Supervise keeps the lab in the folder dir running until ctx ends. Up starts a process that does this.
func Supervise(ctx context.Context, dir string, now func() time.Time, log *slog.Logger) error {
	l, err := load(dir)
	if err != nil {
		return err
	}
	return supervise.Run(ctx, l, now, log)
}

// SuperviseIfAsked makes any program that calls it first thing fit to be Options.Executable: started as a supervisor, it
// is one, and does not return before its end. Tests call it in TestMain.
func SuperviseIfAsked(ctx context.Context) (bool, error) {
	if len(os.Args) != 3 || os.Args[1] != superviseCommand {
		return false, nil
	}
	return true, Supervise(ctx, os.Args[2], time.Now, slog.New(slog.NewTextHandler(os.Stderr, nil)))
}

// superviseCommand is what Up calls the program with, and the lab's folder.
const superviseCommand = "supervise"

// SupervisorLog is where the lab's supervisor writes.
func (l *Lab) SupervisorLog() string { return filepath.Join(l.Dir, "supervisor.log") }

// A LogFile is where a component writes.
type LogFile struct {
	Component string
	Node      string // empty for one of the control plane
	Path      string
}

// Logs lists the logs of a cluster.
func (l *Lab) Logs(cluster string) ([]LogFile, error) {
	c, err := l.Find(cluster)
	if err != nil {
		return nil, err
	}
	var list []LogFile
	for _, i := range component.Instances(l.Lab, c, component.All) {
		list = append(list, LogFile{Component: i.Name, Node: i.NodeName(), Path: i.Log()})
	}
	return list, nil
}

// Log returns the file that a component writes to; node may be empty if there is only one such.
func (l *Lab) Log(cluster, component, node string) (string, error) {
	list, err := l.Logs(cluster)
	if err != nil {
		return "", err
	}
	var names []string
	for _, f := range list {
		if f.Component == component && (node == "" || f.Node == node) {
			return f.Path, nil
		}
		names = append(names, f.Component)
	}
	return "", fmt.Errorf("cluster %s has no component %q%s; it has %s", cluster, component, onNode(node), strings.Join(names, ", "))
}

func onNode(node string) string {
	if node == "" {
		return ""
	}
	return " on node " + node
}

// Node finds a node by its name; the name of a cluster means its first node.
func (l *Lab) Node(name string) (layout.Cluster, layout.Node, error) {
	var names []string
	for _, c := range l.Clusters {
		for _, n := range c.Nodes {
			if n.Name == name || c.Name == name {
				return c, n, nil
			}
			names = append(names, n.Name)
		}
	}
	return layout.Cluster{}, layout.Node{}, fmt.Errorf("lab %s has no cluster or node %q; its nodes are %s", l.Name, name, strings.Join(names, ", "))
}

// Command prepares a command to be run by Exec at a node: with the lab's programs in its PATH, the lab's kubeconfig
// with the cluster as its context, and the node's containerd. It is killed when ctx ends.
func (l *Lab) Command(ctx context.Context, node string, argv []string) (*exec.Cmd, error) {
	c, n, err := l.Node(node)
	if err != nil {
		return nil, err
	}
	path := l.Programs.Bin + ":" + os.Getenv("PATH")
	program := argv[0]
	if own := filepath.Join(l.Programs.Bin, program); !strings.Contains(program, "/") {
		if _, err := os.Stat(own); err == nil {
			program = own
		}
	}
	cmd := exec.CommandContext(ctx, program, argv[1:]...)
	// Not the mark of another lab, if this is run by one of its commands.
	environ := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "ISTHMUS_LAB=") })
	cmd.Env = append(environ, "PATH="+path, "KUBECONFIG="+c.Path("etc", "admin.kubeconfig"),
		"CONTAINERD_ADDRESS="+n.Containerd(), "CONTAINERD_NAMESPACE=k8s.io", layout.Mark(l.Name))
	return cmd, nil
}

// Exec runs cmd in the network namespace of a node and returns when it has ended.
func (l *Lab) Exec(node string, cmd *exec.Cmd) error {
	_, n, err := l.Node(node)
	if err != nil {
		return err
	}
	if err := wire.In(n.NetNS, cmd.Start); err != nil {
		return err
	}
	return cmd.Wait()
}

// lastLine returns the last line of a file, empty if there is none.
func lastLine(path string) string {
	data, _ := os.ReadFile(path)
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return lines[len(lines)-1]
}
