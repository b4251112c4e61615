package lockfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func sum(c string) string { return "sha256:" + strings.Repeat(c, 64) }

func TestLock(t *testing.T) {
	file := Name(filepath.Join(t.TempDir(), "mesh.yaml"))
	if filepath.Base(file) != "mesh.yaml.lock" || Name("-") != "" {
		t.Errorf("the lock of mesh.yaml is %s, of standard input %q", file, Name("-"))
	}
	for _, name := range []string{file, ""} {
		if f, err := Read(name); f != nil || err != nil {
			t.Errorf("%q is not there: %v, %v", name, f, err)
		}
	}
	want := File{Charts: map[string]string{"oci://r.test/charts/base:1.31.1": sum("a")}, Images: map[string]string{"docker.io/istio/pilot:1.31.1": sum("b")}}
	if err := Write(file, want); err != nil {
		t.Fatal(err)
	}
	got, err := Read(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&want, got); diff != "" {
		t.Errorf("-written +read:\n%s", diff)
	}
	first, _ := os.ReadFile(file)
	if err := Write(file, *got); err != nil {
		t.Fatal(err)
	}
	if second, _ := os.ReadFile(file); string(first) != string(second) {
		t.Errorf("the same lock is written differently:\n%s\n%s", first, second)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(file), ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestChanges(t *testing.T) {
	before := &File{Charts: map[string]string{"b": sum("1"), "same": sum("2")}, Images: map[string]string{"gone": sum("3")}}
	now := File{Charts: map[string]string{"b": sum("4"), "same": sum("2"), "a": sum("5")}}
	want := []Change{{"a", "", sum("5")}, {"b", sum("1"), sum("4")}, {"gone", sum("3"), ""}}
	if diff := cmp.Diff(want, now.Changes(before)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]Change{{"x", "", sum("1")}}, File{Images: map[string]string{"x": sum("1")}}.Changes(nil)); diff != "" {
		t.Errorf("from none, -want +got:\n%s", diff)
	}
}

func TestReadRefuses(t *testing.T) {
	const good = "apiVersion: isthmus.dev/v1alpha1\nkind: MeshLock\n"
	for reason, text := range map[string]string{
		"no YAML":            "{",
		"nothing":            "",
		"another kind":       "apiVersion: isthmus.dev/v1alpha1\nkind: Mesh\n",
		"a later format":     "apiVersion: isthmus.dev/v2\nkind: MeshLock\n",
		"an unknown field":   good + "chart: {}\n",
		"no digest":          good + "charts: {a: '1.31.1'}\n",
		"a digest cut off":   good + "images: {a: '" + sum("a")[:60] + "'}\n",
		"capitals":           good + "images: {a: '" + sum("A") + "'}\n",
		"an entry twice":     good + "charts: {a: '" + sum("a") + "', a: '" + sum("b") + "'}\n",
		"more than bearable": good + strings.Repeat("#\n", most/2),
	} {
		file := filepath.Join(t.TempDir(), "mesh.yaml.lock")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if f, err := Read(file); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v, %v", reason, f, err)
		}
	}
	if _, err := Read(t.TempDir()); err == nil {
		t.Error("a folder is read as a lock")
	}
	if _, err := Read("/dev/zero"); err == nil {
		t.Error("a device is read as a lock")
	}
}
