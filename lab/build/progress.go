package build

import (
	"sync"
	"time"
)

// progress turns what many goroutines do into one line of events.
type progress struct {
	mu     sync.Mutex
	report func(Event)
	now    func() time.Time
	start  time.Time
	begun  int
	ended  int
	total  int
}

func newProgress(report func(Event), now func() time.Time) *progress {
	if report == nil {
		report = func(Event) {}
	}
	return &progress{report: report, now: now, start: now()}
}

func (p *progress) tell(e Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.Done {
		p.ended++
	}
	e.Finished, e.Total, e.Elapsed = p.ended, p.total, p.now().Sub(p.start)
	p.report(e)
}

func (p *progress) waiting(what string) { p.tell(Event{Doing: "waiting", Detail: "for " + what}) }

// begin gives a program its number.
func (p *progress) begin(program string) *step {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun++
	return &step{progress: p, event: Event{Program: program, Index: p.begun}}
}

// restart numbers from 1 again, of total.
func (p *progress) restart(total int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun, p.ended, p.total = 0, 0, total
}

// A step is the making of one program.
type step struct {
	progress *progress
	event    Event
}

func (s *step) is(doing, detail string) {
	s.event.Doing, s.event.Detail = doing, detail
	s.progress.tell(s.event)
}

func (s *step) done(cached bool) {
	s.event.Detail, s.event.Done, s.event.Cached = "", true, cached
	s.progress.tell(s.event)
}
