package istio

import (
	"fmt"
	"slices"

	"istio.io/istio/operator/pkg/component"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/object"
)

// noSecret refuses a Secret that a chart fills: what is rendered is shown, saved and written into files. None of Istio's
// charts has one.
func noSecret(of component.Name, body *unstructured.Unstructured) error {
	found := object.OpenSecrets(body)
	if len(found) == 0 {
		return nil
	}
	chart := string(of)
	if at := slices.IndexFunc(component.AllComponents, func(c component.Component) bool { return c.UserFacingName == of }); at >= 0 {
		chart = fmt.Sprintf("%s (charts/%s)", of, component.AllComponents[at].HelmSubdir)
	}
	return fmt.Errorf("the chart of %s makes %s with its content, which would stand in clear text in plans and in rendered files\n  Take it out of the chart and have it made where nobody reads it: by External Secrets, Sealed Secrets or kubectl, in the cluster; values name one that exists",
		chart, found[0])
}
