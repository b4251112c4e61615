package analyze

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A rule is a DestinationRule of a cluster, with its host in full.
type rule struct {
	*Object
	host string
}

func rulesOf(m *member) []rule {
	var all []rule
	for _, o := range m.all(networking, "DestinationRule") {
		all = append(all, rule{o, expand(o.Spec("host").Str(), o.Namespace)})
	}
	return all
}

// of tells whether a rule is about a host.
func (r rule) of(host string) bool { return r.host == host || under(host, r.host) }

func (r rule) subsets() []string {
	var names []string
	for _, s := range r.Spec("subsets").Items() {
		names = append(names, s.Get("name").Str())
	}
	return names
}

// missingSubset finds subsets that routes name and no DestinationRule of the same cluster defines.
func missingSubset(w *World) []Finding {
	var all []Finding
	for _, m := range w.members {
		words := w.mentions(m)
		drafts := w.drafts(m, words)
		for _, t := range m.targets {
			subset := t.subset.Str()
			if subset == "" || t.fqdn == "" {
				continue
			}
			var about []rule
			for _, r := range m.rules {
				if r.of(t.fqdn) {
					about = append(about, r)
				}
			}
			if slices.ContainsFunc(about, func(r rule) bool { return slices.Contains(r.subsets(), subset) }) {
				continue
			}
			all = append(all, w.undefined(t, about, drafts))
		}
	}
	return all
}

func (w *World) undefined(t target, about []rule, drafts map[string]*Edit) Finding {
	subset := t.subset.Str()
	f := t.o.find(t.Name, t.subset)
	if len(about) > 0 {
		var have []string
		for _, r := range about {
			have = append(have, r.subsets()...)
		}
		f.Seen = fmt.Sprintf("%s defines no subset %s", where(about[0].Object, about[0].Spec("subsets")), subset)
		f.Do = "add it there; the subsets there are: " + strings.Join(have, ", ")
		if len(have) == 0 {
			f.Do = "add it there; there is no subset yet"
		}
		if name, ok := near(subset, have); ok {
			f.Do, f.Fix = "write "+name, t.o.replace(t.subset, name, false)
		}
		return f
	}
	f.Seen = fmt.Sprintf("no DestinationRule defines the subset %s of %s: every call to it is answered with 503", subset, t.host.Str())
	f.Evidence = "no DestinationRule for that host was read"
	if len(w.lookup(t.fqdn)) == 0 && !w.whole() {
		f.Severity, f.Evidence = Warning, "no DestinationRule for that host was read, and not its Service either"
	}
	f.Do = fmt.Sprintf("add a DestinationRule with the subset %s, or take the subset out of the route", subset)
	for _, m := range w.members {
		for _, r := range m.rules {
			if m != t.member && r.of(t.fqdn) {
				f.Evidence = fmt.Sprintf("%s has one: %s", m.Name, where(r.Object, Value{}))
				f.Do = fmt.Sprintf("give %s the same DestinationRule", t.Name)
			}
		}
	}
	if f.Fix = drafts[t.fqdn]; f.Fix != nil {
		f.Do = fmt.Sprintf("add a DestinationRule that makes %s the workloads with the label version: %s", subset, subset)
	}
	return f
}

// drafts are DestinationRules to append to the file of the first route that needs one, by host. Where the pods of a
// host were read, they show whether the label version tells the subsets apart; where none was read it is a guess,
// after the habit that Istio's own samples have.
func (w *World) drafts(m *member, words []mention) map[string]*Edit {
	wanted := map[string]map[string]bool{}
	first := map[string]target{}
	for _, t := range m.targets {
		if t.subset.Str() == "" || t.o.File == nil {
			continue
		}
		if wanted[t.fqdn] == nil {
			wanted[t.fqdn], first[t.fqdn] = map[string]bool{}, t
		}
		wanted[t.fqdn][t.subset.Str()] = true
	}
	edits := map[string]*Edit{}
	for _, fqdn := range slices.Sorted(maps.Keys(wanted)) {
		t := first[fqdn]
		name, ns, ok := split(fqdn)
		if !ok || ns != t.o.Namespace || strings.HasSuffix(t.o.File.Name, ".json") || slices.ContainsFunc(w.allRules(), func(r rule) bool { return r.of(fqdn) }) {
			continue
		}
		host, pods := t.host.Str(), w.workloadsOf(fqdn)
		if len(w.lookup(fqdn)) == 0 {
			c := call{member: m, o: t.o, v: t.host, fqdn: fqdn, rule: t.rule}
			f, found := w.absent(c, words)
			if found && f.Fix != nil {
				name, host = strings.Split(f.Fix.New, ".")[0], f.Fix.New
				pods = w.workloadsOf(expand(host, ns))
			}
		}
		versions := map[string]bool{}
		for _, x := range pods {
			versions[x.labels["version"]] = true
		}
		subsets := slices.Sorted(maps.Keys(wanted[fqdn]))
		known := len(pods) > 0
		if known && slices.ContainsFunc(subsets, func(s string) bool { return !versions[s] }) {
			continue
		}
		edits[fqdn] = t.o.File.appended(destinationRule(t.o, name, host, subsets), !known)
	}
	return edits
}

func (w *World) allRules() []rule {
	var all []rule
	for _, m := range w.members {
		all = append(all, m.rules...)
	}
	return all
}

func destinationRule(near *Object, name, host string, subsets []string) string {
	var b strings.Builder
	b.WriteString("---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata:\n  name: " + name + "\n")
	if ns := near.Root.Get("metadata", "namespace").Str(); ns != "" {
		b.WriteString("  namespace: " + ns + "\n")
	}
	b.WriteString("spec:\n  host: " + host + "\n  subsets:\n")
	for _, s := range subsets {
		fmt.Fprintf(&b, "  - name: %s\n    labels:\n      version: %s\n", s, s)
	}
	return b.String()
}

// appended is the edit that puts a document at the end of a file.
func (f *File) appended(doc string, guess bool) *Edit {
	end := len(f.text.data)
	nl := f.text.newline()
	doc = strings.ReplaceAll(doc, "\n", nl)
	if end > 0 && f.text.data[end-1] != '\n' {
		doc = nl + strings.TrimSuffix(doc, nl)
	}
	return &Edit{File: f.Name, Start: end, End: end, New: doc, Guess: guess}
}

// emptySubset finds subsets of a DestinationRule whose labels no workload of the host has, in any cluster.
func emptySubset(w *World) []Finding {
	var all []Finding
	for _, m := range w.members {
		for _, r := range m.rules {
			pods := w.workloadsOf(r.host)
			if len(pods) == 0 {
				continue
			}
			for _, s := range r.Spec("subsets").Items() {
				labels := s.Get("labels").Map()
				maps.DeleteFunc(labels, func(k, _ string) bool { return strings.HasPrefix(k, "topology.") })
				if slices.ContainsFunc(pods, func(x *workload) bool { return matches(labels, x.labels) }) {
					continue
				}
				f := r.find(m.Name, s.Get("name"))
				f.Seen = fmt.Sprintf("the subset %s chooses no workload of %s: every call to it is answered with 503", s.Get("name").Str(), r.Spec("host").Str())
				f.Evidence = fmt.Sprintf("%d workloads of that host were read, such as %s", len(pods), where(pods[0].Object, pods[0].meta.Get("labels")))
				f.Do = "correct the labels: " + selectorText(labels)
				if nearLabel, v, ok := w.nearLabel(labels, pods); ok {
					f.Do = fmt.Sprintf("write %s: %s", nearLabel, v)
					f.Fix = r.replace(s.Get("labels", nearLabel), v, false)
				}
				all = append(all, f)
			}
		}
	}
	return all
}

// nearLabel finds the one label of a selector whose value is nearly that of a workload which has all the others.
func (w *World) nearLabel(selector map[string]string, pods []*workload) (key, value string, ok bool) {
	for _, k := range slices.Sorted(maps.Keys(selector)) {
		others := maps.Clone(selector)
		delete(others, k)
		var values []string
		for _, x := range pods {
			if v, has := x.labels[k]; has && matches(others, x.labels) {
				values = append(values, v)
			}
		}
		if v, found := near(selector[k], values); found {
			return k, v, true
		}
	}
	return "", "", false
}

func selectorText(labels map[string]string) string {
	parts := make([]string, 0, len(labels))
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		parts = append(parts, k+": "+labels[k])
	}
	return strings.Join(parts, ", ")
}
