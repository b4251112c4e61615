package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"isthmus.dev/isthmus/internal/object"
)

// A Moved is something that is no longer as it was when a plan was saved.
type Moved struct {
	Cluster string     `json:"cluster"`
	Object  object.Ref `json:"object,omitzero"` // zero: the cluster as a whole
	How     string     `json:"how"`
}

func (m Moved) String() string {
	if m.Object == (object.Ref{}) {
		return fmt.Sprintf("cluster %s: %s", m.Cluster, m.How)
	}
	return fmt.Sprintf("cluster %s: %s %s", m.Cluster, m.Object, m.How)
}

// Left is what is left to do of a saved plan: the saved waves in their order, with what has been done already as
// unchanged. fresh is the plan that the same document gives now. Whatever fresh does otherwise than the saved plan
// is something that moved since; then nothing of it may be done. That a saved change has been done in the meantime,
// by an apply of the plan that was interrupted or by whomever, moves nothing: it is as the plan wanted it to be.
func Left(saved, fresh Plan) (left Plan, moved []Moved) {
	f := &follower{fresh: map[place]Change{}}
	for _, w := range fresh.Waves {
		for _, c := range w.Changes {
			f.fresh[place{c.Cluster, c.Object}] = c
		}
	}
	f.clusters(saved, fresh)
	left = saved
	left.Waves = make([]Wave, len(saved.Waves))
	for i, w := range saved.Waves {
		left.Waves[i] = w
		left.Waves[i].Changes = make([]Change, 0, len(w.Changes))
		for _, c := range w.Changes {
			if now, there := f.follow(c); there {
				left.Waves[i].Changes = append(left.Waves[i].Changes, now)
			}
		}
	}
	for _, c := range f.fresh { // what the saved plan does not name
		if c.Action != Unchanged && !f.absent[c.Cluster] {
			f.moved = append(f.moved, Moved{c.Cluster, c.Object, "is not in the plan, and now there is this to do: " + does(c)})
		}
	}
	slices.SortFunc(f.moved, func(a, b Moved) int {
		return cmp.Or(strings.Compare(a.Cluster, b.Cluster), a.Object.Compare(b.Object), strings.Compare(a.How, b.How))
	})
	return left, slices.Compact(f.moved)
}

type place struct {
	cluster string
	object  object.Ref
}

// A follower goes through a saved plan beside a fresh one, and takes out of the latter what it has seen.
type follower struct {
	fresh  map[place]Change
	absent map[string]bool // clusters that only one of the plans can say something of
	moved  []Moved
}

// clusters compares who answers and what is in the way.
func (f *follower) clusters(saved, fresh Plan) {
	f.absent = map[string]bool{}
	pending := func(p Plan) map[string]string {
		out := map[string]string{}
		for _, x := range p.Pending {
			out[x.Cluster] = x.Why
		}
		return out
	}
	before, now := pending(saved), pending(fresh)
	for c, why := range now {
		if _, was := before[c]; !was {
			f.absent[c] = true
			f.moved = append(f.moved, Moved{Cluster: c, How: "has changes in the plan, and now it can get none: " + why})
		}
	}
	for c := range before {
		if _, is := now[c]; !is {
			f.absent[c] = true
			f.moved = append(f.moved, Moved{Cluster: c, How: "is left as it is by the plan, which could not know it, and now it answers"})
		}
	}
	for _, x := range fresh.Conflicts {
		if !slices.Contains(saved.Conflicts, x) {
			f.moved = append(f.moved, Moved{x.Cluster, x.Object, x.Why + ", which it did not when the plan was made"})
		}
	}
}

// follow finds what is left of one saved change; there is false when nothing is.
func (f *follower) follow(c Change) (now Change, there bool) {
	at := place{c.Cluster, c.Object}
	now, there = f.fresh[at]
	delete(f.fresh, at)
	if f.absent[c.Cluster] {
		return c, true
	}
	move := func(how string) (Change, bool) {
		f.moved = append(f.moved, Moved{c.Cluster, c.Object, how})
		return c, true
	}
	switch {
	case !there && (c.Action == Delete || c.Want == nil):
		return Change{}, false // it is gone
	case !there:
		if slices.ContainsFunc(f.moved, func(m Moved) bool { return m.Cluster == c.Cluster && m.Object == c.Object }) {
			return c, true // said already why
		}
		return move("was to be " + past(c.Action) + ", and now nothing can be said of it")
	case c.Action == Unchanged && now.Action != Unchanged:
		return move("was as it should be when the plan was made, and now there is this to do: " + does(now))
	case now.Action == Unchanged:
		if c.Want == nil || now.Want == nil || appliedOf(c) == appliedOf(now) {
			return now, true // it was so, or has become so
		}
		return move("is wanted otherwise than when the plan was made")
	}
	if how := differs(c, now); how != "" {
		return move(how)
	}
	return now, true
}

// differs says how what is to be done about an object is no longer what it was.
func differs(saved, now Change) string {
	gone := saved.Action == Replace && now.Action == Create // deleted by an apply that got no further
	listed := saved.Stage == StageInventory                 // it comes to exist, and grows, while a plan is being done
	switch {
	case saved.Action != now.Action && !gone && !listed:
		return fmt.Sprintf("was to be %s, and now there is this to do: %s", past(saved.Action), does(now))
	case saved.UID != now.UID && !gone && !listed:
		return "is another object of that name than when the plan was made"
	case appliedOf(saved) != appliedOf(now):
		return "is wanted otherwise than when the plan was made"
	case saved.Adopt != now.Adopt, now.TakeOver && !saved.TakeOver, saved.Seal != now.Seal && !gone:
		return "was to be " + past(saved.Action) + ", and now there is this to do: " + does(now)
	case !gone && !listed && !sameFields(saved.Fields, now.Fields):
		return "was changed since the plan was made: " + newFields(saved.Fields, now.Fields)
	}
	return ""
}

func appliedOf(c Change) string {
	if c.Want == nil {
		return ""
	}
	return c.Want.Body.GetAnnotations()[object.AnnotationApplied]
}

// sameFields compares what will be overwritten with what, and whose it is. What was somebody's and is ours is the
// work of an apply that was interrupted, see Reclaimed.
func sameFields(saved, now []FieldDiff) bool {
	return slices.EqualFunc(saved, now, func(s, n FieldDiff) bool {
		return s.Path == n.Path && s.From == n.From && s.To == n.To && (s.By == n.By || n.By == "")
	})
}

// newFields names the fields that are not as they were seen.
func newFields(saved, now []FieldDiff) string {
	var said []string
	for _, f := range now {
		if !slices.ContainsFunc(saved, func(s FieldDiff) bool { return sameFields([]FieldDiff{s}, []FieldDiff{f}) }) {
			said = append(said, fmt.Sprintf("%s is %s%s", f.Path, cmp.Or(f.From, "not there"), by(f.By)))
		}
	}
	for _, s := range saved {
		if !slices.ContainsFunc(now, func(f FieldDiff) bool { return s.Path == f.Path }) {
			said = append(said, s.Path+" needs no change any more")
		}
	}
	return strings.Join(said, ", ")
}

func by(manager string) string {
	if manager == "" {
		return ""
	}
	return ", set by " + manager
}

func past(a Action) string {
	switch a {
	case Create:
		return "created"
	case Configure:
		return "configured"
	case Replace:
		return "replaced"
	case Delete:
		return "deleted"
	}
	return "left as it is"
}

func does(c Change) string {
	if c.Reason == "" {
		return string(c.Action)
	}
	return fmt.Sprintf("%s (%s)", c.Action, c.Reason)
}
