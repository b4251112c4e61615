package apply_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"isthmus.dev/isthmus/internal/cluster"
	"isthmus.dev/isthmus/internal/facts/apitest"
	"isthmus.dev/isthmus/lab/cgroup"
)

// Where the clusters of the wave benchmarks are: a round trip away, on processors that they share with everybody or on
// their own.

// roundTrip is what every request to a cluster takes on its way, in life.
const roundTrip = 50 * time.Millisecond

// slower is by how much longer everything takes where clusters have processors of their own: a machine with a twelfth of a
// processor, twelve round trips away, does in twelve seconds what one with a whole processor does in one. 22 machines of
// one processor and that of isthmus with two fit into the two processors of a small machine like this.
const slower = 12

// A place is where the clusters of a benchmark are.
type place struct {
	conn  func(name string) *cluster.Conn
	timed func(do func()) time.Duration // how long something takes there
}

func stopwatch(do func()) time.Duration {
	began := time.Now()
	do()
	return time.Since(began)
}

// sharedProcessors is where API servers share the processors of this machine with each other and with isthmus.
func sharedProcessors(b *testing.B, names []string) place {
	b.Helper()
	return place{conn: connect(b, startServers(b, names), roundTrip), timed: stopwatch}
}

// ownProcessors is where every API server has one processor of its own and isthmus two, as in slow motion. What stands in
// for controllers and nodes takes its time of isthmus' processors, and the one etcd of all API servers that of nobody.
func ownProcessors(b *testing.B, names []string) place {
	b.Helper()
	on := startServers(b, names)
	machines := map[machine]float64{newMachine(b, "isthmus", os.Getpid()): 2}
	for _, name := range names {
		machines[newMachine(b, name, on.Process(name))] = 1
	}
	return place{conn: connect(b, on, slower*roundTrip), timed: func(do func()) time.Duration {
		for m, processors := range machines {
			m.limit(b, processors/slower)
		}
		took := stopwatch(do)
		for m := range machines {
			m.limit(b, 0)
		}
		return took / slower
	}}
}

// connect connects to API servers from a distance.
func connect(b *testing.B, on *apitest.Clusters, distance time.Duration) func(name string) *cluster.Conn {
	return func(name string) *cluster.Conn {
		cfg := rest.CopyConfig(on.Configs[name])
		cfg.QPS = -1
		cfg.Wrap(func(rt http.RoundTripper) http.RoundTripper { return far{rt, distance} })
		conn, err := cluster.New(name, cfg, slower*time.Minute)
		if err != nil {
			b.Fatal(err)
		}
		return conn
	}
}

// far is so long a round trip away.
type far struct {
	http.RoundTripper
	distance time.Duration
}

func (f far) RoundTrip(r *http.Request) (*http.Response, error) {
	time.Sleep(f.distance)
	return f.RoundTripper.RoundTrip(r)
}

// A machine is the part of this one's processors that some processes get: what runs on a machine of its own elsewhere.
type machine string // the folder of its control group

// newMachine makes a machine of a process, with all processors until it is told otherwise.
func newMachine(b *testing.B, name string, pid int) machine {
	b.Helper()
	group := "/isthmus-bench-" + name
	if err := cgroup.Ensure(group); err != nil {
		b.Skip("control groups share out processors here, and cannot be made: ", err)
	}
	dirs, err := cgroup.List(group)
	if err != nil {
		b.Fatal(err)
	}
	m := machine("")
	for _, dir := range dirs {
		for _, file := range []string{"cpu.cfs_quota_us", "cpu.max"} { // versions 1 and 2
			if _, err := os.Stat(filepath.Join(dir, file)); err == nil {
				m = machine(dir)
			}
		}
	}
	if m == "" {
		b.Skip("no control group here shares out processors")
	}
	m.write(b, "cgroup.procs", fmt.Sprint(pid))
	b.Cleanup(func() {
		// Not every process is at its end: who measures goes back to where all are.
		_ = os.WriteFile(filepath.Join(filepath.Dir(string(m)), "cgroup.procs"), []byte(fmt.Sprint(pid)), 0)
		if err := cgroup.Remove(group, 10*time.Second); err != nil {
			b.Error(err)
		}
	})
	return m
}

// limit gives the machine that many processors, and all there are for none.
func (m machine) limit(b *testing.B, processors float64) {
	b.Helper()
	const period = 50_000 // microseconds
	quota := int(processors * period)
	if _, err := os.Stat(filepath.Join(string(m), "cpu.max")); err == nil {
		text := fmt.Sprint(quota, " ", period)
		if quota == 0 {
			text = fmt.Sprint("max ", period)
		}
		m.write(b, "cpu.max", text)
		return
	}
	if quota == 0 {
		quota = -1
	}
	m.write(b, "cpu.cfs_period_us", fmt.Sprint(period))
	m.write(b, "cpu.cfs_quota_us", fmt.Sprint(quota))
}

func (m machine) write(b *testing.B, file, text string) {
	b.Helper()
	if err := os.WriteFile(filepath.Join(string(m), file), []byte(text), 0); err != nil {
		b.Fatal(err)
	}
}
