package image

import (
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// libraryDirs are the folders that the dynamic linkers of Debian, Fedora and Alpine search without any
// configuration, in their order (ld.so(8)); an image has no /etc/ld.so.cache. %s is the multiarch name.
var libraryDirs = []string{"/lib/%s", "/usr/lib/%s", "/lib64", "/usr/lib64", "/lib", "/usr/lib"}

var multiarch = map[elf.Machine]string{elf.EM_X86_64: "x86_64-linux-gnu", elf.EM_AARCH64: "aarch64-linux-gnu"}

// Libraries returns the shared libraries that ELF programs (or libraries) need to run, those of their libraries
// too, and their dynamic linkers, each at the path where it must lie in an image, sorted. Files that are not ELF
// and static programs need none. A library that is not found is an error that names it and who needs it.
func Libraries(programs ...string) ([]File, error) { return closure("/", programs) }

func closure(root string, programs []string) ([]File, error) {
	found := map[string]string{}
	todo := slices.Clone(programs)
	seen := map[string]bool{}
	for len(todo) > 0 {
		p := todo[0]
		todo = todo[1:]
		if seen[p] {
			continue
		}
		seen[p] = true
		needs, err := direct(root, p)
		if err != nil {
			return nil, err
		}
		for _, n := range needs {
			if _, ok := found[n]; !ok {
				found[n] = filepath.Join(root, n)
				todo = append(todo, found[n])
			}
		}
	}
	files := make([]File, 0, len(found))
	for p, src := range found {
		files = append(files, File{Path: p, Source: src})
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return files, nil
}

// direct returns the paths, below root, of what one file itself asks for: DT_NEEDED and PT_INTERP.
func direct(root, file string) ([]string, error) {
	raw, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer raw.Close()
	magic := make([]byte, len(elf.ELFMAG))
	if _, err := raw.ReadAt(magic, 0); err != nil || string(magic) != elf.ELFMAG {
		return nil, nil
	}
	f, err := elf.NewFile(raw)
	if err != nil {
		return nil, fmt.Errorf("read libraries of %s: %w", file, err)
	}
	var out []string
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			b := make([]byte, p.Filesz)
			if _, err := p.ReadAt(b, 0); err != nil {
				return nil, fmt.Errorf("read dynamic linker of %s: %w", file, err)
			}
			out = append(out, strings.TrimRight(string(b), "\x00"))
		}
	}
	names, err := f.ImportedLibraries()
	if err != nil {
		return nil, fmt.Errorf("read libraries of %s: %w", file, err)
	}
	dirs, err := searchDirs(f, root, file)
	if err != nil {
		return nil, fmt.Errorf("read library path of %s: %w", file, err)
	}
	for _, n := range names {
		p, ok := locate(root, n, dirs, f.Machine)
		if !ok {
			return nil, fmt.Errorf("find library %s that %s needs: it is not in %s", n, file, strings.Join(dirs, ", "))
		}
		out = append(out, p)
	}
	return out, nil
}

// searchDirs are a file's own DT_RUNPATH or DT_RPATH with $ORIGIN filled in, then the linker's defaults.
func searchDirs(f *elf.File, root, file string) ([]string, error) {
	var dirs []string
	for _, tag := range []elf.DynTag{elf.DT_RUNPATH, elf.DT_RPATH} {
		paths, err := f.DynString(tag)
		if err != nil {
			return nil, err
		}
		origin := "/" + strings.TrimPrefix(strings.TrimPrefix(filepath.Dir(file), root), "/")
		for _, p := range paths {
			for d := range strings.SplitSeq(p, ":") {
				dirs = append(dirs, filepath.Clean(strings.NewReplacer("$ORIGIN", origin, "${ORIGIN}", origin).Replace(d)))
			}
		}
	}
	for _, d := range libraryDirs {
		if strings.Contains(d, "%s") {
			if multiarch[f.Machine] == "" {
				continue
			}
			d = fmt.Sprintf(d, multiarch[f.Machine])
		}
		dirs = append(dirs, d)
	}
	return dirs, nil
}

// locate finds a library of the right machine; a folder may hold one of another (lib32 and the like).
func locate(root, name string, dirs []string, machine elf.Machine) (string, bool) {
	if strings.Contains(name, "/") {
		_, err := os.Stat(filepath.Join(root, name))
		return name, err == nil
	}
	for _, d := range dirs {
		p := filepath.Join(d, name)
		f, err := elf.Open(filepath.Join(root, p))
		if err != nil {
			continue
		}
		same := f.Machine == machine
		if f.Close() == nil && same {
			return p, true
		}
	}
	return "", false
}
