package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/object"
)

// beside tells whether all is said about a kind that somebody else keeps (Helm's istio-base, another mesh tool): it stays theirs where it
// serves all that is wanted, which a newer one does too (then c.Beside is set), and is in the way where it does not. A
// newer one is not taken back to an older form by taking it over either.
func (d *decider) beside(c *Change, live *unstructured.Unstructured, owner string, again bool) bool {
	if _, whole := live.Object["spec"]; !whole {
		return false
	}
	missing := lacking(versionsOf(c.Want.Body), versionsOf(live), "")
	newer := missing == "" && lacking(versionsOf(live), versionsOf(c.Want.Body), "") != ""
	if missing == "" && (newer || again || !d.in.Options.Adopt) {
		same := "the same as"
		if newer {
			same = "newer than"
		}
		c.UID, c.Action, c.Beside, c.Settled = string(live.GetUID()), Unchanged, true, true
		c.Reason = fmt.Sprintf("kept by %s, is %s what is wanted, and is left to it", owner, same)
		return true
	}
	if missing == "" || d.in.Options.Adopt && !again {
		return false // it may be taken over
	}
	d.conflict(c.Object, owner, fmt.Sprintf("is kept by %s and lacks %s, which this Istio needs", owner, missing),
		fmt.Sprintf("upgrade it with what installed it (%s), or take it over: isthmus plan --adopt", owner))
	return true
}

// versionsOf are a kind's served versions and their schemas, without words for people.
func versionsOf(crd *unstructured.Unstructured) map[string]any {
	out := map[string]any{}
	list, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions") // none: nothing is served
	for _, x := range list {
		v, _ := x.(map[string]any)
		if v["served"] != true {
			continue
		}
		schema, _, _ := unstructured.NestedMap(v, "schema", "openAPIV3Schema")
		out[fmt.Sprint(v["name"])] = map[string]any{"schema": schema, "subresources": v["subresources"]}
	}
	return out
}

// lacking names the first thing that one schema has and another one has not, or has otherwise; "" where all is there.
// A list holds what is allowed or required, so more of it is more: the other may have more.
func lacking(want, have any, path string) string {
	switch w := want.(type) {
	case map[string]any:
		h, _ := have.(map[string]any)
		for _, k := range slices.Sorted(maps.Keys(w)) {
			if k == "description" || k == "default" || k == "x-kubernetes-validations" {
				continue
			}
			v, ok := h[k]
			if !ok && !empty(w[k]) {
				return join(path, k)
			}
			if missing := lacking(w[k], v, join(path, k)); missing != "" {
				return missing
			}
		}
		return ""
	case []any:
		h, _ := have.([]any)
		for _, x := range w {
			if !slices.ContainsFunc(h, func(y any) bool { return same(x, y) && same(y, x) }) && path[strings.LastIndex(path, ".")+1:] != "required" {
				return path
			}
		}
		return ""
	}
	if !same(want, have) {
		return path
	}
	return ""
}

// A Leftover is part of an Istio that somebody else installed, and of nothing that is wanted.
type Leftover struct {
	Cluster string     `json:"cluster"`
	Object  object.Ref `json:"object"`
	Owner   string     `json:"owner"`
	Do      string     `json:"do"` // what a person may do about it
}

// leftovers are what is left alone: objects that are not wanted, and the records by which their installer would come back.
func (d *decider) leftovers() []Leftover {
	if len(d.now.Foreign) == 0 {
		return nil
	}
	var all []Leftover
	wanted := d.in.Want.Refs(d.cluster)
	for _, f := range d.now.Foreign {
		switch {
		case f.Record != "":
			all = append(all, Leftover{Cluster: d.cluster, Object: f.Object, Owner: f.Owner, Do: f.Record})
		case !slices.Contains(wanted, f.Object) && !slices.Contains(d.now.Inventory, f.Object):
			do := "not in the document: left as it is; delete it if nothing uses it"
			switch f.Object.Kind {
			case "Deployment":
				do = "not in the document: it goes on running as it is; delete it if no traffic comes through it, or put it into the document"
			case "MutatingWebhookConfiguration":
				do = "not in the document, and may give the same pods their proxy as the document's does; once that is applied: kubectl delete mutatingwebhookconfiguration " + f.Object.Name
			}
			all = append(all, Leftover{Cluster: d.cluster, Object: f.Object, Owner: f.Owner, Do: do})
		}
	}
	slices.SortFunc(all, func(a, b Leftover) int { return a.Object.Compare(b.Object) })
	return all
}

// guard asks the guards about this cluster.
func (d *decider) guard() {
	for _, g := range d.in.Guards {
		if ref, why, do := g(d.in.Mesh, d.cluster, d.in.Now); why != "" {
			owner := ""
			if live := d.now.Object(ref); live != nil {
				owner = facts.Owner(live)
			}
			d.conflict(ref, owner, why, do)
		}
	}
}
