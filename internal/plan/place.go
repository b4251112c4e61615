package plan

import (
	"fmt"
	"slices"
	"strings"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// homeless tells whether an object's namespace neither exists nor will be made with it. Where the caller may not list
// namespaces it is not known, and the API server will say.
func (d *decider) homeless(o object.Object, want []object.Object) bool {
	ns := o.Body.GetNamespace()
	if ns == "" || len(d.now.Namespaces) == 0 {
		return false
	}
	if slices.ContainsFunc(d.now.Namespaces, func(n facts.Namespace) bool { return n.Name == ns }) {
		return false
	}
	return !slices.ContainsFunc(want, func(w object.Object) bool {
		return w.Ref() == object.Ref{Kind: "Namespace", Name: ns}
	})
}

// servedNamespace tells whether a remote that reads its configuration from this cluster has a namespace: then what is
// about it has to be here, though nothing of it runs here.
func (d *decider) servedNamespace(ns string) bool {
	return slices.ContainsFunc(d.in.Mesh.Clusters, func(c mesh.Cluster) bool {
		f := d.in.Now.Clusters[c.Name]
		return c.RemoteOf == d.cluster && f != nil && slices.ContainsFunc(f.Namespaces, func(n facts.Namespace) bool { return n.Name == ns })
	})
}

// withoutNamespace says that an object cannot be made for want of its namespace.
func (d *decider) withoutNamespace(o object.Object) {
	ns := o.Body.GetNamespace()
	c, _ := d.in.Mesh.Cluster(d.cluster)
	d.conflict(o.Ref(), "", fmt.Sprintf("cannot be made%s: there is no namespace %s; make it (kubectl --context %s create namespace %s), or leave the object out of this cluster",
		written(o), ns, c.Context, ns))
}

// gatewayAPI is the group of the Gateway API, whose kinds no chart of Istio's brings.
const gatewayAPI = "gateway.networking.k8s.io"

// unserved tells whether an object is of a kind that the cluster does not have and the plan does not bring.
func (d *decider) unserved(o object.Object, want []object.Object) bool {
	ref := o.Ref()
	denied := func(r facts.Right) bool { return r.Resource == "customresourcedefinitions" && r.Verb == "list" }
	if ref.Group != gatewayAPI || slices.ContainsFunc(d.now.Denied, denied) {
		return false
	}
	is := func(crd string) bool { return crd == facts.Plural(ref.Kind)+"."+ref.Group }
	return !slices.ContainsFunc(d.now.CRDs, func(c facts.CRD) bool { return is(c.Name) }) &&
		!slices.ContainsFunc(want, func(w object.Object) bool {
			return w.Body.GetKind() == "CustomResourceDefinition" && is(w.Body.GetName())
		})
}

// withoutKind says that an object cannot be made for want of its kind.
func (d *decider) withoutKind(o object.Object) {
	c, _ := d.in.Mesh.Cluster(d.cluster)
	d.conflict(o.Ref(), "", fmt.Sprintf("cannot be made%s: the cluster does not have the kind; install the Gateway API's CRDs there (kubectl --context %s apply --server-side -f standard-install.yaml)",
		written(o), c.Context))
}

// written says where a person wrote an object.
func written(o object.Object) string {
	if o.Source == "" {
		return ""
	}
	return " (" + strings.TrimSpace(o.Source) + ")"
}
