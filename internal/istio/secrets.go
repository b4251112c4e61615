package istio

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"isthmus.dev/isthmus/internal/object"
)

// withoutSecrets refuses charts that make a Secret with something in it: what a chart makes is in plans and in rendered
// files, where a secret must not be. Istio's own charts make none.
func withoutSecrets(cluster string, objects []object.Object) error {
	for _, o := range objects {
		if o.Body.GetKind() != "Secret" || o.Body.GroupVersionKind().Group != "" || o.Sealed != nil {
			continue
		}
		keys := map[string]bool{}
		for _, field := range []string{"data", "stringData"} {
			data, is := o.Body.Object[field].(map[string]any)
			if !is && o.Body.Object[field] != nil {
				keys[field] = true // no map: nobody knows what it is
			}
			for k := range data {
				keys[k] = true
			}
		}
		if len(keys) > 0 {
			return fmt.Errorf("cluster %s: the charts make Secret %s/%s, which holds %s: it would stand in plans and rendered files for all to read. Make it beside Isthmus (kubectl, External Secrets, Sealed Secrets), and let the charts' values name it",
				cluster, o.Body.GetNamespace(), o.Body.GetName(), strings.Join(slices.Sorted(maps.Keys(keys)), ", "))
		}
	}
	return nil
}
