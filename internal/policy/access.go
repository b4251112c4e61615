package policy

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/api/v1alpha1"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// annotationDryRun has proxies judge by a policy without obeying it (istio.io: AuthorizationPolicy, dry run).
const annotationDryRun = "istio.io/dry-run"

// access are spec.access's objects in one cluster.
func access(m mesh.Mesh, c mesh.Cluster, made []object.Object) []object.Object {
	if !m.AsksAccess() {
		return nil
	}
	var list []object.Object
	if m.Access.Default == "deny" {
		nobody := istioObject("AuthorizationPolicy", c.IstioNamespace(), "isthmus-default", map[string]any{})
		nobody.Reason = "who is let in by no rule is refused: spec.access.default"
		list = append(append(list, nobody), gateways(made)...)
	}
	for _, r := range m.Access.Rules {
		if len(r.To.Clusters) == 0 || slices.Contains(r.To.Clusters, c.Name) {
			list = append(list, ruleObject(m, r))
		}
	}
	if m.DryRun() {
		for _, o := range list {
			o.Body.SetAnnotations(map[string]string{annotationDryRun: "true"})
		}
		return append(list, dryRunLog(c))
	}
	return append(list, strictWhereNamed(m, c)...)
}

// ruleObject is one rule: a policy of its own, so that its name in a proxy's log is the rule's. It is made only where
// the namespace is, unless the rule names its clusters.
func ruleObject(m mesh.Mesh, r v1alpha1.AuthorizationRule) object.Object {
	var from []any
	anyone := false
	for _, caller := range r.From {
		anyone = anyone || caller.Anyone
		from = append(from, map[string]any{"source": source(m, caller, r.Token)})
	}
	rule := map[string]any{}
	if !anyone || r.Token != nil {
		rule["from"] = from
	}
	operation := map[string]any{}
	if len(r.Ports) > 0 {
		ports := make([]any, len(r.Ports))
		for i, p := range r.Ports {
			ports[i] = strconv.Itoa(int(p))
		}
		operation["ports"] = ports
	}
	if len(r.Methods) > 0 {
		operation["methods"] = texts(r.Methods)
	}
	if len(r.Paths) > 0 {
		operation["paths"] = texts(r.Paths)
	}
	if len(operation) > 0 {
		rule["to"] = []any{map[string]any{"operation": operation}}
	}
	if when := conditions(r.Token); len(when) > 0 {
		rule["when"] = when
	}
	o := istioObject("AuthorizationPolicy", r.To.Namespace, "isthmus-rule-"+r.Name,
		selecting(r.To.Selector, map[string]any{"rules": []any{rule}}))
	o.Reason = fmt.Sprintf("%s may call %s: rule %s", callers(r.From), callee(r.To), r.Name)
	o.IfNamespace = len(r.To.Clusters) == 0
	o.Source = "spec.access, rule " + r.Name
	return o
}

// source is a caller in Istio's words. Principals begin with the trust domain, so that an identity of another one is
// no caller; source.namespaces would not look at it.
func source(m mesh.Mesh, caller v1alpha1.Caller, token *v1alpha1.Token) map[string]any {
	s := map[string]any{}
	if !caller.Anyone {
		accounts := caller.ServiceAccounts
		if len(accounts) == 0 {
			accounts = []v1alpha1.Account{"*"}
		}
		principals := make([]any, len(accounts))
		for i, a := range accounts {
			principals[i] = fmt.Sprintf("%s/ns/%s/sa/%s", m.Trust.Domain, caller.Namespace, a)
		}
		s["principals"] = principals
	}
	if token != nil {
		issuer, _ := m.Issuer(token.Issuer)
		s["requestPrincipals"] = []any{issuer.Issuer + "/*"}
	}
	return s
}

// conditions are what a token must claim. A claim a.b is request.auth.claims[a][b].
func conditions(token *v1alpha1.Token) []any {
	if token == nil {
		return nil
	}
	var when []any
	for _, claim := range slices.Sorted(maps.Keys(token.Claims)) {
		key := "request.auth.claims[" + strings.ReplaceAll(claim, ".", "][") + "]"
		when = append(when, map[string]any{"key": key, "values": texts(token.Claims[claim])})
	}
	return when
}

func callers(list []v1alpha1.Caller) string {
	words := make([]string, 0, len(list))
	for _, c := range list {
		switch {
		case c.Anyone:
			words = append(words, "anyone")
		case len(c.ServiceAccounts) == 0:
			words = append(words, "namespace "+c.Namespace)
		default:
			for _, a := range c.ServiceAccounts {
				words = append(words, c.Namespace+"/"+string(a))
			}
		}
	}
	return strings.Join(words, ", ")
}

func callee(to v1alpha1.Callee) string {
	var labels []string
	for _, k := range slices.Sorted(maps.Keys(to.Selector)) {
		labels = append(labels, k+"="+to.Selector[k])
	}
	if len(labels) == 0 {
		return "namespace " + to.Namespace
	}
	return to.Namespace + " " + strings.Join(labels, ",")
}

// gateways keep the gateways of the installation open where nobody is let in by default: they terminate no mutual TLS
// of the mesh, so nobody's identity is known there, and what they lead to has rules of its own. (An east-west gateway
// asks no policy for what it passes through; it is named for what else may be served on it.)
func gateways(made []object.Object) []object.Object {
	var list []object.Object
	named := map[object.Ref]bool{} // a primary and its remotes have gateways of one name
	for _, o := range made {
		labels := routerLabels(o.Body)
		if len(labels) == 0 || named[o.Ref()] {
			continue
		}
		named[o.Ref()] = true
		open := istioObject("AuthorizationPolicy", o.Body.GetNamespace(), "isthmus-gateway-"+o.Body.GetName(),
			selecting(labels, map[string]any{"rules": []any{map[string]any{}}}))
		open.Reason = fmt.Sprintf("gateway %s stays open; what it leads to has its own rules", o.Body.GetName())
		list = append(list, open)
	}
	return list
}

// routerLabels are the labels of a gateway's pods; none for what is no gateway of Istio's. The label "istio" is what
// Istio's Gateways select by.
func routerLabels(u *unstructured.Unstructured) map[string]string {
	if u.GetKind() != "Deployment" {
		return nil
	}
	containers, _, _ := unstructured.NestedSlice(u.Object, "spec", "template", "spec", "containers") // absent is none
	routes := slices.ContainsFunc(containers, func(x any) bool {
		c, _ := x.(map[string]any)
		args, _, _ := unstructured.NestedStringSlice(c, "args") // absent is none
		return slices.Contains(args, "router")
	})
	labels, _, _ := unstructured.NestedStringMap(u.Object, "spec", "template", "metadata", "labels") // absent is none
	template, _, _ := unstructured.NestedString(u.Object, "spec", "template", "metadata", "annotations", "inject.istio.io/templates")
	if !routes && template != "gateway" {
		return nil
	}
	chosen := map[string]string{}
	for _, k := range []string{"app", "istio"} {
		if v := labels[k]; v != "" {
			chosen[k] = v
		}
	}
	return chosen
}

// strictWhereNamed asks for mutual TLS where rules ask for identities and the mesh as a whole does not: in plain text
// there is no identity, and a refusal should come before a byte of the call is read. A namespace in which anyone is let
// in somewhere is left as the mesh has it.
func strictWhereNamed(m mesh.Mesh, c mesh.Cluster) []object.Object {
	if m.MTLS == "STRICT" {
		return nil
	}
	spaces, open := map[string]bool{}, map[string]bool{}
	for _, r := range m.Access.Rules {
		if len(r.To.Clusters) > 0 && !slices.Contains(r.To.Clusters, c.Name) {
			continue
		}
		spaces[r.To.Namespace] = true
		open[r.To.Namespace] = open[r.To.Namespace] || slices.ContainsFunc(r.From, func(x v1alpha1.Caller) bool { return x.Anyone })
	}
	var list []object.Object
	for _, r := range m.Access.Rules {
		if !spaces[r.To.Namespace] || open[r.To.Namespace] || r.To.Namespace == c.IstioNamespace() ||
			len(r.To.Clusters) > 0 && !slices.Contains(r.To.Clusters, c.Name) {
			continue
		}
		name := "isthmus-access"
		if len(r.To.Selector) > 0 {
			name = "isthmus-rule-" + r.Name
		} else {
			spaces[r.To.Namespace] = false // one for the namespace is enough
		}
		o := istioObject("PeerAuthentication", r.To.Namespace, name, selecting(r.To.Selector, map[string]any{"mtls": map[string]any{"mode": "STRICT"}}))
		o.Reason = fmt.Sprintf("%s takes no call without an identity: rule %s", callee(r.To), r.Name)
		o.IfNamespace = len(r.To.Clusters) == 0
		o.Source = "spec.access, rule " + r.Name
		list = append(list, o)
	}
	return list
}

// dryRunLog has proxies write down the calls that would have been refused, and none else. A Telemetry's access logs take
// the place of those that the mesh configuration turns on by itself, so those are named too.
func dryRunLog(c mesh.Cluster) object.Object {
	refused := func(filter string) string {
		return "metadata.filter_metadata['" + filter + "']['istio_dry_run_allow_shadow_engine_result'] == 'denied'"
	}
	logs := []any{map[string]any{
		"match":     map[string]any{"mode": "SERVER"},
		"providers": []any{map[string]any{"name": mesh.DryRunProvider}},
		"filter":    map[string]any{"expression": refused("envoy.filters.http.rbac") + " || " + refused("envoy.filters.network.rbac")},
	}}
	if file, _ := c.Istio.MeshConfig["accessLogFile"].(string); file != "" {
		logs = append(logs, map[string]any{"providers": []any{map[string]any{"name": "envoy"}}})
	}
	o := istioObject("Telemetry", c.IstioNamespace(), mesh.DryRunProvider, map[string]any{"accessLogging": logs})
	o.Reason = "writes down who would be refused: spec.access.mode"
	return o
}
