package cli

import (
	"fmt"
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

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
