package charts

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestRenderings(t *testing.T) {
	r := Renderings{Dir: filepath.Join(t.TempDir(), "new", "folder")}
	if got := r.Get("a"); got != nil {
		t.Errorf("found %q in a folder that is not there", got)
	}
	r.Put("a", []byte("text"))
	if got := string(r.Get("a")); got != "text" {
		t.Errorf("got %q", got)
	}
	file := filepath.Join(r.Dir, "a")
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read it: %v, %v", info, err)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, damaged := range map[string][]byte{"empty": nil, "short": whole[:len(whole)-1], "changed": append(whole[:len(whole)-1:len(whole)-1], 'T')} {
		if err := os.WriteFile(file, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := r.Get("a"); got != nil {
			t.Errorf("%s: got %q", name, got)
		}
	}
	for i := range mostRenderings + 5 {
		r.Put(fmt.Sprint("k", i), []byte("text"))
	}
	entries, err := os.ReadDir(r.Dir)
	if err != nil || len(entries) != mostRenderings {
		t.Errorf("%d are kept, want %d (%v)", len(entries), mostRenderings, err)
	}
	Renderings{Dir: filepath.Join(file, "no folder")}.Put("a", nil) // nothing is kept, and nothing breaks
}
