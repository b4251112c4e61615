package istio

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// disown takes out of rendered objects the fields that somebody else keeps, so that applying never fights them.
func disown(bodies []*unstructured.Unstructured) {
	scaled := map[string]bool{}
	for _, b := range bodies {
		if b.GetKind() == "HorizontalPodAutoscaler" {
			kind, _, _ := unstructured.NestedString(b.Object, "spec", "scaleTargetRef", "kind")
			name, _, _ := unstructured.NestedString(b.Object, "spec", "scaleTargetRef", "name")
			scaled[kind+"/"+b.GetNamespace()+"/"+name] = true
		}
	}
	for _, b := range bodies {
		dropNulls(b.Object)
		if b.GetKind() == "ValidatingWebhookConfiguration" {
			disownValidator(b)
		}
		if scaled[b.GetKind()+"/"+b.GetNamespace()+"/"+b.GetName()] {
			unstructured.RemoveNestedField(b.Object, "spec", "replicas")
		}
	}
}

// disownValidator leaves failurePolicy to istiod: the charts set it to Ignore, and istiod's validation controller
// (istio.io/istio/pkg/webhooks/validation/controller) turns that to Fail as soon as it answers. To apply Ignore
// again each time would open the door each time. Without the field a new webhook begins with the API server's
// default, Fail; so objects of Istio's kinds are refused until istiod answers. The caBundle, which istiod patches
// into this and the mutating webhook, is in neither unless the document gives one.
func disownValidator(b *unstructured.Unstructured) {
	webhooks, _ := b.Object["webhooks"].([]any)
	for _, w := range webhooks {
		if webhook, ok := w.(map[string]any); ok && webhook["failurePolicy"] == "Ignore" {
			delete(webhook, "failurePolicy")
		}
	}
}

// dropNulls takes out map entries that are null, which charts leave where a list or map of values is empty. In
// server-side apply they are not nothing: "annotations: null" would own all annotations, and clear them.
func dropNulls(in any) {
	switch in := in.(type) {
	case map[string]any:
		for k, v := range in {
			if v == nil {
				delete(in, k)
				continue
			}
			dropNulls(v)
		}
	case []any:
		for _, v := range in {
			dropNulls(v)
		}
	}
}
