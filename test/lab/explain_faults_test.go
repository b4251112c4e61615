//go:build lab

package lab_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// demo is a client and an echo service in a cluster, with so many echo pods.
func demo(t testing.TB, cluster string, replicas int) {
	t.Helper()
	const app = `
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: %[1]s, namespace: demo}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s, namespace: demo}
spec:
  replicas: %[2]d
  strategy: {type: Recreate}
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s, version: v1}}
    spec:
      serviceAccountName: %[1]s
      terminationGracePeriodSeconds: 1
      containers: [{name: app, image: "%[3]s", imagePullPolicy: IfNotPresent, args: [%[4]s]}]
`
	objects := `
apiVersion: v1
kind: Namespace
metadata: {name: demo, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Service
metadata: {name: echo, namespace: demo}
spec: {selector: {app: echo}, ports: [{name: http, port: 80, targetPort: 8080}]}` +
		fmt.Sprintf(app, "client", 1, probeImage, "probe, serve, --cluster, "+cluster) +
		fmt.Sprintf(app, "echo", replicas, "lab.local/app:1.31.0", `--port, "8080", --cluster, `+cluster)
	applied(t, cluster, objects, "apply")
	rolledOut(t, cluster, "demo", "client", "echo")
}

func istioObject(apiVersion, kind, name, spec string) string {
	return fmt.Sprintf("---\napiVersion: %s\nkind: %s\nmetadata: {name: %s, namespace: demo}\nspec:\n  %s\n", apiVersion, kind, name, spec)
}

// route is a VirtualService for echo to a host of the demo.
func route(host, more string) string {
	destination := "host: " + host
	if more != "" {
		destination += ", " + more
	}
	return istioObject("networking.istio.io/v1", "VirtualService", "echo", "hosts: [echo.demo.svc.cluster.local]\n  http:\n  - route: [{destination: {"+destination+"}}]")
}

// rule is a DestinationRule for echo.
func rule(more string) string {
	return istioObject("networking.istio.io/v1", "DestinationRule", "echo", "host: echo.demo.svc.cluster.local\n  "+more)
}

// policy is an AuthorizationPolicy for echo.
func policy(more string) string {
	return istioObject("security.istio.io/v1", "AuthorizationPolicy", "echo", "selector: {matchLabels: {app: echo}}\n  "+more)
}

// issuerKeys is a RequestAuthentication with a key of its own.
func issuerKeys(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	n := base64.RawURLEncoding.EncodeToString(key.N.Bytes())
	return istioObject("security.istio.io/v1", "RequestAuthentication", "tokens",
		`jwtRules: [{issuer: "https://a.example", jwks: '{"keys":[{"kty":"RSA","kid":"a","alg":"RS256","use":"sig","e":"AQAB","n":"`+n+`"}]}'}]`)
}

// keyless is one that Envoy refuses, together with every listener that it would be part of.
var keyless = istioObject("security.istio.io/v1", "RequestAuthentication", "tokens", `jwtRules: [{issuer: "https://a.example", jwks: '{"keys":[]}'}]`)

// unsigned is a token that says something and that nobody signed.
func unsigned(claims string) string {
	enc := base64.RawURLEncoding.EncodeToString
	return enc([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + enc([]byte(claims)) + "." + enc([]byte("nothing"))
}

func patch(cluster, kind, namespace, name, content string) func(*testing.T, string) {
	return func(t *testing.T, _ string) {
		kubectl(t, cluster, "-n", namespace, "patch", kind, name, "-p", content)
	}
}

// eject lets echo answer with errors until the client's proxy takes it out.
func eject(t *testing.T, _ string) {
	applied(t, "east", ejecting, "apply")
	calls := strings.TrimSuffix(strings.Repeat(`{"to":"http://echo.demo/?codes=503"},`, 8), ",")
	eventually(t, "the proxy has the rule and ejects", func() (bool, string) {
		out, _ := tryKubectl(t, "east", "-n", "demo", "exec", "deploy/client", "-c", "app", "--", "/isthmus", "probe", "call", "-o", "json", "--plan", "["+calls+"]")
		return strings.Contains(out, "no healthy upstream"), out
	})
}

var ejecting = rule("trafficPolicy: {outlierDetection: {consecutive5xxErrors: 2, interval: 1s, baseEjectionTime: 5m, maxEjectionPercent: 100}}")

func notEjected(t *testing.T, _ string) { applied(t, "east", ejecting, "delete") }

// stranger is a pod without a proxy.
func stranger(t *testing.T, _ string) { applied(t, "west", strangerPod, "apply"); strangerReady(t) }

const strangerPod = `
apiVersion: v1
kind: Pod
metadata: {name: stranger, namespace: demo, labels: {app: stranger, sidecar.istio.io/inject: "false"}}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: app, image: "` + probeImage + `", imagePullPolicy: IfNotPresent, args: [probe, serve, --cluster, west]}]
`

func strangerReady(t *testing.T) {
	kubectl(t, "west", "-n", "demo", "wait", "--for=condition=Ready", "pod/stranger", "--timeout="+patience.String())
}

func noStranger(t *testing.T, _ string) { applied(t, "west", strangerPod, "delete") }

// spoilToken puts a token that no API server knows into east's remote secret, and restarts istiod, which until then
// lives on what it has.
func spoilToken(t *testing.T, _ string) {
	get := kubectl(t, "east", "-n", "istio-system", "get", "secret", "istio-remote-secret-west", "-o", "jsonpath={.data.west}")
	raw, err := base64.StdEncoding.DecodeString(get)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(raw)) {
		if before, _, ok := strings.Cut(line, "token: "); ok {
			line = before + "token: nobody-knows-this-one\n"
		}
		lines = append(lines, line)
	}
	content, err := json.Marshal(map[string]any{"data": map[string][]byte{"west": []byte(strings.Join(lines, ""))}})
	if err != nil {
		t.Fatal(err)
	}
	kubectl(t, "east", "-n", "istio-system", "patch", "secret", "istio-remote-secret-west", "--type", "merge", "-p", string(content))
	restart(t, "east", "istio-system", "istiod")
}
