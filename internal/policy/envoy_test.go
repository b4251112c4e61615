package policy_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	rbacpb "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	rbachttp "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	rbactcp "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"
	matcherpb "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	authzpb "istio.io/api/security/v1beta1"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/pkg/security/authz/builder"
	"istio.io/istio/pilot/pkg/security/trustdomain"
	"istio.io/istio/pkg/util/protomarshal"

	"isthmus.dev/isthmus/internal/object"
)

// An arrival is a call as the called one's proxy sees it.
type arrival struct {
	identity     string // SPIFFE; "" for none
	tcp          bool
	method, path string
	port         uint32
	claims       map[string]any // of a token that was found valid; nil without one
}

// istiod is what istiod knows of one cluster's policies.
func istiod(t testing.TB, objects []object.Object) *model.AuthorizationPolicies {
	t.Helper()
	all := &model.AuthorizationPolicies{NamespaceToPolicies: map[string][]model.AuthorizationPolicy{}, RootNamespace: "istio-system"}
	for _, o := range objects {
		if o.Body.GetKind() != "AuthorizationPolicy" {
			continue
		}
		text, err := json.Marshal(o.Body.Object["spec"])
		if err != nil {
			t.Fatal(err)
		}
		spec := &authzpb.AuthorizationPolicy{}
		if err := protomarshal.Unmarshal(text, spec); err != nil {
			t.Fatalf("istiod cannot read %s: %v", o.Ref(), err)
		}
		ns := o.Body.GetNamespace()
		all.NamespaceToPolicies[ns] = append(all.NamespaceToPolicies[ns], model.AuthorizationPolicy{
			Name: o.Body.GetName(), Namespace: ns, Annotations: o.Body.GetAnnotations(), Spec: spec,
		})
	}
	return all
}

// filters are what istiod makes of policies for one workload's proxy: enforced rules, and those of a dry run.
type filters struct{ http, httpDry, tcp, tcpDry []*rbacpb.RBAC }

func filtersOf(t testing.TB, all *model.AuthorizationPolicies, namespace string, labels map[string]string, trustDomains []string) (made filters) {
	t.Helper()
	chosen := all.ListAuthorizationPolicies(model.WorkloadPolicyMatcher{
		WorkloadNamespace: namespace, WorkloadLabels: labels, RootNamespace: "istio-system",
	})
	b := builder.New(trustdomain.NewBundle(trustDomains[0], trustDomains[1:]), nil, chosen, builder.Option{})
	if b == nil {
		return made
	}
	for _, f := range b.BuildTCP() {
		var r rbactcp.RBAC
		unpack(t, f.GetTypedConfig().GetValue(), &r)
		made.tcp, made.tcpDry = append(made.tcp, r.GetRules()), append(made.tcpDry, r.GetShadowRules())
	}
	for _, f := range b.BuildHTTP() {
		var r rbachttp.RBAC
		unpack(t, f.GetTypedConfig().GetValue(), &r)
		made.http, made.httpDry = append(made.http, r.GetRules()), append(made.httpDry, r.GetShadowRules())
	}
	return made
}

// letIn tells what the filters do with a call: let it in, and whether those of a dry run would.
func (f filters) letIn(t testing.TB, a arrival) (in, dry bool) {
	all := func(list []*rbacpb.RBAC) bool {
		return !slices.ContainsFunc(list, func(r *rbacpb.RBAC) bool { return r != nil && !evaluate(t, r, a) })
	}
	if a.tcp {
		return all(f.tcp), all(f.tcpDry)
	}
	return all(f.http), all(f.httpDry)
}

func unpack(t testing.TB, value []byte, into proto.Message) {
	t.Helper()
	if err := proto.Unmarshal(value, into); err != nil {
		t.Fatal(err)
	}
}

// evaluate is Envoy's RBAC (config.rbac.v3): a policy matches if one of its permissions and one of its principals do.
func evaluate(t testing.TB, r *rbacpb.RBAC, a arrival) bool {
	matched := false
	for _, p := range r.GetPolicies() {
		matched = matched || slices.ContainsFunc(p.GetPermissions(), func(x *rbacpb.Permission) bool { return permits(t, x, a) }) &&
			slices.ContainsFunc(p.GetPrincipals(), func(x *rbacpb.Principal) bool { return isPrincipal(t, x, a) })
	}
	if r.GetAction() == rbacpb.RBAC_ALLOW {
		return matched
	}
	return !matched
}

func permits(t testing.TB, p *rbacpb.Permission, a arrival) bool {
	all := func(list []*rbacpb.Permission) bool {
		return !slices.ContainsFunc(list, func(x *rbacpb.Permission) bool { return !permits(t, x, a) })
	}
	switch x := p.GetRule().(type) {
	case *rbacpb.Permission_Any:
		return x.Any
	case *rbacpb.Permission_AndRules:
		return all(x.AndRules.GetRules())
	case *rbacpb.Permission_OrRules:
		return slices.ContainsFunc(x.OrRules.GetRules(), func(y *rbacpb.Permission) bool { return permits(t, y, a) })
	case *rbacpb.Permission_NotRule:
		return !permits(t, x.NotRule, a)
	case *rbacpb.Permission_DestinationPort:
		return x.DestinationPort == a.port
	case *rbacpb.Permission_UrlPath:
		return matchText(t, x.UrlPath.GetPath(), a.path)
	case *rbacpb.Permission_Header:
		return matchHeader(t, x.Header, a)
	}
	t.Fatalf("no such permission here: %v", p)
	return false
}

func matchHeader(t testing.TB, h *routepb.HeaderMatcher, a arrival) bool {
	if h.GetName() != ":method" {
		t.Fatalf("no such header here: %s", h.GetName())
	}
	return matchText(t, h.GetStringMatch(), a.method)
}

func isPrincipal(t testing.TB, p *rbacpb.Principal, a arrival) bool {
	switch x := p.GetIdentifier().(type) {
	case *rbacpb.Principal_Any:
		return x.Any
	case *rbacpb.Principal_AndIds:
		return !slices.ContainsFunc(x.AndIds.GetIds(), func(y *rbacpb.Principal) bool { return !isPrincipal(t, y, a) })
	case *rbacpb.Principal_OrIds:
		return slices.ContainsFunc(x.OrIds.GetIds(), func(y *rbacpb.Principal) bool { return isPrincipal(t, y, a) })
	case *rbacpb.Principal_NotId:
		return !isPrincipal(t, x.NotId, a)
	case *rbacpb.Principal_Authenticated_:
		return a.identity != "" && matchText(t, x.Authenticated.GetPrincipalName(), a.identity)
	case *rbacpb.Principal_Metadata:
		return matchClaim(t, x.Metadata, a.claims) //nolint:staticcheck // it is what istiod writes
	}
	t.Fatalf("no such principal here: %v", p)
	return false
}

// matchClaim looks into the token's claims, which Envoy's JWT filter leaves under "payload" (or Istio's own key).
func matchClaim(t testing.TB, m *matcherpb.MetadataMatcher, claims map[string]any) bool {
	if claims == nil {
		return false
	}
	var v any = claims
	for _, s := range m.GetPath() {
		if s.GetKey() == "payload" || s.GetKey() == "request.auth.claims" {
			continue
		}
		inner, ok := v.(map[string]any)
		if !ok {
			return false
		}
		v = inner[s.GetKey()]
	}
	return matchValue(t, m.GetValue(), v)
}

func matchValue(t testing.TB, m *matcherpb.ValueMatcher, v any) bool {
	switch x := m.GetMatchPattern().(type) {
	case *matcherpb.ValueMatcher_StringMatch:
		s, ok := v.(string)
		return ok && matchText(t, x.StringMatch, s)
	case *matcherpb.ValueMatcher_ListMatch:
		list, ok := v.([]any)
		return ok && slices.ContainsFunc(list, func(y any) bool { return matchValue(t, x.ListMatch.GetOneOf(), y) })
	case *matcherpb.ValueMatcher_OrMatch:
		return slices.ContainsFunc(x.OrMatch.GetValueMatchers(), func(y *matcherpb.ValueMatcher) bool { return matchValue(t, y, v) })
	}
	t.Fatalf("no such value here: %v", m)
	return false
}

func matchText(t testing.TB, m *matcherpb.StringMatcher, s string) bool {
	if m.GetIgnoreCase() {
		t.Fatalf("nothing here ignores case: %v", m)
	}
	switch x := m.GetMatchPattern().(type) {
	case *matcherpb.StringMatcher_Exact:
		return s == x.Exact
	case *matcherpb.StringMatcher_Prefix:
		return strings.HasPrefix(s, x.Prefix)
	case *matcherpb.StringMatcher_Suffix:
		return strings.HasSuffix(s, x.Suffix)
	case *matcherpb.StringMatcher_SafeRegex:
		return compiled(x.SafeRegex.GetRegex()).MatchString(s)
	}
	t.Fatalf("no such text here: %v", m)
	return false
}

var expressions sync.Map

func compiled(text string) *regexp.Regexp {
	if r, ok := expressions.Load(text); ok {
		return r.(*regexp.Regexp)
	}
	r := regexp.MustCompile("^(?:" + text + ")$")
	expressions.Store(text, r)
	return r
}
