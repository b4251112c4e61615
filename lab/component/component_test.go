package component

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"isthmus.dev/isthmus/lab/config"
	"isthmus.dev/isthmus/lab/layout"
)

var update = flag.Bool("update", false, "write the golden files anew")

func testLab(c config.Config) layout.Lab {
	return layout.New(c.Defaulted(), layout.Place{
		Dir: "/lab/x", Run: "/run/x", Kubeconfig: "/k", Programs: layout.Programs{Bin: "/programs/bin", CNI: "/programs/cni"},
	})
}

func TestOrder(t *testing.T) {
	cases := []struct {
		reason string
		in     []Component
		want   [][]string
		err    string
	}{
		{
			reason: "the real ones: etcd and containerd start at once, and nobody before its API server",
			in:     All,
			want:   [][]string{{"containerd", "etcd"}, {"kube-apiserver"}, {"kube-controller-manager", "kube-proxy", "kube-scheduler", "kubelet"}},
		},
		{
			reason: "a chain is a group each",
			in:     []Component{{Name: "c", Needs: []string{"b"}}, {Name: "b", Needs: []string{"a"}}, {Name: "a"}},
			want:   [][]string{{"a"}, {"b"}, {"c"}},
		},
		{
			reason: "a need that nobody fulfils",
			in:     []Component{{Name: "a", Needs: []string{"z"}}},
			err:    "component a needs z, which does not exist",
		},
		{
			reason: "a circle names those in it, and only those",
			in:     []Component{{Name: "free"}, {Name: "a", Needs: []string{"b"}}, {Name: "b", Needs: []string{"a"}}},
			err:    "components need each other in a circle: a, b",
		},
	}
	for _, c := range cases {
		got, err := Order(c.in)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", c.reason, diff)
		}
		if msg := errText(err); msg != c.err {
			t.Errorf("%s: error %q, want %q", c.reason, msg, c.err)
		}
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestInstances(t *testing.T) {
	l := testLab(config.Config{Clusters: []config.Cluster{{Nodes: 2}, {Hollow: true}}})
	ids := func(c layout.Cluster) (list []string) {
		for _, i := range Instances(l, c, All) {
			list = append(list, i.ID()+" after "+strings.Join(i.NeedIDs(All), " "))
		}
		return list
	}
	if diff := cmp.Diff([]string{
		"east/etcd after ",
		"east/kube-apiserver after east/etcd",
		"east/kube-controller-manager after east/kube-apiserver",
		"east/kube-scheduler after east/kube-apiserver",
		"east/east-1/containerd after ",
		"east/east-2/containerd after ",
		"east/east-1/kubelet after east/kube-apiserver east/east-1/containerd",
		"east/east-2/kubelet after east/kube-apiserver east/east-2/containerd",
		"east/east-1/kube-proxy after east/kube-apiserver",
		"east/east-2/kube-proxy after east/kube-apiserver",
	}, ids(l.Clusters[0])); diff != "" {
		t.Errorf("two nodes: -want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		"west/etcd after ", "west/kube-apiserver after west/etcd", "west/kube-controller-manager after west/kube-apiserver",
	}, ids(l.Clusters[1])); diff != "" {
		t.Errorf("hollow: -want +got:\n%s", diff)
	}
}

// What is started and what it reads is part of the lab's behaviour: a change of it must be seen.
func TestCommandLinesAndFiles(t *testing.T) {
	l := testLab(config.Config{})
	c := l.Clusters[0]
	var b strings.Builder
	for _, i := range Instances(l, c, All) {
		b.WriteString("$ " + strings.ReplaceAll(i.CommandLine(), " --", "\n    --") + "\n")
		if i.Env != nil {
			b.WriteString("    " + strings.Join(i.Env(i.Site), " ") + "\n")
		}
	}
	files := Files(Site{Lab: l, Cluster: c, Node: c.Nodes[0]})
	for _, path := range slices.Sorted(maps.Keys(files)) {
		b.WriteString("\n== " + path + "\n" + files[path])
	}
	golden := filepath.Join("testdata", "east.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("-want +got (go test ./lab/component -update writes it anew):\n%s", diff)
	}
}

func TestPrepareTwiceChangesNoCertificate(t *testing.T) {
	root := t.TempDir()
	l := layout.New(config.Config{}.Defaulted(), layout.Place{Dir: filepath.Join(root, "lab"), Run: filepath.Join(root, "run")})
	c := l.Clusters[0]
	read := func() map[string]string {
		if err := Prepare(l, c, now); err != nil {
			t.Fatal(err)
		}
		files := map[string]string{}
		err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			files[path] = string(data)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	first := read()
	if len(first) < 20 {
		t.Errorf("only %d files were written", len(first))
	}
	if diff := cmp.Diff(first, read()); diff != "" {
		t.Errorf("the second time changed files: %s", diff)
	}
}
