package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// LetGo is what must hold before a wave takes clusters away: nobody sends to them any more.
type LetGo struct {
	// Of are the clusters that go.
	Of []string `json:"of"`
	// By are the clusters whose istiods must have let go of them, and whose proxies must have heard of it.
	By []string `json:"by"`
}

// A leaver decides about the clusters that were members and are not in the document any more.
type leaver struct {
	in      Input
	pending map[string]string // members of the document that nothing can be done about now
	// staying are those that go on being listed as members: what is in them cannot be taken away now.
	staying []facts.Member
	going   []facts.Member
	notes   []Pending
	changes []Change
}

// leave decides how everything goes from clusters that left the document. One that does not answer, or cannot be
// told for sure, stays listed and is shown as pending until it can be cleaned, or somebody gives it up.
func leave(in Input, pending map[string]string) (*leaver, error) {
	l := &leaver{in: in, pending: pending}
	for _, m := range in.Now.Left {
		why, err := l.decide(m)
		if err != nil {
			return nil, err
		}
		if why == "" || slices.Contains(in.Options.Forget, m.Name) {
			continue
		}
		l.staying = append(l.staying, m)
		l.notes = append(l.notes, Pending{Cluster: m.Name, Why: why, Left: true})
	}
	return l, nil
}

// decide adds a cluster's deletions, or says why they cannot be made now.
func (l *leaver) decide(m facts.Member) (why string, err error) {
	f := l.in.Now.Clusters[m.Name]
	switch {
	case !f.Answered():
		answer := "nothing is known of it"
		if f != nil {
			answer = strings.TrimPrefix(f.Err, "cluster "+m.Name+": ")
		}
		return fmt.Sprintf("is no longer in the document and does not answer (%s): what Isthmus made there stays until it does; others forget it now. To give up on it: --forget %s", answer, m.Name), nil
	case l.stillMember(f):
		return "", nil
	case m.UID != "" && f.UID != "" && m.UID != f.UID:
		return fmt.Sprintf("is no longer in the document, and context %q leads to another cluster by now: what Isthmus made in %[2]s stays. Let the context lead to it again, or give up on it: --forget %[2]s", m.Context, m.Name), nil
	}
	if home := l.rootStays(m.Name); home != "" {
		return fmt.Sprintf("is no longer in the document and keeps the mesh's root, which moves to %s as soon as that answers", home), nil
	}
	d := decider{in: l.in, cluster: m.Name, now: f, owner: l.in.Mesh.Name, pending: l.pending, why: m.Name + " leaves the mesh", prepared: &prepared{}}
	changes, err := d.decide(nil)
	if err != nil {
		return "", err
	}
	if len(d.conflicts) > 0 {
		return fmt.Sprintf("is no longer in the document and cannot be cleaned: %s %s", d.conflicts[0].Object, d.conflicts[0].Why), nil
	}
	if len(changes) > 0 {
		l.going = append(l.going, m)
		l.changes = append(l.changes, changes...)
	}
	return "", nil
}

// stillMember tells a cluster that has another name in the document now: nothing goes from it.
func (l *leaver) stillMember(f *facts.Cluster) bool {
	return f.UID != "" && slices.ContainsFunc(l.in.Mesh.Clusters, func(c mesh.Cluster) bool {
		other := l.in.Now.Clusters[c.Name]
		return other != nil && other.UID == f.UID
	})
}

// rootStays names the home cluster when a cluster keeps the root and the home cluster cannot take it now.
func (l *leaver) rootStays(cluster string) string {
	home := l.in.Mesh.Home().Name
	if l.pending[home] == "" || keptRoot(l.in, cluster) == nil {
		return ""
	}
	return home
}

// rootRef is the mesh's self-signed root, in the home cluster.
var rootRef = object.Ref{Kind: "Secret", Namespace: object.SystemNamespace, Name: "isthmus-root"}

// keptRoot is what is known of a root of this mesh in a cluster; nil if it has none that can sign.
func keptRoot(in Input, cluster string) *facts.Secret {
	f := in.Now.Clusters[cluster]
	if f == nil {
		return nil
	}
	s := f.Secrets[rootRef.Namespace+"/"+rootRef.Name]
	if s == nil || s.Labels[object.LabelMesh] != in.Mesh.Name || !s.KeyMatches {
		return nil
	}
	return s
}

// moveRoot tells a root that is to be made in the home cluster where there is one already: its content moves, and
// what was signed by it stays good. The old one goes in the wave of its own cluster, which is not before.
func moveRoot(in Input, all []Change) {
	i := slices.IndexFunc(all, func(c Change) bool {
		s := sealedOf(c)
		return s != nil && s.Kind == object.SealRoot && c.Action == Create
	})
	if i < 0 {
		return
	}
	root := &all[i]
	for _, name := range slices.Sorted(maps.Keys(in.Now.Clusters)) {
		if name == root.Cluster || keptRoot(in, name) == nil {
			continue
		}
		want := *root.Want
		want.Sealed = &object.Sealed{Kind: object.SealRoot, About: want.Sealed.About, From: name}
		root.Want, root.Reason = &want, "moves here from "+name+"; what it signed stays good"
		break
	}
}

// members are who is listed as a member when everything is done: the document's clusters, and those that stay.
// What was recorded of one is kept as long as it is the same cluster under the same context: two people with
// different kubeconfigs change nothing for each other.
func members(in Input, staying []facts.Member) []facts.Member {
	recorded := map[string]facts.Member{}
	for _, c := range in.Mesh.Clusters {
		if f := in.Now.Clusters[c.Name]; f != nil {
			for _, m := range f.Members {
				if _, ok := recorded[m.Name]; !ok {
					recorded[m.Name] = m
				}
			}
		}
	}
	all := slices.Clone(staying)
	for _, c := range in.Mesh.Clusters {
		m := facts.Member{Name: c.Name, Context: c.Context, Kubeconfig: c.Kubeconfig}
		if f := in.Now.Clusters[c.Name]; f != nil {
			m.Server, m.UID = f.Server, f.UID
		}
		if old, ok := recorded[c.Name]; ok && old.Context == c.Context {
			m.UID = cmp.Or(m.UID, old.UID)
			if m.UID == old.UID {
				m = old
			}
		}
		m.Drain = nil
		if drain, said := in.Drains[c.Name]; said {
			m.Drain = &drain
		}
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b facts.Member) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// union is a list of members with those of another that it does not name.
func union(a, b []facts.Member) []facts.Member {
	all := slices.Clone(a)
	named := make(map[string]bool, len(a))
	for _, m := range a {
		named[m.Name] = true
	}
	for _, m := range b {
		if !named[m.Name] {
			all = append(all, m)
		}
	}
	return all
}

// lists tells whether every member of b is in a.
func lists(a, b []facts.Member) bool { return len(union(a, b)) == len(a) }

// wave is the last wave: what goes from the clusters that leave, once nobody sends to them.
func (l *leaver) wave() (Wave, bool) {
	if len(l.changes) == 0 {
		return Wave{}, false
	}
	w := Wave{Changes: l.changes}
	for _, m := range l.going {
		w.Clusters = append(w.Clusters, m.Name)
	}
	var by []string
	for _, c := range l.in.Mesh.Clusters {
		if l.pending[c.Name] == "" && len(l.in.Now.Clusters[c.Name].Istiods) > 0 {
			by = append(by, c.Name)
		}
	}
	if len(by) > 0 {
		w.LetGo = &LetGo{Of: w.Clusters, By: by}
	}
	sortChanges(w.Changes)
	return w, true
}

// farewell cuts the removal of a whole mesh in two: first all forget each other, then everything goes everywhere.
func farewell(waves []Wave) []Wave {
	var first, rest Wave
	for _, w := range waves {
		first.Clusters, rest.Clusters = append(first.Clusters, w.Clusters...), append(rest.Clusters, w.Clusters...)
		for _, c := range w.Changes {
			if c.Action == Delete && c.Stage == StageDiscovery {
				first.Changes = append(first.Changes, c)
			} else {
				rest.Changes = append(rest.Changes, c)
			}
		}
	}
	var out []Wave
	for _, w := range []Wave{first, rest} {
		if len(w.Changes) > 0 {
			sortChanges(w.Changes)
			out = append(out, w)
		}
	}
	return out
}
