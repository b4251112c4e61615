package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"isthmus.dev/isthmus/internal/screen"
	"isthmus.dev/isthmus/lab"
	"isthmus.dev/isthmus/lab/build"
	"isthmus.dev/isthmus/lab/config"
)

type upFlags struct {
	file       string
	clusters   int
	nodes      int
	network    string
	hollow     bool
	kubeconfig string
	dir        string
	programs   string
	timeout    time.Duration
}

// shape are the flags that say what the lab is, in place of a file.
var shape = []string{"clusters", "nodes", "network", "hollow"}

func newUp(e *env) *cobra.Command {
	var f upFlags
	c := &cobra.Command{
		Use:   "up",
		Short: "Start clusters, or go on with a lab that was left half way",
		Long: `Starts the clusters, and returns when every node is Ready and every cluster answers DNS questions.

The first time it builds Kubernetes, containerd, Istio and the rest from pinned sources, which takes minutes; what is
built is kept. A lab that runs already is left as it is; asked for more clusters, it gets the others.`,
		Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if i := slices.IndexFunc(shape, c.Flags().Changed); f.file != "" && i >= 0 {
				return usagef("--file and --%s both say what the lab is; write it into the file", shape[i])
			}
			return e.up(c, f)
		},
	}
	c.Flags().StringVarP(&f.file, "file", "f", "", "lab.yaml: clusters, regions, zones, latency and loss between them")
	c.Flags().IntVar(&f.clusters, "clusters", 2, "how many clusters: east, west, north, south, center, c6, ...")
	c.Flags().IntVar(&f.nodes, "nodes", 1, "how many nodes each")
	c.Flags().StringVar(&f.network, "network", "separate", "separate: pods reach only pods of their own cluster; shared: of all")
	c.Flags().BoolVar(&f.hollow, "hollow", false, "clusters without nodes: API server, etcd and controller-manager only")
	c.Flags().StringVar(&f.kubeconfig, "kubeconfig", "", "file to write (default: ~/.isthmus/lab/NAME/kubeconfig)")
	c.Flags().StringVar(&f.dir, "dir", "", "folder for the lab's files (default: "+lab.DefaultDir+")")
	c.Flags().StringVar(&f.programs, "programs", "", "folder with bin, cni and images to use instead of building them (default: ISTHMUS_LAB_PROGRAMS, if set)")
	c.Flags().DurationVar(&f.timeout, "timeout", 10*time.Minute, "how long to wait for the clusters, once everything is built")
	return c
}

// config is the document: the file, or one made of the flags.
func (f upFlags) config(e *env, nameGiven bool) (config.Config, error) {
	if f.file != "" {
		c, err := config.Load(f.file)
		if nameGiven || c.Name == "" {
			c.Name = e.name
		}
		e.name = c.Name
		return c, err
	}
	if f.clusters < 1 {
		return config.Config{}, usagef("--clusters %d: a lab has at least one", f.clusters)
	}
	c := config.Config{Name: e.name, Clusters: make([]config.Cluster, f.clusters)}
	for i := range c.Clusters {
		k := &c.Clusters[i]
		k.Hollow = f.hollow
		if !f.hollow {
			k.Nodes = f.nodes
		}
		switch f.network {
		case "separate":
		case "shared":
			k.Network = "shared"
		default:
			return c, usagef("--network %q is neither separate nor shared", f.network)
		}
	}
	return c, nil
}

func (e *env) up(c *cobra.Command, f upFlags) error {
	doc, err := f.config(e, c.Flags().Changed("name"))
	if err != nil {
		return err
	}
	shaped := f.file != "" || slices.ContainsFunc(shape, c.Flags().Changed)
	if old, err := lab.Open(e.name); err == nil && !shaped {
		doc = old.Document // go on with what there is
	}
	if f.dir != "" {
		doc.Dir = f.dir
	}
	if f.kubeconfig != "" {
		doc.Kubeconfig = f.kubeconfig
	}
	if f.programs == "" {
		f.programs = e.Env("ISTHMUS_LAB_PROGRAMS")
	}
	progress := screen.NewProgress(e.Streams)
	shown := &upView{progress: progress, done: map[string]bool{}}
	began := time.Now()
	l, err := lab.Up(c.Context(), doc, lab.Options{
		Programs: f.programs, Build: build.Options{Report: shown.build}, Report: shown.lab, Timeout: f.timeout,
		Unpacking: func() { progress.Set("images", "unpacking · once, then kept") },
	})
	progress.Close()
	if _, none := lab.Open(doc.Name); errors.Is(err, context.Canceled) && none != nil {
		return fmt.Errorf("stopped before anything was started; what is built is kept\n  Go on: isthmus-lab up%s", e.flag())
	}
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("stopped waiting; what was started goes on by itself\n  Go on: isthmus-lab up%s    Take it down: isthmus-lab down%[1]s", e.flag())
	}
	if err != nil {
		return err
	}
	var names []string
	for _, k := range l.Clusters {
		names = append(names, k.Name)
	}
	fmt.Fprintf(e.Out, "ready in %s · export KUBECONFIG=%s · contexts %s\n", screen.Seconds(time.Since(began)), l.Kubeconfig, strings.Join(names, ", "))
	fmt.Fprintf(e.Out, "Next: %s\n", next(l, e.flag()))
	return nil
}

// next is the command that makes a mesh of the lab, if the example in this repository fits it.
func next(l *lab.Lab, flag string) string {
	east, ok := l.Cluster("east")
	west, ok2 := l.Cluster("west")
	if ok && ok2 && !east.Hollow && !west.Hollow && len(l.Clusters) == 2 && east.Network != west.Network {
		return "isthmus check -f examples/quickstart/mesh.yaml"
	}
	return "isthmus-lab status" + flag
}

// upView shows how far Up is.
type upView struct {
	progress *screen.Progress
	making   map[string]string // programs under way, and what is done about each: "building"
	began    bool
	done     map[string]bool
}

func (v *upView) build(ev build.Event) {
	delete(v.making, ev.Program)
	if ev.Cached || ev.Program == "" {
		return
	}
	if ev.Finished == ev.Total {
		v.progress.Done("building", screen.Yes, fmt.Sprintf("%d programs and images in %s; kept", ev.Total, screen.Seconds(ev.Elapsed)))
		return
	}
	if ev.Done {
		return
	}
	if v.making == nil {
		v.making = map[string]string{}
	}
	v.making[ev.Program] = ev.Doing
	var all []string // some are made at a time, and their signs of life come in turn
	for _, program := range slices.Sorted(maps.Keys(v.making)) {
		all = append(all, v.making[program]+" "+program)
	}
	v.progress.Set("building", fmt.Sprintf("%s (%d of %d done) · once, then kept", strings.Join(all, ", "), ev.Finished, ev.Total))
}

func (v *upView) lab(s lab.Status) {
	if !v.began {
		v.began = true
		v.progress.End("images")
	}
	for _, c := range s.Clusters {
		switch {
		case v.done[c.Name]:
		case c.Ready:
			v.done[c.Name] = true
			v.progress.Done(c.Name, screen.Yes, readyLine(c))
		case c.Problem != "":
			v.progress.Set(c.Name, c.Problem)
		case c.Doing != "":
			v.progress.Set(c.Name, "waiting for "+c.Doing)
		}
	}
}
