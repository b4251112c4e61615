package supervise

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"isthmus.dev/isthmus/lab/component"
	"isthmus.dev/isthmus/lab/layout"
	"isthmus.dev/isthmus/lab/mountns"
	"isthmus.dev/isthmus/lab/wire"
)

// State of a process.
type State string

// A process goes waiting, starting, ready; when it ends it waits out its back-off and starts again. It is stopped or
// paused only by a fault, until the fault is cleared.
const (
	Waiting  State = "waiting"
	Starting State = "starting"
	Ready    State = "ready"
	Failed   State = "failed" // ended, about to be started again
	Stopped  State = "stopped"
	Paused   State = "paused"
)

const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = 5 * time.Second
	settled    = 10 * time.Second // a run this long is a good one: the next back-off is the shortest again
	probeEvery = 50 * time.Millisecond
	grace      = 2 * time.Second // between SIGTERM and SIGKILL
)

// process keeps one component running.
type process struct {
	component.Instance
	needs []*process
	leave *os.File // hangs up when the supervisor leaves
	clock func() time.Time
	saved func() // the record has changed

	first chan struct{} // closed when it was ready for the first time

	mu     sync.Mutex
	record Record
	hold   bool          // a fault wants it stopped
	change chan struct{} // closed and replaced when hold changes
}

// A Record is what is known of a process, and what a later supervisor needs to take it over.
type Record struct {
	PID       int       `json:"pid,omitempty"`
	StartTime uint64    `json:"startTime,omitempty"` // clock ticks since boot, from /proc/PID/stat: tells a reused pid
	State     State     `json:"state"`
	Since     time.Time `json:"since,omitempty"`
	Restarts  int       `json:"restarts"`
	LastEnd   string    `json:"lastEnd,omitempty"`
}

func newProcess(i component.Instance, old Record, clock func() time.Time) *process {
	old.State = Waiting
	return &process{Instance: i, clock: clock, record: old, first: make(chan struct{}), change: make(chan struct{})}
}

// run keeps the component running until ctx ends; it leaves the process alone then.
func (p *process) run(ctx context.Context) {
	for _, n := range p.needs {
		select {
		case <-n.first:
		case <-ctx.Done():
			return
		}
	}
	backoff := minBackoff
	for ctx.Err() == nil {
		if !p.allowed(ctx) {
			continue
		}
		began := p.clock()
		end := p.once(ctx)
		if ctx.Err() != nil {
			return
		}
		if p.clock().Sub(began) > settled {
			backoff = minBackoff
		}
		p.update(func(r *Record) {
			r.PID, r.StartTime, r.State, r.Since, r.LastEnd = 0, 0, Failed, p.clock(), end.Error()
			if p.hold {
				r.State, r.LastEnd = Stopped, "stopped by a fault"
			} else {
				r.Restarts++
			}
		})
		p.pause(ctx, backoff)
		backoff = min(2*backoff, maxBackoff)
	}
}

// allowed blocks while a fault holds the process back.
func (p *process) allowed(ctx context.Context) bool {
	p.mu.Lock()
	hold, change := p.hold, p.change
	p.mu.Unlock()
	if !hold {
		return true
	}
	p.update(func(r *Record) { r.State = Stopped })
	select {
	case <-change:
	case <-ctx.Done():
	}
	return false
}

// pause waits out the back-off; a change of hold ends it early.
func (p *process) pause(ctx context.Context, d time.Duration) {
	p.mu.Lock()
	change := p.change
	p.mu.Unlock()
	select {
	case <-time.After(d):
	case <-change:
	case <-ctx.Done():
	}
}

// once starts the program, or takes over the one that an earlier supervisor started, and returns when it has ended.
func (p *process) once(ctx context.Context) error {
	pid, adopted := p.adopt()
	if !adopted {
		var err error
		if pid, err = p.start(); err != nil {
			return err
		}
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("watch process %d: %w", pid, err)
	}
	watch := os.NewFile(uintptr(fd), "pidfd")
	defer func() { _ = watch.Close() }()

	probing, stop := context.WithCancel(ctx)
	probed := make(chan struct{})
	go func() {
		defer close(probed)
		p.probe(probing)
	}()
	end := p.wait(ctx, pid, fd, !adopted)
	stop()
	<-probed // so that nobody calls a program ready that has ended
	return end
}

// wait returns how the process ended, or when ctx does.
func (p *process) wait(ctx context.Context, pid, fd int, child bool) error {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(p.leave.Fd())}}
	for fds[0].Revents == 0 {
		if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("watch process %d: %w", pid, err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if !child {
		return errors.New("ended; how is not known, an earlier supervisor had started it")
	}
	var ws syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &ws, 0, nil); err != nil {
		return fmt.Errorf("wait for process %d: %w", pid, err)
	}
	if ws.Signaled() {
		return fmt.Errorf("killed by %s", ws.Signal())
	}
	return fmt.Errorf("ended with exit code %d", ws.ExitStatus())
}

// adopt finds the process that the record speaks of, if it still runs.
func (p *process) adopt() (int, bool) {
	p.mu.Lock()
	r := p.record
	p.mu.Unlock()
	if r.PID == 0 || startTime(r.PID) != r.StartTime || r.StartTime == 0 {
		return 0, false
	}
	p.update(func(r *Record) { r.State = Starting })
	return r.PID, true
}

// start starts the program in the node's network namespace, in a session of its own, its output going to its log.
func (p *process) start() (int, error) {
	path := p.Log()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return 0, err
	}
	log, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return 0, err
	}
	defer func() { _ = log.Close() }()
	program := filepath.Join(p.Site.Lab.Programs.Bin, p.Program)
	cmd := exec.Command(program, p.Args(p.Site)...)
	// Dozens of programs share a few processors: they collect garbage half as often as Go would have them.
	cmd.Env = append(layout.Environ(p.Site.Lab.Name), "GOGC=200")
	if p.Env != nil {
		cmd.Env = append(cmd.Env, p.Env(p.Site)...)
	}
	cmd.Dir = p.Site.Cluster.Dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	start := cmd.Start
	if p.EveryNode {
		start = func() error {
			if err := mountns.Enter(p.Site.Node.Mounts()); err != nil {
				return err
			}
			return cmd.Start()
		}
	}
	if err := wire.In(p.Site.Node.NetNS, start); err != nil {
		return 0, fmt.Errorf("start %s: %w", p.Program, err)
	}
	pid := cmd.Process.Pid
	p.update(func(r *Record) {
		r.PID, r.StartTime, r.State, r.Since = pid, startTime(pid), Starting, p.clock()
	})
	return pid, nil
}

// probe asks until the component answers.
func (p *process) probe(ctx context.Context) {
	ask := newAsker(p.Instance)
	defer ask.close()
	for !ask.ready(ctx) {
		select {
		case <-time.After(probeEvery):
		case <-ctx.Done():
			return
		}
	}
	p.update(func(r *Record) { r.State, r.Since = Ready, p.clock() })
	select {
	case <-p.first:
	default:
		close(p.first)
	}
}

// setHold stops the process, or lets it start again.
func (p *process) setHold(hold bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hold == hold {
		return
	}
	p.hold = hold
	close(p.change)
	p.change = make(chan struct{})
}

// signal sends s to the process if it runs.
func (p *process) signal(s syscall.Signal) error {
	r := p.snapshot()
	if r.PID == 0 || startTime(r.PID) != r.StartTime {
		return fmt.Errorf("%s does not run", p.ID())
	}
	if err := syscall.Kill(r.PID, s); err != nil {
		return fmt.Errorf("signal %s (process %d): %w", p.ID(), r.PID, err)
	}
	return nil
}

// stop ends the process: SIGTERM, and SIGKILL to one that does not listen.
func (p *process) stop() {
	r := p.snapshot()
	if p.signal(syscall.SIGTERM) != nil {
		return
	}
	_ = syscall.Kill(r.PID, syscall.SIGCONT)
	if !gone(r, grace) {
		_ = syscall.Kill(r.PID, syscall.SIGKILL)
		gone(r, grace)
	}
}

// gone waits, for as long as patience, until the process has ended and nothing remains of it.
func gone(r Record, patience time.Duration) bool {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if startTime(r.PID) != r.StartTime {
			return true
		}
	}
	return false
}

func (p *process) snapshot() Record {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.record
}

func (p *process) update(f func(*Record)) {
	p.mu.Lock()
	f(&p.record)
	p.mu.Unlock()
	p.saved()
}
