package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func write(t *testing.T, path, text string, mode os.FileMode) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func archive(t *testing.T, s Spec) []byte {
	t.Helper()
	img, err := Assemble(s)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := Write(&b, s.Ref, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestAssembleIsReproducible(t *testing.T) {
	prog := write(t, filepath.Join(t.TempDir(), "prog"), "#!/bin/true", 0o755)
	conf := write(t, filepath.Join(t.TempDir(), "conf"), "a=1", 0o600)
	spec := Spec{
		Ref: "lab.local/x:1", Arch: "amd64", Entrypoint: []string{"/bin/x"},
		Files: []File{{Path: "/bin/x", Source: prog}, {Path: "/etc/x", Source: conf}, {Path: "/y", Link: "bin/x"}},
	}
	first := archive(t, spec)

	cases := map[string]struct {
		reason string
		change func(*Spec)
		same   bool
	}{
		"Time": {
			reason: "When a file was written is no part of an image.",
			change: func(*Spec) {
				if err := os.Chtimes(prog, time.Unix(1, 0), time.Unix(2, 0)); err != nil {
					t.Fatal(err)
				}
			},
			same: true,
		},
		"Order": {
			reason: "The order in which files are listed is no part of an image.",
			change: func(s *Spec) { slices.Reverse(s.Files) },
			same:   true,
		},
		"Place": {
			reason: "Where on this machine a file lies is no part of an image.",
			change: func(s *Spec) {
				s.Files[0].Source = write(t, filepath.Join(t.TempDir(), "other"), "#!/bin/true", 0o755)
			},
			same: true,
		},
		"Contents": {
			reason: "Other contents are another image.",
			change: func(s *Spec) { s.Files[1] = File{Path: "/etc/x", Data: []byte("a=2"), Mode: 0o600} },
		},
		"Mode": {
			reason: "Other permissions are another image.",
			change: func(s *Spec) { s.Files[1].Mode = 0o640 },
		},
		"Config": {
			reason: "Another user is another image.",
			change: func(s *Spec) { s.User = "1337" },
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := spec
			s.Files = slices.Clone(spec.Files)
			tc.change(&s)
			if got := bytes.Equal(first, archive(t, s)); got != tc.same {
				t.Errorf("%s\nthe same archive: %v, want %v", tc.reason, got, tc.same)
			}
		})
	}
}

func TestAssembleHoldsWhatTheSpecSays(t *testing.T) {
	prog := write(t, filepath.Join(t.TempDir(), "prog"), "12345", 0o755)
	spec := Spec{
		Ref: "lab.local/x:1", Arch: "arm64", Entrypoint: []string{"/opt/x", "serve"}, User: "1337", Env: []string{"A=b"},
		Files: []File{
			{Path: "/opt/x", Source: prog},
			{Path: "opt/link", Link: "x"},
			{Path: "/etc/group", Data: []byte("root:x:0:\n")},
		},
	}
	path := filepath.Join(t.TempDir(), "x.tar")
	if err := os.WriteFile(path, archive(t, spec), 0o600); err != nil {
		t.Fatal(err)
	}
	// Another reader of the same format than the one that wrote it.
	img, err := tarball.ImageFromPath(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	got := []any{cfg.OS, cfg.Architecture, cfg.Config.Entrypoint, cfg.Config.User, cfg.Config.Env}
	want := []any{"linux", "arm64", []string{"/opt/x", "serve"}, "1337", []string{defaultPath, "A=b"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	r, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	wantEntries := []string{
		"d 755 etc", "f 644 etc/group 10", "f 644 etc/nsswitch.conf 17", "f 644 etc/passwd 74",
		"d 755 opt", "l 777 opt/link -> x", "f 755 opt/x 5", "d 755 run", "d 1777 tmp",
		"d 755 var", "d 755 var/lib", "d 755 var/lib/istio", "d 755 var/run",
	}
	if diff := cmp.Diff(wantEntries, entries(t, r)); diff != "" {
		t.Errorf("layer (-want +got):\n%s", diff)
	}
}

func entries(t *testing.T, r io.Reader) []string {
	t.Helper()
	var out []string
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 || h.ModTime.Unix() != 0 {
			t.Errorf("%s: owner %d:%d, time %v; want root and the epoch", h.Name, h.Uid, h.Gid, h.ModTime)
		}
		switch h.Typeflag {
		case tar.TypeDir:
			out = append(out, fmt.Sprintf("d %o %s", h.Mode, h.Name))
		case tar.TypeSymlink:
			out = append(out, fmt.Sprintf("l %o %s -> %s", h.Mode, h.Name, h.Linkname))
		default:
			out = append(out, fmt.Sprintf("f %o %s %d", h.Mode, h.Name, h.Size))
		}
	}
}

func TestAssembleRefuses(t *testing.T) {
	dir := t.TempDir()
	cases := map[string]struct {
		reason string
		spec   Spec
		want   string
	}{
		"Reference": {
			reason: "A name that no container runtime would take is refused at once.",
			spec:   Spec{Ref: "lab.local/UPPER:1", Arch: "amd64"},
			want:   "assemble image: repository can only contain the characters `abcdefghijklmnopqrstuvwxyz0123456789_-./`: UPPER",
		},
		"Architecture": {
			reason: "containerd drops an image without an architecture, so none is made.",
			spec:   Spec{Ref: "lab.local/x:1"},
			want:   "assemble image lab.local/x:1: no architecture is given",
		},
		"Missing": {
			reason: "The file that is missing is named.",
			spec:   Spec{Ref: "lab.local/x:1", Arch: "amd64", Files: []File{{Path: "/x", Source: filepath.Join(dir, "x")}}},
			want:   "assemble image lab.local/x:1: stat " + filepath.Join(dir, "x") + ": no such file or directory",
		},
		"Folder": {
			reason: "A folder is no file.",
			spec:   Spec{Ref: "lab.local/x:1", Arch: "amd64", Files: []File{{Path: "/x", Source: dir}}},
			want:   "assemble image lab.local/x:1: read " + dir + ": not a regular file",
		},
		"Inside": {
			reason: "Nothing can lie in a file.",
			spec: Spec{Ref: "lab.local/x:1", Arch: "amd64", Files: []File{
				{Path: "/x", Data: []byte("a")}, {Path: "/x/y", Data: []byte("b")},
			}},
			want: "assemble image lab.local/x:1: /x/y lies in /x, which is a file",
		},
		"NoPath": {
			reason: "A file must lie somewhere.",
			spec:   Spec{Ref: "lab.local/x:1", Arch: "amd64", Files: []File{{Data: []byte("a")}}},
			want:   "assemble image lab.local/x:1: a file has no path",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := Assemble(tc.spec)
			if err == nil || err.Error() != tc.want {
				t.Errorf("%s\ngot  %v\nwant %s", tc.reason, err, tc.want)
			}
		})
	}
}

func TestWriteFileLeavesNothingAfterAnError(t *testing.T) {
	prog := write(t, filepath.Join(t.TempDir(), "prog"), "12345", 0o755)
	img, err := Assemble(Spec{Ref: "lab.local/x:1", Arch: "amd64", Files: []File{{Path: "/x", Source: prog}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(prog); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "x.tar")
	if err := WriteFile(out, "lab.local/x:1", img); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("WriteFile without the program: %v, want that it does not exist", err)
	}
	if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an archive is there after an error: %v", err)
	}
}
