package view

import (
	"fmt"
	"slices"
	"strings"

	"isthmus.dev/isthmus/internal/apply"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/screen"
)

// Applying turns apply's events into progress: one line a cluster, which gathers the parts that are done.
type Applying struct {
	progress *screen.Progress
	parts    map[string][]string // line → parts that are done
}

// NewApplying shows events on a Progress.
func NewApplying(p *screen.Progress) *Applying {
	return &Applying{progress: p, parts: map[string][]string{}}
}

// Event shows one event. Not for several goroutines at once.
func (a *Applying) Event(e apply.Event) {
	key := fmt.Sprintf("wave %d · %s", e.Wave, e.Cluster)
	switch {
	case e.Err != nil:
		text := fmt.Sprintf("%s: %v", e.Object, e.Err)
		a.progress.Set(key, a.line(key, text, text))
	case e.Done && e.Object == (object.Ref{}):
		part := fmt.Sprintf("%s %s %s", e.Part, screen.Yes, screen.Seconds(e.Elapsed))
		if e.Text != "" {
			part = fmt.Sprintf("%s %s %s", e.Part, screen.Yes, e.Text)
		}
		a.parts[key] = append(a.parts[key], part)
		a.progress.Set(key, a.line(key, part, ""))
	case !e.Done && e.Text != "":
		a.progress.Set(key, a.line(key, e.Text, e.Text))
	}
}

// line is what a line says now: on a terminal, where it is drawn anew, all that is done and what is under way;
// elsewhere the news alone, since what was said stands above it.
func (a *Applying) line(key, news, underWay string) string {
	if a.progress.Live() {
		return a.with(key, underWay)
	}
	return news
}

func (a *Applying) with(key, text string) string {
	parts := a.parts[key]
	if text != "" {
		parts = append(slices.Clip(parts), text)
	}
	return strings.Join(parts, "  ")
}

// Close leaves each cluster's line on the page with its mark.
func (a *Applying) Close(ok bool) {
	mark := screen.Yes
	if !ok {
		mark = screen.Hmm
	}
	for _, key := range a.progress.Keys() {
		a.progress.Done(key, mark, a.with(key, ""))
	}
	a.progress.Close()
}

// ChangeSet says what was done; stopped tells that not all of it was.
func ChangeSet(p *screen.Page, m mesh.Mesh, s apply.ChangeSet, stopped bool) {
	if !stopped {
		if len(s.Done) == 0 {
			fmt.Fprintln(p, "Nothing to change; nothing was written.")
			return
		}
		fmt.Fprintf(p, "%s %s in %s.\n", p.Mark(screen.Yes), count(len(s.Done), "change"), count(len(s.Planned), "cluster"))
		return
	}
	var half []string
	for _, c := range m.Clusters {
		if done, planned := s.Count(c.Name); done < planned {
			half = append(half, fmt.Sprintf("%s (%d of %d changes)", c.Name, done, planned))
		}
	}
	fmt.Fprintf(p, "Stopped: %d of %d waves are complete; not complete: %s. Nothing was lost.\n", s.Waves, s.Of, strings.Join(half, ", "))
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
