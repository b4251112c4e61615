package plan

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/object"
)

// mostHeld is how much a ConfigMap or a Secret holds, in bytes (Kubernetes: pkg/apis/core, MaxSecretSize, which is that of
// ConfigMaps too).
const mostHeld = 1 << 20

// held is how much a ConfigMap or a Secret holds.
func held(body *unstructured.Unstructured) int {
	n := 0
	for _, field := range []string{"data", "binaryData", "stringData"} {
		data, _, _ := unstructured.NestedFieldNoCopy(body.Object, field) // what is no map an API server refuses in its own words
		values, _ := data.(map[string]any)
		for _, v := range values {
			s, _ := v.(string)
			n += len(s)
		}
	}
	return n
}

// tooLarge notes an object that no API server would take.
func (d *decider) tooLarge(o object.Object) bool {
	if kind := o.Body.GetKind(); kind != "ConfigMap" && kind != "Secret" {
		return false
	}
	n := held(o.Body)
	if n > mostHeld {
		d.conflict(o.Ref(), "", fmt.Sprintf("would hold %d bytes, and a %s holds %d", n, o.Body.GetKind(), mostHeld), "make it smaller, or split it")
	}
	return n > mostHeld
}
