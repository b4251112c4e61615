package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"isthmus.dev/isthmus/internal/facts/apitest"
	"isthmus.dev/isthmus/internal/screen"
)

// A desk is a folder with a document and two real API servers, and what was printed there.
type desk struct {
	t       *testing.T
	dir     string
	servers *apitest.Clusters
	printed strings.Builder
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t, dir: t.TempDir(), servers: apitest.For(t, "east", "west")}
	d.write("mesh.yaml", "apiVersion: isthmus.dev/v1alpha1\nkind: Mesh\nmetadata: {name: shop}\nspec:\n  clusters:\n  - {name: east, server: 'https://192.0.2.1:6443'}\n  - {name: west, server: 'https://192.0.2.2:6443'}\n")
	return d
}

func (d *desk) path(name string) string { return filepath.Join(d.dir, name) }

func (d *desk) write(name, text string) {
	d.t.Helper()
	if err := os.WriteFile(d.path(name), []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) read(name string) string {
	d.t.Helper()
	raw, err := os.ReadFile(d.path(name))
	if err != nil {
		d.t.Fatal(err)
	}
	return string(raw)
}

// run runs a command line; files are named FILE:name. No node runs an istiod here and no controller ends a namespace:
// when the command waits for one of these it is interrupted.
func (d *desk) run(line string) (code int, out, errs string) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 3*time.Minute)
	defer cancel()
	args := strings.Fields(strings.ReplaceAll(line, "FILE:", d.dir+"/"))
	args = append(args, "--kubeconfig", d.servers.Kubeconfig)
	if !strings.Contains(line, "-f ") {
		args = append(args, "-f", d.path("mesh.yaml"))
	}
	var o bytes.Buffer
	e := listener{words: []string{"waiting for ", "is being deleted"}, heard: cancel}
	code = Run(ctx, screen.Streams{In: strings.NewReader(""), Out: &o, Err: &e, Env: func(string) string { return "" }}, args)
	d.printed.WriteString(o.String() + e.String())
	return code, o.String(), e.String()
}

// A listener keeps what is written, and calls heard when one of the words is in it.
type listener struct {
	bytes.Buffer
	words []string
	heard func()
}

func (l *listener) Write(p []byte) (int, error) {
	n, err := l.Buffer.Write(p)
	if slices.ContainsFunc(l.words, func(w string) bool { return strings.Contains(l.String(), w) }) {
		l.heard()
	}
	return n, err
}

func (d *desk) kube(cluster string) kubernetes.Interface {
	d.t.Helper()
	kube, err := kubernetes.NewForConfig(d.servers.Configs[cluster])
	if err != nil {
		d.t.Fatal(err)
	}
	return kube
}

func (d *desk) namespace(cluster, name string) {
	d.t.Helper()
	_, err := d.kube(cluster).CoreV1().Namespaces().Create(d.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{FieldManager: "somebody"})
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) refused(line string, words ...string) {
	d.t.Helper()
	code, _, errs := d.run(line)
	for _, w := range words {
		if code != exitFailed || !strings.Contains(errs, w) {
			d.t.Errorf("%s: exit %d, want %q in: %s", line, code, w, errs)
		}
	}
}
