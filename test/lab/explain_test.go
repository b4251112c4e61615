//go:build lab

package lab_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"isthmus.dev/isthmus/internal/explain"
)

// A fault is something done to a running mesh, and the cause that explain has to name first.
type fault struct {
	name string
	// apply are objects that break the call, by cluster; they are deleted again. do and undo are for what is no object.
	apply    map[string]string
	do, undo func(t *testing.T, doc string)
	// args are those of the call where they are not the usual ones.
	args []string
	code string
}

// usual is the call that every fault breaks.
var usual = []string{"demo/client@east", "demo/echo@west"}

// faultTable has each link of a call broken at least once.
var faultTable = []fault{
	{name: "a route leads to a subset that is not defined", code: "subset-missing", apply: map[string]string{"east": route("echo", "subset: v9") + rule("subsets: [{name: v1, labels: {version: v1}}]")}},
	{name: "a subset selects nothing", code: "subset-empty", apply: map[string]string{"east": route("echo", "subset: v2") + rule("subsets: [{name: v2, labels: {version: v2}}]")}},
	{name: "a route leads to a missing host", code: "route-host-missing", apply: map[string]string{"east": route("ehco", "")}},
	{name: "no route takes the path", code: "no-route", apply: map[string]string{"east": strings.Replace(route("echo", ""), "- route:", "- match: [{uri: {prefix: /other}}]\n    route:", 1)}},
	{name: "a fault is injected", code: "fault-injected", apply: map[string]string{"east": strings.Replace(route("echo", ""), "- route:", "- fault: {abort: {httpStatus: 503, percentage: {value: 100}}}\n    route:", 1)}},
	{name: "a Sidecar hides the host", code: "sidecar-hides-host", apply: map[string]string{"east": istioObject("networking.istio.io/v1", "Sidecar", "narrow", `egress: [{hosts: ["istio-system/*"]}]`)}},
	{
		name: "the Service is exported to others", code: "export-hides-host",
		do:   patch("east", "service", "demo", "echo", `{"metadata":{"annotations":{"networking.istio.io/exportTo":"elsewhere"}}}`),
		undo: patch("east", "service", "demo", "echo", `{"metadata":{"annotations":{"networking.istio.io/exportTo":null}}}`),
	},
	{
		name: "the Service is missing where the call starts", code: "no-local-name",
		do:   func(t *testing.T, _ string) { kubectl(t, "east", "-n", "demo", "delete", "service", "echo") },
		undo: func(t *testing.T, _ string) { demo(t, "east", 0) },
	},
	{
		name: "the Service's port has another name in west", code: "ports-differ",
		do:   patch("west", "service", "demo", "echo", `{"spec":{"ports":[{"port":80,"targetPort":8080,"name":"web"}]}}`),
		undo: patch("west", "service", "demo", "echo", `{"spec":{"ports":[{"port":80,"targetPort":8080,"name":"http"}]}}`),
	},
	{
		name: "the gateway's port is closed", code: "gateway-port-closed",
		do: func(t *testing.T, _ string) {
			kubectl(t, "west", "-n", "istio-system", "patch", "service", "istio-eastwestgateway", "--type", "json", "-p", `[{"op":"replace","path":"/spec/ports/1/port","value":15444}]`)
		},
		undo: reapply,
	},
	{
		name: "the Gateway is gone", code: "gateway-not-listening",
		do: func(t *testing.T, _ string) {
			kubectl(t, "west", "-n", "istio-system", "delete", "gateways.networking.istio.io", "cross-network-gateway")
		},
		undo: reapply,
	},
	{
		name: "the gateway is scaled to 0", code: "gateway-not-ready",
		do:   func(t *testing.T, _ string) { scaleGateway(t, 0) },
		undo: func(t *testing.T, _ string) { scaleGateway(t, 1) },
	},
	{
		name: "the gateway bears another network's label", code: "network-label-wrong",
		do:   patch("west", "service", "istio-system", "istio-eastwestgateway", `{"metadata":{"labels":{"topology.istio.io/network":"elsewhere"}}}`),
		undo: reapply,
	},
	{name: "a policy denies", code: "policy-denies", apply: map[string]string{"west": policy("action: DENY\n  rules: [{from: [{source: {namespaces: [demo]}}]}]")}},
	{name: "a policy allows a host name", code: "principal-no-identity", apply: map[string]string{"west": policy(`rules: [{from: [{source: {principals: [service.cluster-a.svc.cluster.local]}}]}]`)}},
	{
		name: "a policy allows another method", code: "policy-allows-others", args: append([]string{"--method", "POST", "--path", "/pay"}, usual...),
		apply: map[string]string{"west": policy(`rules: [{from: [{source: {principals: [cluster.local/ns/demo/sa/client]}}], to: [{operation: {methods: [GET]}}]}]`)},
	},
	{
		name: "a token of another issuer", code: "token-refused", args: append([]string{"--token", unsigned(`{"iss":"https://b.example","sub":"ada"}`)}, usual...),
		do: func(t *testing.T, _ string) { applied(t, "west", issuerKeys(t), "apply") },
		undo: func(t *testing.T, _ string) {
			kubectl(t, "west", "-n", "demo", "delete", "requestauthentication", "tokens")
		},
	},
	{
		name: "a new pod's proxy rejects its configuration", code: "proxy-rejects",
		do: func(t *testing.T, _ string) {
			applied(t, "west", keyless, "apply")
			kubectl(t, "west", "-n", "demo", "rollout", "restart", "deployment", "echo")
		},
		undo: func(t *testing.T, _ string) {
			applied(t, "west", keyless, "delete")
			restart(t, "west", "demo", "echo")
		},
	},
	{name: "a DestinationRule turns mutual TLS off", code: "plaintext-against-strict", apply: map[string]string{"east": rule("trafficPolicy: {tls: {mode: DISABLE}}")}},
	{name: "the callee turns mutual TLS off", code: "mtls-off", apply: map[string]string{"west": istioObject("security.istio.io/v1", "PeerAuthentication", "open", "mtls: {mode: DISABLE}")}},
	{name: "a caller without a proxy", code: "caller-no-proxy", args: []string{"demo/stranger@west", "demo/echo@west"}, do: stranger, undo: noStranger},
	{
		name: "the program listens on another port", code: "app-not-listening",
		do:   patch("west", "service", "demo", "echo", `{"spec":{"ports":[{"port":80,"targetPort":9999,"name":"http"}]}}`),
		undo: patch("west", "service", "demo", "echo", `{"spec":{"ports":[{"port":80,"targetPort":8080,"name":"http"}]}}`),
	},
	{name: "the callee fails and is ejected", code: "endpoint-ejected", do: eject, undo: notEjected},
	{
		name: "the callee has no pods", code: "callee-missing",
		do: func(t *testing.T, _ string) {
			kubectl(t, "west", "-n", "demo", "scale", "deployment", "echo", "--replicas=0")
		},
		undo: func(t *testing.T, _ string) { demo(t, "west", 1) },
	},
	{
		name: "the callee's pods are not ready", code: "callee-not-ready",
		do:   patch("west", "deployment", "demo", "echo", `{"spec":{"template":{"spec":{"containers":[{"name":"app","readinessProbe":{"exec":{"command":["/nothing"]}}}]}}}}`),
		undo: patch("west", "deployment", "demo", "echo", `{"spec":{"template":{"spec":{"containers":[{"name":"app","readinessProbe":null}]}}}}`),
	},
	{
		name: "the callee's namespace is not injected", code: "callee-no-proxy",
		do: func(t *testing.T, _ string) {
			kubectl(t, "west", "label", "namespace", "demo", "istio-injection-")
			restart(t, "west", "demo", "echo")
		},
		undo: func(t *testing.T, _ string) { demo(t, "west", 1); restart(t, "west", "demo", "echo") },
	},
	{
		name: "the remote secret is missing", code: "remote-secret-missing",
		do: func(t *testing.T, _ string) {
			kubectl(t, "east", "-n", "istio-system", "delete", "secret", "istio-remote-secret-west")
		},
		undo: reapply,
	},
	{name: "the remote secret's token is not valid", code: "remote-not-synced", do: spoilToken, undo: func(t *testing.T, doc string) {
		reapply(t, doc) // which makes another token
		// Not always does an istiod that could not read a cluster take up another secret for it while it runs.
		restart(t, "east", "istio-system", "istiod")
	}},
	{
		name: "west is given another root", code: "other-root",
		do: func(t *testing.T, _ string) { giveAnotherRoot(t, "west"); restart(t, "west", "demo", "echo") },
		undo: func(t *testing.T, doc string) {
			reapply(t, doc) // which restarts istiod too
			restart(t, "west", "demo", "echo")
		},
	},
}

// TestExplain breaks a running mesh in every way of the table. Each time a real call must fail, explain must name the
// true cause first, and when it is mended it must find the way whole again.
func TestExplain(t *testing.T) {
	beside(t)
	doc := document(t, "east", "west")
	must(t, doc, "apply", "-f", "-")
	defer func() { // not a cleanup: isthmus runs within the test's context
		for _, c := range []string{"east", "west"} {
			kubectl(t, c, "delete", "namespace", "demo", "--wait=true")
		}
		must(t, doc, "uninstall", "-f", "-", "--yes")
	}()
	demo(t, "east", 0)
	demo(t, "west", 1)
	whole(t, doc, usual)
	t.Run("analyze --live", func(t *testing.T) { analyzeLive(t, doc) })
	for _, f := range faultTable {
		ok := t.Run(f.name, func(t *testing.T) { f.run(t, doc) })
		if !ok && t.Context().Err() != nil {
			return
		}
	}
	between := path(t, doc, "--from", "east", "--to", "west")
	if between.Cause != nil || len(between.Hops) != 4 {
		t.Errorf("between whole clusters: %s", spoken(between))
	}
}

func (f fault) run(t *testing.T, doc string) {
	args := f.args
	if args == nil {
		args = usual
	}
	begin := time.Now()
	defer func() { // also when the test has failed: the next faults want a whole mesh
		for cluster, text := range f.apply {
			applied(t, cluster, text, "delete")
		}
		if f.undo != nil {
			f.undo(t, doc)
		}
		whole(t, doc, usual)
	}()
	for cluster, text := range f.apply {
		applied(t, cluster, text, "apply")
	}
	if f.do != nil {
		f.do(t, doc)
	}
	broke := time.Now()
	var p explain.Path
	eventually(t, "explain names "+f.code+" and a real call fails", func() (bool, string) {
		p = path(t, doc, append([]string{"--probe"}, args...)...)
		return p.Cause != nil && p.Cause.Code == f.code && p.Probe != nil && p.Probe.Agrees && p.Probe.Err == "", spoken(p)
	})
	t.Logf("%s: %s\n  mend: %s\n  call: %+v\n  injected in %s, named after %s", f.code, p.Cause.Text, p.Cause.Mend, *p.Probe,
		broke.Sub(begin).Round(100*time.Millisecond), time.Since(broke).Round(100*time.Millisecond))
	if p.Cause.Mend == "" || p.Cause.Text == "" {
		t.Errorf("%s says %q, mend %q", f.code, p.Cause.Text, p.Cause.Mend)
	}
	keep(t, doc, f.code, args)
}

// whole waits until a way is whole and a real call proves it.
func whole(t *testing.T, doc string, args []string) {
	t.Helper()
	eventually(t, "the way is whole", func() (bool, string) {
		p := path(t, doc, append([]string{"--probe"}, args...)...)
		return p.Delivered && p.Probe != nil && p.Probe.Delivered && p.Probe.Agrees, spoken(p)
	})
}

func path(t *testing.T, doc string, args ...string) explain.Path {
	t.Helper()
	r := isthmus(t, doc, append([]string{"explain", "-f", "-", "-o", "json"}, args...)...)
	var p explain.Path
	if err := json.Unmarshal([]byte(r.out), &p); err != nil {
		t.Fatalf("explain: exit %d: %v\n%s%s", r.code, err, r.out, r.err)
	}
	if (p.Cause != nil) != (r.code == 4) && (p.Probe == nil || p.Probe.Delivered) {
		t.Errorf("explain: exit %d with cause %v", r.code, p.Cause)
	}
	return p
}

// keep writes the evidence down for the unit tests, where a folder for it is named.
func keep(t *testing.T, doc, code string, args []string) {
	if dir := os.Getenv("ISTHMUS_EVIDENCE"); dir != "" {
		isthmus(t, doc, append([]string{"explain", "-f", "-", "--record", filepath.Join(dir, code+".json")}, args...)...)
	}
}

func spoken(p explain.Path) string {
	var b strings.Builder
	for _, h := range p.Hops {
		fmt.Fprintf(&b, "%s %s %s: %s", h.State, h.Name, h.Cluster, h.Seen)
		if h.Finding != nil {
			fmt.Fprintf(&b, " [%s: %s]", h.Finding.Code, h.Finding.Text)
		}
		b.WriteString("; ")
	}
	if p.Probe != nil {
		fmt.Fprintf(&b, "call: %+v", *p.Probe)
	}
	return b.String()
}
