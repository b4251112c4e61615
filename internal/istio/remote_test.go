package istio

import (
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// primaryAndRemote is shop of east and west, west served by east's istiod.
func primaryAndRemote() mesh.Mesh {
	m := shop("east", "west")
	m.Clusters[1].RemoteOf, m.Clusters[1].Istio.Profile = "east", "remote"
	return m
}

// east's gateway at an address, as facts have it.
func gatewayAt(addresses ...string) facts.Snapshot {
	return facts.Snapshot{Clusters: map[string]*facts.Cluster{"east": {
		Name: "east", Gateways: []facts.Gateway{{Namespace: Namespace, Name: EastWestGateway, Addresses: addresses}},
	}, "west": {Name: "west"}}}
}

func TestARemoteHasAWebhookAndNoIstiod(t *testing.T) {
	west := must(t, primaryAndRemote())["west"]
	for _, o := range west {
		ref := o.Ref()
		if ref.Kind == "Deployment" && ref.Name != EastWestGateway || ref.Kind == "Secret" || strings.HasPrefix(ref.Kind, "Validating") || ref.Kind == "HorizontalPodAutoscaler" {
			t.Errorf("west has %s", ref)
		}
	}
	service := find(t, west, "Service", "istiod")
	if at(t, service, "spec").(map[string]any)["selector"] != nil {
		t.Errorf("west's Service istiod selects pods: %v", service["spec"])
	}
	slice := find(t, west, "EndpointSlice", "istiod")
	if got := at(t, slice, "metadata", "labels"); got.(map[string]any)["kubernetes.io/service-name"] != "istiod" {
		t.Errorf("the slice belongs to no Service: %v", got)
	}
	for _, w := range find(t, west, "MutatingWebhookConfiguration", "istio-sidecar-injector")["webhooks"].([]any) {
		if got := at(t, w, "clientConfig", "service", "path"); got != "/inject/cluster/west/net/net-west" {
			t.Errorf("the webhook asks %v", got)
		}
	}
	notes := at(t, find(t, west, "Namespace", Namespace), "metadata", "annotations")
	if diff := gocmp.Diff(map[string]any{annotationControlPlanes: "east"}, notes); diff != "" {
		t.Errorf("who serves west (-want +got):\n%s", diff)
	}
	if find(t, west, "ConfigMap", "istio") == nil {
		t.Error("west's gateway has no mesh configuration")
	}
}

func TestAPrimaryOpensItsIstiodToItsRemotes(t *testing.T) {
	for _, one := range []bool{true, false} {
		m := primaryAndRemote()
		if one {
			m.Clusters[0].Network, m.Clusters[1].Network = "vpc", "vpc"
		}
		objects := must(t, m)
		east := objects["east"]
		var env []string
		for _, e := range at(t, find(t, east, "Deployment", "istiod"), "spec", "template", "spec", "containers", 0, "env").([]any) {
			if e := e.(map[string]any); e["name"] == "EXTERNAL_ISTIOD" {
				env = append(env, e["value"].(string))
			}
		}
		if !slices.Equal(env, []string{"true"}) {
			t.Errorf("EXTERNAL_ISTIOD is %v", env)
		}
		gateway, routes := find(t, east, "Gateway", "istiod-gateway"), find(t, east, "VirtualService", "istiod-gateway")
		want := []any{"istiod.istio-system.svc"}
		for _, hosts := range []any{at(t, gateway, "spec", "servers", 0, "hosts"), at(t, gateway, "spec", "servers", 1, "hosts"), at(t, routes, "spec", "hosts")} {
			if diff := gocmp.Diff(want, hosts); diff != "" {
				t.Errorf("who is let through (-want +got):\n%s", diff)
			}
		}
		find(t, east, "Deployment", EastWestGateway)
		exposed := slices.ContainsFunc(east, func(o object.Object) bool { return o.Body.GetName() == "cross-network-gateway" })
		remote := slices.ContainsFunc(objects["west"], func(o object.Object) bool { return o.Body.GetName() == EastWestGateway })
		if exposed == one || remote == one {
			t.Errorf("one network: %t; services are exposed: %t; the remote has a gateway: %t", one, exposed, remote)
		}
	}
	alone := must(t, shop("east", "west"))["east"]
	if slices.ContainsFunc(alone, func(o object.Object) bool { return o.Body.GetName() == "istiod-gateway" }) {
		t.Error("an istiod that serves nobody else is open to others")
	}
}

func TestIstiodOfARevisionIsOpenUnderItsName(t *testing.T) {
	m := primaryAndRemote()
	for i := range m.Clusters {
		m.Clusters[i].Istio.Revision = "canary"
	}
	objects := must(t, m)
	if got := at(t, find(t, objects["east"], "VirtualService", "istiod-gateway"), "spec", "hosts", 0); got != "istiod-canary.istio-system.svc" {
		t.Errorf("open under %v", got)
	}
	find(t, objects["west"], "Service", "istiod-canary")
}

func TestResolve(t *testing.T) {
	m := primaryAndRemote()
	want := must(t, m)
	seen := func(list []object.Object) (kind, address string, slices int) {
		spec := find(t, list, "Service", "istiod")["spec"].(map[string]any)
		kind, _ = spec["type"].(string)
		address, _ = spec["externalName"].(string)
		for _, o := range list {
			if o.Body.GetKind() == "EndpointSlice" {
				slices++
				address = at(t, o.Body.Object, "addressType").(string) + " " + at(t, o.Body.Object, "endpoints", 0, "addresses", 0).(string)
			}
		}
		return kind, address, slices
	}
	for _, tt := range []struct {
		reason        string
		now           facts.Snapshot
		kind, address string
		slices        int
		waits         string
	}{
		{"an address", gatewayAt("198.18.0.80", "198.18.0.81"), "", "IPv4 198.18.0.80", 1, ""},
		{"one of IPv6", gatewayAt("2001:db8::1"), "", "IPv6 2001:db8::1", 1, ""},
		{"a name", gatewayAt("lb.example"), "ExternalName", "lb.example", 0, ""},
		{"none yet", gatewayAt(), "", "IPv4 " + notKnownYet, 1, "it is served through east's east-west gateway, whose address is not known yet"},
		{"the primary is away", facts.Snapshot{Clusters: map[string]*facts.Cluster{"east": {Err: "refused"}}}, "", "IPv4 " + notKnownYet, 1, "it is served through east's east-west gateway, whose address is not known yet"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			got, waiting := Resolve(m, want, tt.now)
			if kind, address, n := seen(got["west"]); kind != tt.kind || address != tt.address || n != tt.slices || waiting["west"] != tt.waits {
				t.Errorf("type %q, %s, %d slices, waits: %q", kind, address, n, waiting["west"])
			}
			if _, address, _ := seen(want["west"]); address != "IPv4 "+notKnownYet {
				t.Errorf("what was wanted has changed: %s", address)
			}
			if diff := gocmp.Diff(want["east"], got["east"]); diff != "" || len(waiting) > 1 {
				t.Errorf("east waits for nothing: %s", diff)
			}
		})
	}
}

func TestAnAddressOfItsOwnIsTaken(t *testing.T) {
	m := primaryAndRemote()
	m.Clusters[1].Istio.Values = map[string]any{"global": map[string]any{"remotePilotAddress": "istiod.example"}}
	got, waiting := Resolve(m, must(t, m), facts.Snapshot{})
	if at(t, find(t, got["west"], "Service", "istiod"), "spec", "externalName") != "istiod.example" || len(waiting) > 0 {
		t.Errorf("waiting: %v", waiting)
	}
}
