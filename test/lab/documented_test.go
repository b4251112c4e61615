//go:build lab

package lab_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// documented is the other way of doing it: the steps of Istio's page "Install Multi-Primary on different
// networks", in its order, cluster after cluster, each command as the page gives it. Only what the lab's stock
// Envoy needs and the images are added, the same as in our own document, and RSA 2048 in place of the page's
// 4096 for its certificates.
type documented struct {
	t        testing.TB
	dir      string
	clusters []string
}

// run does every step and returns when a call from the first cluster was answered by the second.
func (d documented) run(ctx context.Context) {
	d.certificates(ctx)
	for _, c := range d.clusters {
		d.install(ctx, c)
	}
	for _, c := range d.clusters {
		for _, other := range d.clusters {
			if c != other {
				secret := d.out(ctx, "", "istioctl", "create-remote-secret", "--context="+c, "--name="+c)
				d.out(ctx, secret, "kubectl", "apply", "-f", "-", "--context="+other)
			}
		}
	}
	for _, c := range d.clusters {
		d.sample(ctx, c)
	}
	for _, c := range d.clusters {
		d.out(ctx, "", "kubectl", "--context="+c, "-n", "sample", "rollout", "status", "deploy", "--timeout=120s")
	}
	d.call(ctx)
}

// certificates makes a root and an intermediate for each cluster and writes cacerts.
func (d documented) certificates(ctx context.Context) {
	script := `set -e
openssl genrsa -out root-key.pem 2048
openssl req -x509 -new -key root-key.pem -days 3650 -subj "/O=Istio/CN=Root CA" -out root-cert.pem
for c in "$@"; do
  mkdir -p $c
  openssl genrsa -out $c/ca-key.pem 2048
  printf 'basicConstraints=critical,CA:true,pathlen:0\nkeyUsage=critical,digitalSignature,keyCertSign,cRLSign\n' > $c/ext
  openssl req -new -key $c/ca-key.pem -subj "/O=Istio/CN=Intermediate CA/L=$c" |
    openssl x509 -req -CA root-cert.pem -CAkey root-key.pem -CAcreateserial -days 730 -out $c/ca-cert.pem -extfile $c/ext
  cat $c/ca-cert.pem root-cert.pem > $c/cert-chain.pem
  cp root-cert.pem $c/
done`
	d.out(ctx, "", "bash", append([]string{"-c", script, "certificates"}, d.clusters...)...)
	for _, c := range d.clusters {
		d.out(ctx, "", "kubectl", "--context="+c, "create", "namespace", "istio-system")
		d.out(ctx, "", "kubectl", "--context="+c, "create", "secret", "generic", "cacerts", "-n", "istio-system",
			"--from-file="+c+"/ca-cert.pem", "--from-file="+c+"/ca-key.pem", "--from-file="+c+"/root-cert.pem", "--from-file="+c+"/cert-chain.pem")
	}
}

// install puts a control plane and an east-west gateway on a cluster and exposes its services.
func (d documented) install(ctx context.Context, c string) {
	network := "network-" + c
	d.out(ctx, "", "kubectl", "--context="+c, "label", "namespace", "istio-system", "topology.istio.io/network="+network)
	controlPlane := fmt.Sprintf(`apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
spec:
  profile: minimal
  hub: lab.local
  tag: 1.31.0
  meshConfig: {defaultProviders: {metrics: []}}
  components:
    pilot:
      k8s:
        env:
        - {name: PILOT_ENABLE_METADATA_EXCHANGE, value: "false"}
        - {name: PILOT_ENABLE_ALPN_FILTER, value: "false"}
        resources: {requests: {cpu: 10m, memory: 64Mi}}
  values:
    telemetry: {enabled: false}
    global:
      meshID: mesh1
      multiCluster: {clusterName: %s}
      network: %s
      imagePullPolicy: IfNotPresent
      proxy: {resources: {requests: {cpu: 5m, memory: 32Mi}}}
`, c, network)
	d.file(c+".yaml", controlPlane)
	d.out(ctx, "", "istioctl", "install", "--context="+c, "-y", "-f", c+".yaml")

	module := world.programs.IstioModule
	gateway := d.out(ctx, "", "bash", filepath.Join(module, "samples/multicluster/gen-eastwest-gateway.sh"), "--network", network)
	gateway = strings.Replace(gateway, "spec:\n", "spec:\n  hub: lab.local\n  tag: 1.31.0\n", 1)
	gateway = strings.Replace(gateway, "          service:\n", "          resources: {requests: {cpu: 10m, memory: 64Mi}}\n          service:\n", 1)
	gateway += "\n      imagePullPolicy: IfNotPresent\n"
	d.file(c+"-gateway.yaml", gateway)
	d.out(ctx, "", "istioctl", "install", "--context="+c, "-y", "-f", c+"-gateway.yaml")
	for d.out(ctx, "", "kubectl", "--context="+c, "get", "svc", "istio-eastwestgateway", "-n", "istio-system",
		"-o", "jsonpath={.status.loadBalancer.ingress[0].ip}") == "" {
		pause(ctx, d.t, time.Second)
	}
	d.out(ctx, "", "kubectl", "--context="+c, "apply", "-n", "istio-system", "-f", filepath.Join(module, "samples/multicluster/expose-services.yaml"))
}

// sample is the page's proof: a service that lives in one cluster only, and a client in the other.
func (d documented) sample(ctx context.Context, c string) {
	d.out(ctx, "", "kubectl", "--context="+c, "create", "namespace", "sample")
	d.out(ctx, "", "kubectl", "--context="+c, "label", "namespace", "sample", "istio-injection=enabled")
	replicas := 0
	if c == d.clusters[len(d.clusters)-1] {
		replicas = 1
	}
	d.out(ctx, fmt.Sprintf(`apiVersion: v1
kind: Service
metadata: {name: helloworld, namespace: sample}
spec: {selector: {app: helloworld}, ports: [{name: http, port: 5000, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: helloworld, namespace: sample}
spec:
  replicas: %d
  selector: {matchLabels: {app: helloworld}}
  template:
    metadata: {labels: {app: helloworld, version: v1}}
    spec: {containers: [{name: app, image: "lab.local/app:1.31.0", imagePullPolicy: IfNotPresent, args: [--port, "8080", --cluster, %s]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: curl, namespace: sample}
spec:
  selector: {matchLabels: {app: curl}}
  template:
    metadata: {labels: {app: curl}}
    spec: {containers: [{name: app, image: "lab.local/app:1.31.0", imagePullPolicy: IfNotPresent, args: [--port, "8080", --cluster, %s]}]}
`, replicas, c, c), "kubectl", "--context="+c, "apply", "-f", "-")
}

// call asks until the other cluster answers, as the page says to.
func (d documented) call(ctx context.Context) {
	last := d.clusters[len(d.clusters)-1]
	for {
		out, err := d.try(ctx, "", "kubectl", "exec", "--context="+d.clusters[0], "-n", "sample", "-c", "app", "deploy/curl",
			"--", "/usr/local/bin/client", "http://helloworld.sample.svc.cluster.local:5000/")
		if err == nil && strings.Contains(out, "StatusCode=200") && strings.Contains(out, "Cluster="+last) {
			return
		}
		pause(ctx, d.t, 500*time.Millisecond)
	}
}

func (d documented) file(name, content string) {
	if err := os.WriteFile(filepath.Join(d.dir, name), []byte(content), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

func (d documented) out(ctx context.Context, stdin, program string, args ...string) string {
	d.t.Helper()
	out, err := d.try(ctx, stdin, program, args...)
	if err != nil {
		d.t.Fatalf("%s %s: %v", program, strings.Join(args, " "), err)
	}
	return out
}

func (d documented) try(ctx context.Context, stdin, program string, args ...string) (string, error) {
	path := program
	if program != "bash" {
		path = world.programs.Program(program)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = d.dir
	cmd.Env = append(os.Environ(), "KUBECONFIG="+here(d.t).Kubeconfig)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%w: %s", err, errOut.String())
	}
	return out.String(), nil
}

// pause waits a little, or ends the test when its time is up.
func pause(ctx context.Context, t testing.TB, d time.Duration) {
	t.Helper()
	select {
	case <-ctx.Done():
		t.Fatal(context.Cause(ctx))
	case <-time.After(d):
	}
}
