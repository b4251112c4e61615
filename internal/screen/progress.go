package screen

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// Progress shows long work: on a terminal one living line for each thing under way, elsewhere a plain line
// whenever something changes. It is safe for use by many goroutines; Close it before printing anything else.
type Progress struct {
	mu    sync.Mutex
	w     io.Writer
	page  *Page
	live  bool
	width int
	now   func() time.Time
	lines []*line // under way, in order of their start
	drawn int     // lines on the screen that the next draw replaces
	frame int
	stop  chan struct{}
	ended chan struct{}
}

type line struct {
	key, text string
	since     time.Time
}

var frames = []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")

// NewProgress shows work on the streams' Err.
func NewProgress(s Streams) *Progress {
	p := &Progress{w: s.Err, page: NewPage(s.Err, s.Colour(s.Err)), live: IsTerminal(s.Err), width: terminalWidth(s.Err), now: time.Now}
	if p.live {
		p.stop, p.ended = make(chan struct{}), make(chan struct{})
		go p.spin()
	}
	return p
}

// Live tells whether lines are drawn anew in place; elsewhere each Set is a line of its own.
func (p *Progress) Live() bool { return p.live }

// Set says what key is doing now. The first Set of a key starts its clock.
func (p *Progress) Set(key, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := p.find(key)
	if i < 0 {
		p.lines = append(p.lines, &line{key: key, since: p.now()})
		i = len(p.lines) - 1
	}
	if p.lines[i].text == text {
		return
	}
	p.lines[i].text = text
	if p.live {
		p.draw()
		return
	}
	fmt.Fprintf(p.page, "%s  %s\n", key, oneLine(text))
}

// Done ends a key with a mark and a last word; the line stays.
func (p *Progress) Done(key, mark, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := p.find(key); i >= 0 {
		p.lines = slices.Delete(p.lines, i, i+1)
	}
	p.erase()
	fmt.Fprintf(p.page, "%s %s  %s\n", p.page.Mark(mark), key, text)
	p.draw()
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
		<-p.ended
		p.stop = nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	p.lines = nil
}

// Keys lists what is under way, in order of its start.
func (p *Progress) Keys() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var keys []string
	for _, l := range p.lines {
		keys = append(keys, l.key)
	}
	return keys
}

func (p *Progress) find(key string) int {
	return slices.IndexFunc(p.lines, func(l *line) bool { return l.key == key })
}

func (p *Progress) spin() {
	defer close(p.ended)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
			p.mu.Lock()
			p.frame++
			p.draw()
			p.mu.Unlock()
		}
	}
}

// erase takes the living lines off the screen; draw puts them back.
func (p *Progress) erase() {
	if p.live && p.drawn > 0 {
		fmt.Fprintf(p.w, "\x1b[%dA\x1b[J", p.drawn)
		p.drawn = 0
	}
}

func (p *Progress) draw() {
	if !p.live {
		return
	}
	p.erase()
	var b strings.Builder
	for _, l := range p.lines {
		text := Clean(fmt.Sprintf("%c %s  %s", frames[p.frame%len(frames)], l.key, oneLine(l.text)))
		if d := p.now().Sub(l.since); d >= 2*time.Second {
			text += fmt.Sprintf(" (%s)", Seconds(d))
		}
		b.WriteString(clip(text, p.width) + "\n")
	}
	p.drawn = len(p.lines)
	_, _ = io.WriteString(p.w, b.String())
}

// oneLine keeps what is under way on one line, whatever its text.
func oneLine(s string) string { return strings.ReplaceAll(s, "\n", " ") }

// clip keeps a living line on one row of the screen, or erase would leave parts of it behind.
func clip(s string, width int) string {
	r := []rune(s)
	if width <= 1 || len(r) < width {
		return s
	}
	return string(r[:width-2]) + "…"
}

// Seconds is a duration as people read it: "0.4 s", "12 s", "2:41".
func Seconds(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	return fmt.Sprintf("%d:%02d", int(d.Minutes()), int(d.Seconds())%60)
}

// Age is a long duration as people read it: "12 min", "3 h", "89 d".
func Age(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	case d < 2*365*24*time.Hour:
		return fmt.Sprintf("%d d", int(d.Hours()/24))
	}
	days := int(d.Hours() / 24)
	return fmt.Sprintf("%d y %d d", days/365, days%365)
}
