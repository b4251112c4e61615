package supervise

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/rest"

	"isthmus.dev/isthmus/lab/balance"
	"isthmus.dev/isthmus/lab/bootstrap"
	"isthmus.dev/isthmus/lab/cgroup"
	"isthmus.dev/isthmus/lab/component"
	"isthmus.dev/isthmus/lab/layout"
	"isthmus.dev/isthmus/lab/mountns"
	"isthmus.dev/isthmus/lab/wire"
)

// cluster brings one cluster up and keeps it so.
type cluster struct {
	layout.Cluster
	s         *Supervisor
	log       *slog.Logger
	processes []*process
	wired     chan struct{} // closed when every node has its network

	mu         sync.Mutex
	doing      string
	problem    string
	readyAfter time.Duration
	client     kubernetes.Interface
	nodes      listers.NodeLister
	services   listers.ServiceLister
}

func newCluster(s *Supervisor, c layout.Cluster) *cluster {
	return &cluster{Cluster: c, s: s, log: s.log.With("cluster", c.Name), processes: s.newProcesses(c), wired: make(chan struct{}), doing: "network"}
}

// run returns when ctx ends. What goes wrong on the way is tried again: it may be the machine that is short of
// something, or a fault that somebody asked for.
func (c *cluster) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	c.insist(ctx, "network", func() error { return c.prepare() })
	close(c.wired)
	c.say("its turn")
	select {
	case c.s.turn <- struct{}{}:
	case <-ctx.Done():
		return
	}
	for _, p := range c.processes {
		wg.Go(func() { p.run(ctx) })
	}
	c.say("API server")
	up := c.await(ctx, "kube-apiserver")
	<-c.s.turn
	if !up {
		return
	}
	c.insist(ctx, "API server", func() error { return c.connect() })
	factory := informers.NewSharedInformerFactory(c.client, 0)
	c.mu.Lock()
	c.nodes, c.services = factory.Core().V1().Nodes().Lister(), factory.Core().V1().Services().Lister()
	c.mu.Unlock()
	factory.Core().V1().Nodes().Informer()
	balancer := &balance.Controller{
		Client: c.client, Pool: c.Pool(), Log: c.log,
		Answer: func(want []netip.Addr) error { return wire.Answer(c.Nodes[0], c.Pool(), want) },
	}
	wg.Go(func() { balancer.Run(ctx, factory) })
	if !c.Hollow {
		c.insist(ctx, "nodes", func() error { return bootstrap.Nodes(ctx, c.client, c.Cluster) })
		c.insist(ctx, "DNS", func() error { return bootstrap.DNS(ctx, c.client, c.Cluster) })
	}
	c.settle(ctx)
}

func (c *cluster) prepare() error {
	if err := component.Prepare(c.s.lab, c.Cluster, c.s.clock()); err != nil {
		return err
	}
	for _, n := range c.Nodes {
		if err := wire.Node(c.s.lab, c.Cluster, n); err != nil {
			return err
		}
		if c.Hollow {
			continue
		}
		if err := cgroup.Ensure(component.CgroupRoot(component.Site{Lab: c.s.lab, Cluster: c.Cluster, Node: n})); err != nil {
			return err
		}
		m := mountns.Node{File: n.Mounts(), Shared: n.Path("kubelet"), Own: map[string]string{}}
		for _, d := range layout.FixedDirs {
			m.Own[d] = n.Own(d)
		}
		if err := mountns.Ensure(m); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) connect() error {
	dir := c.Path("pki")
	client, err := kubernetes.NewForConfig(&rest.Config{
		Host: c.APIServer(), QPS: 100, Burst: 200,
		TLSClientConfig: rest.TLSClientConfig{
			CAFile: filepath.Join(dir, "ca.crt"), CertFile: filepath.Join(dir, "lab.crt"), KeyFile: filepath.Join(dir, "lab.key"),
		},
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.client = client
	c.mu.Unlock()
	return nil
}

// api is the cluster's client, once its API server has answered for the first time.
func (c *cluster) api() (kubernetes.Interface, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client == nil {
		return nil, fmt.Errorf("the API server of cluster %s has not answered yet", c.Name)
	}
	return c.client, nil
}

// settle waits until everything that makes a cluster usable is there, and notes how long it took.
func (c *cluster) settle(ctx context.Context) {
	for ctx.Err() == nil {
		doing, err := c.missing(ctx)
		if err == nil && doing == "" {
			c.mu.Lock()
			c.doing, c.problem, c.readyAfter = "", "", c.s.clock().Sub(c.s.began)
			c.mu.Unlock()
			c.log.Info("cluster ready", "after", c.readyAfter.Round(10*time.Millisecond).String())
			return
		}
		c.say(doing)
		sleep(ctx, probeEvery)
	}
}

// missing says what the cluster still lacks; empty when nothing.
func (c *cluster) missing(ctx context.Context) (string, error) {
	if c.Hollow {
		return "", nil
	}
	for _, n := range c.Nodes {
		if !c.nodeReady(n.Name) {
			return "node " + n.Name, nil
		}
	}
	ok, err := bootstrap.DNSReady(ctx, c.client)
	if err != nil || !ok {
		return "DNS", err
	}
	return "", nil
}

func (c *cluster) nodeReady(name string) bool {
	c.mu.Lock()
	lister := c.nodes
	c.mu.Unlock()
	if lister == nil {
		return false
	}
	n, err := lister.Get(name)
	if err != nil {
		return false
	}
	for _, cond := range n.Status.Conditions {
		if cond.Type == corev1.NodeReady {
			return cond.Status == corev1.ConditionTrue
		}
	}
	return false
}

func (c *cluster) loadBalancers() []LoadBalancer {
	c.mu.Lock()
	lister := c.services
	c.mu.Unlock()
	out := []LoadBalancer{}
	if lister == nil {
		return out
	}
	list, err := lister.List(labels.Everything())
	if err != nil {
		return out
	}
	for _, s := range list {
		if s.Spec.Type == corev1.ServiceTypeLoadBalancer && balance.Address(s).IsValid() {
			out = append(out, LoadBalancer{Service: s.Namespace + "/" + s.Name, Address: balance.Address(s).String()})
		}
	}
	return out
}

// await returns when the component is ready for the first time; false if ctx ended before.
func (c *cluster) await(ctx context.Context, name string) bool {
	for _, p := range c.processes {
		if p.Name != name {
			continue
		}
		select {
		case <-p.first:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// insist does f until it works, saying what is in the way.
func (c *cluster) insist(ctx context.Context, what string, f func() error) {
	for wait := minBackoff; ctx.Err() == nil; wait = min(2*wait, maxBackoff) {
		c.say(what)
		err := f()
		if err == nil {
			c.trouble("")
			return
		}
		c.log.Warn("bring cluster up", "step", what, "error", err)
		c.trouble(fmt.Sprintf("%s: %v", what, err))
		sleep(ctx, wait)
	}
}

func (c *cluster) say(doing string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.doing = doing
}

func (c *cluster) trouble(problem string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.problem = problem
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
