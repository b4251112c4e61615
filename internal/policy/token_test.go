package policy_test

import (
	"maps"
	"testing"

	"isthmus.dev/isthmus/api/v1alpha1"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/probe"
	"isthmus.dev/isthmus/internal/verify"
)

// TestVerifysServersAskForTokensAsRulesDo: by what istiod makes of verify's policies, a token is let in at the path of a
// rule where that rule would let it in, nobody is let in there without one, and calls of no such path are left alone, those
// that are not HTTP among them.
func TestVerifysServersAskForTokensAsRulesDo(t *testing.T) {
	issuer := v1alpha1.JWTIssuer{Name: "login", Issuer: "https://login.example"}
	m := mesh.Mesh{
		Name: "shop", MTLS: "STRICT", Trust: mesh.Trust{Domain: "cluster.local"}, Clusters: []mesh.Cluster{{Name: "east"}},
		Verify: v1alpha1.Verify{Namespace: "isthmus-verify"}, JWT: []v1alpha1.JWTIssuer{issuer},
	}
	m.Access.Rules = []v1alpha1.AuthorizationRule{
		{Name: "members", To: v1alpha1.Callee{Namespace: "pay"}, Token: &v1alpha1.Token{Issuer: "login"}},
		{Name: "admins", To: v1alpha1.Callee{Namespace: "pay"}, Token: &v1alpha1.Token{Issuer: "login", Claims: map[string][]string{"groups": {"admin", "boss"}, "realm.tier": {"gold"}}}},
	}
	var objects []object.Object
	for _, o := range verify.Workloads(m)["east"] {
		if o.Body.GetKind() == "AuthorizationPolicy" {
			objects = append(objects, o)
		}
	}
	f := filtersOf(t, istiod(t, append(objects, verify.TokenGate(m, issuer))), "isthmus-verify", map[string]string{"app": "server"}, []string{"cluster.local"})
	claims := func(more map[string]any) map[string]any {
		all := map[string]any{"iss": issuer.Issuer, "sub": "me"}
		maps.Copy(all, more)
		return all
	}
	admin := claims(map[string]any{"groups": []any{"user", "admin"}, "realm": map[string]any{"tier": "gold"}})
	for _, c := range []struct {
		reason, path string
		claims       map[string]any
		port         uint32
		tcp, want    bool
	}{
		{"no path of tokens", "/", nil, probe.PortHTTP, false, true},
		{"no token", "/token", nil, probe.PortHTTP, false, false},
		{"a token", "/token", claims(nil), probe.PortHTTP, false, true},
		{"of another issuer", "/token", map[string]any{"iss": "https://other.example", "sub": "me"}, probe.PortHTTP, false, false},
		{"of nobody", "/token", map[string]any{"iss": issuer.Issuer}, probe.PortHTTP, false, false},
		{"no token, where a rule asks", "/token/members", nil, probe.PortHTTP, false, false},
		{"a token is enough", "/token/members", claims(nil), probe.PortHTTP, false, true},
		{"a token is not enough", "/token/admins", claims(nil), probe.PortHTTP, false, false},
		{"the claims", "/token/admins", admin, probe.PortHTTP, false, true},
		{"half of the claims", "/token/admins", claims(map[string]any{"groups": []any{"admin"}}), probe.PortHTTP, false, false},
		{"the other half", "/token/admins", claims(map[string]any{"realm": map[string]any{"tier": "gold"}}), probe.PortHTTP, false, false},
		{"no HTTP", "", nil, probe.PortTCP, true, true},
		{"gRPC", "/grpc.health.v1.Health/Check", nil, probe.PortGRPC, false, true},
	} {
		in, _ := f.letIn(t, arrival{identity: verify.Identity(m, verify.Client), tcp: c.tcp, method: "GET", path: c.path, port: c.port, claims: c.claims})
		if in != c.want {
			t.Errorf("%s: let in %t", c.reason, in)
		}
	}
}
