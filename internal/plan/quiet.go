package plan

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// bookkeeping are labels of pods by which charts say who rendered them. The name of a Helm release is in them, so that
// they differ between two installations which are otherwise the same. Nothing selects by them.
var bookkeeping = []string{
	"app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "app.kubernetes.io/part-of", "app.kubernetes.io/version",
	"helm.sh/chart", "install.operator.istio.io/owning-resource", "operator.istio.io/component", "release",
}

// unordered are keyed lists of a pod whose order says nothing, but whose order is part of what restarts it.
var unordered = []string{"env", "ports", "volumeMounts", "volumes", "tolerations"}

// quiet takes out of a wanted pod template what would restart pods and change nothing: the order of lists that have
// none and, where nothing else in the template differs, the labels by which charts keep their books.
func quiet(want, live *unstructured.Unstructured) {
	w, ok := template(want)
	l, there := template(live)
	if !ok || !there {
		return
	}
	reorder(w, l)
	labels, liveLabels := labelsOf(w), labelsOf(l)
	if labels == nil || liveLabels == nil || slices.ContainsFunc(bookkeeping, func(k string) bool { return selects(want, k) }) {
		return
	}
	rest := func(m map[string]any) map[string]any {
		out := map[string]any{}
		for k, v := range m {
			if !slices.Contains(bookkeeping, k) {
				out[k] = v
			}
		}
		return out
	}
	a, b := rest(labels), rest(liveLabels)
	if !same(a, b) || !same(withoutEmpty(withoutLabels(w)), withoutLabels(l)) {
		return
	}
	for _, k := range bookkeeping {
		if v, ok := liveLabels[k]; ok {
			labels[k] = v
		} else {
			delete(labels, k)
		}
	}
}

func template(u *unstructured.Unstructured) (map[string]any, bool) {
	t, ok, err := unstructured.NestedFieldNoCopy(u.Object, "spec", "template")
	m, isMap := t.(map[string]any)
	return m, ok && err == nil && isMap
}

func labelsOf(template map[string]any) map[string]any {
	metadata, _ := template["metadata"].(map[string]any)
	labels, _ := metadata["labels"].(map[string]any)
	return labels
}

func withoutLabels(template map[string]any) map[string]any {
	metadata, _ := template["metadata"].(map[string]any)
	return map[string]any{"spec": template["spec"], "annotations": metadata["annotations"]}
}

// withoutEmpty leaves out empty texts, which the API server does not keep (the value of a variable).
func withoutEmpty(in any) any {
	switch x := in.(type) {
	case map[string]any:
		out := make(map[string]any, len(x))
		for k, v := range x {
			if v != "" {
				out[k] = withoutEmpty(v)
			}
		}
		return out
	case []any:
		out := make([]any, 0, len(x))
		for _, v := range x {
			out = append(out, withoutEmpty(v))
		}
		return out
	}
	return in
}

func selects(u *unstructured.Unstructured, label string) bool {
	_, ok, _ := unstructured.NestedString(u.Object, "spec", "selector", "matchLabels", label) // of another type: it selects nothing
	return ok
}

// reorder puts the items of unordered lists into the order that they have in the live object; new ones come last.
func reorder(want, live any) {
	switch w := want.(type) {
	case map[string]any:
		l, _ := live.(map[string]any)
		for k, v := range w {
			below, isList := v.([]any)
			if liveList, ok := l[k].([]any); ok && isList && slices.Contains(unordered, k) {
				inOrderOf(below, liveList)
			}
			reorder(v, l[k])
		}
	case []any:
		l, _ := live.([]any)
		for _, v := range w {
			if i := slices.IndexFunc(l, func(x any) bool { return nameOf(x) != "" && nameOf(x) == nameOf(v) }); i >= 0 {
				reorder(v, l[i])
			}
		}
	}
}

func inOrderOf(want, live []any) {
	at := func(item any) int {
		i := slices.IndexFunc(live, func(l any) bool {
			if nameOf(item) != "" && nameOf(item) == nameOf(l) {
				return true
			}
			return same(item, l)
		})
		if i < 0 {
			return len(live)
		}
		return i
	}
	slices.SortStableFunc(want, func(a, b any) int { return at(a) - at(b) })
}

// filledIn are values that the API server gives a field which nobody wrote (Kubernetes 1.36: the SetDefaults functions
// of pkg/apis/*/v1/defaults.go), by the end of the field's path. Who made an object otherwise than by server-side
// apply owns them too, and they stay as they are when nobody wants them any more.
var filledIn = map[string][]string{
	"imagePullPolicy": {"IfNotPresent"}, "terminationMessagePath": {"/dev/termination-log"}, "terminationMessagePolicy": {"File"},
	"dnsPolicy": {"ClusterFirst"}, "restartPolicy": {"Always"}, "schedulerName": {"default-scheduler"}, "terminationGracePeriodSeconds": {"30"},
	"securityContext": {"{}"}, "resources": {"{}"}, "progressDeadlineSeconds": {"600"}, "revisionHistoryLimit": {"10"}, "replicas": {"1"},
	"strategy": {`{"rollingUpdate":{"maxSurge":"25%","maxUnavailable":"25%"},"type":"RollingUpdate"}`}, "type": {"RollingUpdate", "ClusterIP"},
	"maxSurge": {"25%", "0"}, "maxUnavailable": {"25%", "1"}, "protocol": {"TCP"}, "apiVersion": {"v1"}, "defaultMode": {"420"},
	"failureThreshold": {"3"}, "successThreshold": {"1"}, "timeoutSeconds": {"1", "10"}, "periodSeconds": {"10"}, "scheme": {"HTTP"},
	"sessionAffinity": {"None"}, "internalTrafficPolicy": {"Cluster"}, "externalTrafficPolicy": {"Cluster"}, "allocateLoadBalancerNodePorts": {"true"},
	"ipFamilyPolicy": {"SingleStack"}, "matchPolicy": {"Equivalent"}, "namespaceSelector": {"{}"}, "objectSelector": {"{}"}, "scope": {"*"},
	"reinvocationPolicy": {"Never"}, "failurePolicy": {"Fail"}, "emptyDir": {"{}"}, "policyTypes": {`["Ingress"]`}, "conversion": {`{"strategy":"None"}`},
	"expirationSeconds": {"3600"}, "divisor": {"0", "1"}, "minReadySeconds": {"0"}, "serviceAccount": nil, "podManagementPolicy": {"OrderedReady"},
	"apiGroup": {"", "rbac.authorization.k8s.io"}, "kind": nil, "listKind": nil, "singular": nil,
}

// staysAsItIs tells of a field which nobody wants any more that the API server gives it the value that it has. A field
// without a value in the list is a copy of another one (serviceAccount of serviceAccountName).
func staysAsItIs(path, value string) bool {
	last := path[strings.LastIndex(path, ".")+1:]
	values, known := filledIn[last]
	return known && (values == nil || slices.Contains(values, value))
}
