package lab

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isthmus.dev/isthmus/lab/config"
	"isthmus.dev/isthmus/lab/layout"
)

func laidOut(c Config, dir string) layout.Lab {
	return layout.New(c.Defaulted(), layout.Place{Dir: dir, Run: "/run/isthmus-lab/x"})
}

func TestCompatible(t *testing.T) {
	two, three := Config{}, Config{Clusters: make([]config.Cluster, 3)}
	cases := []struct {
		reason string
		old    Config
		now    Config
		want   string
	}{
		{"the same lab", two, two, ""},
		{"one that grows", two, three, ""},
		{"one that would shrink", three, two, "it has 3 clusters, and 2 are asked for"},
		{"more nodes in a cluster that exists", two, Config{Clusters: []config.Cluster{{Nodes: 2}, {}}}, "its cluster east differs"},
		{"another network", two, Config{Clusters: []config.Cluster{{}, {Network: "east"}}}, "its cluster west differs"},
	}
	for _, c := range cases {
		err := compatible(laidOut(c.old, "/d"), laidOut(c.now, "/d"))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q in it", c.reason, got, c.want)
		}
		if err != nil && !strings.Contains(got, "isthmus-lab down") {
			t.Errorf("%s: the error names no next command: %s", c.reason, got)
		}
	}
}

func TestFoldersThatDownMayRemove(t *testing.T) {
	cases := []struct {
		reason, dir string
		want        bool
	}{
		{"the lab's own", "/home/me/.isthmus/lab/x", true},
		{"the one of all labs", "/home/me/.isthmus/lab", true},
		{"the one of isthmus", "/home/me/.isthmus", true},
		{"the home", "/home/me", false},
		{"somebody's folder, given with --kubeconfig", "/home/me/x", false},
		{"somebody's folder called lab", "/home/me/lab", false},
	}
	for _, c := range cases {
		if got := isOurs(c.dir, "x"); got != c.want {
			t.Errorf("%s: %s: %v, want %v", c.reason, c.dir, got, c.want)
		}
	}
}

func TestPathsThatAreTooLong(t *testing.T) {
	if err := checkPaths(laidOut(Config{}, DefaultDir+"/default")); err != nil {
		t.Errorf("the default folder: %v", err)
	}
	if err := checkPaths(laidOut(Config{}, "/"+strings.Repeat("d", 80))); err == nil || !strings.Contains(err.Error(), "--dir") {
		t.Errorf("a folder of 80 characters: %v", err)
	}
}

func TestMissingProgramsNameTheirPackages(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := findTools(t.Context(), []string{"sh-that-is-not", "nft-that-is-not"})
	if err == nil || !strings.Contains(err.Error(), "apt-get install sh-that-is-not nft-that-is-not") {
		t.Errorf("error %v", err)
	}
	if paths, err := findTools(t.Context(), nil); err != nil || len(paths) > 0 {
		t.Errorf("nothing asked for: %v, %v", paths, err)
	}
}

func TestRoom(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "not", "yet", "there")
	if err := checkRoom(missing, 0); err != nil {
		t.Errorf("nothing needs no room: %v", err)
	}
	if err := checkRoom(missing, 1<<30); err == nil || !strings.Contains(err.Error(), "no disk space") {
		t.Errorf("more than any disk holds: %v", err)
	}
}

func TestUnanswered(t *testing.T) {
	l := &Lab{laidOut(Config{Name: "x"}, t.TempDir())}
	l.Run = t.TempDir()
	var e *Error
	if _, err := l.Status(t.Context()); !errors.As(err, &e) || !strings.Contains(e.Do, "isthmus-lab up --name x") {
		t.Errorf("no supervisor: %v", err)
	}
	// A socket that nobody listens on any more is what a killed supervisor leaves.
	s, err := net.Listen("unix", l.Socket())
	if err != nil {
		t.Fatal(err)
	}
	s.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Status(t.Context()); !errors.As(err, &e) {
		t.Errorf("a killed supervisor: %v", err)
	}
}

func TestUpRefusesABadDocumentBeforeItTouchesAnything(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "labs")
	_, err := Up(t.Context(), Config{Name: "t-none", Dir: dir, Clusters: []Cluster{{Name: "a"}, {Name: "a"}}}, Options{})
	if err == nil || !strings.Contains(err.Error(), "taken by another cluster") {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s was made: %v", dir, err)
	}
}

func TestDownRefusesANameThatCannotBeALabs(t *testing.T) {
	for _, name := range []string{"../etc", "a/b", "A"} {
		if err := Down(context.Background(), name, t.TempDir()); err == nil {
			t.Errorf("Down accepted %q", name)
		}
	}
}
