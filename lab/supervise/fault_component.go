package supervise

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
)

// stopComponent ends the program and does not start it again.
func stopComponent(_ context.Context, s *Supervisor, f *Fault, _ []Fault) error {
	list, err := s.components(*f)
	if err != nil {
		return err
	}
	for _, p := range list {
		p.setHold(true)
		p.stop()
	}
	f.Seen = f.Component + " of " + f.Cluster + " stopped"
	return nil
}

func startComponent(_ context.Context, s *Supervisor, f Fault, _ []Fault) error {
	list, err := s.components(f)
	for _, p := range list {
		p.setHold(false)
	}
	return err
}

// pauseComponent freezes the program: its sockets accept, nobody answers.
func pauseComponent(_ context.Context, s *Supervisor, f *Fault, _ []Fault) error {
	list, err := s.components(*f)
	if err != nil {
		return err
	}
	for _, p := range list {
		if err := p.signal(syscall.SIGSTOP); err != nil {
			return err
		}
		p.update(func(r *Record) { r.State = Paused })
	}
	f.Seen = f.Component + " of " + f.Cluster + " paused"
	return nil
}

// resumeComponent goes on. A program that has ended meanwhile was started afresh, and is not paused any more.
func resumeComponent(_ context.Context, s *Supervisor, f Fault, _ []Fault) error {
	list, err := s.components(f)
	for _, p := range list {
		if p.signal(syscall.SIGCONT) == nil {
			p.update(func(r *Record) {
				if r.State == Paused {
					r.State = Ready
				}
			})
		}
	}
	return err
}

// components finds those that the fault names: one, or one on every node.
func (s *Supervisor) components(f Fault) ([]*process, error) {
	c, err := s.cluster(f.Cluster)
	if err != nil {
		return nil, err
	}
	var list []*process
	var names []string
	for _, p := range c.processes {
		if p.Name == f.Component {
			list = append(list, p)
		}
		names = append(names, p.Name)
	}
	if len(list) == 0 {
		slices.Sort(names)
		return nil, fmt.Errorf("cluster %s has no component %q, only %s", f.Cluster, f.Component, strings.Join(slices.Compact(names), ", "))
	}
	return list, nil
}
