package adopt

import (
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func container(u *unstructured.Unstructured, name string) map[string]any {
	if u == nil {
		return nil
	}
	list, _, _ := unstructured.NestedSlice(u.Object, "spec", "template", "spec", "containers") // none: nothing is told
	for _, x := range list {
		if c, _ := x.(map[string]any); c["name"] == name {
			return c
		}
	}
	return nil
}

// image splits istiod's image into Istio's hub and tag.
func image(istiod *unstructured.Unstructured) (hub, tag string) {
	name, _ := container(istiod, "discovery")["image"].(string)
	hub, rest, ok := cutLast(name, "/")
	if !ok {
		return "", ""
	}
	_, tag, _ = strings.Cut(rest, ":")
	return hub, tag
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// variables finds what istioctl's components.pilot.k8s, which no ConfigMap keeps, added to istiod.
func variables(values map[string]any, live, fresh *unstructured.Unstructured) {
	pilot, _ := values["pilot"].(map[string]any)
	if pilot == nil {
		pilot = map[string]any{}
	}
	usual, env := texts(container(fresh, "discovery")), map[string]any{}
	for name, v := range texts(container(live, "discovery")) {
		if _, known := usual[name]; !known {
			env[name] = v
		}
	}
	if have, _ := pilot["env"].(map[string]any); have == nil && len(env) > 0 {
		pilot["env"] = env
	}
	// istioctl copies of these into the values only what an HorizontalPodAutoscaler needs: the Deployment knows all.
	if r := resources(live, "discovery"); r != nil && !reflect.DeepEqual(r, resources(fresh, "discovery")) {
		pilot["resources"] = r
	}
	if len(pilot) > 0 {
		values["pilot"] = pilot
	}
}

// texts are a container's variables that have a value of their own.
func texts(c map[string]any) map[string]string {
	out := map[string]string{}
	list, _ := c["env"].([]any)
	for _, x := range list {
		e, _ := x.(map[string]any)
		name, _ := e["name"].(string)
		if v, ok := e["value"].(string); ok && e["valueFrom"] == nil {
			out[name] = v
		}
	}
	return out
}

func resources(u *unstructured.Unstructured, name string) map[string]any {
	r, _ := container(u, name)["resources"].(map[string]any)
	if len(r) == 0 {
		return nil
	}
	return r
}
