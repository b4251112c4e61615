package plan

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/object"
)

const (
	injector = `{apiVersion: v1, kind: ConfigMap, metadata: {name: istio-sidecar-injector, namespace: istio-system}, data: {config: "templates: 1", values: "{}"}}`
	meshConf = `{apiVersion: v1, kind: ConfigMap, metadata: {name: istio, namespace: istio-system}, data: {mesh: "accessLogFile: /dev/stdout\ndefaultConfig: {concurrency: 2}"}}`
	webhook  = `{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingWebhookConfiguration, metadata: {name: istio-sidecar-injector, labels: {app: sidecar-injector}}}`
	labelled = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: istiod, namespace: istio-system, labels: {app: istiod}}, spec: {replicas: 2, template: {spec: {containers: [{name: discovery, image: "pilot:1"}]}}}}`
)

// set changes a wanted object; the one in place stays as it was applied.
func (w *world) set(name, value string, path ...string) {
	i := slices.IndexFunc(w.want["a"], func(o object.Object) bool { return o.Body.GetName() == name && o.Body.GetKind() != "Namespace" })
	w.want["a"][i].Body = w.want["a"][i].Body.DeepCopy()
	if err := unstructured.SetNestedField(w.want["a"][i].Body.Object, value, path...); err != nil {
		panic(err)
	}
}

func (w *world) without(name string) {
	w.want["a"] = slices.DeleteFunc(w.want["a"], func(o object.Object) bool { return o.Body.GetName() == name })
}

func TestImpact(t *testing.T) {
	many := []facts.Meshed{
		{Namespace: "a", Revision: "default", Workloads: 1, Pods: 1},
		{Namespace: "b", Revision: "default", Workloads: 20, Pods: 20},
		{Namespace: "c", Revision: "default", Workloads: 3, Pods: 3},
		{Namespace: "d", Revision: "default", Workloads: 4, Pods: 4},
		{Namespace: "e", Revision: "default", Workloads: 5, Pods: 5},
	}
	image := func(w *world) {
		w.want["a"][1].Body = parse(labelled)
		w.want["a"][1].Body.Object["spec"].(map[string]any)["template"] = parse(`{apiVersion: v1, kind: X, spec: {containers: [{name: discovery, image: "pilot:2"}]}}`).Object
	}
	live := func(w *world, name, status string) {
		ref := object.Ref{Kind: "Service", Namespace: "istio-system", Name: name}
		w.now.Clusters["a"].Live[ref].Object["status"] = parse(status).Object["status"]
	}
	const balanced = `{apiVersion: v1, kind: X, status: {loadBalancer: {ingress: [{ip: 192.0.2.9}]}}}`
	for _, c := range []struct {
		reason string
		change func(*world)
		want   []string
	}{
		{
			"templates that new pods are made with", func(w *world) { w.set("istio-sidecar-injector", "templates: 2", "data", "config") },
			[]string{"12 workloads in shop, 3 in cart keep the old proxy until they restart"},
		},
		{"those of a revision that nobody has", func(w *world) {
			w.set("istio-sidecar-injector", "templates: 2", "data", "config")
			w.now.Clusters["a"].Meshed = []facts.Meshed{{Namespace: "shop", Revision: "canary", Workloads: 12, Pods: 30}}
		}, nil},
		{"more than were counted", func(w *world) {
			w.set("istio-sidecar-injector", "templates: 2", "data", "config")
			w.now.Clusters["a"].MeshedMore = true
		}, []string{"at least 12 workloads in shop, 3 in cart keep the old proxy until they restart"}},
		{"many namespaces", func(w *world) {
			w.set("istio-sidecar-injector", "templates: 2", "data", "config")
			w.now.Clusters["a"].Meshed = many
		}, []string{"20 workloads in b, 5 in e, 4 in d, 4 in 2 other namespaces keep the old proxy until they restart"}},
		{"mesh configuration that reaches proxies at once", func(w *world) {
			w.set("istio", "accessLogFile: /dev/null\ndefaultConfig: {concurrency: 2}", "data", "mesh")
		}, nil},
		{"what proxies read when they start", func(w *world) {
			w.set("istio", "accessLogFile: /dev/stdout\ndefaultConfig: {concurrency: 4}", "data", "mesh")
		}, []string{"12 workloads in shop, 3 in cart keep the old proxy settings (defaultConfig) until they restart"}},
		{
			"the injector goes", func(w *world) { w.without("istio-sidecar-injector") },
			[]string{"12 workloads in shop, 3 in cart lose their proxy when they restart"},
		},
		{"a control plane with proxies", image, []string{"restarts istiod (2 pods); 33 proxies that are connected to it connect anew"}},
		{
			"a control plane goes", func(w *world) { w.without("istiod") },
			[]string{"stops istiod (2 pods); 33 proxies get no news and no new certificates from it any more"},
		},
		{"a Service that is another afterwards", func(w *world) {
			live(w, "gateway", balanced)
			w.set("gateway", "None", "spec", "clusterIP")
		}, []string{"gateway may get another address than it has (192.0.2.9)"}},
		{"a load balancer that is none afterwards", func(w *world) {
			live(w, "gateway", balanced)
			w.set("gateway", "ClusterIP", "spec", "type")
		}, []string{"gateway loses the address that it has (192.0.2.9)"}},
		{"a load balancer that goes", func(w *world) {
			live(w, "gateway", balanced)
			w.without("gateway")
		}, []string{"gives up the address of gateway (192.0.2.9)"}},
		{"a label", func(w *world) { w.set("istio", "x", "metadata", "labels", "new") }, nil},
	} {
		t.Run(c.reason, func(t *testing.T) {
			w := newWorld("a")
			w.want["a"][1].Body = parse(labelled)
			for _, text := range []string{injector, meshConf, webhook} {
				w.want.Add("a", obj(object.PartControlPlane, text))
			}
			w.converge(t)
			w.now.Clusters["a"].Meshed = []facts.Meshed{
				{Namespace: "cart", Revision: "default", Workloads: 3, Pods: 3},
				{Namespace: "old", Revision: "1-30", Workloads: 9, Pods: 9},
				{Namespace: "shop", Revision: "default", Workloads: 12, Pods: 30},
			}
			c.change(w)
			var got []string
			for _, x := range w.plan(t).Waves[0].Changes {
				got = append(got, x.Impact...)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("impact (-want +got):\n%s", d)
			}
		})
	}
}
