package build

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func put(t *testing.T, s store, dst, name, text string) {
	t.Helper()
	err := s.put(dst, func(dir string) error { return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755) })
	if err != nil {
		t.Fatal(err)
	}
}

func TestKeyOf(t *testing.T) {
	cases := map[string]struct {
		reason string
		a, b   []string
		same   bool
	}{
		"Same":  {reason: "The same parts are the same key.", a: []string{"x", "y"}, b: []string{"x", "y"}, same: true},
		"Order": {reason: "The order of parts matters.", a: []string{"x", "y"}, b: []string{"y", "x"}},
		"Split": {reason: "Where one part ends and the next begins matters.", a: []string{"xy", "z"}, b: []string{"x", "yz"}},
		"Empty": {reason: "An empty part is a part.", a: []string{"x"}, b: []string{"x", ""}},
		"Lines": {reason: "A part cannot pretend to be two.", a: []string{"x\n1:y"}, b: []string{"x", "y"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := keyOf(tc.a...) == keyOf(tc.b...); got != tc.same {
				t.Errorf("%s\nsame: %v, want %v", tc.reason, got, tc.same)
			}
		})
	}
}

func TestCompleteTellsDamage(t *testing.T) {
	cases := map[string]struct {
		reason string
		damage func(dir string) error
		want   bool
	}{
		"Whole": {
			reason: "What was put is complete.",
			damage: func(string) error { return nil },
			want:   true,
		},
		"Cut": {
			reason: "A file that lost its end, as after a power cut, is not taken.",
			damage: func(dir string) error { return os.Truncate(filepath.Join(dir, "x"), 2) },
		},
		"Gone": {
			reason: "A file that somebody removed is missed.",
			damage: func(dir string) error { return os.Remove(filepath.Join(dir, "x")) },
		},
		"NoList": {
			reason: "A folder without its list was never finished.",
			damage: func(dir string) error { return os.Remove(filepath.Join(dir, listFile)) },
		},
		"EmptyList": {
			reason: "A list that was cut to nothing proves nothing.",
			damage: func(dir string) error { return os.Truncate(filepath.Join(dir, listFile), 0) },
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := store{dir: t.TempDir()}
			dst := s.path("store", "x", "k")
			put(t, s, dst, "x", "12345")
			if err := tc.damage(dst); err != nil {
				t.Fatal(err)
			}
			if got := complete(dst); got != tc.want {
				t.Errorf("%s\ncomplete: %v, want %v", tc.reason, got, tc.want)
			}
			put(t, s, dst, "x", "12345")
			if !complete(dst) {
				t.Error("what was put again is not complete")
			}
		})
	}
}

func TestPutLeavesNothingAfterAnError(t *testing.T) {
	s := store{dir: t.TempDir()}
	dst := s.path("store", "x", "k")
	boom := errors.New("boom")
	err := s.put(dst, func(dir string) error {
		return errors.Join(os.WriteFile(filepath.Join(dir, "x"), nil, 0o600), boom)
	})
	if !errors.Is(err, boom) {
		t.Fatalf("put: %v", err)
	}
	if diff := cmp.Diff([]string{"store", "tmp"}, tree(t, s.dir)); diff != "" {
		t.Errorf("what is left (-want +got):\n%s", diff)
	}
}

func tree(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(p string, _ os.DirEntry, err error) error {
		if rel, ok := strings.CutPrefix(p, dir+"/"); ok {
			out = append(out, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestMain lets a test run this program a second time, as one that is killed half way.
func TestMain(m *testing.M) {
	if dir := os.Getenv("BUILD_TEST_HALF_WAY"); dir != "" {
		if err := halfWay(store{dir: dir}); err != nil {
			os.Stdout.WriteString(err.Error() + "\n")
		}
		return
	}
	m.Run()
}

// halfWay holds the lock and has written half of a program until it is killed.
func halfWay(s store) error {
	if _, err := s.lock(context.Background(), func(string) {}); err != nil {
		return err
	}
	return s.put(s.path("store", "x", "k"), func(dir string) error {
		if err := os.WriteFile(filepath.Join(dir, "x"), []byte("12"), 0o600); err != nil {
			return err
		}
		os.Stdout.WriteString("half way\n")
		_, err := bufio.NewReader(os.Stdin).ReadString('\n')
		return err
	})
}

func TestKilledBuildIsNotTakenForComplete(t *testing.T) {
	s := store{dir: t.TempDir()}
	dst := s.path("store", "x", "k")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "BUILD_TEST_HALF_WAY="+s.dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "half way\n" {
		t.Fatalf("the other build: %q %v", line, err)
	}

	// While it lives, nobody else may write, and whoever waits is told who has the lock.
	ctx, cancel := context.WithCancel(context.Background())
	var told string
	_, err = s.lock(ctx, func(holder string) { told = holder; cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("lock beside a running build: %v, want that it waits until it is cancelled", err)
	}
	if !strings.HasPrefix(told, " (process ") {
		t.Errorf("told %q, want the process that has the lock", told)
	}

	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the other build ended by itself")
	}
	if complete(dst) {
		t.Error("what the killed build left is taken for complete")
	}
	unlock, err := s.lock(context.Background(), func(string) { t.Error("the lock outlived its process") })
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if diff := cmp.Diff([]string{"lock", "store"}, tree(t, s.dir)); diff != "" {
		t.Errorf("what the killed build left (-want +got):\n%s", diff)
	}
	put(t, s, dst, "x", "12345")
	if !complete(dst) {
		t.Error("the next build could not finish it")
	}
}

func TestPruneKeepsWhatSetsUse(t *testing.T) {
	s := store{dir: t.TempDir()}
	old, shared := item{name: "old", key: "1"}, item{name: "shared", key: "1"}
	for _, i := range []item{old, shared} {
		put(t, s, s.of(i), i.name, "12345")
	}
	b := &builder{store: s}
	var sets []Set
	for _, items := range [][]item{{old, shared}, {shared}} {
		set := b.set(items)
		if err := s.put(set.Dir, func(dir string) error { return b.link(dir, items) }); err != nil {
			t.Fatal(err)
		}
		sets = append(sets, set)
	}
	freed, err := sets[1].Prune(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if freed < 5 {
		t.Errorf("freed %d bytes, want those of a program at least", freed)
	}
	got := []bool{complete(sets[0].Dir), complete(sets[1].Dir), complete(s.of(old)), complete(s.of(shared))}
	if diff := cmp.Diff([]bool{false, true, false, true}, got); diff != "" {
		t.Errorf("old set, kept set, old program, shared program (-want +got):\n%s", diff)
	}
}
