package resources

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"isthmus.dev/isthmus/internal/analyze"
	"isthmus.dev/isthmus/internal/mesh"
)

// elsewhere says where kinds belong that are no configuration of a mesh, by group; "" is all others.
var elsewhere = map[string]string{
	"kustomize.config.k8s.io": "build it first (kustomize build), and name what comes out",
	"install.istio.io":        "an installation is written in spec.istio: profile, values, meshConfig",
	"isthmus.dev":             "a mesh document is named with -f",
	"":                        "what runs on the mesh is delivered by whatever delivers it today; here belong Istio's and the Gateway API's kinds",
}

// judge refuses what is no configuration of the mesh.
func (c *collection) judge(f *analyze.File) {
	c.strays(f)
	for _, o := range f.Objects {
		kind := o.Root.Get("kind")
		switch {
		case !analyze.IsConfig(o):
			hint, known := elsewhere[o.Group]
			if !known {
				hint = elsewhere[""]
			}
			c.refuse(o, kind, fmt.Sprintf("%s (%s) is no configuration of a mesh", o.Kind, o.APIVersion()), hint)
		case !analyze.IsKnown(o) && !strings.HasSuffix(o.Group, ".istio.io"): // Istio's are ANA008's
			c.refuse(o, kind, fmt.Sprintf("%s has no kind %s", o.Group, o.Kind), "its kinds are "+strings.Join(analyze.KindsOf(o.Group), ", "))
		case o.Root.Get("metadata", "name").Str() == "":
			c.refuse(o, o.Root.Get("metadata"), fmt.Sprintf("a %s without a name", o.Kind), "write metadata.name")
		case o.Namespace == c.mesh.Verify.Namespace && o.Namespace != "":
			c.refuse(o, o.Root.Get("metadata", "namespace"), fmt.Sprintf("%s is in namespace %s, which isthmus verify removes when it ends", o.Ref, o.Namespace),
				"put it elsewhere, or choose another spec.verify.namespace")
		}
	}
}

// strays refuses documents of a file that are no objects, and so would be left out without a word.
func (c *collection) strays(f *analyze.File) {
	stray := func(line int, what string) {
		c.found = append(c.found, mesh.Problem{
			File: f.Name, Line: line, Column: 1, Path: "spec.resources", Message: what,
			Hint: "every document here is an object with apiVersion and kind; name files that hold something else nowhere, or move them",
		})
	}
	dec := yaml.NewDecoder(bytes.NewReader(f.Data()))
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			// What is no YAML is ANA003's, an error; but a template only warns there, and has no objects here.
			if len(f.Objects) == 0 && bytes.Contains(f.Data(), []byte("{{")) {
				stray(1, "this is a template, and no object")
			}
			return
		}
		root := doc.Content[0]
		switch {
		case root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null":
		case root.Kind != yaml.MappingNode:
			stray(root.Line, "this is no object")
		case !has(root, "apiVersion") || !has(root, "kind"):
			stray(root.Line, "this has no apiVersion or no kind")
		}
	}
}

func has(n *yaml.Node, key string) bool {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key && n.Content[i+1].Value != "" {
			return true
		}
	}
	return false
}

// analysed asks the analysers. Errors are problems; warnings and notes are returned.
func (c *collection) analysed(in analyze.Input) []analyze.Finding {
	in.Clusters = slices.Clone(in.Clusters)
	for i := range in.Clusters {
		in.Clusters[i].Objects = append(slices.Clone(in.Clusters[i].Objects), c.around(in.Clusters[i].Name)...)
	}
	var rest []analyze.Finding
	for _, f := range analyze.Run(in) {
		switch {
		case f.File == "": // about what Isthmus makes, or about nothing that has a place
		case f.ID == "ANA040": // an overlay is a difference that is meant
		case f.Severity == analyze.Error:
			message := f.ID + " " + f.Seen
			if f.Object != "" {
				message = f.ID + " " + f.Object + ": " + f.Seen
			}
			c.found = append(c.found, mesh.Problem{File: f.File, Line: f.Line, Column: f.Col, Message: message, Hint: f.Do})
		default:
			rest = append(rest, f)
		}
	}
	return rest
}

// around is what the files meet in a cluster: the mesh's own settings, among them the gateways of its profile. What
// Isthmus makes is not: files never are all of a namespace, and nothing may be called missing in one because some of it
// is known.
func (c *collection) around(cluster string) []*analyze.Object {
	member, _ := c.mesh.Cluster(cluster)
	istio := map[string]any{"profile": member.Istio.Profile}
	if member.Istio.MeshConfig != nil {
		istio["meshConfig"] = member.Istio.MeshConfig
	}
	o, err := analyze.NewObject(map[string]any{
		"apiVersion": "isthmus.dev/v1alpha1", "kind": "Mesh", "metadata": map[string]any{"name": c.mesh.Name},
		"spec": map[string]any{
			"trust": map[string]any{"domain": c.mesh.Trust.Domain}, "istio": istio,
			"traffic": map[string]any{"failover": map[string]any{"enabled": c.mesh.Failover != nil}},
		},
	})
	if err != nil || o == nil {
		return nil // less is known, and nothing wrong is said
	}
	return []*analyze.Object{o}
}
