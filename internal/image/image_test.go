package image

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	reg "isthmus.dev/isthmus/internal/registry"
)

// self is this test's own program, whatever it is: what an image is made of does not matter to how it is made.
func self(t *testing.T) Program {
	t.Helper()
	file, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	return Program{File: file, Size: info.Size(), OS: "linux", Arch: "amd64", Version: "(devel)"}
}

func save(t *testing.T, p Program, compressed bool) []byte {
	t.Helper()
	img, err := Build(p, compressed)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := Save(&b, img, "lab.local/isthmus:dev"); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestSameProgramGivesTheSameImage(t *testing.T) {
	p := self(t)
	first := save(t, p, false)
	elsewhere := filepath.Join(t.TempDir(), "another-name")
	data, err := os.ReadFile(p.File)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(elsewhere, data, 0o700); err != nil {
		t.Fatal(err)
	}
	moved := p
	moved.File = elsewhere
	if !bytes.Equal(first, save(t, moved, false)) {
		t.Error("the same program under another name and mode gives another image")
	}
}

func TestImageHoldsTheProgramAndNothingOfTheMachine(t *testing.T) {
	p := self(t)
	file := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(file, save(t, p, false), 0o600); err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag("lab.local/isthmus:dev")
	if err != nil {
		t.Fatal(err)
	}
	img, err := tarball.ImageFromPath(file, &tag)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	want := v1.Config{Entrypoint: []string{"/isthmus"}, User: "65532:65532", WorkingDir: "/"}
	got := config.Config
	got.Labels = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("config: -want +got\n%s", diff)
	}
	if config.OS != "linux" || config.Architecture != p.Arch || !config.Created.IsZero() {
		t.Errorf("%s/%s created %v; want linux/%s without a time", config.OS, config.Architecture, config.Created, p.Arch)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	var names []string
	for r := tar.NewReader(content); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		if h.Uid != 0 || h.Uname != "" || h.ModTime.Unix() != 0 {
			t.Errorf("%s: owner %d %q, time %v", h.Name, h.Uid, h.Uname, h.ModTime)
		}
		if h.Name == "isthmus" && (h.Size != p.Size || h.Mode != 0o755) {
			t.Errorf("program: %d bytes, mode %o; want %d, 755", h.Size, h.Mode, p.Size)
		}
	}
	if diff := cmp.Diff([]string{"etc/", "etc/group", "etc/nsswitch.conf", "etc/passwd", "isthmus"}, names); diff != "" {
		t.Errorf("files: -want +got\n%s", diff)
	}
}

func TestPushKeepsTheImageID(t *testing.T) {
	p := self(t)
	s := httptest.NewServer(registry.New())
	defer s.Close()
	img, err := Build(p, true)
	if err != nil {
		t.Fatal(err)
	}
	to := strings.TrimPrefix(s.URL, "http://") + "/isthmus:dev"
	byDigest, err := Push(t.Context(), reg.Client{}, img, to)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(byDigest)
	if err != nil {
		t.Fatal(err)
	}
	pushed, err := remote.Image(ref)
	if err != nil {
		t.Fatal(err)
	}
	got, err := pushed.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	plain, err := Build(p, false)
	if err != nil {
		t.Fatal(err)
	}
	want, err := plain.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("image ID %s in the registry, %s in a file", got, want)
	}
}

// program writes an ELF file of a header and, if it is dynamic, a request for the dynamic linker.
func program(t *testing.T, machine elf.Machine, dynamic bool) string {
	t.Helper()
	head := elf.Header64{
		Ident:   [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:    uint16(elf.ET_EXEC),
		Machine: uint16(machine), Version: uint32(elf.EV_CURRENT),
		Ehsize: 64, Phoff: 64, Phentsize: 56, Shentsize: 64,
	}
	var b bytes.Buffer
	if dynamic {
		head.Phnum = 1
	}
	if err := binary.Write(&b, binary.LittleEndian, head); err != nil {
		t.Fatal(err)
	}
	if dynamic {
		if err := binary.Write(&b, binary.LittleEndian, elf.Prog64{Type: uint32(elf.PT_INTERP), Off: 0, Filesz: 4}); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestInspectRefusesWhatCannotRunAlone(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := []struct{ reason, file, arch, why, do string }{
		{"not ELF, as on a Mac", script, "", "not a Linux program", "GOARCH=amd64"},
		{"dynamically linked", program(t, elf.EM_X86_64, true), "", "dynamic linker", "CGO_ENABLED=0"},
		{"another architecture", program(t, elf.EM_X86_64, false), "arm64", "for amd64, not arm64", "GOARCH=arm64"},
		{"a machine without a name", program(t, elf.EM_68K, false), "", "EM_68K", "GOARCH=amd64"},
		{"somebody else's program", program(t, elf.EM_AARCH64, false), "arm64", "not the isthmus program", "GOARCH=arm64"},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			_, err := Inspect(c.file, c.arch)
			var unfit *UnfitError
			if !errors.As(err, &unfit) {
				t.Fatalf("%s: error %v, want an UnfitError", c.reason, err)
			}
			if !strings.Contains(unfit.Why, c.why) || !strings.Contains(unfit.Do, c.do) {
				t.Errorf("%s: %v; want %q and %q in it", c.reason, err, c.why, c.do)
			}
		})
	}
}

func TestInspectTakesAStaticProgramOfThisModule(t *testing.T) {
	file := filepath.Join(t.TempDir(), "isthmus")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", file, "./testdata/program")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+runtime.GOARCH)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	p, err := Inspect(file, runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	if p.Arch != runtime.GOARCH || p.OS != "linux" || p.Size == 0 || p.Version == "" {
		t.Errorf("%+v, want linux/%s, a size and a version", p, runtime.GOARCH)
	}
}

func TestSaveNeedsATag(t *testing.T) {
	img, err := Build(self(t), false)
	if err != nil {
		t.Fatal(err)
	}
	if err := Save(io.Discard, img, "UPPER CASE"); err == nil {
		t.Error("a name that is none was taken")
	}
}
