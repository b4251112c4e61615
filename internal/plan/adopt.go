package plan

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/object"
)

// claim decides about an object that is wanted, exists and is not ours: it is taken over, it stays beside what is ours,
// or it is in the way. False: it is in the way, and has been noted as a conflict.
func (d *decider) claim(c *Change, live *unstructured.Unstructured) bool {
	owner, again := facts.Owner(live), reapplied(live)
	named := d.in.Options.named(c.Object, append(again, owner)...)
	switch other := live.GetLabels()[object.LabelMesh]; {
	case other != "" && c.Object.Kind == "CustomResourceDefinition" && !slices.Contains(d.now.Inventories, other):
		c.TakeOver = true // of a mesh that is gone; kinds outlive meshes
		return true
	case other != "":
		d.conflict(c.Object, owner, "exists and belongs to mesh "+other)
		return false
	case authority(c.Want.Sealed):
		return d.claimAuthority(c, owner)
	case c.Object.Kind == "CustomResourceDefinition" && !named && d.beside(c, live, owner, len(again) > 0):
		return c.Beside
	case named, d.in.Options.Adopt && len(again) == 0:
		c.TakeOver, c.Inherit = true, installers(live)
		return true
	case len(again) > 0:
		d.conflict(c.Object, owner, fmt.Sprintf("exists and is kept by %s, which would put back what Isthmus changes", again[0]),
			fmt.Sprintf("take it out of there, or overrule it: --take-over=%s", again[0]))
	default:
		d.conflict(c.Object, owner, fmt.Sprintf("exists and is not Isthmus's (%s)", owner),
			"look at what taking it over would change: isthmus plan --adopt")
	}
	return false
}

// mayTake tells whether a wanted object may be made or changed at all, as far as others are concerned.
func (d *decider) mayTake(c *Change, live *unstructured.Unstructured, ours bool) bool {
	if live == nil {
		return !d.ownRoot(c)
	}
	return ours || d.claim(c, live)
}

func authority(s *object.Sealed) bool {
	return s != nil && (s.Kind == object.SealRoot || s.Kind == object.SealIntermediate)
}

// claimAuthority lets nothing but its own name take a certificate authority: workloads trust what it signed, and refuse
// what another one signs until each of them was restarted.
func (d *decider) claimAuthority(c *Change, owner string) bool {
	if c.Want.Sealed.Kind.Irreplaceable() { // not even its own name: there is no way back
		d.conflict(c.Object, owner, "exists and does not say that it is this mesh's, and its content could not be made again",
			fmt.Sprintf("if it is the mesh's root, put back from a copy: kubectl -n %s label secret %s %s=%s; if it is nobody's, delete it by hand", c.Object.Namespace, c.Object.Name, object.LabelMesh, d.owner))
		return false
	}
	if d.in.Options.namedAlone(c.Object) {
		c.TakeOver = true
		c.Impact = append(c.Impact, newRoot)
		return true
	}
	d.conflict(c.Object, owner, "is a certificate authority that Isthmus did not make: workloads trust its root, and would refuse those of another",
		keepRoot+fmt.Sprintf(". To give the old root up, which fails calls until every workload was restarted: --take-over=%q", c.Object.String()))
	return false
}

const (
	newRoot  = "gives up the root that workloads trust now: calls fail between those that were restarted since and those that were not; restart istiod, then all of them"
	keepRoot = "keep it, if every cluster's has the same root: spec.trust.root: {existing: {}}"
)

// ownRoot stands before a new cacerts in a cluster whose istiod, not ours, has made a root of its own: it is as much of
// an outage as to replace one.
func (d *decider) ownRoot(c *Change) bool {
	s := d.now.Secrets[c.Object.Namespace+"/"+facts.SelfSigned]
	runs := slices.ContainsFunc(d.now.Istiods, func(i facts.Istiod) bool { return i.Mesh != d.owner && i.Namespace == c.Object.Namespace })
	if s == nil || !runs || c.Want.Sealed == nil || c.Want.Sealed.Kind != object.SealIntermediate {
		return false
	}
	if d.in.Options.namedAlone(c.Object) {
		c.Impact = append(c.Impact, newRoot)
		return false
	}
	d.conflict(c.Object, "istiod", fmt.Sprintf("would come in the place of the root that istiod made for itself (Secret %s/%s), which running workloads trust alone", c.Object.Namespace, facts.SelfSigned),
		"a mesh of this cluster alone can keep it: spec.trust.root: {existing: {}}"+
			fmt.Sprintf(". To give the old root up, which fails calls until every workload was restarted: --take-over=%q", c.Object.String()))
	return true
}

// managesAgain are field managers of controllers that put back what they applied, by whichever operation they write.
var managesAgain = []string{"argocd-controller", "argocd-application-controller", "kustomize-controller", "helm-controller", "sail-operator", "istio-operator-controller"}

// oneOff are field managers of programs that a person runs: they do not come back by themselves.
func oneOff(manager string) bool {
	return manager == object.Manager || manager == "istio-operator" || manager == "helm" || strings.HasPrefix(manager, "kubectl")
}

// keepsApplying tells of an entry of managedFields whether its manager will apply it again by itself.
func keepsApplying(manager, operation, subresource string) bool {
	if subresource != "" || oneOff(manager) {
		return false
	}
	return operation == string(metav1.ManagedFieldsOperationApply) || slices.Contains(managesAgain, manager)
}

// reapplied lists who applies an object again and again: by its marks (a GitOps tool, an operator), else by field managers.
func reapplied(live *unstructured.Unstructured) []string {
	var all []string
	owner := facts.Owner(live)
	for _, prefix := range []string{"argocd:", "flux:", "operator:"} {
		if strings.HasPrefix(owner, prefix) {
			all = append(all, owner)
		}
	}
	for _, e := range live.GetManagedFields() {
		if keepsApplying(e.Manager, string(e.Operation), e.Subresource) && !slices.Contains(all, e.Manager) {
			all = append(all, e.Manager)
		}
	}
	return all
}

// marks are what installers leave on an object: whoever owns one of these fields installed it.
var marks = []fieldpath.Path{
	fieldpath.MakePathOrDie("metadata", "annotations", "meta.helm.sh/release-name"),
	fieldpath.MakePathOrDie("metadata", "labels", "operator.istio.io/managed"),
	fieldpath.MakePathOrDie("metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration"),
}

// installers are the field managers that made an object with the tool it was installed by. Their fields become ours
// when it is taken over, so that a field which is no longer wanted goes. Controllers keep what is theirs: an API
// server's CA that istiod filled in, replicas, a cloud's finalizer.
func installers(live *unstructured.Unstructured) []string {
	var all []string
	for _, e := range live.GetManagedFields() {
		if e.Subresource != "" || e.Manager == object.Manager || slices.Contains(all, e.Manager) {
			continue
		}
		if oneOff(e.Manager) || marked(e) {
			all = append(all, e.Manager)
		}
	}
	slices.Sort(all)
	return all
}

func marked(e metav1.ManagedFieldsEntry) bool {
	if e.FieldsV1 == nil {
		return false
	}
	set := fieldpath.NewSet()
	if set.FromJSON(bytes.NewReader(e.FieldsV1.GetRawBytes())) != nil {
		return false
	}
	return slices.ContainsFunc(marks, set.Has)
}

// disputed tells whether a field that is to be changed is kept by somebody who applies it again: then two would fight.
func (d *decider) disputed(c *Change) bool {
	found := false
	for _, f := range c.Fields {
		if !f.Kept || slices.Contains(c.Inherit, f.By) || d.in.Options.named(c.Object, f.By) {
			continue
		}
		found = true
		d.conflict(c.Object, f.By, fmt.Sprintf("has %s %s, which %s applies, and %s is wanted", f.Path, shown(f.From), f.By, shown(f.To)),
			fmt.Sprintf("let %s leave that field, or write its value into the document, or overrule it: --take-over=%s", f.By, f.By))
	}
	return found
}

func shown(value string) string {
	if value == "" {
		return "none"
	}
	return value
}

// takeOver says what taking an object over means, beside its fields. False: it would have to be made anew.
func (d *decider) takeOver(c *Change, live *unstructured.Unstructured) bool {
	owner := facts.Owner(live)
	c.Reason = "taken over from " + owner
	if c.Action == Replace && !d.in.Options.namedAlone(c.Object) {
		d.conflict(c.Object, owner, "cannot be taken over as it is: "+mustReplace(c.Want.Body, live)+" cannot be changed in place",
			fmt.Sprintf("let it be deleted and made anew: --take-over=%q; or delete it yourself", c.Object.String()))
		return false
	}
	return true
}
