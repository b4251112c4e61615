// Package wan puts distance between clusters: latency, jitter and loss for each pair, one way at a time.
//
// The usual tool for it, the netem queueing discipline, is missing from many kernels (small virtual machines among
// them), and needs a class and a filter for each pair. Here every node of a distant cluster gets a tun device, and
// routes to the distant clusters through it; this process reads the packets, holds them for as long as the link says, and
// writes them into the tun device of the node they are for. Both directions pass, so every address is what it was.
// Traffic within a cluster, between near clusters, and between the machine and the clusters goes its usual way. When this
// process ends, its devices end with it, and clusters are near again.
package wan

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"isthmus.dev/isthmus/lab/config"
	"isthmus.dev/isthmus/lab/layout"
	"isthmus.dev/isthmus/lab/wire"
)

// queue is how many packets a link holds in one direction; one more is lost, as on a real line. At 1,500 octets and
// 100 ms it is good for more than 1 Gbit/s.
const queue = 16384

// largest is the size of the largest packet: the MTU of the devices, with room.
const largest = 2048

// A Network holds the distances of one lab.
type Network struct {
	lab  layout.Lab
	log  *slog.Logger
	ctx  context.Context
	stop context.CancelFunc

	mu    sync.Mutex
	links []config.Link
	nodes map[string]*station // by node name, those with a device
	table atomic.Pointer[table]
	done  sync.WaitGroup
}

// station is a node with a device.
type station struct {
	node    layout.Node
	cluster string
	tun     *os.File
}

// New returns a network in which everybody is near. It works until ctx ends; then call Close.
func New(ctx context.Context, l layout.Lab, log *slog.Logger) *Network {
	ctx, stop := context.WithCancel(ctx)
	n := &Network{lab: l, log: log, ctx: ctx, stop: stop, nodes: map[string]*station{}}
	n.table.Store(newTable(l, nil, nil))
	return n
}

// Set makes links the distances, in place of those before. A link that changes nothing is the same as none.
func (n *Network) Set(links []config.Link) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	far := map[string]map[string]bool{} // cluster → clusters it is far from
	var kept []config.Link
	for _, l := range links {
		if l.IsZero() {
			continue
		}
		kept = append(kept, l)
		for _, p := range [][2]string{{l.From, l.To}, {l.To, l.From}} {
			if far[p[0]] == nil {
				far[p[0]] = map[string]bool{}
			}
			far[p[0]][p[1]] = true
		}
	}
	var problems []error
	for _, c := range n.lab.Clusters {
		for _, node := range c.Nodes {
			if err := n.place(c, node, far[c.Name]); err != nil {
				problems = append(problems, err)
			}
		}
	}
	n.links = kept
	old := n.table.Swap(newTable(n.lab, kept, n.nodes))
	old.close()
	n.carry(n.table.Load())
	return errors.Join(problems...)
}

// place gives a node that is far from somebody its device and its routes, and takes them from one that is not.
func (n *Network) place(c layout.Cluster, node layout.Node, far map[string]bool) error {
	s := n.nodes[node.Name]
	if len(far) == 0 {
		if s != nil {
			delete(n.nodes, node.Name)
			return s.tun.Close() // the device goes, and the routes with it
		}
		return nil
	}
	if s == nil {
		tun, err := wire.OpenTun(node)
		if err != nil {
			return err
		}
		s = &station{node: node, cluster: c.Name, tun: tun}
		n.nodes[node.Name] = s
		n.done.Go(func() { n.read(s) })
	}
	var peers []layout.Cluster
	for _, p := range n.lab.Clusters {
		if far[p.Name] {
			peers = append(peers, p)
		}
	}
	return wire.RouteFar(c, node, peers)
}

// read takes what the node sends to distant clusters and puts it on the line.
func (n *Network) read(s *station) {
	buf := make([]byte, largest)
	for {
		size, err := s.tun.Read(buf)
		if err != nil {
			if !errors.Is(err, os.ErrClosed) && n.ctx.Err() == nil {
				n.log.Warn("read from distant node", "node", s.node.Name, "error", err)
			}
			return
		}
		line, to := n.table.Load().find(s.cluster, buf[:size])
		if line == nil || to == nil || line.lost(chance()) {
			continue
		}
		line.put(packet{to: to.tun, data: append([]byte(nil), buf[:size]...), due: line.due(time.Now(), chance())})
	}
}

// chance is what decides the fate of a packet.
func chance() float64 { return rand.Float64() } //nolint:gosec // nothing here is secret

// carry starts the lines of a table.
func (n *Network) carry(t *table) {
	for _, l := range t.lines {
		n.done.Go(func() { l.carry(n.ctx) })
	}
}

// Close ends all distances.
func (n *Network) Close() error {
	err := n.Set(nil)
	n.stop()
	n.done.Wait()
	if err != nil {
		return fmt.Errorf("bring clusters near again: %w", err)
	}
	return nil
}
