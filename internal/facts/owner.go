package facts

import (
	"cmp"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"isthmus.dev/isthmus/internal/object"
)

// Owner tells who keeps an object, as far as its marks say: "isthmus", "istioctl", "helm:<release>",
// "operator:<name>", "argocd:<application>", "flux:<name>", a field manager such as "kubectl-client-side-apply",
// or "unknown".
func Owner(o metav1.Object) string {
	labels, notes := o.GetLabels(), o.GetAnnotations()
	marks := []struct{ prefix, value string }{
		// Who uses Helm comes before Helm: Sail and Flux install releases and put them back.
		{"operator:", ownerReference(o)},
		{"argocd:", cmp.Or(notes["argocd.argoproj.io/tracking-id"], labels["argocd.argoproj.io/instance"])},
		{"flux:", cmp.Or(labels["kustomize.toolkit.fluxcd.io/name"], labels["helm.toolkit.fluxcd.io/name"])},
		{"helm:", notes["meta.helm.sh/release-name"]},
	}
	if labels[object.LabelMesh] != "" {
		return "isthmus"
	}
	for _, m := range marks {
		if m.value != "" {
			return m.prefix + m.value
		}
	}
	if labels["operator.istio.io/component"] != "" || labels["install.operator.istio.io/owning-resource"] != "" {
		return "istioctl"
	}
	return cmp.Or(firstManager(o.GetManagedFields()), "unknown")
}

func ownerReference(o metav1.Object) string {
	for _, r := range o.GetOwnerReferences() {
		return r.Kind + "/" + r.Name
	}
	return ""
}

// firstManager is who set fields first; status, which controllers write, does not count.
func firstManager(entries []metav1.ManagedFieldsEntry) string {
	entries = slices.DeleteFunc(slices.Clone(entries), func(e metav1.ManagedFieldsEntry) bool {
		return e.Subresource != "" || e.Time == nil
	})
	if len(entries) == 0 {
		return ""
	}
	return slices.MinFunc(entries, func(a, b metav1.ManagedFieldsEntry) int {
		return cmp.Or(a.Time.Compare(b.Time.Time), cmp.Compare(a.Manager, b.Manager))
	}).Manager
}
