package traffic

import (
	"encoding/json"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/validation"
	"istio.io/istio/pkg/config/validation/envoyfilter"
	"istio.io/istio/pkg/util/protomarshal"

	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

func shop(names ...string) mesh.Mesh {
	m := mesh.Mesh{Name: "shop", Failover: &mesh.Failover{ConnectTimeout: 2 * time.Second, DeadAfter: 4 * time.Second, EjectionTime: 20 * time.Second, ConsecutiveFailures: 7}}
	for _, name := range names {
		m.Clusters = append(m.Clusters, mesh.Cluster{Name: name, Network: name})
	}
	return m
}

// read is an object's spec as istiod reads it, judged by its webhook.
func read[T proto.Message](t *testing.T, o object.Object, spec T, judge validation.ValidateFunc) T {
	t.Helper()
	text, err := json.Marshal(o.Body.Object["spec"])
	if err != nil {
		t.Fatal(err)
	}
	if err := protomarshal.Unmarshal(text, spec); err != nil {
		t.Fatalf("istiod cannot read %s: %v", o.Ref(), err)
	}
	if _, err := judge(config.Config{Meta: config.Meta{Name: o.Body.GetName(), Namespace: o.Body.GetNamespace()}, Spec: spec}); err != nil {
		t.Fatalf("%s: %v", o.Ref(), err)
	}
	return spec
}

func TestFailoverIsWhatTheDocumentSays(t *testing.T) {
	m := shop("east", "west")
	m.Clusters = append(m.Clusters, mesh.Cluster{Name: "far", RemoteOf: "west"})
	got := Objects(m)
	if len(got["east"]) != 2 || len(got["west"]) != 2 || len(got["far"]) != 0 {
		t.Fatalf("objects of east, west and west's remote: %d, %d, %d; want 2, 2 and none", len(got["east"]), len(got["west"]), len(got["far"]))
	}
	rule := read(t, got["east"][0], &networking.DestinationRule{}, validation.ValidateDestinationRule)
	p := rule.GetTrafficPolicy()
	if rule.GetHost() != "*.local" || p.GetConnectionPool().GetTcp().GetConnectTimeout().AsDuration() != 2*time.Second {
		t.Errorf("the rule is %v", rule)
	}
	o := p.GetOutlierDetection()
	if !o.GetSplitExternalLocalOriginErrors() || o.GetConsecutiveLocalOriginFailures().GetValue() != 7 || o.GetBaseEjectionTime().AsDuration() != 20*time.Second {
		t.Errorf("outlier detection is %v", o)
	}
	// An answer is never a reason to leave somebody out: nil would be Istio's five in a row.
	if o.GetConsecutive_5XxErrors() == nil || o.GetConsecutive_5XxErrors().GetValue() != 0 || o.GetConsecutiveGatewayErrors() == nil || o.GetConsecutiveGatewayErrors().GetValue() != 0 {
		t.Errorf("answers count as failures: %v", o)
	}
	filter := read(t, got["east"][1], &networking.EnvoyFilter{}, envoyfilter.ValidateEnvoyFilter)
	for _, patch := range filter.GetConfigPatches() {
		option := patch.GetPatch().GetValue().GetFields()["upstream_bind_config"].GetStructValue().GetFields()["socket_options"].GetListValue().GetValues()[0].GetStructValue().GetFields()
		if option["int_value"].GetNumberValue() != 4000 || option["level"].GetNumberValue() != 6 || option["name"].GetNumberValue() != 18 {
			t.Errorf("%s: the socket option is %v", patch.GetMatch().GetContext(), option)
		}
	}
	if n := len(filter.GetConfigPatches()); n != 2 {
		t.Errorf("%d patches, want one for sidecars and one for gateways", n)
	}
}

func TestFailoverMayBeLess(t *testing.T) {
	m := shop("east")
	m.Failover.DeadAfter = 0
	if got := Objects(m)["east"]; len(got) != 1 || got[0].Body.GetKind() != "DestinationRule" {
		t.Errorf("with connections left to the kernel there is %v", got)
	}
	m.Failover = nil
	if got := Objects(m); len(got) != 0 {
		t.Errorf("without failover there is %v", got)
	}
}
