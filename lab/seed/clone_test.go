package seed

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestClone(t *testing.T) {
	root := t.TempDir()
	from, to := filepath.Join(root, "seed"), filepath.Join(root, "node")
	layer := filepath.Join("snapshots", "1", "fs")
	for _, d := range []string{layer, filepath.Join(layer, "tmp")} {
		if err := os.MkdirAll(filepath.Join(from, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(from, layer, "tmp"), 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{"meta.db": 0o600, filepath.Join(layer, "envoy"): 0o755} {
		if err := os.WriteFile(filepath.Join(from, name), []byte(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("envoy", filepath.Join(from, layer, "proxy")); err != nil {
		t.Fatal(err)
	}
	if err := Clone(from, to); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tree(t, from), tree(t, to)); diff != "" {
		t.Errorf("the copy differs: -want +got:\n%s", diff)
	}
	if !same(t, filepath.Join(from, layer, "envoy"), filepath.Join(to, layer, "envoy")) {
		t.Error("a layer's file is another file in the copy: it takes space and memory of its own")
	}
	if same(t, filepath.Join(from, "meta.db"), filepath.Join(to, "meta.db")) {
		t.Error("the database is one file with the seed's: a node would write into it")
	}
	if err := os.WriteFile(filepath.Join(to, "meta.db"), []byte("used"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Clone(from, to); err != nil {
		t.Fatal(err)
	}
	if got := tree(t, to)["/meta.db"]; got != "-rw------- used" {
		t.Errorf("a node that has a copy lost it: %s", got)
	}
}

func TestCloneAfterOneThatWasKilled(t *testing.T) {
	root := t.TempDir()
	from, to := filepath.Join(root, "seed"), filepath.Join(root, "node")
	for _, d := range []string{from, to + ".new"} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{filepath.Join(from, "good"), filepath.Join(to+".new", "half")} {
		if err := os.WriteFile(f, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := Clone(from, to); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tree(t, from), tree(t, to)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func tree(t *testing.T, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		text := st.Mode().String()
		if d.Type().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += " " + string(data)
		}
		if d.Type()&os.ModeSymlink != 0 {
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			text += " " + to
		}
		out[path[len(root):]] = text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func same(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y syscall.Stat_t
	if err := syscall.Stat(a, &x); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Stat(b, &y); err != nil {
		t.Fatal(err)
	}
	return x.Ino == y.Ino
}
