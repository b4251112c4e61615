package analyze

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// faults makes findings of what was noted when files were read.
func (w *World) faults(of func(*File) []fault) []Finding {
	var all []Finding
	for _, f := range w.Files {
		for _, x := range of(f) {
			all = append(all, Finding{File: f.Name, Line: x.Line, Col: x.Col, Object: x.object, Severity: x.severity, Seen: x.seen, Do: x.do, Fix: x.edit})
		}
	}
	return all
}

func missingSeparator(w *World) []Finding {
	return w.faults(func(f *File) []fault { return f.joined })
}

func noYAML(w *World) []Finding { return w.faults(func(f *File) []fault { return f.broken }) }

func keyTwice(w *World) []Finding { return w.faults(func(f *File) []fault { return f.twice }) }

// IsConfig tells whether an object is configuration of the mesh: of Istio's groups or the Gateway API's.
func IsConfig(o *Object) bool {
	return o.Group == gatewayAPI || slices.Contains(istioGroups(), o.Group)
}

// configs calls do for each configuration object once, whatever clusters it is meant for; c is the first of them.
func (w *World) configs(do func(m *member, o *Object)) {
	done := map[*Object]bool{}
	for _, m := range w.members {
		for _, o := range m.Objects {
			if !done[o] && IsConfig(o) {
				done[o] = true
				do(m, o)
			}
		}
	}
}

// commentedList finds lists that are null because their items are commented out. Only configuration of the mesh is
// looked at: for Kubernetes' own kinds null is an empty list, and such comments are a habit.
func commentedList(w *World) []Finding {
	var all []Finding
	w.configs(func(m *member, o *Object) {
		if o.File == nil {
			return
		}
		walk(o.Spec(), "spec", func(path string, v Value) {
			if !v.Exists() || !v.IsNull() || v.key == nil {
				return
			}
			items := o.File.commented(v)
			if len(items) == 0 {
				return
			}
			f := o.find(m.Name, v)
			f.Seen = fmt.Sprintf("%s is empty: its %s commented out", v.key.Value, itemsAre(items))
			f.Do = "uncomment what belongs in it, or take the field out"
			if len(items) == 1 {
				f.Do = "uncomment it"
				f.Fix = o.File.uncomment(v, items[0])
			}
			all = append(all, f)
		})
	})
	return all
}

func itemsAre(items []commentedItem) string {
	names := make([]string, len(items))
	for i, x := range items {
		names[i] = x.text
	}
	if len(items) == 1 {
		return "only item, " + names[0] + ", is"
	}
	return "items, " + strings.Join(names, ", ") + ", are"
}

// walk visits every value under v, maps and lists too, with its path.
func walk(v Value, path string, do func(string, Value)) {
	do(path, v)
	for _, f := range v.Fields() {
		walk(f.Value, path+"."+f.Key, do)
	}
	for i, x := range v.Items() {
		walk(x, fmt.Sprintf("%s[%d]", path, i), do)
	}
}

// A commentedItem is a line that would be a list's item if it were no comment.
type commentedItem struct {
	line int
	text string // what follows "- "
	more bool   // further lines of comment belong to it
}

var commentedLine = regexp.MustCompile(`^([ \t]*)#+([ \t]*)(- +)?(.*)$`)

// commented are the items in the comments that follow a key without a value.
func (f *File) commented(v Value) []commentedItem {
	var items []commentedItem
	for n := v.key.Line + 1; n <= len(f.text.lines); n++ {
		line := f.text.line(n)
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		parts := commentedLine.FindSubmatch(line)
		if parts == nil {
			break
		}
		text := strings.TrimSpace(string(parts[4]))
		switch {
		case len(parts[3]) > 0 && text != "":
			items = append(items, commentedItem{line: n, text: text})
		case len(items) > 0:
			items[len(items)-1].more = true
		}
	}
	return items
}

// uncomment is the edit that makes an item of a comment; nil where the comment would not be one item, or where the
// map is written in braces.
func (f *File) uncomment(v Value, x commentedItem) *Edit {
	var probe yaml.Node
	item := "- " + x.text
	err := yaml.Unmarshal([]byte(item), &probe)
	if err != nil || x.more || len(probe.Content) != 1 || len(probe.Content[0].Content) != 1 || probe.Content[0].Style&yaml.FlowStyle != 0 {
		return nil
	}
	key, ok := f.text.offset(Pos{v.key.Line, v.key.Column})
	start := f.text.lines[v.key.Line-1]
	if !ok || strings.Trim(string(f.text.data[start:key]), " -") != "" {
		return nil
	}
	indent := strings.Repeat(" ", key-start)
	at := f.text.lines[x.line-1]
	return &Edit{File: f.Name, Start: at, End: at + len(f.text.line(x.line)), New: indent + item}
}

// oldVersion finds API versions that are served still but are no longer the one to write, and such as are not.
func oldVersion(w *World) []Finding {
	var all []Finding
	w.configs(func(m *member, o *Object) {
		latest, served, known := versionsOf(o)
		if !known || o.Version == latest {
			return
		}
		f := o.find(m.Name, o.Root.Get("apiVersion"))
		f.Seen = fmt.Sprintf("%s is an old version of %s; it is served still, but %s is the one that is kept", o.APIVersion(), o.Kind, latest)
		if !served {
			f.Severity = Error
			f.Seen = fmt.Sprintf("%s is no version of %s that is served", o.APIVersion(), o.Kind)
		}
		f.Do = "write " + o.Group + "/" + latest
		f.Fix = o.replace(o.Root.Get("apiVersion"), o.Group+"/"+latest, false)
		all = append(all, f)
	})
	return all
}

// gatewayVersions are the served versions of the Gateway API's kinds, the one to write first (Gateway API 1.6,
// config/crd/standard and experimental).
var gatewayVersions = map[string][]string{
	"GatewayClass": {"v1", "v1beta1"}, "Gateway": {"v1", "v1beta1"}, "HTTPRoute": {"v1", "v1beta1"}, "GRPCRoute": {"v1"},
	"TCPRoute": {"v1", "v1alpha2"}, "UDPRoute": {"v1", "v1alpha2"}, "ListenerSet": {"v1"},
	"BackendTLSPolicy": {"v1", "v1alpha3"}, "TLSRoute": {"v1", "v1alpha3", "v1alpha2"}, "ReferenceGrant": {"v1", "v1beta1"},
}

func versionsOf(o *Object) (latest string, served, known bool) {
	if o.Group == gatewayAPI {
		versions := gatewayVersions[o.Kind]
		if len(versions) == 0 {
			return "", false, false
		}
		return versions[0], slices.Contains(versions, o.Version), true
	}
	c := crdOf(o)
	if c == nil {
		return "", false, false
	}
	return c.latest(), slices.Contains(c.versions, o.Version), true
}

// unknownKind finds kinds of Istio's groups that Istio does not have.
func unknownKind(w *World) []Finding {
	var all []Finding
	w.configs(func(m *member, o *Object) {
		if o.Group == gatewayAPI || crdOf(o) != nil {
			return
		}
		f := o.find(m.Name, o.Root.Get("kind"))
		kinds := istioKinds(o.Group)
		f.Seen = fmt.Sprintf("%s has no kind %s", o.Group, o.Kind)
		f.Do = "its kinds are " + strings.Join(kinds, ", ")
		for _, g := range istioGroups() {
			if slices.Contains(istioKinds(g), o.Kind) {
				f.Do = fmt.Sprintf("%s is a kind of %s", o.Kind, g)
			}
		}
		if name, ok := near(o.Kind, kinds); ok {
			f.Do = "write " + name
			f.Fix = o.replace(o.Root.Get("kind"), name, false)
		}
		all = append(all, f)
	})
	return all
}
