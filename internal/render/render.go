// Package render writes a plan for clusters that have nothing yet as files for GitOps: a folder for each cluster,
// one object a file, and a kustomization.yaml that lists them in the order in which apply makes them. The files hold
// the very bodies that apply would send, since they come out of the same plan, and the same document gives the same
// files, byte for byte.
//
// One object a file, so that a review shows which object changed and a new one moves no other's name. A file is named
// after its object alone: no number in it would shift.
//
// Secrets are named and not written, unless somebody who holds their content hands it in (see Cluster.Fill).
package render

import (
	"bytes"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/plan"
)

// An Item is one object of a cluster and the stage in which apply makes it.
type Item struct {
	Stage  plan.Stage
	Object object.Object
	// Filled tells that a sealed object has its content; without it only its name is known.
	Filled bool
}

// secret tells whether the content of an item is not to be written.
func (i Item) secret() bool { return i.Object.Sealed != nil && !i.Filled }

// Name is the item's file: kind, group, namespace and name, as kubectl names resources.
func (i Item) Name() string { return FileName(i.Object.Ref()) }

// FileName is the file of an object.
func FileName(r object.Ref) string {
	kind := strings.ToLower(r.Kind)
	if r.Group != "" {
		kind += "." + r.Group
	}
	parts := []string{kind}
	for _, p := range []string{r.Namespace, r.Name} {
		if p != "" {
			parts = append(parts, strings.ReplaceAll(url.PathEscape(p), ":", "%3A")) // RBAC names may hold colons
		}
	}
	return strings.Join(parts, "_") + ".yaml"
}

// A Cluster is what a cluster's folder is made of.
type Cluster struct {
	Mesh, Name string
	Items      []Item // in the order in which apply makes them
}

// Of takes a plan for clusters that have nothing yet apart by cluster. The inventory is left out: it is apply's own
// list of what apply made.
func Of(m mesh.Mesh, p plan.Plan) []Cluster {
	var out []Cluster
	for _, c := range m.Clusters {
		cluster := Cluster{Mesh: m.Name, Name: c.Name}
		for _, w := range p.Waves {
			for _, change := range w.Changes {
				if change.Cluster == c.Name && change.Want != nil && change.Stage != plan.StageInventory {
					cluster.Items = append(cluster.Items, Item{Stage: change.Stage, Object: *change.Want})
				}
			}
		}
		// A change may be in a later wave than its cluster's, when it is about another one.
		slices.SortStableFunc(cluster.Items, func(a, b Item) int { return int(a.Stage) - int(b.Stage) })
		out = append(out, cluster)
	}
	return out
}

// Fill hands in the content of a sealed object.
func (c *Cluster) Fill(ref object.Ref, body *unstructured.Unstructured) {
	for n, i := range c.Items {
		if i.Object.Ref() == ref {
			c.Items[n].Object.Body, c.Items[n].Filled = body, true
		}
	}
}

// Secrets are the objects whose content is not there.
func (c Cluster) Secrets() []Item {
	return slices.DeleteFunc(slices.Clone(c.Items), func(i Item) bool { return !i.secret() })
}

// Text is an item's object as YAML, with its reason above it.
func (i Item) Text() ([]byte, error) {
	text, err := yaml.Marshal(i.Object.Body.Object)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", i.Object.Ref(), err)
	}
	return append([]byte("# "+i.Object.Reason+"\n"), text...), nil
}

// mark begins the first line of every kustomization.yaml that this package writes.
const mark = "# Written by isthmus render: "

// title says whose folder it is.
func (c Cluster) title() string { return fmt.Sprintf("mesh %s, cluster %s", c.Mesh, c.Name) }

// kustomization lists the files, and names the Secrets that are in none.
func (c Cluster) kustomization() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s%s. What is changed here is lost the next time.\n", mark, c.title())
	c.nameSecrets(&b)
	// fifo keeps the order of the list: kustomize would sort by kind.
	b.WriteString("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nsortOptions: {order: fifo}\nresources:\n")
	for _, i := range c.Items {
		if !i.secret() {
			fmt.Fprintf(&b, "- %q # %s\n", i.Name(), i.Stage)
		}
	}
	return b.Bytes()
}

func (c Cluster) nameSecrets(b *bytes.Buffer) {
	secrets := c.Secrets()
	if len(secrets) == 0 {
		return
	}
	b.WriteString("# Not among the files, because their content is secret; isthmus apply makes it in the cluster:\n")
	for _, i := range secrets {
		fmt.Fprintf(b, "#   %s: %s\n", i.Object.Ref(), i.Object.Reason)
	}
}

// Stream is everything of a cluster as one stream of YAML documents.
func (c Cluster) Stream() ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s%s\n", mark, c.title())
	c.nameSecrets(&b)
	for _, i := range c.Items {
		if i.secret() {
			continue
		}
		text, err := i.Text()
		if err != nil {
			return nil, err
		}
		b.WriteString("---\n")
		b.Write(text)
	}
	return b.Bytes(), nil
}
