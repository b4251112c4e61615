// Package supervise keeps the programs of a lab running: it starts them in order, in their network namespaces, starts
// again what ends, and takes over what an earlier supervisor left running. It answers on a Unix socket. It never stops
// anything by itself when it ends: a lab outlives its supervisor, and goes only with down.
package supervise

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"isthmus.dev/isthmus/lab/cgroup"
	"isthmus.dev/isthmus/lab/component"
	"isthmus.dev/isthmus/lab/layout"
	"isthmus.dev/isthmus/lab/mountns"
	"isthmus.dev/isthmus/lab/wan"
	"isthmus.dev/isthmus/lab/wire"
)

// A Supervisor runs one lab.
type Supervisor struct {
	lab      layout.Lab
	clock    func() time.Time
	log      *slog.Logger
	began    time.Time
	clusters []*cluster
	faults   *faults
	wan      *wan.Network
	quit     context.CancelFunc
	leave    *os.File // see process.leave
	// turn holds the clusters whose API servers are starting. Too many at once and each is so slow that it gives up.
	turn chan struct{}

	// ctx ends when the supervisor does. slowed are the faults that slow a component, by ID, slowly what does it.
	ctx     context.Context
	slowing sync.Mutex
	slowed  map[string]context.CancelFunc
	slowly  sync.WaitGroup

	recording sync.Mutex
	records   map[string]Record
}

// handover is how long a new supervisor waits for one that is leaving.
const handover = 10 * time.Second

// ErrRunning says that the lab has a supervisor already.
var ErrRunning = errors.New("this lab has a supervisor already")

// Run supervises the lab until ctx ends or it is told to stop.
func Run(ctx context.Context, l layout.Lab, clock func() time.Time, log *slog.Logger) error {
	ctx, quit := context.WithCancel(ctx)
	defer quit()
	unlock, err := lock(filepath.Join(l.Run, "supervisor.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	leave, hangUp, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make pipe: %w", err)
	}
	defer func() { _ = leave.Close() }()
	context.AfterFunc(ctx, func() { _ = hangUp.Close() })
	turn := make(chan struct{}, max(5, 2*runtime.NumCPU()))
	s := &Supervisor{leave: leave, turn: turn, lab: l, clock: clock, log: log, began: clock(), quit: quit, ctx: ctx}
	s.slowed = map[string]context.CancelFunc{}
	if s.records, err = readRecords(s.recordFile()); err != nil {
		return err
	}
	if s.faults, err = loadFaults(s); err != nil {
		return err
	}
	s.wan = wan.New(ctx, l, log)
	for _, c := range l.Clusters {
		s.clusters = append(s.clusters, newCluster(s, c))
	}
	s.faults.hold()
	stopServing, err := s.serve()
	if err != nil {
		return err
	}
	defer stopServing()
	if err := mountns.Private(l.Run); err != nil {
		return err
	}
	if err := wire.Switch(l); err != nil {
		return err
	}
	if err := podsGroup(l); err != nil {
		return err
	}
	var wg sync.WaitGroup
	for _, c := range s.clusters {
		wg.Go(func() { c.run(ctx) })
	}
	wg.Go(func() { s.distort(ctx) })
	wg.Wait()
	s.slowly.Wait()
	return s.wan.Close()
}

// podsWeigh is how much the pods of a node weigh, measured in one of the programs that run it. Each of those weighs as much
// as a new control group where Linux shares processors by session, and pods, all in one group, would get next to nothing
// beside the dozens of a lab. On a node of one's own they weigh twice what its programs do.
const podsWeigh = 16

// podsGroup makes the control group of all pods of the lab. Hollow clusters have none.
func podsGroup(l layout.Lab) error {
	nodes := 0
	for _, c := range l.Clusters {
		if !c.Hollow {
			nodes += len(c.Nodes)
		}
	}
	if nodes == 0 {
		return nil
	}
	path := layout.CgroupRoot(l.Name)
	if err := cgroup.Ensure(path); err != nil {
		return err
	}
	return cgroup.Weigh(path, podsWeigh*nodes)
}

// distort sets the distances between clusters and begins the faults again that an earlier supervisor had begun.
func (s *Supervisor) distort(ctx context.Context) {
	for _, c := range s.clusters {
		select {
		case <-c.wired:
		case <-ctx.Done():
			return
		}
	}
	if err := s.wan.Set(distances(s.lab.Links, s.faults.all())); err != nil {
		s.log.Error("put distance between clusters", "error", err)
	}
	s.faults.keep(ctx)
}

// lock makes sure that a lab has one supervisor. The lock goes with the process that holds it.
func lock(path string) (func(), error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("lock lab: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock lab: %w", err)
	}
	for deadline := time.Now().Add(handover); ; time.Sleep(10 * time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			_ = f.Close()
			return nil, fmt.Errorf("lock lab: %w", err)
		}
		if time.Now().After(deadline) {
			_ = f.Close()
			return nil, ErrRunning
		}
	}
}

func (s *Supervisor) recordFile() string { return filepath.Join(s.lab.Run, "processes.json") }

// save keeps the record of a process for a later supervisor.
func (s *Supervisor) save(id string, r Record) {
	s.recording.Lock()
	defer s.recording.Unlock()
	s.records[id] = r
	if err := writeJSON(s.recordFile(), s.records); err != nil {
		s.log.Warn("remember processes", "error", err)
	}
}

func (s *Supervisor) cluster(name string) (*cluster, error) {
	for _, c := range s.clusters {
		if c.Name == name {
			return c, nil
		}
	}
	return nil, fmt.Errorf("there is no cluster %q in lab %s", name, s.lab.Name)
}

// newProcesses makes the processes of cluster c, each knowing those it needs.
func (s *Supervisor) newProcesses(c layout.Cluster) []*process {
	byID := map[string]*process{}
	var list []*process
	for _, i := range component.Instances(s.lab, c, component.All) {
		p := newProcess(i, s.records[i.ID()], s.clock)
		p.leave = s.leave
		p.saved = func() { s.save(i.ID(), p.snapshot()) }
		for _, id := range i.NeedIDs(component.All) {
			if n := byID[id]; n != nil {
				p.needs = append(p.needs, n)
			}
		}
		byID[i.ID()] = p
		list = append(list, p)
	}
	return list
}

func readRecords(path string) (map[string]Record, error) {
	records := map[string]Record{}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return records, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what ran before: %w", err)
	}
	if err := json.Unmarshal(data, &records); err != nil {
		return nil, fmt.Errorf("read what ran before, %s: %w", path, err)
	}
	return records, nil
}

// writeJSON replaces path whole.
func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
