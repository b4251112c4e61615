package cli

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const canary = "c4n4ry-do-not-print-9f1b"

// bearer is a JWT of the user's. What it claims may be told, the token not.
var bearer = strings.Join([]string{encoded(`{"alg":"RS256"}`), encoded(`{"iss":"https://id.example","sub":"ada"}`), encoded("signed " + canary)}, ".")

func encoded(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// spoken are command lines that together have every command and every flag of each, which is tested; the flags that all
// commands have are added to each command's first line.
var spoken = []string{
	"version",
	"init --name shop --network shared --context east --context west --force -f FILE:new.yaml",
	"init --adopt --context east --force -f FILE:new.yaml",
	"check", "check -o junit",
	"plan", "plan --show all", "plan --show all --out FILE:a.plan", "plan -o FILE:b.plan --detailed-exitcode",
	"facts", "facts -o FILE:facts.json", "facts --out FILE:facts2.json -o json",
	"plan --from FILE:facts.json", "plan --from FILE:facts.json -o json --show all", "check --from FILE:facts.json -o json",
	"plan --adopt", "plan --take-over", "plan --forget gone", "plan --leave gone=east --new-cluster west", "plan --take-over istioctl,east/Secret/istio-system/cacerts",
	"status", "status --deadline 5s",
	"images", "images --plain --cluster east", "images --digests --set hub=127.0.0.1:1/istio",
	"lock --set hub=127.0.0.1:1/istio",
	"image --binary FILE:none --tag lab.local/isthmus:dev --platform linux/amd64 --output FILE:image.tar",
	"image --binary FILE:none --push 127.0.0.1:1/isthmus:dev --format json",
	"render", "render --dir FILE:rendered --cluster east", "render --dir FILE:given --secrets",
	"analyze FILE:config", "analyze --live --deadline 5s --namespace shop --trust-domain cluster.local FILE:config",
	"analyze --cluster east=FILE:config --fix --guess",
	"access report", "access report --since 1h --timeout 5s",
	"drain west", "drain west --dry-run --force --skip-unreachable --steal-lock --with-changes --within 1s",
	"undrain west", "undrain west --dry-run --skip-unreachable --steal-lock --with-changes --within 1s",
	"explain --from east --to west --deadline 5s",
	"explain shop/client@east shop/pay@west --namespace shop --header x-a:b --image lab.local/isthmus:dev --method POST --path /pay --port 80" +
		" --token @FILE:token --probe --record FILE:seen.json",
	"explain shop/client@east shop/pay@west --replay FILE:seen.json --token " + bearer,
	"probe call --to http://127.0.0.1:1/ --count 2 --timeout 1s --plan [] --sni a.b --address 127.0.0.1:1 --plaintext --tls-no-cert --tls-forged-cert spiffe://a/b",
	"probe call --to http://127.0.0.1:1/ --timeout 1s", "probe load --to http://127.0.0.1:1/ --for 1s --rate 1 --timeout 1s",
	"uninstall", "uninstall --cluster west --out FILE:west.plan", "uninstall --steal-lock", "uninstall --forget gone", "uninstall --leave gone=east --new-cluster west",
	"apply", "apply -o json", "apply --skip-checks", "apply FILE:a.plan --skip-checks",
	"apply --adopt --take-over --skip-unreachable --steal-lock", "apply --forget gone", "apply --leave gone=east --new-cluster west",
	"verify", "verify -o json", "verify --image lab.local/isthmus:dev --junit FILE:proof.xml --keep --settle 1s --timeout 20s --calls 2 --token FILE:token",
	"uninstall --yes", "plan --kubeconfig FILE:nothing", "apply FILE:facts.json",
}

// silent are commands that do not end by themselves and are told of no cluster.
var silent = []string{"isthmus probe serve"}

// TestNothingPrintsASecret plants canaries in every Secret that Isthmus or Istio reads, and looks for them, for the
// callers' own tokens and for the user's in everything that every command prints and writes, with every flag.
func TestNothingPrintsASecret(t *testing.T) {
	everyFlag(t)
	d := newDesk(t)
	d.write("mesh.yaml", d.read("mesh.yaml")+`  verify: {image: 'lab.local/isthmus:dev'}
  access:
    default: deny
    mode: dryRun
    rules:
    - {name: web-pays, to: {namespace: pay}, from: [{namespace: shop, serviceAccounts: [web]}]}
`)
	d.write("token", bearer)
	if err := os.Mkdir(d.path("config"), 0o700); err != nil {
		t.Fatal(err)
	}
	d.write("config/rule.yaml", "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: pay, namespace: shop}, spec: {hosts: [pay], http: [{route: [{destination: {host: pya}}]}]}}")
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
	said := map[string]bool{}
	for _, line := range spoken {
		if code, _, errs := d.run(line); code == exitUsage && !strings.Contains(errs, "no such cluster has left the mesh") {
			t.Errorf("%s: is no command line, so it proves nothing: %s", line, errs)
		}
		c, _, err := newRoot(&env{}).Find(strings.Fields(line))
		if err != nil {
			t.Fatal(err)
		}
		if said[c.CommandPath()] {
			continue
		}
		said[c.CommandPath()] = true
		for _, also := range []string{" -o json", " -o yaml", " --set spec.security.mtls=PERMISSIVE"} {
			d.run(line + also)
		}
	}
	d.forget("east", "west") // so that apply gets further, and makes secrets of its own
	for _, line := range []string{"plan --out FILE:c.plan", "apply FILE:c.plan --skip-checks -o json", "apply --skip-checks", "plan -o json", "facts -o FILE:late.json", "uninstall --yes -o json"} {
		d.run(line)
	}
	files := d.written("given", "token")
	if files < 8 || d.printed.Len() < 100_000 {
		t.Errorf("%d files and %d bytes were looked through: this proves nothing", files, d.printed.Len())
	}
	t.Logf("%d files and %d bytes looked through", files, d.printed.Len())
	needles := []string{canary, base64.StdEncoding.EncodeToString([]byte(canary))[:24], "PRIVATE KEY"}
	needles = append(needles, strings.Split(bearer, ".")[1:]...)
	for _, cfg := range d.servers.Configs {
		needles = append(needles, cfg.BearerToken)
	}
	all := strings.ReplaceAll(d.printed.String(), "! PRIVATE KEYS ARE IN ", "") // what render says of --secrets
	for _, n := range needles {
		if at := strings.Index(all, n); at >= 0 {
			t.Errorf("of %d Secrets %q shows: %s", secrets, n, all[max(0, at-300):min(len(all), at+60)])
		}
	}
}

// everyFlag checks that each command and each flag of it is in one of the lines.
func everyFlag(t *testing.T) {
	t.Helper()
	for _, c := range commands(newRoot(&env{})) {
		if !c.Runnable() || slices.Contains(silent, c.CommandPath()) || c.Name() == "help" {
			continue
		}
		lines := slices.DeleteFunc(slices.Clone(spoken), func(line string) bool {
			return !strings.HasPrefix("isthmus "+line+" ", c.CommandPath()+" ")
		})
		if len(lines) == 0 {
			t.Errorf("no line has %s", c.CommandPath())
		}
		c.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
			has := func(line string) bool { return slices.Contains(strings.Fields(line), "--"+f.Name) }
			if f.Name != "help" && !slices.ContainsFunc(lines, has) {
				t.Errorf("no line has %s --%s", c.CommandPath(), f.Name)
			}
		})
	}
}

// commands are a command and all below it.
func commands(c *cobra.Command) []*cobra.Command {
	list := []*cobra.Command{c}
	for _, sub := range c.Commands() {
		list = append(list, commands(sub)...)
	}
	return list
}

// written adds the files that were written on the desk to what was printed, but for some, and counts them.
func (d *desk) written(but ...string) (files int) {
	d.t.Helper()
	err := filepath.WalkDir(d.dir, func(path string, e os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case slices.Contains(but, e.Name()) && e.IsDir():
			return filepath.SkipDir
		case slices.Contains(but, e.Name()) || e.IsDir():
			return nil
		}
		raw, err := os.ReadFile(path)
		d.printed.Write(raw)
		files++
		return err
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return files
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
