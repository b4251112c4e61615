package istio

import (
	"fmt"
	"slices"
	"strings"

	"isthmus.dev/isthmus/internal/mesh"
)

// sourced adds to the spec of an IstioOperator where its charts are, its revision, and the Secrets that its images
// are pulled with.
func sourced(c mesh.Cluster, spec map[string]any) {
	if dir := c.Istio.Charts.Dir; dir != "" {
		spec["installPackagePath"] = dir
	}
	values := spec["values"].(map[string]any)
	if names := c.Istio.ImagePullSecrets; len(names) > 0 {
		secrets := map[string]any{"global": map[string]any{"imagePullSecrets": toList(names)}}
		values = over(secrets, values)
	}
	if revision := c.Istio.Revision; revision != "" {
		spec["revision"] = revision
		values = over(values, map[string]any{"revisionTags": tags(values["revisionTags"])})
	}
	spec["values"] = values
}

// tags are the revision's, with the default one among them. istioctl install --revision makes that afterwards, for
// the first revision of a cluster, and a document has one revision for each.
func tags(have any) []any {
	list, _ := have.([]any)
	if slices.Contains(list, any(defaultTag)) {
		return list
	}
	return append(slices.Clone(list), defaultTag)
}

// defaultTag is the tag that istio-injection=enabled means.
const defaultTag = "default"

func toList(in []string) []any {
	out := make([]any, 0, len(in))
	for _, s := range in {
		out = append(out, s)
	}
	return out
}

// suffixed is the name of an object of a cluster's revision.
func suffixed(name, revision string) string {
	if revision == "" {
		return name
	}
	return name + "-" + revision
}

// check refuses a version whose charts are not here, since other charts than its own would install something that
// nobody has tested; and flags that are none, which the library takes for an empty value.
func check(c mesh.Cluster) error {
	for _, set := range c.Istio.Set {
		if !strings.Contains(set, "=") {
			return fmt.Errorf("cluster %s: spec.istio.set: %q is not path=value", c.Name, set)
		}
	}
	line, whose := chartsVersion, "this isthmus carries the charts of Istio "+chartsVersion
	if from := c.Istio.Charts; from.From != "" {
		if from.Dir == "" {
			return fmt.Errorf("cluster %s: the charts at %s have not been read", c.Name, from.From)
		}
		line, whose = Line(from.Release), fmt.Sprintf("the charts at %s are of Istio %s", from.From, from.Release)
	}
	asked := strings.TrimPrefix(c.Istio.Version, "v")
	if asked == "" || asked == line || strings.HasPrefix(asked, line+".") || strings.HasPrefix(asked, line+"-") {
		return nil
	}
	return fmt.Errorf("cluster %s: spec.istio.version is %s, and %s: set it to %s.x, or name charts of Istio %s in spec.istio.charts",
		c.Name, c.Istio.Version, whose, line, c.Istio.Version)
}

// Line is the release line of a release: "1.31" of "1.31.1".
func Line(release string) string {
	parts := strings.SplitN(strings.TrimPrefix(release, "v"), ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}
