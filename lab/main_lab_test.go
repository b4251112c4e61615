//go:build lab

package lab_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"isthmus.dev/isthmus/lab"
	"isthmus.dev/isthmus/lab/build"
)

// TestMain lets this test program be the supervisor of the labs it starts.
func TestMain(m *testing.M) {
	if asked, err := lab.SuperviseIfAsked(context.Background()); asked {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// options are those of every lab here. ISTHMUS_LAB_PROGRAMS names programs that have been built already.
func options(t *testing.T) lab.Options {
	t.Helper()
	return lab.Options{
		Programs: os.Getenv("ISTHMUS_LAB_PROGRAMS"), Timeout: 4 * time.Minute,
		Build: build.Options{Report: func(e build.Event) {
			if e.Done && !e.Cached {
				t.Logf("built %s (%d of %d)", e.Program, e.Finished, e.Total)
			}
		}},
	}
}

// up starts a lab that is taken down, and looked for, when the test ends.
func up(t *testing.T, c lab.Config) *lab.Lab {
	t.Helper()
	c.Kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	t.Cleanup(func() { downAndGone(t, c.Name) })
	began := time.Now()
	l, err := lab.Up(t.Context(), c, options(t))
	if err != nil {
		t.Fatalf("start lab %s: %v", c.Name, err)
	}
	t.Logf("lab %s is up after %s", c.Name, time.Since(began).Round(100*time.Millisecond))
	return l
}

// downAndGone takes the lab down and fails the test if anything of it is left.
func downAndGone(t *testing.T, name string) {
	t.Helper()
	if err := lab.Down(context.Background(), name, ""); err != nil {
		t.Errorf("take lab %s down: %v", name, err)
	}
	left, err := lab.Leftovers(name, "")
	if err != nil {
		t.Error(err)
	}
	for _, x := range left {
		t.Errorf("left of lab %s: %s", name, x)
	}
}

// client speaks to a cluster by the lab's kubeconfig, as people do.
func client(t *testing.T, l *lab.Lab, cluster string) *kubernetes.Clientset {
	t.Helper()
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: l.Kubeconfig}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: cluster}).ClientConfig()
	if err != nil {
		t.Fatal(err)
	}
	config.QPS, config.Burst, config.Timeout = 100, 100, 10*time.Second
	k, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// eventually asks until the answer is no error, for a minute.
func eventually(t *testing.T, what string, ask func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if err = ask(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}

// run runs a command at a node and returns what it says.
func run(t *testing.T, l *lab.Lab, node string, argv ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd, err := l.Command(ctx, node, argv)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	err = l.Exec(node, cmd)
	return out.String(), err
}

// echo runs an echo server on every node of a cluster, behind a LoadBalancer Service, and returns its address.
func echo(t *testing.T, l *lab.Lab, cluster string) string {
	t.Helper()
	const manifest = `
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: echo, namespace: default}
spec:
  selector: {matchLabels: {app: echo}}
  template:
    metadata: {labels: {app: echo}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: app, image: "lab.local/app:1.31.0", imagePullPolicy: Never, args: [--port, "8080", --cluster, CLUSTER], readinessProbe: {httpGet: {port: 8080}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {name: echo, namespace: default}
spec: {type: LoadBalancer, selector: {app: echo}, ports: [{name: http, port: 80, targetPort: 8080}]}
`
	file := filepath.Join(t.TempDir(), "echo.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(manifest, "CLUSTER", cluster)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := run(t, l, cluster, "kubectl", "apply", "-f", file); err != nil {
		t.Fatalf("start echo in %s: %v: %s", cluster, err, out)
	}
	k := client(t, l, cluster)
	address := ""
	eventually(t, "echo in "+cluster, func() error {
		d, err := k.AppsV1().DaemonSets("default").Get(t.Context(), "echo", metav1.GetOptions{})
		if err != nil {
			return err
		}
		s, err := k.CoreV1().Services("default").Get(t.Context(), "echo", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if d.Status.DesiredNumberScheduled == 0 || d.Status.NumberReady < d.Status.DesiredNumberScheduled {
			return fmt.Errorf("%d of %d pods are ready", d.Status.NumberReady, d.Status.DesiredNumberScheduled)
		}
		if len(s.Status.LoadBalancer.Ingress) == 0 {
			return errors.New("the Service has no address")
		}
		address = s.Status.LoadBalancer.Ingress[0].IP
		return nil
	})
	return address
}

// pods returns the echo pods of a cluster, by node.
func pods(t *testing.T, l *lab.Lab, cluster string) map[string]corev1.Pod {
	t.Helper()
	list, err := client(t, l, cluster).CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{LabelSelector: "app=echo"})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]corev1.Pod{}
	for _, p := range list.Items {
		out[p.Spec.NodeName] = p
	}
	return out
}

// call calls an address from the echo pod of a node, and returns what the server saw, or why there was no answer.
func call(t *testing.T, l *lab.Lab, cluster, node, address string) (string, error) {
	t.Helper()
	p := pods(t, l, cluster)[node]
	out, err := run(t, l, cluster, "kubectl", "-n", "default", "exec", p.Name, "--",
		"/usr/local/bin/client", "--count", "1", "--timeout", "2s", "http://"+address+"/")
	if err != nil {
		return out, fmt.Errorf("call %s from %s: %w: %s", address, node, err, out)
	}
	return out, nil
}

// fromHost calls an address from this machine.
func fromHost(t *testing.T, address string) error {
	t.Helper()
	c := http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get("http://" + address + "/")
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
