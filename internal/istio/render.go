package istio

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"

	"istio.io/istio/operator/pkg/component"
	"istio.io/istio/operator/pkg/helm"
	"istio.io/istio/operator/pkg/manifest"
	"istio.io/istio/operator/pkg/render"
	"istio.io/istio/operator/pkg/values"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// controlPlane renders what istioctl install would put into a cluster.
func (r Renderer) controlPlane(m mesh.Mesh, c mesh.Cluster) ([]object.Object, error) {
	bodies, merged, err := r.generate(c.Name, operator(m, c), withoutGateway(c.Istio.Set))
	if err != nil {
		return nil, err
	}
	if err := agree(m, c, merged); err != nil {
		return nil, err
	}
	validator, err := defaultValidator(c, bodies, merged)
	if err != nil {
		return nil, err
	}
	bodies = append(bodies, validator...)
	disown(bodies)
	out := make([]object.Object, 0, len(bodies))
	for _, body := range bodies {
		out = append(out, object.Object{Part: object.PartControlPlane, Reason: reason(c, body), Body: body})
	}
	return out, nil
}

// operator is the IstioOperator that a person would hand to istioctl for a cluster. What the document says of
// values and meshConfig lies over what makes the cluster a member, so that agree can see where they differ.
func operator(m mesh.Mesh, c mesh.Cluster) map[string]any {
	meshConfig := map[string]any{}
	if m.Trust.Domain != "" {
		meshConfig["trustDomain"] = m.Trust.Domain
	}
	member := map[string]any{
		"global": map[string]any{
			"meshID":       m.Name,
			"network":      c.Network,
			"multiCluster": map[string]any{"clusterName": c.Name},
		},
	}
	spec := map[string]any{
		"hub":        cmp.Or(c.Istio.Hub, DefaultHub),
		"tag":        cmp.Or(c.Istio.Tag, DefaultTag),
		"meshConfig": over(meshConfig, c.Istio.MeshConfig),
		"values":     over(over(member, c.Istio.Values), roleValues(m, c)),
	}
	if c.Istio.Profile != "" {
		spec["profile"] = c.Istio.Profile
	}
	sourced(c, spec)
	return map[string]any{"apiVersion": "install.istio.io/v1alpha1", "kind": "IstioOperator", "spec": spec}
}

// over lays top over base: maps by key, everything else replaced. Neither is changed.
func over(base, top map[string]any) map[string]any {
	out := make(map[string]any, len(base)+len(top))
	maps.Copy(out, base)
	for k, v := range top {
		below, isMap := out[k].(map[string]any)
		above, isMapToo := v.(map[string]any)
		if isMap && isMapToo {
			v = over(below, above)
		}
		out[k] = v
	}
	return out
}

// generate renders an IstioOperator and the --set flags over it, and also returns the two merged with the
// profile, as the charts saw them.
func (r Renderer) generate(cluster string, in map[string]any, sets []string) (bodies []*unstructured.Unstructured, merged values.Map, err error) {
	key := keyOf(in, sets)
	if bodies, merged, ok := r.kept(key); ok {
		return bodies, merged, nil
	}
	if bodies, merged, err = renderAnew(cluster, in, sets); err == nil {
		r.keep(key, bodies, merged)
	}
	return bodies, merged, err
}

func renderAnew(cluster string, in map[string]any, sets []string) (bodies []*unstructured.Unstructured, merged values.Map, err error) {
	// The library panics where a --set path runs through something that is not a map.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("cluster %s: render Istio: spec.istio.set does not fit the values that it is laid over: %v", cluster, r)
		}
	}()
	path, remove, err := onDisk(in)
	if err != nil {
		return nil, nil, fmt.Errorf("cluster %s: render Istio: %w", cluster, err)
	}
	defer remove()
	components, merged, err := render.GenerateManifest([]string{path}, sets, false, nil, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("cluster %s: render Istio (spec.istio): %w", cluster, err)
	}
	for _, c := range components {
		for _, x := range c.Manifests {
			if err := noSecret(c.Component, x.Unstructured); err != nil {
				return nil, nil, fmt.Errorf("cluster %s: %w", cluster, err)
			}
			bodies = append(bodies, x.Unstructured)
		}
	}
	return bodies, merged, nil
}

// onDisk writes an IstioOperator where the library can read it, which it does from files only, for this user's
// eyes only.
func onDisk(in map[string]any) (path string, remove func(), err error) {
	text, err := json.Marshal(in)
	if err != nil {
		return "", nil, fmt.Errorf("write values: %w", err)
	}
	f, err := os.CreateTemp("", "isthmus-istio-*.yaml")
	if err != nil {
		return "", nil, fmt.Errorf("write values: %w", err)
	}
	remove = func() { _ = os.Remove(f.Name()) }
	_, err = f.Write(text)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		remove()
		return "", nil, fmt.Errorf("write values: %w", err)
	}
	return f.Name(), remove, nil
}

// agree refuses values that say something else of the mesh than the document does: half of the mesh would
// believe the one and half the other.
func agree(m mesh.Mesh, c mesh.Cluster, merged values.Map) error {
	for _, must := range []struct{ path, want, field string }{
		{"values.global.meshID", m.Name, "metadata.name"},
		{"values.global.multiCluster.clusterName", c.Name, "spec.clusters[].name"},
		{"values.global.network", c.Network, "spec.clusters[].network"},
		{"values.meshConfig.trustDomain", m.Trust.Domain, "spec.trust.domain"},
		{"values.global.istioNamespace", c.IstioNamespace(), ""},
	} {
		got := merged.GetPathString("spec." + must.path)
		switch {
		case must.want == "" || got == must.want:
		case must.field == "":
			return fmt.Errorf("cluster %s: spec.istio says %s: %s, and Isthmus installs Istio into %s only: take it out", c.Name, must.path, got, must.want)
		default:
			return fmt.Errorf("cluster %s: spec.istio says %s: %s, and the document's %s is %s: take the former out, or change the latter",
				c.Name, must.path, got, must.field, must.want)
		}
	}
	return nil
}

// defaultValidator is the webhook that validates Istio objects which name no revision, that is nearly all. It is
// in no profile: istioctl install makes it afterwards, from a chart of its own, for the default revision and for the
// first one of a cluster, which becomes the default (see WebhooksToDeploy in istio.io/istio/operator/pkg/webhook).
// Helm users get it from the base chart.
func defaultValidator(c mesh.Cluster, bodies []*unstructured.Unstructured, merged values.Map) ([]*unstructured.Unstructured, error) {
	has := func(name string) bool {
		return slices.ContainsFunc(bodies, func(b *unstructured.Unstructured) bool {
			return b.GetKind() == "ValidatingWebhookConfiguration" && b.GetName() == name
		})
	}
	own := suffixed("istio-validator", c.Istio.Revision) + "-" + c.IstioNamespace()
	if merged.GetPathBool("spec.values.global.operatorManageWebhooks") || !has(own) || has(validatorName) {
		return nil, nil
	}
	rendered, _, err := helm.Render("istio", c.IstioNamespace(), "default", merged, nil)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: render Istio's default validator: %w", c.Name, err)
	}
	for _, x := range rendered {
		if x.GetKind() == "ValidatingWebhookConfiguration" && x.GetName() == validatorName {
			return []*unstructured.Unstructured{x.Unstructured}, nil
		}
	}
	return nil, fmt.Errorf("cluster %s: render Istio's default validator: the chart holds none", c.Name)
}

const validatorName = "istiod-default-validator"

// operatorLabel is how the charts mark which of istioctl's components an object is of.
const operatorLabel = manifest.IstioComponentLabel

var ingress = string(component.IngressComponentName)
