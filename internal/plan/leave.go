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
	going   []string
	notes   []Pending
	stays   []Stay
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
		l.staying = append(l.staying, facts.Member{Name: m.Name, Server: m.Server, UID: recordedUID(in, m.Name)})
		l.notes = append(l.notes, Pending{Cluster: m.Name, Why: "is no longer in the document" + why, Left: true})
	}
	return l, nil
}

// decide adds a cluster's deletions, or says why they cannot be made now: what comes after "is no longer in the document".
func (l *leaver) decide(m facts.Former) (why string, err error) {
	f := l.in.Now.Clusters[m.Name]
	switch {
	case l.renamed(m, f):
		return "", nil
	case !m.Named:
		return fmt.Sprintf(", and nothing but the records of %s says how it was reached, which is not obeyed (%s). To clean it: --leave %s=CONTEXT, or an entry in spec.former. To give up on it: --forget %[3]s", strings.Join(l.sayers(m.Name), ", "), cmp.Or(m.Server, "no address"), m.Name), nil
	case !f.Answered():
		answer := "nothing is known of it"
		if f != nil {
			answer = strings.TrimPrefix(f.Err, "cluster "+m.Name+": ")
		}
		return fmt.Sprintf(" and does not answer (%s): what Isthmus made there stays until it does; others forget it now. To give up on it: --forget %s", answer, m.Name), nil
	}
	if home := l.rootStays(m.Name); home != "" {
		return fmt.Sprintf(" and keeps the mesh's root, which moves to %s as soon as that answers", home), nil
	}
	if why := l.unproved(m, f); why != "" {
		lead := "--leave or spec.former"
		if m.Leaves {
			lead = "the document"
		}
		return fmt.Sprintf(", and %s: what is there stays. Let %s name the context that leads to %s, or give up on it: --forget %[3]s", why, lead, m.Name), nil
	}
	d := decider{in: l.in, cluster: m.Name, now: f, owner: l.in.Mesh.Name, pending: l.pending, why: m.Name + " leaves the mesh", prepared: &prepared{}}
	changes, err := d.decide(nil)
	if err != nil {
		return "", err
	}
	if len(d.conflicts) > 0 {
		return fmt.Sprintf(" and cannot be cleaned: %s %s", d.conflicts[0].Object, d.conflicts[0].Why), nil
	}
	l.stays = append(l.stays, d.stays...)
	if len(changes) > 0 {
		l.going = append(l.going, m.Name)
		l.changes = append(l.changes, changes...)
	}
	return "", nil
}

// renamed tells a cluster that has another name in the document now: nothing goes from it. A record's word is enough
// for that, since it deletes nothing.
func (l *leaver) renamed(m facts.Former, f *facts.Cluster) bool {
	uid := m.UID()
	if len(m.Said) == 0 && f.Answered() {
		uid = f.UID
	}
	return uid != "" && slices.ContainsFunc(l.in.Mesh.Clusters, func(c mesh.Cluster) bool {
		other := l.in.Now.Clusters[c.Name]
		return other != nil && other.UID == uid
	})
}

// sayers are the clusters of the document whose records name a cluster.
func (l *leaver) sayers(name string) []string {
	var by []string
	for _, c := range l.in.Mesh.Clusters {
		f := l.in.Now.Clusters[c.Name]
		if f != nil && slices.ContainsFunc(f.Members, func(m facts.Member) bool { return m.Name == name }) {
			by = append(by, c.Name)
		}
	}
	return by
}

// unproved says what is missing for the proof that a cluster which answers was this member of the mesh; "" if nothing
// is. All records that know it must know it by its UID, and its own must say so too and name another member as the
// document's clusters are. Two clusters at least have said it then, and one of them is the one that is cleaned.
func (l *leaver) unproved(m facts.Former, f *facts.Cluster) string {
	if f.UID == "" {
		return "its UID cannot be read"
	}
	for _, uid := range slices.Sorted(maps.Keys(m.Said)) {
		if uid != f.UID {
			return fmt.Sprintf("what answers has UID %s, while the records of %s know it as %s", f.UID, strings.Join(m.Said[uid], ", "), uid)
		}
	}
	switch {
	case m.Leaves: // the document names it, and how it is reached
		return ""
	case len(f.Inventory) == 0 && len(f.Members) == 0: // nothing of this mesh is in it
		return ""
	case len(m.Said) == 0:
		return "no record says what its UID was"
	}
	return l.strange(m, f)
}

// strange says why a cluster's own record is not that of this member; "" if it is.
func (l *leaver) strange(m facts.Former, f *facts.Cluster) string {
	own, knows := "", false
	for _, x := range f.Members {
		if x.Name == m.Name {
			own = x.UID
			continue
		}
		other := l.in.Now.Clusters[x.Name]
		_, member := l.in.Mesh.Cluster(x.Name)
		knows = knows || member && other.Answered() && x.UID != "" && other.UID == x.UID
	}
	switch {
	case own == "":
		return "its own record does not say that it is " + m.Name
	case own != f.UID:
		return fmt.Sprintf("its own record is that of a cluster with UID %s, and it has %s", own, f.UID)
	case !knows:
		return "its own record names no cluster of the mesh that answers"
	}
	return ""
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

// sameRoot tells whether two Secrets hold the same certificate.
func sameRoot(a, b *facts.Secret) bool {
	x, y := a.Certificates["tls.crt"], b.Certificates["tls.crt"]
	return len(x) > 0 && len(y) > 0 && x[0].Fingerprint == y[0].Fingerprint
}

// moveRoot tells a root that is to be made in the home cluster where there is one already that the mesh relies on
// (Input.RootFrom): its content moves, and what was signed by it stays good. The old one goes in the wave of its own
// cluster, which is not before.
func moveRoot(in Input, all []Change) *RootMove {
	i := slices.IndexFunc(all, func(c Change) bool {
		s := sealedOf(c)
		return s != nil && s.Kind == object.SealRoot && c.Action == Create
	})
	if i < 0 || in.RootFrom == "" || in.RootFrom == all[i].Cluster {
		return nil
	}
	root := &all[i]
	want := *root.Want
	want.Sealed = &object.Sealed{Kind: object.SealRoot, About: want.Sealed.About, From: in.RootFrom}
	root.Want, root.Reason = &want, "moves here from "+in.RootFrom+"; what it signed stays good"
	move := &RootMove{From: in.RootFrom, To: root.Cluster, InUse: in.RootsInUse}
	if kept := keptRoot(in, in.RootFrom); kept != nil && len(kept.Certificates["tls.crt"]) > 0 {
		move.Fingerprint = kept.Certificates["tls.crt"][0].Fingerprint
	}
	return move
}

// members are who is listed as a member when everything is done: the document's clusters, and those that stay.
// What was recorded of one is kept as long as it is the same cluster: two people who reach it by different addresses
// change nothing for each other.
func members(in Input, staying []facts.Member) []facts.Member {
	servers := map[string]string{} // by name and UID
	for _, c := range in.Mesh.Clusters {
		if f := in.Now.Clusters[c.Name]; f != nil {
			for _, m := range f.Members {
				if key := m.Name + " " + m.UID; servers[key] == "" {
					servers[key] = m.Server
				}
			}
		}
	}
	all := slices.Clone(staying)
	for _, c := range in.Mesh.Clusters {
		m := facts.Member{Name: c.Name, UID: recordedUID(in, c.Name)}
		if f := in.Now.Clusters[c.Name]; f != nil {
			m.UID, m.Server = cmp.Or(f.UID, m.UID), f.Server
		}
		m.Server = cmp.Or(servers[m.Name+" "+m.UID], m.Server)
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
	w := Wave{Changes: l.changes, Clusters: slices.Clone(l.going)}
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
