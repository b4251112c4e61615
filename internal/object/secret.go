package object

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// OpenSecrets are the Secrets with content that a body is, or holds as a list of objects. A Secret that somebody else
// fills, as the API server does for the token of an account, has none.
func OpenSecrets(u *unstructured.Unstructured) []Ref {
	if items, isList := u.Object["items"].([]any); isList {
		var found []Ref
		for _, x := range items {
			item, _ := x.(map[string]any)
			if item == nil {
				continue
			}
			one := &unstructured.Unstructured{Object: item}
			if one.GetKind() == "" && u.GetAPIVersion() == "v1" && u.GetKind() == "SecretList" { // the list says what they are
				one = one.DeepCopy()
				one.SetAPIVersion("v1")
				one.SetKind("Secret")
			}
			found = append(found, OpenSecrets(one)...)
		}
		return found
	}
	if u.GetAPIVersion() != "v1" || u.GetKind() != "Secret" {
		return nil
	}
	for _, field := range []string{"data", "stringData"} {
		switch content := u.Object[field].(type) {
		case nil:
		case map[string]any:
			if len(content) > 0 {
				return []Ref{RefOf(u)}
			}
		default: // nothing that an API server would take, and a text all the same
			return []Ref{RefOf(u)}
		}
	}
	if _, copied := u.GetAnnotations()[corev1.LastAppliedConfigAnnotation]; copied {
		return []Ref{RefOf(u)} // kubectl's copy of the whole object
	}
	return nil
}
