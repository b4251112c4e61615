package analyze

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestOnlyFilesAreRead(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")
	if err := os.Symlink(good, filepath.Join(dir, "link.yaml")); err != nil {
		t.Fatal(err)
	}
	if sources, _, err := Read([]string{dir}, nil, nil); err != nil || len(sources) != 2 {
		t.Errorf("%d sources, %v", len(sources), err)
	}
	for name, put := range map[string]func(string) error{
		"a link to a device": func(path string) error { return os.Symlink("/dev/zero", path) },
		"a pipe":             func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"a link to a pipe": func(path string) error {
			if err := syscall.Mkfifo(path+"-end", 0o600); err != nil {
				return err
			}
			return os.Symlink(path+"-end", path)
		},
		"a file without end": func(path string) error {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				return err
			}
			return os.Truncate(path, 1<<40)
		},
	} {
		path := filepath.Join(dir, "z.yaml")
		if err := put(path); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Read([]string{dir}, nil, nil); err == nil || !strings.Contains(err.Error(), "z.yaml") {
			t.Errorf("%s: %v", name, err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := Read([]string{"/dev/zero"}, nil, nil); err == nil {
		t.Error("a device is read")
	}
}

// TestNothingIsWrittenThroughALink: what a link in a folder names may be in no folder that the user named.
func TestNothingIsWrittenThroughALink(t *testing.T) {
	elsewhere, dir := filepath.Join(t.TempDir(), "mine.yaml"), t.TempDir()
	if err := os.WriteFile(elsewhere, []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link.yaml")
	if err := os.Symlink(elsewhere, link); err != nil {
		t.Fatal(err)
	}
	before := []Source{{Name: link, Data: []byte("before")}}
	after := []Source{{Name: link, Data: []byte("after")}}
	changed, err := Rewrite(before, after)
	if err == nil || !strings.Contains(err.Error(), "nothing is written through it") || len(changed) != 0 {
		t.Errorf("%v, %v", changed, err)
	}
	if data, err := os.ReadFile(elsewhere); err != nil || string(data) != "before" {
		t.Errorf("it holds %q, %v", data, err)
	}
	if names, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(names) > 0 {
		t.Errorf("left behind: %v, %v", names, err)
	}
}

// TestDeepAndDoubledDocumentsEndSoon: one line of thousands of maps in each other, and merges that double. Both took
// minutes and gigabytes.
func TestDeepAndDoubledDocumentsEndSoon(t *testing.T) {
	head := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
	doubled := head + "m0: &m0 {k: v}\n"
	for i := range 30 {
		n := string(rune('a' + i%26))
		doubled += "m" + n + ": &m" + n + " {<<: [*m0, *m0]}\n"
	}
	for reason, c := range map[string]struct{ text, want string }{
		"maps in each other":  {head + "data: " + strings.Repeat("{a: ", 9000) + "1" + strings.Repeat("}", 9000) + "\n", "200 levels"},
		"lists in each other": {head + "data: " + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + "\n", "200 levels"},
		"a merge of itself":   {head + "data: &a {<<: [*a, *a]}\n", "stands inside what it names"},
		"merges side by side": {doubled, ""},
	} {
		f := ParseFile("x.yaml", []byte(c.text), "default")
		if got := slices.ContainsFunc(f.broken, func(x fault) bool { return strings.Contains(x.seen, c.want) && x.Line > 3 }); got != (c.want != "") {
			t.Errorf("%s: %+v", reason, f.broken)
		}
	}
}
