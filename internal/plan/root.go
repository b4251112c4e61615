package plan

import (
	"cmp"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// keepType leaves a Secret of ours the type that it was made with, which cannot be changed: what counts is what it holds,
// and its judge looks at that. One that was put back from a backup may be Opaque.
func (c *Change) keepType(live *unstructured.Unstructured) *unstructured.Unstructured {
	kind, ok := live.Object["type"]
	if ok && kind == c.Want.Body.Object["type"] {
		return c.Want.Body
	}
	want := c.ownBody()
	if want.Object["type"] = kind; !ok {
		delete(want.Object, "type")
	}
	return want
}

// losing stops everything while what cannot be made again is on its way out: it can still be copied now.
func (d *decider) losing(c *Change, live *unstructured.Unstructured) {
	c.Action = ""
	context := d.cluster
	if m, ok := d.in.Mesh.Cluster(d.cluster); ok {
		context = cmp.Or(m.Context, m.Name)
	}
	waits := "it goes any moment"
	if f := live.GetFinalizers(); len(f) > 0 {
		waits = "it waits for " + strings.Join(f, ", ")
	}
	d.conflict(c.Object, "somebody who deletes it", "is being deleted, and its content cannot be made again; "+waits,
		fmt.Sprintf("keep a copy of its tls.crt and tls.key now: kubectl --context %s -n %s get secret %s -o yaml; once it is gone, make it again from that copy with the labels that it has", context, c.Object.Namespace, c.Object.Name))
}

// elsewhere tells whether the root of this cluster is in the home cluster too, or will be when it goes here.
func (d *decider) elsewhere() bool {
	home := d.in.Mesh.Home().Name
	if home == d.cluster || d.pending[home] != "" {
		return false
	}
	if d.in.RootFrom == d.cluster {
		return true
	}
	a, b := keptRoot(d.in, d.cluster), keptRoot(d.in, home)
	return a != nil && b != nil && sameRoot(a, b)
}

// replaces lets an object be made anew, since a field of it cannot be changed in place; not one that could not be.
func (d *decider) replaces(c *Change, field string) bool {
	if c.Want.Sealed == nil || !c.Want.Sealed.Kind.Irreplaceable() {
		c.Action, c.Reason = Replace, field+" cannot be changed in place"
		return true
	}
	c.Action = ""
	d.conflict(c.Object, "", "has a "+field+" that cannot be changed in place, and its content could not be made again", "look at who made it so: kubectl get secret -o yaml --show-managed-fields")
	return false
}
