package istio

import (
	"slices"
	"strings"
	"testing"

	"isthmus.dev/isthmus/internal/object"
)

// TestAnExternalIstiodRunsBesideTheOther: what runs it is in the other cluster and says whose it is; what it reads is
// in the cluster that it serves.
func TestAnExternalIstiodRunsBesideTheOther(t *testing.T) {
	m := shop("east", "west")
	m.Clusters[1].ExternalAt, m.Clusters[1].Istio.Profile = "east", "remote"
	objects := must(t, m)
	const ns = "external-istiod-west"
	var beside []string
	for _, o := range objects["east"] {
		if (o.For == "west") != (o.Body.GetNamespace() == ns || o.Body.GetName() == ns) {
			t.Errorf("%s is for %q", o.Ref(), o.For)
		}
		if o.For == "west" {
			beside = append(beside, o.Ref().String())
		}
	}
	slices.Sort(beside)
	for _, kind := range []string{"Cluster", "Mutating", "Validating", "ConfigMap", "CustomResource"} {
		if slices.ContainsFunc(beside, func(s string) bool { return strings.HasPrefix(s, kind) }) {
			t.Errorf("east has more for west's istiod than it needs: %v", beside)
		}
	}
	env := map[string]any{}
	for _, o := range objects["east"] {
		if o.For == "west" && o.Body.GetKind() == "Deployment" {
			for _, e := range at(t, o.Body.Object, "spec", "template", "spec", "containers", 0, "env").([]any) {
				env[e.(map[string]any)["name"].(string)] = e.(map[string]any)["value"]
			}
		}
	}
	for name, want := range map[string]any{
		"CLUSTER_ID": "west", "EXTERNAL_ISTIOD": "true", "LOCAL_CLUSTER_SECRET_WATCHER": "true",
		"INJECTION_WEBHOOK_CONFIG_NAME": "istio-sidecar-injector-" + ns, "VALIDATION_WEBHOOK_CONFIG_NAME": "istio-validator-" + ns,
	} {
		if env[name] != want {
			t.Errorf("%s is %v, want %v", name, env[name], want)
		}
	}
	west := objects["west"]
	for _, want := range []object.Ref{
		{Kind: "ConfigMap", Namespace: ns, Name: "istio"},
		{Kind: "ConfigMap", Namespace: ns, Name: "istio-sidecar-injector"},
		{Kind: "ServiceAccount", Namespace: ns, Name: "istiod"},
		{Kind: "Service", Namespace: ns, Name: "istiod"},
		{Group: "discovery.k8s.io", Kind: "EndpointSlice", Namespace: ns, Name: "istiod"},
		{Group: "apps", Kind: "Deployment", Namespace: ns, Name: EastWestGateway},
		{Group: "admissionregistration.k8s.io", Kind: "MutatingWebhookConfiguration", Name: "istio-sidecar-injector-" + ns},
		{Group: "admissionregistration.k8s.io", Kind: "ValidatingWebhookConfiguration", Name: "istio-validator-" + ns},
		{Group: "admissionregistration.k8s.io", Kind: "ValidatingWebhookConfiguration", Name: validatorName},
		{Kind: "Namespace", Name: Namespace},
	} {
		if !slices.ContainsFunc(west, func(o object.Object) bool { return o.Ref() == want }) {
			t.Errorf("west lacks %s", want)
		}
	}
	if slices.ContainsFunc(west, func(o object.Object) bool {
		return o.Ref() == object.Ref{Group: "apps", Kind: "Deployment", Namespace: ns, Name: "istiod"}
	}) {
		t.Error("west has an istiod")
	}
	if got := at(t, find(t, objects["east"], "Gateway", "istiod-gateway"), "spec", "servers", 0, "hosts", 0); got != "istiod."+ns+".svc" {
		t.Errorf("open under %v", got)
	}
}
