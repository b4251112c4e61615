package wan

import (
	"context"
	"io"
	"net/netip"
	"time"

	"isthmus.dev/isthmus/lab/config"
	"isthmus.dev/isthmus/lab/layout"
)

// A line is one direction of a link.
type line struct {
	link   config.Link
	queue  chan packet
	closed chan struct{}
}

type packet struct {
	to   io.Writer
	data []byte
	due  time.Time
}

func newLine(l config.Link) *line {
	return &line{link: l, queue: make(chan packet, queue), closed: make(chan struct{})}
}

// lost tells the fate of a packet from a random number in [0,1).
func (l *line) lost(random float64) bool { return random*100 < l.link.Loss }

// due is when a packet that came at now arrives, with a random number in [0,1).
func (l *line) due(now time.Time, random float64) time.Time {
	jitter := time.Duration((2*random - 1) * float64(l.link.Jitter.Duration))
	return now.Add(l.link.Latency.Duration + jitter)
}

// put queues a packet, or loses it if the line is full.
func (l *line) put(p packet) {
	select {
	case l.queue <- p:
	default:
	}
}

// carry delivers packets when they are due, in the order in which they came. What is on the line when it is closed still
// arrives.
func (l *line) carry(ctx context.Context) {
	for {
		select {
		case p := <-l.queue:
			if d := time.Until(p.due); d > 0 {
				time.Sleep(d)
			}
			_, _ = p.to.Write(p.data) // a node that is gone loses its packets
			continue
		default:
		}
		select {
		case p := <-l.queue:
			if d := time.Until(p.due); d > 0 {
				time.Sleep(d)
			}
			_, _ = p.to.Write(p.data)
		case <-l.closed:
			return
		case <-ctx.Done():
			return
		}
	}
}

// A table says which line leads to whom. It does not change; a new one takes its place.
type table struct {
	lines map[[2]string]*line // from cluster, to cluster
	nodes []route
}

type route struct {
	prefix  netip.Prefix
	cluster string
	station *station
}

// newTable lists the ways to every node that has a device: its own address, its pods, and, for the first node of a
// cluster, everything else of the cluster's block, which are its LoadBalancer Services.
func newTable(l layout.Lab, links []config.Link, stations map[string]*station) *table {
	t := &table{lines: map[[2]string]*line{}}
	for _, k := range links {
		t.lines[[2]string{k.From, k.To}] = newLine(k)
		t.lines[[2]string{k.To, k.From}] = newLine(k)
	}
	for _, c := range l.Clusters {
		for _, n := range c.Nodes {
			s := stations[n.Name]
			if s == nil {
				continue
			}
			t.nodes = append(t.nodes, route{netip.PrefixFrom(n.Address, 32), c.Name, s}, route{n.Pods, c.Name, s})
		}
		if s := stations[c.Nodes[0].Name]; s != nil {
			t.nodes = append(t.nodes, route{c.Block(), c.Name, s})
		}
	}
	return t
}

// find returns the line and the receiver of an IPv4 packet sent by a node of the cluster from; nil if there is none.
func (t *table) find(from string, data []byte) (*line, *station) {
	if len(data) < 20 || data[0]>>4 != 4 {
		return nil, nil
	}
	dst := netip.AddrFrom4([4]byte(data[16:20]))
	for _, r := range t.nodes {
		if r.prefix.Contains(dst) {
			return t.lines[[2]string{from, r.cluster}], r.station
		}
	}
	return nil, nil
}

func (t *table) close() {
	for _, l := range t.lines {
		close(l.closed)
	}
}
