package explain

import "testing"

func TestPolicyRules(t *testing.T) {
	ada := rbacCall{
		Call:      Call{Host: echoHost, Port: 80, Method: "GET", Path: "/pay/1?x=2", Headers: map[string]string{"x-team": "blue"}, Claims: map[string]any{"iss": "https://a", "sub": "ada", "groups": []any{"dev", "ops"}, "org": map[string]any{"unit": "pay"}}},
		principal: "mesh.example/ns/demo/sa/client", namespace: "demo", trustDomain: "mesh.example", port: 8080,
	}
	cases := []struct {
		reason, rules string
		want          answer
	}{
		{"no rules", "[]", no},
		{"an empty rule", "[{}]", yes},
		{"the principal", `[{from: [{source: {principals: ["mesh.example/ns/demo/sa/client"]}}]}]`, yes},
		{"cluster.local is the mesh's own domain", `[{from: [{source: {principals: ["cluster.local/ns/demo/sa/client"]}}]}]`, yes},
		{"with the scheme it is no identity", `[{from: [{source: {principals: ["spiffe://mesh.example/ns/demo/sa/client"]}}]}]`, no},
		{"a suffix", `[{from: [{source: {principals: ["*/sa/client"]}}]}]`, yes},
		{"anyone with an identity", `[{from: [{source: {principals: ["*"]}}]}]`, yes},
		{"not the principal", `[{from: [{source: {notPrincipals: ["*/sa/client"]}}]}]`, no},
		{"a service account", `[{from: [{source: {serviceAccounts: ["demo/client"]}}]}]`, yes},
		{"another namespace", `[{from: [{source: {namespaces: [shop]}}]}]`, no},
		{"one of two sources", `[{from: [{source: {namespaces: [shop]}}, {source: {namespaces: [demo]}}]}]`, yes},
		{"one of two rules", `[{from: [{source: {namespaces: [shop]}}]}, {to: [{operation: {methods: [GET]}}]}]`, yes},
		{"source and operation", `[{from: [{source: {namespaces: [demo]}}], to: [{operation: {methods: [POST]}}]}]`, no},
		{"a path", `[{to: [{operation: {paths: ["/pay/*"]}}]}]`, yes},
		{"a path template", `[{to: [{operation: {paths: ["/pay/{*}"]}}]}]`, yes},
		{"a deeper template", `[{to: [{operation: {paths: ["/{**}"]}}]}]`, yes},
		{"not a path", `[{to: [{operation: {notPaths: ["/pay/*"]}}]}]`, no},
		{"the pod's port", `[{to: [{operation: {ports: ["8080"]}}]}]`, yes},
		{"the Service's port is not the pod's", `[{to: [{operation: {ports: ["80"]}}]}]`, no},
		{"a host", `[{to: [{operation: {hosts: ["echo.demo"]}}]}]`, yes},
		{"an address that is not known", `[{from: [{source: {ipBlocks: ["10.0.0.0/8"]}}]}]`, perhaps},
		{"a token's subject", `[{from: [{source: {requestPrincipals: ["https://a/ada"]}}]}]`, yes},
		{"a claim with a list", `[{when: [{key: "request.auth.claims[groups]", values: [ops]}]}]`, yes},
		{"a claim within a claim", `[{when: [{key: "request.auth.claims[org][unit]", values: [pay]}]}]`, yes},
		{"a claim that is not there", `[{when: [{key: "request.auth.claims[none]", values: [ops]}]}]`, no},
		{"a header", `[{when: [{key: "request.headers[X-Team]", notValues: [blue]}]}]`, no},
		{"a key that is not known", `[{when: [{key: "experimental.envoy.filters.x[y]", values: [z]}]}]`, perhaps},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			u := config(t, "kind: AuthorizationPolicy\nmetadata: {name: p, namespace: demo}\nspec: {rules: "+c.rules+"}")
			if _, got := ada.matches(u); got != c.want {
				t.Errorf("%s: %d, want %d", c.rules, got, c.want)
			}
		})
	}
}

// TestWithoutIdentity: a caller in plain text has no principal, so nothing that asks for one fits.
func TestWithoutIdentity(t *testing.T) {
	plain := rbacCall{Call: Call{Method: "GET", Path: "/"}, trustDomain: "cluster.local", source: "10.1.2.3"}
	for rules, want := range map[string]answer{
		`[{from: [{source: {principals: ["*"]}}]}]`:           no,
		`[{from: [{source: {notPrincipals: ["*"]}}]}]`:        yes,
		`[{from: [{source: {ipBlocks: ["10.1.0.0/16"]}}]}]`:   yes,
		`[{from: [{source: {notIpBlocks: ["10.1.2.3"]}}]}]`:   no,
		`[{from: [{source: {requestPrincipals: ["*"]}}]}]`:    no,
		`[{from: [{source: {serviceAccounts: ["client"]}}]}]`: no,
	} {
		u := config(t, "kind: AuthorizationPolicy\nmetadata: {name: p, namespace: demo}\nspec: {rules: "+rules+"}")
		if _, got := plain.matches(u); got != want {
			t.Errorf("%s: %d, want %d", rules, got, want)
		}
	}
}
