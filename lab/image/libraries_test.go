package image

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// An object is an ELF file that holds nothing but what the dynamic linker reads.
type object struct {
	machine elf.Machine
	interp  string
	runpath string
	needed  []string
}

func (o object) bytes(t *testing.T) []byte {
	t.Helper()
	const header, progHeader, sectionHeader = 64, 56, 64
	strs := []byte{0}
	at := func(s string) uint64 {
		n := len(strs)
		strs = append(append(strs, s...), 0)
		return uint64(n)
	}
	var dyn []elf.Dyn64
	for _, n := range o.needed {
		dyn = append(dyn, elf.Dyn64{Tag: int64(elf.DT_NEEDED), Val: at(n)})
	}
	if o.runpath != "" {
		dyn = append(dyn, elf.Dyn64{Tag: int64(elf.DT_RUNPATH), Val: at(o.runpath)})
	}
	dyn = append(dyn, elf.Dyn64{Tag: int64(elf.DT_NULL)})
	interp := at(o.interp)
	nStr, nDynamic := at(".strings"), at(".dynamic")
	strsOff := uint64(header + progHeader)
	dynOff := strsOff + uint64(len(strs))
	dynSize := uint64(16 * len(dyn))
	h := elf.Header64{
		Type: uint16(elf.ET_DYN), Machine: uint16(o.machine), Version: 1, Phoff: header, Shoff: dynOff + dynSize,
		Ehsize: header, Phentsize: progHeader, Phnum: 1, Shentsize: sectionHeader, Shnum: 3, Shstrndx: 1,
	}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
	prog := elf.Prog64{Type: uint32(elf.PT_NULL)}
	if o.interp != "" {
		prog = elf.Prog64{Type: uint32(elf.PT_INTERP), Off: strsOff + interp, Filesz: uint64(len(o.interp) + 1)}
	}
	var b bytes.Buffer
	for _, part := range []any{
		h, prog, strs, dyn,
		elf.Section64{},
		elf.Section64{Name: uint32(nStr), Type: uint32(elf.SHT_STRTAB), Off: strsOff, Size: uint64(len(strs))},
		elf.Section64{Name: uint32(nDynamic), Type: uint32(elf.SHT_DYNAMIC), Off: dynOff, Size: dynSize, Link: 1, Entsize: 16},
	} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func TestClosure(t *testing.T) {
	const amd = elf.EM_X86_64
	const triplet = "/lib/x86_64-linux-gnu/"
	cases := map[string]struct {
		reason string
		root   map[string]object
		plain  map[string]string
		want   []string
		err    string
	}{
		"Static": {
			reason: "A static program needs nothing.",
			root:   map[string]object{"/bin/x": {machine: amd}},
		},
		"Script": {
			reason: "What is not ELF needs nothing.",
			plain:  map[string]string{"/bin/x": "#!/bin/sh\n"},
		},
		"Linker": {
			reason: "The dynamic linker must be there, or the kernel says that the program does not exist.",
			root: map[string]object{
				"/bin/x":               {machine: amd, interp: "/lib64/ld-linux.so.2", needed: []string{"libc.so.6"}},
				"/lib64/ld-linux.so.2": {machine: amd},
				triplet + "libc.so.6":  {machine: amd},
			},
			want: []string{"/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux.so.2"},
		},
		"Closure": {
			reason: "Libraries of libraries come too, each once, also when they need each other.",
			root: map[string]object{
				"/bin/x":          {machine: amd, needed: []string{"a.so", "b.so"}},
				triplet + "a.so":  {machine: amd, needed: []string{"b.so", "c.so"}},
				triplet + "b.so":  {machine: amd, needed: []string{"a.so"}},
				"/usr/lib64/c.so": {machine: amd},
			},
			want: []string{triplet + "a.so", triplet + "b.so", "/usr/lib64/c.so"},
		},
		"Machine": {
			reason: "A library of another machine is passed over, as the linker does.",
			root: map[string]object{
				"/bin/x":         {machine: amd, needed: []string{"a.so"}},
				triplet + "a.so": {machine: elf.EM_386},
				"/usr/lib/a.so":  {machine: amd},
			},
			want: []string{"/usr/lib/a.so"},
		},
		"RunPath": {
			reason: "A program's own library path comes first, with $ORIGIN as the program's folder.",
			root: map[string]object{
				"/opt/x/bin/x":     {machine: amd, runpath: "/nowhere:$ORIGIN/../lib", needed: []string{"a.so"}},
				"/opt/x/lib/a.so":  {machine: amd},
				triplet + "a.so":   {machine: amd},
				"/opt/x/lib/bb.so": {machine: amd},
			},
			want: []string{"/opt/x/lib/a.so"},
		},
		"Missing": {
			reason: "A library that is not there is named, and who needs it.",
			root: map[string]object{
				"/bin/x":         {machine: amd, needed: []string{"a.so"}},
				triplet + "a.so": {machine: amd, needed: []string{"gone.so"}},
			},
			err: "find library gone.so that ROOT/lib/x86_64-linux-gnu/a.so needs: it is not in " +
				"/lib/x86_64-linux-gnu, /usr/lib/x86_64-linux-gnu, /lib64, /usr/lib64, /lib, /usr/lib",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			var program string
			for p, o := range tc.root {
				write(t, filepath.Join(root, p), string(o.bytes(t)), 0o755)
				if strings.HasSuffix(p, "bin/x") {
					program = filepath.Join(root, p)
				}
			}
			for p, text := range tc.plain {
				program = write(t, filepath.Join(root, p), text, 0o755)
			}
			files, err := closure(root, []string{program, program})
			if msg := text(err, root); msg != tc.err {
				t.Fatalf("%s\ngot  %s\nwant %s", tc.reason, msg, tc.err)
			}
			var got []string
			for _, f := range files {
				got = append(got, f.Path)
				if f.Source != filepath.Join(root, f.Path) {
					t.Errorf("%s comes from %s", f.Path, f.Source)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func text(err error, root string) string {
	if err == nil {
		return ""
	}
	return strings.ReplaceAll(err.Error(), root, "ROOT")
}

func TestLibrariesAgreeWithLdd(t *testing.T) {
	ldd, err := exec.LookPath("ldd")
	if err != nil {
		t.Skip("ldd is not installed")
	}
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("bash is not installed")
	}
	files, err := Libraries(bash)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range files {
		got = append(got, filepath.Base(f.Path))
	}
	out, err := exec.Command(ldd, bash).Output()
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for w := range strings.FieldsSeq(string(out)) {
		if _, err := os.Stat(w); err == nil && strings.HasPrefix(w, "/") {
			want = append(want, filepath.Base(w))
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Compact(got)); diff != "" {
		t.Errorf("libraries of %s (-ldd +got):\n%s", bash, diff)
	}
}
