package supervise

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// awake is the share of its time in which a slowed program may work: one part for every so many parts frozen. With less
// it never gets done what its clients ask for, and that would be another fault.
const awake = 4

// slowComponent freezes the program again and again, for as long as the fault says, and lets it work in between. So
// whatever anybody asks of it over any connection, old or new, takes up to that much longer, and is answered.
func slowComponent(_ context.Context, s *Supervisor, f *Fault, _ []Fault) error {
	if f.Slow.Duration < 10*time.Millisecond {
		return errors.New("to be slow it must be frozen for 10ms at the least")
	}
	list, err := s.components(*f)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(s.ctx)
	s.slowing.Lock()
	s.slowed[f.ID] = stop
	s.slowing.Unlock()
	for _, p := range list {
		s.slowly.Go(func() { p.slow(ctx, f.Slow.Duration) })
	}
	f.Seen = fmt.Sprintf("%s of %s is slow: frozen for %s at a time", f.Component, f.Cluster, f.Slow.Duration)
	return nil
}

func quickenComponent(_ context.Context, s *Supervisor, f Fault, _ []Fault) error {
	s.slowing.Lock()
	defer s.slowing.Unlock()
	if stop := s.slowed[f.ID]; stop != nil {
		stop()
		delete(s.slowed, f.ID)
	}
	return nil
}

// slow freezes and thaws the process until ctx ends; it is never left frozen. One that another fault has paused stays so.
func (p *process) slow(ctx context.Context, frozen time.Duration) {
	for ctx.Err() == nil {
		if p.snapshot().State != Paused && p.signal(syscall.SIGSTOP) == nil {
			sleep(ctx, frozen)
			if p.snapshot().State != Paused {
				_ = p.signal(syscall.SIGCONT) // one that is gone meanwhile was started afresh
			}
		}
		sleep(ctx, max(frozen/awake, 10*time.Millisecond))
	}
}
