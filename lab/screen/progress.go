package screen

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// Progress shows long work: on a terminal one living line for each thing under way, elsewhere a plain line whenever
// something changes. It is safe for use by many goroutines. Close it before printing anything else.
type Progress struct {
	s    Streams
	live bool
	stop chan struct{}
	end  chan struct{}

	mu    sync.Mutex
	lines []line
	drawn int // lines on the screen that the next draw replaces
	frame int
}

type line struct {
	key, text string
	since     time.Time
}

var frames = []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")

// NewProgress shows work on the streams' Err.
func NewProgress(s Streams) *Progress {
	p := &Progress{s: s, live: Terminal(s.Err)}
	if p.live {
		p.stop, p.end = make(chan struct{}), make(chan struct{})
		go p.spin()
	}
	return p
}

// Set says what key is doing now. The first Set of a key starts its clock.
func (p *Progress) Set(key, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := p.find(key)
	if i < 0 {
		p.lines = append(p.lines, line{key: key, since: time.Now()})
		i = len(p.lines) - 1
	}
	if p.lines[i].text == text {
		return
	}
	p.lines[i].text = text
	if !p.live {
		fmt.Fprintf(p.s.Err, "  %s  %s\n", key, text)
	}
}

// Done ends a key with a mark and a last word; the line stays.
func (p *Progress) Done(key, mark, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := p.find(key); i >= 0 {
		p.lines = slices.Delete(p.lines, i, i+1)
	}
	p.erase()
	fmt.Fprintf(p.s.Err, "%s %s  %s\n", p.s.Mark(p.s.Err, mark), key, text)
}

// End takes a key's living line away without a word.
func (p *Progress) End(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := p.find(key); i >= 0 {
		p.lines = slices.Delete(p.lines, i, i+1)
	}
}

// Close takes living lines away.
func (p *Progress) Close() {
	if p.stop != nil {
		close(p.stop)
		<-p.end
		p.stop = nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	p.lines = nil
}

func (p *Progress) find(key string) int {
	return slices.IndexFunc(p.lines, func(l line) bool { return l.key == key })
}

func (p *Progress) spin() {
	defer close(p.end)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
			p.mu.Lock()
			p.frame++
			p.erase()
			p.draw()
			p.mu.Unlock()
		}
	}
}

func (p *Progress) erase() {
	if p.drawn > 0 {
		fmt.Fprintf(p.s.Err, "\x1b[%dA\x1b[J", p.drawn)
		p.drawn = 0
	}
}

func (p *Progress) draw() {
	width := 80
	if f, ok := p.s.Err.(interface{ Fd() uintptr }); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			width = w
		}
	}
	var b strings.Builder
	for _, l := range p.lines {
		text := []rune(fmt.Sprintf("%c %s  %s · %s", frames[p.frame%len(frames)], l.key, l.text, Seconds(time.Since(l.since))))
		if len(text) >= width {
			text = append(text[:width-2], '…')
		}
		b.WriteString(string(text) + "\n")
	}
	p.drawn = len(p.lines)
	_, _ = io.WriteString(p.s.Err, b.String())
}
