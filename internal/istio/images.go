package istio

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/kube/inject"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/object"
)

// An ImageUse is an image and what runs it.
type ImageUse struct{ Image, By string }

// Images are the images that wanted objects of a cluster bring with them, sorted: those of their pods, and those that
// the injector of a control plane among them gives to other pods. For the latter Istio's own injector runs over its
// own templates, mesh configuration and values, as they are in the ConfigMaps.
//
// Templates that a pod must ask for by name, such as grpc-simple, are left out, but for Istio's gateways.
func Images(objects []object.Object) ([]ImageUse, error) {
	var uses []ImageUse
	for _, o := range objects {
		pod, there := podOf(o.Body)
		if !there {
			continue
		}
		for _, image := range imagesOf(pod) {
			if image != automatic {
				uses = append(uses, ImageUse{Image: image, By: o.Ref().String()})
			}
		}
	}
	for _, o := range objects {
		if o.Body.GetKind() != "ConfigMap" || !strings.HasPrefix(o.Body.GetName(), injectorConfig) {
			continue
		}
		injected, err := injectedImages(o.Body, objects)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.Ref(), err)
		}
		uses = append(uses, injected...)
	}
	slices.SortFunc(uses, func(a, b ImageUse) int { return cmp.Or(strings.Compare(a.Image, b.Image), strings.Compare(a.By, b.By)) })
	return slices.Compact(uses), nil
}

const (
	// automatic stands for the image that the injector gives a gateway's pod.
	automatic = "auto"
	// injectorConfig and meshConfig begin the names of the ConfigMaps of a revision.
	injectorConfig = "istio-sidecar-injector"
	meshConfig     = "istio"
)

// podOf is the pod template of a workload of any kind.
func podOf(b *unstructured.Unstructured) (map[string]any, bool) {
	for _, path := range [][]string{
		{"spec", "template", "spec"}, {"spec", "jobTemplate", "spec", "template", "spec"},
	} {
		if spec, ok, err := unstructured.NestedMap(b.Object, path...); ok && err == nil {
			return spec, true
		}
	}
	if b.GetKind() == "Pod" {
		spec, ok, err := unstructured.NestedMap(b.Object, "spec")
		return spec, ok && err == nil
	}
	return nil, false
}

func imagesOf(pod map[string]any) []string {
	var images []string
	for _, kind := range []string{"initContainers", "containers"} {
		list, _ := pod[kind].([]any)
		for _, x := range list {
			container, _ := x.(map[string]any)
			if image, _ := container["image"].(string); image != "" {
				images = append(images, image)
			}
		}
	}
	return images
}

// injectedImages runs the injector over an empty pod for each of the templates that pods get.
func injectedImages(config *unstructured.Unstructured, objects []object.Object) ([]ImageUse, error) {
	text := func(u *unstructured.Unstructured, key string) string {
		s, _, _ := unstructured.NestedString(u.Object, "data", key) // absent is nothing to inject with
		return s
	}
	injector, err := inject.UnmarshalConfig([]byte(text(config, "config")))
	if err != nil {
		return nil, fmt.Errorf("read the injector's templates: %w", err)
	}
	values, err := inject.NewValuesConfig(text(config, "values"))
	if err != nil {
		return nil, fmt.Errorf("read the injector's values: %w", err)
	}
	meshText, name := "", meshConfig+strings.TrimPrefix(config.GetName(), injectorConfig)
	for _, o := range objects {
		if o.Body.GetKind() == "ConfigMap" && o.Body.GetName() == name && o.Body.GetNamespace() == config.GetNamespace() {
			meshText = text(o.Body, "mesh")
		}
	}
	defaults, err := mesh.ApplyMeshConfigDefaults(meshText)
	if err != nil {
		return nil, fmt.Errorf("read the mesh configuration: %w", err)
	}
	uses := []ImageUse{}
	for _, kind := range []struct {
		by        string
		templates []string
	}{
		{"injected proxies", injector.DefaultTemplates},
		{"gateways with injected proxies", []string{"gateway"}},
	} {
		pod := &corev1.Pod{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
			ObjectMeta: metav1.ObjectMeta{Name: "any", Namespace: "any", Annotations: map[string]string{
				"inject.istio.io/templates": strings.Join(kind.templates, ","),
			}},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: automatic}}},
		}
		got, err := inject.IntoObject(nil, injector.Templates, values, "", defaults, pod, func(string) {})
		if err != nil {
			return nil, fmt.Errorf("inject the templates %s: %w", strings.Join(kind.templates, ", "), err)
		}
		spec := got.(*corev1.Pod).Spec
		for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
			if c.Image != automatic && c.Image != "" {
				uses = append(uses, ImageUse{Image: c.Image, By: kind.by})
			}
		}
	}
	// Gateways and waypoints of the Gateway API: their templates are whole Deployments, with this image in them. A
	// name with a slash is an image as it stands, here as in all templates.
	image := values.Struct().GetGlobal().GetProxy().GetImage()
	if !strings.Contains(image, "/") {
		image = inject.ProxyImage(values.Struct(), defaults.GetDefaultConfig().GetImage(), nil)
	}
	return append(uses, ImageUse{Image: image, By: "gateways and waypoints of the Gateway API"}), nil
}
