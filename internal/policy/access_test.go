package policy_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"pgregory.net/rapid"

	"isthmus.dev/isthmus/api/v1alpha1"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/policy"
)

// A world small enough that random rules are often about the same things.
var (
	spaces       = []string{"pay", "shop"}
	accounts     = []string{"api", "web"}
	apps         = []string{"a", "b"}
	paths        = []string{"/pay", "/pay/card", "/health", "/"}
	methods      = []string{"GET", "POST"}
	ports        = []int32{8080, 9000}
	tokenIssuers = []string{"https://login.example", "machine"}
)

func subset[T any](t *rapid.T, from []T, name string) []T {
	var out []T
	for i, x := range from {
		if rapid.Bool().Draw(t, fmt.Sprintf("%s%d", name, i)) {
			out = append(out, x)
		}
	}
	return out
}

func as[T ~string](list []string) []T {
	var out []T
	for _, s := range list {
		out = append(out, T(s))
	}
	return out
}

func randomRule(t *rapid.T, i int) v1alpha1.AuthorizationRule {
	r := v1alpha1.AuthorizationRule{Name: fmt.Sprintf("r%d", i), To: v1alpha1.Callee{Namespace: rapid.SampledFrom(spaces).Draw(t, "to")}}
	if rapid.Bool().Draw(t, "selects") {
		r.To.Selector = map[string]string{"app": rapid.SampledFrom(apps).Draw(t, "app")}
	}
	r.To.Clusters = subset(t, []string{"east", "west"}, "cluster")
	for range rapid.IntRange(1, 2).Draw(t, "callers") {
		if rapid.IntRange(0, 4).Draw(t, "anyone") == 0 {
			r.From = append(r.From, v1alpha1.Caller{Anyone: true})
			continue
		}
		r.From = append(r.From, v1alpha1.Caller{
			Namespace: rapid.SampledFrom(spaces).Draw(t, "from"), ServiceAccounts: as[v1alpha1.Account](subset(t, accounts, "account")),
		})
	}
	if rapid.Bool().Draw(t, "http") {
		r.Methods = as[v1alpha1.Method](subset(t, methods, "method"))
		r.Paths = as[v1alpha1.Path](subset(t, []string{"/pay", "/pay/*", "*/card", "*", "/"}, "path"))
	}
	for _, p := range subset(t, ports, "port") {
		r.Ports = append(r.Ports, v1alpha1.Port(p))
	}
	if rapid.IntRange(0, 3).Draw(t, "token") == 0 {
		r.Token = &v1alpha1.Token{Issuer: rapid.SampledFrom([]string{"login", "machine"}).Draw(t, "issuer")}
		if rapid.Bool().Draw(t, "claims") {
			r.Token.Claims = map[string][]string{"groups": {"admin"}}
			if rapid.Bool().Draw(t, "nested") {
				r.Token.Claims["realm.roles"] = []string{"payer", "chief"}
			}
		}
	}
	return r
}

func randomMesh(t *rapid.T) mesh.Mesh {
	m := mesh.Mesh{
		Name: "shop", MTLS: rapid.SampledFrom([]string{"STRICT", "PERMISSIVE"}).Draw(t, "mtls"),
		Trust:    mesh.Trust{Domain: rapid.SampledFrom([]string{"cluster.local", "shop.example"}).Draw(t, "domain")},
		Clusters: []mesh.Cluster{{Name: "east"}, {Name: "west"}},
		JWT:      []v1alpha1.JWTIssuer{{Name: "login", Issuer: tokenIssuers[0]}, {Name: "machine", Issuer: tokenIssuers[1]}},
		Access: v1alpha1.Authorization{
			Default: rapid.SampledFrom([]string{"allow", "deny"}).Draw(t, "default"),
			Mode:    rapid.SampledFrom([]string{"enforce", "dryRun"}).Draw(t, "mode"),
		},
	}
	for i := range rapid.IntRange(0, 4).Draw(t, "rules") {
		m.Access.Rules = append(m.Access.Rules, randomRule(t, i))
	}
	return m
}

// means is what a document says about a call, read from the document alone.
func means(m mesh.Mesh, cluster, namespace, app string, a arrival) bool {
	about := false
	for _, r := range m.Access.Rules {
		if r.To.Namespace != namespace || r.To.Selector != nil && r.To.Selector["app"] != app ||
			len(r.To.Clusters) > 0 && !slices.Contains(r.To.Clusters, cluster) {
			continue
		}
		about = true
		if letsIn(m, r, a) {
			return true
		}
	}
	return !about && m.Access.Default == "allow"
}

func letsIn(m mesh.Mesh, r v1alpha1.AuthorizationRule, a arrival) bool {
	caller := slices.ContainsFunc(r.From, func(c v1alpha1.Caller) bool {
		if c.Anyone {
			return true
		}
		rest, ok := strings.CutPrefix(a.identity, "spiffe://"+m.Trust.Domain+"/ns/"+c.Namespace+"/sa/")
		return ok && (len(c.ServiceAccounts) == 0 || slices.Contains(c.ServiceAccounts, v1alpha1.Account(rest)))
	})
	if !caller || len(r.Ports) > 0 && !slices.Contains(r.Ports, v1alpha1.Port(a.port)) {
		return false
	}
	if a.tcp {
		return len(r.Methods) == 0 && len(r.Paths) == 0 && r.Token == nil
	}
	if len(r.Methods) > 0 && !slices.Contains(r.Methods, v1alpha1.Method(a.method)) {
		return false
	}
	if len(r.Paths) > 0 && !slices.ContainsFunc(r.Paths, func(p v1alpha1.Path) bool { return onPath(string(p), a.path) }) {
		return false
	}
	return r.Token == nil || believed(m, *r.Token, a.claims)
}

func onPath(p, path string) bool {
	switch {
	case p == "*":
		return true
	case strings.HasPrefix(p, "*"):
		return strings.HasSuffix(path, p[1:])
	case strings.HasSuffix(p, "*"):
		return strings.HasPrefix(path, strings.TrimSuffix(p, "*"))
	}
	return p == path
}

func believed(m mesh.Mesh, token v1alpha1.Token, claims map[string]any) bool {
	issuer, _ := m.Issuer(token.Issuer)
	if claims == nil || claims["iss"] != issuer.Issuer {
		return false
	}
	for name, values := range token.Claims {
		var v any = claims
		for key := range strings.SplitSeq(name, ".") {
			inner, _ := v.(map[string]any)
			v = inner[key]
		}
		list, _ := v.([]any)
		if !slices.ContainsFunc(values, func(want string) bool { return v == want || slices.Contains(list, any(want)) }) {
			return false
		}
	}
	return true
}

// everyCall is every call of the small world: every identity, one of another trust domain and none, over TCP and HTTP,
// with tokens and without.
func everyCall(m mesh.Mesh) []arrival {
	identities := []string{"", "spiffe://elsewhere/ns/pay/sa/web"}
	for _, ns := range append(spaces, "other") {
		for _, sa := range append(accounts, "webby") {
			identities = append(identities, "spiffe://"+m.Trust.Domain+"/ns/"+ns+"/sa/"+sa)
		}
	}
	tokens := []map[string]any{
		nil,
		{"iss": tokenIssuers[0], "sub": "ann", "groups": []any{"user", "admin"}, "realm": map[string]any{"roles": []any{"payer"}}},
		{"iss": tokenIssuers[0], "sub": "bob", "groups": []any{"user"}},
		{"iss": tokenIssuers[1], "sub": "cron", "groups": "admin", "realm": map[string]any{"roles": "chief"}},
	}
	var all []arrival
	for _, id := range identities {
		for _, port := range ports {
			all = append(all, arrival{identity: id, tcp: true, port: uint32(port)})
			for _, method := range methods {
				for _, path := range paths {
					for _, token := range tokens {
						all = append(all, arrival{identity: id, method: method, path: path, port: uint32(port), claims: token})
					}
				}
			}
		}
	}
	return all
}

// TestPoliciesMeanWhatTheDocumentSays: over random documents, the filters that istiod's own code makes of our objects
// let in exactly the calls that the document lets in, in every cluster, for every workload and every call. In a dry run
// nothing is refused, and the shadow rules say what would be.
func TestPoliciesMeanWhatTheDocumentSays(t *testing.T) {
	asked, refused := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		m := randomMesh(rt)
		objects, err := policy.Objects(m, nil)
		if err != nil {
			t.Fatal(err)
		}
		calls := everyCall(m)
		for _, c := range m.Clusters {
			all := istiod(t, objects[c.Name])
			for _, ns := range append(spaces, "bystander") {
				for _, app := range apps {
					made := filtersOf(t, all, ns, map[string]string{"app": app}, []string{m.Trust.Domain})
					for _, a := range calls {
						in, dry := made.letIn(t, a)
						if m.DryRun() {
							if !in {
								rt.Fatalf("a dry run refuses %+v at %s/%s in %s", a, ns, app, c.Name)
							}
							in = dry
						}
						want := means(m, c.Name, ns, app, a)
						if in != want {
							rt.Fatalf("%s/%s in %s: %+v: istiod lets in %t, the document %t: %+v", ns, app, c.Name, a, in, want, m.Access)
						}
						if asked++; !want {
							refused++
						}
					}
				}
			}
		}
	})
	t.Logf("%d calls judged, %d of them refused", asked, refused)
	if asked == 0 || refused == 0 || refused == asked {
		t.Errorf("%d of %d refused: the random documents show nothing", refused, asked)
	}
}

// TestTrustDomainsDoNotTellClustersApart is why a rule cannot name the cluster of a caller: clusters of one mesh with
// trust domains of their own must be each other's aliases, and istiod lets an identity of any of them in where one is
// named.
func TestTrustDomainsDoNotTellClustersApart(t *testing.T) {
	m := mesh.Mesh{
		Name: "shop", MTLS: "STRICT", Trust: mesh.Trust{Domain: "east.shop"}, Clusters: []mesh.Cluster{{Name: "east"}},
		Access: v1alpha1.Authorization{Default: "deny", Mode: "enforce", Rules: []v1alpha1.AuthorizationRule{{
			Name: "web", To: v1alpha1.Callee{Namespace: "pay"}, From: []v1alpha1.Caller{{Namespace: "shop", ServiceAccounts: []v1alpha1.Account{"web"}}},
		}}},
	}
	objects, err := policy.Objects(m, nil)
	if err != nil {
		t.Fatal(err)
	}
	all := istiod(t, objects["east"])
	from := func(domain string) arrival {
		return arrival{identity: "spiffe://" + domain + "/ns/shop/sa/web", method: "GET", path: "/", port: 80}
	}
	for _, c := range []struct {
		reason  string
		aliases []string
		caller  string
		in      bool
	}{
		{"the named one", []string{"east.shop", "west.shop"}, "east.shop", true},
		{"the alias, though the policy names the other", []string{"east.shop", "west.shop"}, "west.shop", true},
		{"without the alias not, but neither would its certificate be taken", []string{"east.shop"}, "west.shop", false},
	} {
		if in, _ := filtersOf(t, all, "pay", nil, c.aliases).letIn(t, from(c.caller)); in != c.in {
			t.Errorf("%s: let in %t, want %t", c.reason, in, c.in)
		}
	}
}

func deployment(name string, labels map[string]any, args ...any) object.Object {
	return object.Object{Part: object.PartControlPlane, Body: &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": name, "namespace": "istio-system"},
		"spec": map[string]any{"template": map[string]any{
			"metadata": map[string]any{"labels": labels},
			"spec":     map[string]any{"containers": []any{map[string]any{"name": "istio-proxy", "args": args}}},
		}},
	}}}
}

func TestGatewaysStayOpen(t *testing.T) {
	m := mesh.Mesh{
		Name: "shop", MTLS: "STRICT", Trust: mesh.Trust{Domain: "cluster.local"}, Clusters: []mesh.Cluster{{Name: "east"}},
		Access: v1alpha1.Authorization{Default: "deny", Mode: "enforce"},
	}
	made := object.Objects{"east": {
		deployment("istio-ingressgateway", map[string]any{"app": "istio-ingressgateway", "istio": "ingressgateway"}, "proxy", "router"),
		deployment("istiod", map[string]any{"app": "istiod", "istio": "pilot"}, "discovery"),
	}}
	objects, err := policy.Objects(m, made)
	if err != nil {
		t.Fatal(err)
	}
	all := istiod(t, objects["east"])
	outside := arrival{method: "GET", path: "/", port: 8080}
	for app, want := range map[string]bool{"ingressgateway": true, "anything": false} {
		labels := map[string]string{"app": "istio-" + app, "istio": app}
		if in, _ := filtersOf(t, all, "istio-system", labels, []string{"cluster.local"}).letIn(t, outside); in != want {
			t.Errorf("%s lets in %t, want %t", app, in, want)
		}
	}
	var names []string
	for _, o := range objects["east"] {
		names = append(names, o.Ref().String())
	}
	want := []string{"PeerAuthentication istio-system/default", "AuthorizationPolicy istio-system/isthmus-default", "AuthorizationPolicy istio-system/isthmus-gateway-istio-ingressgateway"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestIdentitiesAreAskedFor: where the mesh takes plain text, workloads that rules name callers for do not.
func TestIdentitiesAreAskedFor(t *testing.T) {
	rule := func(name, ns string, selector map[string]string, caller v1alpha1.Caller) v1alpha1.AuthorizationRule {
		return v1alpha1.AuthorizationRule{Name: name, To: v1alpha1.Callee{Namespace: ns, Selector: selector}, From: []v1alpha1.Caller{caller}}
	}
	web := v1alpha1.Caller{Namespace: "shop"}
	m := mesh.Mesh{
		Name: "shop", MTLS: "PERMISSIVE", Trust: mesh.Trust{Domain: "cluster.local"}, Clusters: []mesh.Cluster{{Name: "east"}},
		Access: v1alpha1.Authorization{Default: "allow", Mode: "enforce", Rules: []v1alpha1.AuthorizationRule{
			rule("a", "pay", nil, web), rule("b", "pay", nil, web), rule("c", "bank", map[string]string{"app": "x"}, web),
			rule("d", "open", nil, web), rule("e", "open", map[string]string{"app": "y"}, v1alpha1.Caller{Anyone: true}),
		}},
	}
	modes := func(m mesh.Mesh) []string {
		objects, err := policy.Objects(m, nil)
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]bool{}
		for _, o := range objects["east"] {
			if o.Body.GetKind() == "PeerAuthentication" {
				mode, _, _ := unstructured.NestedString(o.Body.Object, "spec", "mtls", "mode")
				found[o.Ref().String()+" "+mode] = true
			}
		}
		return slices.Sorted(maps.Keys(found))
	}
	want := []string{
		"PeerAuthentication bank/isthmus-rule-c STRICT", "PeerAuthentication istio-system/default PERMISSIVE", "PeerAuthentication pay/isthmus-access STRICT",
	}
	if diff := cmp.Diff(want, modes(m)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	m.Access.Mode = "dryRun"
	if diff := cmp.Diff([]string{"PeerAuthentication istio-system/default PERMISSIVE"}, modes(m)); diff != "" {
		t.Errorf("a dry run refuses nobody (-want +got):\n%s", diff)
	}
}

func TestIssuers(t *testing.T) {
	yes := true
	m := mesh.Mesh{
		Name: "shop", MTLS: "STRICT", Clusters: []mesh.Cluster{{Name: "east"}},
		JWT: []v1alpha1.JWTIssuer{
			{
				Name: "login", Issuer: "https://login.example", JWKSURI: "https://login.example/keys", Audiences: []string{"pay"}, ForwardOriginalToken: &yes,
				FromHeaders:          []v1alpha1.TokenHeader{{Name: "x-token", Prefix: "Bearer "}},
				OutputClaimToHeaders: []v1alpha1.ClaimHeader{{Header: "x-groups", Claim: "groups"}},
			},
			{Name: "machine", Issuer: "machine", JWKS: `{"keys": []}`, To: []v1alpha1.Workloads{{Namespace: "pay"}, {Namespace: "pay", Selector: map[string]string{"app": "a"}}}},
		},
	}
	objects, err := policy.Objects(m, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]any{}
	for _, o := range objects["east"][1:] {
		got[o.Ref().String()] = o.Body.Object["spec"]
	}
	machine := []any{map[string]any{"issuer": "machine", "jwks": `{"keys": []}`}}
	want := map[string]any{
		"RequestAuthentication istio-system/isthmus-jwt-login": map[string]any{"jwtRules": []any{map[string]any{
			"issuer": "https://login.example", "jwksUri": "https://login.example/keys", "audiences": []any{"pay"}, "forwardOriginalToken": true,
			"fromHeaders":          []any{map[string]any{"name": "x-token", "prefix": "Bearer "}},
			"outputClaimToHeaders": []any{map[string]any{"header": "x-groups", "claim": "groups"}},
		}}},
		"RequestAuthentication pay/isthmus-jwt-machine": map[string]any{"jwtRules": machine},
		"RequestAuthentication pay/isthmus-jwt-machine-2": map[string]any{
			"jwtRules": machine, "selector": map[string]any{"matchLabels": map[string]any{"app": "a"}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestARemotesGatewaysStayOpenToo: a remote obeys the policies of its primary, so those name its gateways as well; it
// gets none of its own.
func TestARemotesGatewaysStayOpenToo(t *testing.T) {
	m := mesh.Mesh{
		Name: "shop", MTLS: "STRICT", Trust: mesh.Trust{Domain: "cluster.local"}, Clusters: []mesh.Cluster{{Name: "east"}, {Name: "far", RemoteOf: "east"}},
		Access: v1alpha1.Authorization{Default: "deny", Mode: "enforce"},
	}
	gateway := deployment("istio-eastwestgateway", map[string]any{"app": "istio-eastwestgateway", "istio": "eastwestgateway"}, "proxy", "router")
	ingress := deployment("istio-ingressgateway", map[string]any{"app": "istio-ingressgateway", "istio": "ingressgateway"}, "proxy", "router")
	objects, err := policy.Objects(m, object.Objects{"east": {gateway}, "far": {gateway, ingress}})
	if err != nil {
		t.Fatal(err)
	}
	if len(objects["far"]) > 0 {
		t.Errorf("the remote has %v", objects["far"])
	}
	var names []string
	for _, o := range objects["east"][2:] {
		names = append(names, o.Ref().Name)
	}
	if diff := cmp.Diff([]string{"isthmus-gateway-istio-eastwestgateway", "isthmus-gateway-istio-ingressgateway"}, names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
