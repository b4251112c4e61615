package image

import (
	"cmp"
	"debug/buildinfo"
	"debug/elf"
	"fmt"
	"os"
	"strings"
)

// Module is the Go module whose programs may become images.
const Module = "isthmus.dev/isthmus"

// A Program is a file that can run in an image that holds nothing else.
type Program struct {
	File     string
	Size     int64  // bytes
	OS, Arch string // as Go and OCI name them
	Version  string // its module's version, "(devel)" for one built from a working copy
}

// An UnfitError says why a program cannot become an image, and what to do.
type UnfitError struct{ File, Why, Do string }

func (e *UnfitError) Error() string {
	return fmt.Sprintf("%s cannot become an image: %s\n  %s", e.File, e.Why, e.Do)
}

// machines are the ELF machines that Go builds for and people run Kubernetes on.
var machines = map[elf.Machine]string{
	elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64", elf.EM_ARM: "arm", elf.EM_PPC64: "ppc64le",
	elf.EM_S390: "s390x", elf.EM_RISCV: "riscv64",
}

// Inspect tells whether a file can become an image: an isthmus program, for Linux, for the wanted architecture
// ("" for whatever it is), that needs no shared library. If not, the error is an *UnfitError.
func Inspect(file, arch string) (Program, error) {
	info, err := os.Stat(file)
	if err != nil {
		return Program{}, fmt.Errorf("inspect program: %w", err)
	}
	p := Program{File: file, Size: info.Size(), OS: "linux"}
	f, err := elf.Open(file)
	if err != nil {
		return Program{}, &UnfitError{file, "it is not a Linux program", howToBuild(arch)}
	}
	defer f.Close()
	p.Arch = machines[f.Machine]
	if p.Arch == "" {
		return Program{}, &UnfitError{file, fmt.Sprintf("it is for %v", f.Machine), howToBuild(arch)}
	}
	if arch != "" && arch != p.Arch {
		return Program{}, &UnfitError{file, fmt.Sprintf("it is for %s, not %s", p.Arch, arch), howToBuild(arch)}
	}
	if needs := sharedLibraries(f); needs != "" {
		return Program{}, &UnfitError{file, "it needs shared libraries (" + needs + "), and the image has none", howToBuild(p.Arch)}
	}
	build, err := buildinfo.ReadFile(file)
	if err != nil || build.Main.Path != Module && !strings.HasPrefix(build.Path, Module+"/") {
		return Program{}, &UnfitError{file, "it is not the isthmus program", howToBuild(p.Arch)}
	}
	p.Version = cmp.Or(build.Main.Version, "(devel)")
	return p, nil
}

// sharedLibraries names what the dynamic linker would have to find; "" for a static program.
func sharedLibraries(f *elf.File) string {
	libs, err := f.ImportedLibraries()
	if err == nil && len(libs) > 0 {
		return strings.Join(libs, ", ")
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return "the dynamic linker"
		}
	}
	return ""
}

func howToBuild(arch string) string {
	return fmt.Sprintf("Build one that can: CGO_ENABLED=0 GOOS=linux GOARCH=%s go build -o isthmus-linux %s/cmd/isthmus\n"+
		"  and name it: isthmus image --binary isthmus-linux", cmp.Or(arch, "amd64"), Module)
}
