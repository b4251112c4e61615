package cli

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"isthmus.dev/isthmus/internal/facts/apitest"
	"isthmus.dev/isthmus/internal/screen"
)

const canary = "c4n4ry-do-not-print-9f1b"

// A desk is a folder with a document and two real API servers, and what was printed there.
type desk struct {
	t       *testing.T
	dir     string
	servers *apitest.Clusters
	printed strings.Builder
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	servers, err := apitest.Start(t.Context(), "east", "west")
	if errors.Is(err, apitest.ErrNoPrograms) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(servers.Stop)
	d := &desk{t: t, dir: t.TempDir(), servers: servers}
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

// TestPlansInFiles goes through the life of a saved plan on real API servers: the same from facts as from clusters,
// refused when it is another mesh's, another document's or damaged, refused when something moved, going on where an
// interruption left it.
func TestPlansInFiles(t *testing.T) {
	d := newDesk(t)
	if code, out, errs := d.run("facts -o FILE:facts.json"); code != exitDone || !strings.Contains(out, "Recorded in") {
		t.Fatalf("exit %d: %s%s", code, out, errs)
	}
	_, live, _ := d.run("plan -o json")
	if _, recorded, errs := d.run("plan -o json --from FILE:facts.json"); live != recorded || !strings.Contains(live, `"create"`) {
		t.Errorf("a plan from facts is another than from the clusters: %d and %d bytes: %s", len(live), len(recorded), errs)
	}
	if code, _, errs := d.run("plan --detailed-exitcode -o FILE:mesh.plan"); code != exitChanges {
		t.Fatalf("exit %d: %s", code, errs)
	}
	whole := d.read("mesh.plan")

	d.write("cut.plan", whole[:len(whole)/2])
	d.refused("apply FILE:cut.plan", "cut.plan is cut off", "Nothing was changed")
	d.write("edited.plan", strings.Replace(whole, `"STRICT"`, `"DISABLE"`, 1))
	d.refused("apply FILE:edited.plan", "edited.plan was changed after it was written")
	d.refused("apply FILE:mesh.plan --set spec.security.mtls=PERMISSIVE", "it was made from another document")
	d.write("other.yaml", strings.Replace(d.read("mesh.yaml"), "shop", "store", 1))
	d.refused("apply FILE:mesh.plan -f FILE:other.yaml", "it is a plan for mesh shop, and the document is mesh store")
	d.refused("plan --from FILE:facts.json -f FILE:other.yaml", "holds facts of mesh shop, and the document is mesh store")
	d.write("changed.yaml", strings.Replace(d.read("mesh.yaml"), "spec:", "spec:\n  istio: {profile: default}", 1))
	d.refused("plan --from FILE:facts.json -f FILE:changed.yaml", "these facts say nothing of", "istio-ingressgateway")

	d.write("with.yaml", d.read("mesh.yaml")+"  resources: [{path: files.yaml}]\n")
	const rule = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: web, namespace: default}\nspec: {host: web.default.svc.cluster.local, trafficPolicy: {tls: {mode: %s}}}\n"
	d.write("files.yaml", fmt.Sprintf(rule, "ISTIO_MUTUAL"))
	if code, _, errs := d.run("plan -f FILE:with.yaml -o FILE:with.plan"); code != exitDone {
		t.Fatal(errs)
	}
	d.write("files.yaml", fmt.Sprintf(rule, "DISABLE"))
	d.refused("apply FILE:with.plan -f FILE:with.yaml --skip-checks", "cluster east: DestinationRule default/web is wanted otherwise than when the plan was made")

	config, err := os.ReadFile(d.servers.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	swapped := strings.NewReplacer("current-context: east", "current-context: east", "cluster: east", "cluster: west", "cluster: west", "cluster: east",
		"user: east", "user: west", "user: west", "user: east").Replace(string(config))
	d.write("swapped", swapped)
	kubeconfig := d.servers.Kubeconfig
	d.servers.Kubeconfig = d.path("swapped")
	d.refused("apply FILE:mesh.plan", "cluster east: is another cluster than the one that the plan was made for")
	d.servers.Kubeconfig = kubeconfig

	d.namespace("west", "istio-system")
	d.refused("apply FILE:mesh.plan --skip-checks", "cluster west: Namespace istio-system was to be created", "was there before Isthmus", "Make a plan anew")

	if code, _, errs := d.run("plan --out FILE:mesh.plan"); code != exitDone {
		t.Fatal(errs)
	}
	// An apply waits for istiod until it is interrupted; the second time too, with what the first one did done.
	for range 2 {
		code, out, errs := d.run("apply FILE:mesh.plan --skip-checks")
		if code != exitFailed || !strings.Contains(errs, "Go on: isthmus apply") || !strings.Contains(errs, "mesh.plan") || strings.Contains(errs, "moved") {
			t.Errorf("exit %d: %s%s", code, out, errs)
		}
	}
	if _, err := d.kube("east").AppsV1().Deployments("istio-system").Get(t.Context(), "istiod", metav1.GetOptions{}); err != nil {
		t.Errorf("the saved plan was not done: %v", err)
	}
	if _, err := d.kube("east").CoreV1().ConfigMaps("istio-system").Patch(t.Context(), "istio", types.MergePatchType,
		[]byte(`{"data":{"mesh":"{}"}}`), metav1.PatchOptions{FieldManager: "a-colleague"}); err != nil {
		t.Fatal(err)
	}
	d.refused("apply FILE:mesh.plan --skip-checks", "cluster east: ConfigMap istio-system/istio", "a-colleague")
	d.uninstallsFromFiles()
}

// uninstallsFromFiles does the same with plans by which a cluster leaves, and by which everything goes. Each waits
// for a namespace to end until it is interrupted.
func (d *desk) uninstallsFromFiles() {
	d.t.Helper()
	istiod := func(cluster string) error {
		_, err := d.kube(cluster).AppsV1().Deployments("istio-system").Get(d.t.Context(), "istiod", metav1.GetOptions{})
		return err
	}
	for _, c := range []struct{ file, flags, gone string }{{"west.plan", " --cluster west", "west"}, {"gone.plan", "", "east"}} {
		code, out, errs := d.run("uninstall --out FILE:" + c.file + c.flags)
		if code != exitDone || !strings.Contains(out, "Nothing was deleted. Do it: isthmus apply") || istiod(c.gone) != nil {
			d.t.Fatalf("exit %d: %s%s", code, out, errs)
		}
		whole := d.read(c.file)
		d.write("edited.plan", strings.Replace(whole, `"istiod"`, `"coredns"`, 1))
		d.refused("apply FILE:edited.plan", "edited.plan was changed after it was written")
		d.refused("apply FILE:"+c.file+" --set spec.security.mtls=PERMISSIVE", "it was made from another document")
		if code, _, errs := d.run("uninstall --yes --out FILE:" + c.file); code != exitUsage {
			d.t.Errorf("both done and kept: exit %d %s", code, errs)
		}
		account := d.kube(c.gone).CoreV1().ServiceAccounts("istio-system")
		mine, err := account.Get(d.t.Context(), "istiod", metav1.GetOptions{})
		if err != nil {
			d.t.Fatal(err)
		}
		if err := account.Delete(d.t.Context(), "istiod", metav1.DeleteOptions{}); err != nil {
			d.t.Fatal(err)
		}
		again := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "istiod", Labels: mine.Labels, Annotations: mine.Annotations}}
		if _, err := account.Create(d.t.Context(), again, metav1.CreateOptions{FieldManager: "somebody"}); err != nil {
			d.t.Fatal(err)
		}
		d.refused("apply FILE:"+c.file, "ServiceAccount istio-system/istiod is another object of that name than when the plan was made")
		if err := istiod(c.gone); err != nil {
			d.t.Errorf("a plan that was refused was done: %v", err)
		}
		if code, _, errs := d.run("uninstall --out FILE:" + c.file + c.flags); code != exitDone {
			d.t.Fatal(errs)
		}
		if code, out, errs := d.run("apply FILE:" + c.file); code != exitFailed || !strings.Contains(errs, "Go on: isthmus apply") {
			d.t.Errorf("exit %d: %s%s", code, out, errs)
		}
		// A cluster that leaves goes when the others are ready without it, and nobody is ready here.
		if err := istiod(c.gone); c.flags == "" && !apierrors.IsNotFound(err) {
			d.t.Errorf("%s is still there: %v", c.gone, err)
		}
	}
}

// TestNothingPrintsASecret plants canaries in every Secret that Isthmus or Istio reads, and looks for them, and for
// the callers' own tokens, in everything that every command prints and writes.
func TestNothingPrintsASecret(t *testing.T) {
	d := newDesk(t)
	secrets := 0
	for _, cluster := range []string{"east", "west"} {
		for _, ns := range []string{"istio-system", "isthmus-system"} {
			d.namespace(cluster, ns)
			for _, name := range []string{"cacerts", "isthmus-root", "istio-ca-secret", "istio-remote-secret-east", "istio-remote-secret-west", "pull"} {
				d.plant(cluster, ns, name)
				secrets++
			}
		}
	}
	for _, line := range []string{
		"check", "check -o json", "check -o yaml", "check -o junit",
		"plan", "plan --show all", "plan -o json", "plan -o yaml", "plan --show all --out FILE:a.plan", "plan -o FILE:b.plan --detailed-exitcode",
		"facts", "facts -o json", "facts -o FILE:facts.json", "facts --out FILE:facts2.json -o json",
		"plan --from FILE:facts.json", "plan --from FILE:facts.json -o json --show all", "check --from FILE:facts.json -o json",
		"status", "status -o json", "status -o yaml",
		"uninstall", "uninstall -o json", "apply", "apply -o json", "apply --skip-checks", "apply FILE:a.plan --skip-checks",
		"verify", "verify -o json", "uninstall --yes", "plan --kubeconfig FILE:nothing", "apply FILE:facts.json",
	} {
		d.run(line)
	}
	d.forget("east", "west") // so that apply gets further, and makes secrets of its own
	for _, line := range []string{"plan --out FILE:c.plan", "apply FILE:c.plan --skip-checks -o json", "apply --skip-checks", "plan -o json", "facts -o FILE:late.json", "uninstall --yes -o json"} {
		d.run(line)
	}
	files := 0
	for _, name := range []string{"a.plan", "b.plan", "c.plan", "facts.json", "facts2.json", "late.json"} {
		if raw, err := os.ReadFile(d.path(name)); err == nil {
			files++
			d.printed.Write(raw)
		}
	}
	if files < 4 || d.printed.Len() < 100_000 {
		t.Errorf("%d files and %d bytes were looked through: this proves nothing", files, d.printed.Len())
	}
	needles := []string{canary, base64.StdEncoding.EncodeToString([]byte(canary))[:24], "PRIVATE KEY"}
	for _, cfg := range d.servers.Configs {
		needles = append(needles, cfg.BearerToken)
	}
	all := d.printed.String()
	for _, n := range needles {
		if at := strings.Index(all, n); at >= 0 {
			t.Errorf("of %d Secrets %q shows: %s", secrets, n, all[max(0, at-300):min(len(all), at+60)])
		}
	}
}

func (d *desk) plant(cluster, ns, name string) {
	d.t.Helper()
	kubeconfig := "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: 'https://192.0.2.9'}}]\nusers: [{name: c, user: {token: " + canary + "}}]\ncontexts: [{name: c, context: {cluster: c, user: c}}]\n"
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns, Annotations: map[string]string{corev1.LastAppliedConfigAnnotation: canary}},
		Data: map[string][]byte{
			"ca-cert.pem": []byte(canary), "ca-key.pem": []byte("-----BEGIN PRIVATE KEY-----\n" + canary + "\n-----END PRIVATE KEY-----\n"),
			"tls.crt": []byte(canary), "tls.key": []byte(canary), "east": []byte(kubeconfig), "west": []byte(kubeconfig),
		},
	}
	if strings.HasPrefix(name, "istio-remote-secret-") {
		s.Labels = map[string]string{"istio/multiCluster": "true"}
	}
	if _, err := d.kube(cluster).CoreV1().Secrets(ns).Create(d.t.Context(), s, metav1.CreateOptions{}); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) forget(clusters ...string) {
	d.t.Helper()
	for _, c := range clusters {
		for _, ns := range []string{"istio-system", "isthmus-system"} {
			if err := d.kube(c).CoreV1().Secrets(ns).DeleteCollection(d.t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
				d.t.Fatal(err)
			}
		}
	}
}
