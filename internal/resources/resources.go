// Package resources turns the files that spec.resources names into objects of the mesh: the same in every cluster,
// but for overlays. What holds here: nothing of a file is left out in silence. A document that is no object, a kind
// that is no configuration of a mesh, a name that is taken: each is refused with its file and line; and so is
// whatever internal/analyze finds to be an error, before a cluster is asked anything.
//
// Read reads files and decides nothing. Objects decides, and reads nothing.
package resources

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/analyze"
	"isthmus.dev/isthmus/internal/label"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// Objects are those of the files, for every cluster, and what is worth knowing of them: warnings and notes. made are
// the objects that Isthmus itself makes; a file cannot have one of the same name. The error is *mesh.Problems.
func Objects(m mesh.Mesh, sources []analyze.Source, made object.Objects) (object.Objects, []analyze.Finding, error) {
	if len(sources) == 0 {
		return nil, nil, nil
	}
	c := &collection{mesh: m, made: made}
	in := c.read(sources)
	findings := c.analysed(in)
	if err := mesh.Refuse(m.Source, c.found); err != nil {
		return nil, nil, err
	}
	out := object.Objects{}
	for _, cluster := range in.Clusters {
		for _, o := range cluster.Objects {
			out.Add(cluster.Name, label.Own(m.Name, c.object(cluster.Name, o)))
		}
	}
	return out, findings, nil
}

// A collection is what is being gathered from files.
type collection struct {
	mesh  mesh.Mesh
	made  object.Objects
	found []mesh.Problem
	// overlays are the files that are some clusters' own.
	overlays map[*analyze.File]bool
}

// read parses the sources and keeps for each cluster what holds there: its own objects, and those of all that it has
// no own form of.
func (c *collection) read(sources []analyze.Source) analyze.Input {
	in := analyze.Input{TrustDomain: c.mesh.Trust.Domain, Failover: c.mesh.Failover != nil}
	c.overlays = map[*analyze.File]bool{}
	own := map[string][]*analyze.Object{}
	for _, s := range sources {
		f := analyze.ParseFile(s.Name, s.Data, "default")
		in.Files = append(in.Files, f)
		c.overlays[f] = s.Cluster != ""
		c.judge(f)
		own[s.Cluster] = append(own[s.Cluster], f.Objects...)
	}
	for _, k := range slices.Sorted(maps.Keys(own)) {
		c.once(own[k])
	}
	for _, cluster := range c.mesh.Governors() { // where an istiod reads
		has := map[object.Ref]bool{}
		for _, o := range own[cluster.Name] {
			has[o.Ref] = true
		}
		objects := slices.Clone(own[cluster.Name])
		for _, o := range own[""] {
			if !has[o.Ref] {
				objects = append(objects, o)
			}
		}
		c.free(cluster.Name, objects)
		slices.SortStableFunc(objects, func(a, b *analyze.Object) int { return a.Compare(b.Ref) })
		in.Clusters = append(in.Clusters, analyze.Cluster{Name: cluster.Name, Objects: objects})
	}
	return in
}

// refuse notes what is wrong with an object, at a value of it.
func (c *collection) refuse(o *analyze.Object, at analyze.Value, message, hint string) {
	p := at.Pos()
	if p.Line == 0 {
		p = o.Root.Pos()
	}
	c.found = append(c.found, mesh.Problem{
		File: o.File.Name, Line: p.Line, Column: p.Col, Path: "spec.resources", Message: message, Hint: hint,
	})
}

// once refuses an object that is there twice, in one file or in two.
func (c *collection) once(objects []*analyze.Object) {
	first := map[object.Ref]*analyze.Object{}
	for _, o := range objects {
		before := first[o.Ref]
		if before == nil {
			first[o.Ref] = o
			continue
		}
		c.refuse(o, o.Root.Get("metadata", "name"), fmt.Sprintf("%s is there twice; the first is %s:%d", o.Ref, before.File.Name, line(before)),
			"keep one of them, or give the entry that holds the other its clusters: spec.resources[].clusters")
	}
}

// free refuses a name that Isthmus itself uses in a cluster.
func (c *collection) free(cluster string, objects []*analyze.Object) {
	made := map[object.Ref]object.Part{}
	for _, o := range c.made[cluster] {
		made[o.Ref()] = o.Part
	}
	for _, o := range objects {
		if part, taken := made[o.Ref]; taken {
			c.refuse(o, o.Root.Get("metadata", "name"), fmt.Sprintf("Isthmus makes %s itself (%s)", o.Ref, part), whatInstead(o.Ref))
		}
	}
}

// whatInstead says how what Isthmus makes is changed.
func whatInstead(ref object.Ref) string {
	switch {
	case ref.Kind == "PeerAuthentication":
		return "its mode is spec.security.mtls"
	case strings.HasPrefix(ref.Name, "isthmus-"):
		return "choose another name: those that begin with isthmus- are the document's own"
	}
	return "choose another name"
}

func line(o *analyze.Object) int {
	return cmp.Or(o.Root.Get("metadata", "name").Pos().Line, o.Root.Pos().Line)
}

// serverOwn are fields of metadata that an API server writes: a file that was read from a cluster may have them.
var serverOwn = []string{"creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"}

// object is one of a file as it is wanted in a cluster.
func (c *collection) object(cluster string, o *analyze.Object) object.Object {
	content, _ := o.Root.Plain().(map[string]any)
	delete(content, "status")
	body := &unstructured.Unstructured{Object: content}
	for _, field := range serverOwn {
		unstructured.RemoveNestedField(content, "metadata", field)
	}
	if o.Namespace != "" {
		body.SetNamespace(o.Namespace)
	}
	where := fmt.Sprintf("%s:%d", o.File.Name, line(o))
	reason := "the same in every cluster: " + where
	if c.overlays[o.File] {
		reason = fmt.Sprintf("for %s: %s", cluster, where)
	}
	return object.Object{Part: object.PartResources, Reason: reason, Source: where, Body: body}
}
