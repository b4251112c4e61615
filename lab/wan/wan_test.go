package wan

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"isthmus.dev/isthmus/lab/config"
	"isthmus.dev/isthmus/lab/layout"
)

func ms(n int) metav1.Duration { return metav1.Duration{Duration: time.Duration(n) * time.Millisecond} }

func TestLost(t *testing.T) {
	cases := []struct {
		reason string
		loss   float64
		random float64
		want   bool
	}{
		{"no loss loses nothing", 0, 0, false},
		{"all is lost", 100, 0.999999, true},
		{"just within the share", 5, 0.0499, true},
		{"just outside the share", 5, 0.05, false},
	}
	for _, c := range cases {
		if got := newLine(config.Link{Loss: c.loss}).lost(c.random); got != c.want {
			t.Errorf("%s: %v, want %v", c.reason, got, c.want)
		}
	}
}

func TestDue(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	cases := []struct {
		reason string
		link   config.Link
		random float64
		want   time.Duration
	}{
		{"latency alone", config.Link{Latency: ms(40)}, 0.7, 40 * time.Millisecond},
		{"the least jitter", config.Link{Latency: ms(40), Jitter: ms(10)}, 0, 30 * time.Millisecond},
		{"no jitter in the middle", config.Link{Latency: ms(40), Jitter: ms(10)}, 0.5, 40 * time.Millisecond},
		{"the most jitter", config.Link{Latency: ms(40), Jitter: ms(10)}, 1, 50 * time.Millisecond},
	}
	for _, c := range cases {
		if got := newLine(c.link).due(now, c.random).Sub(now); got != c.want {
			t.Errorf("%s: %s, want %s", c.reason, got, c.want)
		}
	}
}

// sent is an IPv4 header with that destination.
func sent(to string) []byte {
	p := make([]byte, 20)
	p[0] = 0x45
	a := netip.MustParseAddr(to).As4()
	copy(p[16:], a[:])
	return p
}

func TestFind(t *testing.T) {
	l := layout.New(config.Config{Clusters: []config.Cluster{{Nodes: 2}, {Nodes: 2}, {}}}.Defaulted(), layout.Place{})
	stations := map[string]*station{}
	for _, c := range l.Clusters {
		for _, n := range c.Nodes {
			stations[n.Name] = &station{node: n, cluster: c.Name}
		}
	}
	table := newTable(l, []config.Link{{From: "west", To: "east", Latency: ms(1)}}, stations)
	west, lb := l.Clusters[1], l.Clusters[1].Pool()[3]
	cases := []struct {
		reason string
		from   string
		packet []byte
		node   string // empty: nobody
		line   bool
	}{
		{"to a node", "east", sent(west.Nodes[1].Address.String()), "west-2", true},
		{"to a pod goes to its node", "east", sent(west.Nodes[1].Pods.Addr().Next().String()), "west-2", true},
		{"to a LoadBalancer Service goes to the first node, which answers for it", "east", sent(lb.String()), "west-1", true},
		{"the other way", "west", sent(l.Clusters[0].Address.String()), "east-1", true},
		{"to a cluster that is near: no line", "east", sent(l.Clusters[2].Address.String()), "north-1", false},
		{"to nobody of the lab", "east", sent("192.0.2.1"), "", false},
		{"IPv6 is not carried", "east", append([]byte{0x60}, make([]byte, 39)...), "", false},
		{"a stub of a packet", "east", []byte{0x45}, "", false},
	}
	for _, c := range cases {
		line, to := table.find(c.from, c.packet)
		node := ""
		if to != nil {
			node = to.node.Name
		}
		if node != c.node || (line != nil) != c.line {
			t.Errorf("%s: node %q, line %v, want %q, %v", c.reason, node, line != nil, c.node, c.line)
		}
	}
}

// receiver is what a device would be.
type receiver struct {
	mu  sync.Mutex
	got [][]byte
	n   chan struct{}
}

func (r *receiver) Write(p []byte) (int, error) {
	r.mu.Lock()
	r.got = append(r.got, bytes.Clone(p))
	r.mu.Unlock()
	r.n <- struct{}{}
	return len(p), nil
}

func TestPacketsArriveInOrderAndNotEarly(t *testing.T) {
	l := newLine(config.Link{Latency: ms(5)})
	to := &receiver{n: make(chan struct{}, 16)}
	began := time.Now()
	var want [][]byte
	for i := range 10 {
		data := fmt.Appendf(nil, "packet %d", i)
		want = append(want, data)
		l.put(packet{to: to, data: data, due: began.Add(time.Duration(5+i%3) * time.Millisecond)})
	}
	go l.carry(context.Background())
	for range 10 {
		<-to.n
	}
	if passed := time.Since(began); passed < 5*time.Millisecond {
		t.Errorf("all arrived after %s, before any was due", passed)
	}
	to.mu.Lock()
	defer to.mu.Unlock()
	if diff := cmp.Diff(want, to.got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	close(l.closed)
}

func TestFullLineLosesPackets(t *testing.T) {
	l := newLine(config.Link{})
	for range queue + 5 {
		l.put(packet{})
	}
	if got := len(l.queue); got != queue {
		t.Errorf("the line holds %d packets, want %d", got, queue)
	}
}
