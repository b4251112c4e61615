package build

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNeedNamesAPackageForEachProgram(t *testing.T) {
	seen := map[string]bool{}
	for _, n := range Need() {
		if n.Program == "" || n.Package == "" || n.For == "" || seen[n.Program] {
			t.Errorf("incomplete or twice: %+v", n)
		}
		seen[n.Program] = true
	}
}

func TestMissingNamesThePackage(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"go": "exit 0", "python3": "exit 1", "runc": "exit 0"} {
		writeFile(t, filepath.Join(dir, name), "#!/bin/sh\n"+text+"\n", 0o755)
	}
	t.Setenv("PATH", dir)
	got := map[string]string{}
	for _, m := range Missing(context.Background()) {
		// These may be found in the sbin folders of the machine that runs this test.
		if m.Package != "iptables" && m.Package != "nftables" {
			got[m.Program] = m.Package
		}
	}
	// python3 is there, but it has no pip.
	if diff := cmp.Diff(map[string]string{"pip": "python3-pip"}, got); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
	_, err := tool("runc").Find(context.Background())
	if err != nil {
		t.Error(err)
	}
	if err := os.Remove(filepath.Join(dir, "go")); err != nil {
		t.Fatal(err)
	}
	// Without the folders in which the machine that runs this test may have another.
	_, err = Tool{Program: "go"}.Find(context.Background())
	want := "go is not installed; it builds Kubernetes, containerd, etcd, CoreDNS and Istio\n" +
		"  Install Go 1.21 or newer (it fetches the version it needs by itself): apt-get install golang-go, or go.dev/doc/install"
	if err == nil || err.Error() != want {
		t.Errorf("without go:\n%v\nwant\n%s", err, want)
	}
}

func TestFindSource(t *testing.T) {
	f := newFixture(t)
	deep := filepath.Join(f.root, "lab", "build", "kube", "cmd")
	other := t.TempDir()
	cases := map[string]struct {
		reason, given, working, want, err string
	}{
		"Given": {
			reason: "A folder that is given is taken.", given: f.root, working: other, want: f.root,
		},
		"Above": {
			reason: "Below the root, past the nested modules, the root is found.", working: deep, want: f.root,
		},
		"Wrong": {
			reason: "A folder that is given and wrong is an error, even inside a clone.", given: other, working: f.root,
			err: other + " is not the source of isthmus.dev/isthmus\n  Name the folder that holds its go.mod and lab/build.",
		},
		"Nowhere": {
			reason: "Outside a clone it says what to do.", working: other,
			err: "the lab builds its programs from the source of isthmus.dev/isthmus, which is neither here nor above\n" +
				"  Run it inside a clone of the repository, or name one: ISTHMUS_SRC=/path/to/clone",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Chdir(tc.working)
			got, err := FindSource(tc.given)
			msg := ""
			if err != nil {
				msg = err.Error()
			}
			if diff := cmp.Diff([]string{tc.want, tc.err}, []string{got, msg}); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
