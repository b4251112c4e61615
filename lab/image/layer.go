package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"isthmus.dev/isthmus/oci"
)

// A layer is a tar that is made anew from its files each time it is read, so that no image need fit in memory.
type layer struct{ entries []entry }

type entry struct {
	header tar.Header
	data   []byte
	source string
}

var base = []File{
	{Path: "/etc/passwd", Data: []byte("root:x:0:0::/:/x\nnobody:x:65534:65534::/:/x\nistio-proxy:x:1337:1337::/:/x\n")},
	{Path: "/etc/group", Data: []byte("root:x:0:\nnogroup:x:65534:\nistio-proxy:x:1337:\n")},
	{Path: "/etc/nsswitch.conf", Data: []byte("hosts: files dns\n")},
}

var baseDirs = map[string]int64{"tmp": 0o1777, "run": 0o755, "var/run": 0o755, "var/lib/istio": 0o755}

func newLayer(files []File) (v1.Layer, error) {
	byPath := map[string]entry{}
	for _, f := range slices.Concat(base, files) {
		e, err := newEntry(f)
		if err != nil {
			return nil, err
		}
		byPath[e.header.Name] = e
	}
	for d := range baseDirs {
		addDir(byPath, d)
	}
	for p := range byPath {
		addDir(byPath, path.Dir(p))
	}
	l := &layer{}
	for p, e := range byPath {
		if dir, ok := byPath[path.Dir(p)]; ok && dir.header.Typeflag != tar.TypeDir {
			return nil, fmt.Errorf("/%s lies in /%s, which is a file", p, dir.header.Name)
		}
		l.entries = append(l.entries, e)
	}
	// A folder sorts before what is in it, since its name is a prefix.
	slices.SortFunc(l.entries, func(a, b entry) int { return strings.Compare(a.header.Name, b.header.Name) })
	return oci.PlainLayer(types.DockerUncompressedLayer, l.open)
}

func addDir(to map[string]entry, dir string) {
	for ; dir != "." && dir != "/"; dir = path.Dir(dir) {
		if _, ok := to[dir]; ok {
			continue
		}
		mode := int64(0o755)
		if m, ok := baseDirs[dir]; ok {
			mode = m
		}
		to[dir] = entry{header: tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: mode, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}}
	}
}

func newEntry(f File) (entry, error) {
	name := strings.TrimPrefix(path.Clean("/"+f.Path), "/")
	if name == "" {
		return entry{}, errors.New("a file has no path")
	}
	e := entry{header: tar.Header{Name: name, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}}
	mode := f.Mode.Perm()
	switch {
	case f.Link != "":
		e.header.Typeflag, e.header.Linkname, mode = tar.TypeSymlink, f.Link, 0o777
	case f.Source != "":
		st, err := os.Stat(f.Source)
		if err != nil {
			return entry{}, err
		}
		if !st.Mode().IsRegular() {
			return entry{}, &fs.PathError{Op: "read", Path: f.Source, Err: errors.New("not a regular file")}
		}
		if mode == 0 {
			mode = st.Mode().Perm()
		}
		e.header.Typeflag, e.header.Size, e.source = tar.TypeReg, st.Size(), f.Source
	default:
		e.header.Typeflag, e.header.Size, e.data = tar.TypeReg, int64(len(f.Data)), f.Data
	}
	if mode == 0 {
		mode = 0o644
	}
	e.header.Mode = int64(mode)
	return e, nil
}

func (l *layer) write(w io.Writer) error {
	t := tar.NewWriter(w)
	for _, e := range l.entries {
		h := e.header
		if err := t.WriteHeader(&h); err != nil {
			return fmt.Errorf("/%s: %w", e.header.Name, err)
		}
		if err := e.copyTo(t); err != nil {
			return fmt.Errorf("/%s: %w", e.header.Name, err)
		}
	}
	return t.Close()
}

func (e entry) copyTo(w io.Writer) error {
	if e.source == "" {
		_, err := io.Copy(w, bytes.NewReader(e.data))
		return err
	}
	f, err := os.Open(e.source)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, f)
	return errors.Join(err, f.Close())
}

func (l *layer) open() (io.ReadCloser, error) {
	r, w := io.Pipe()
	go func() { w.CloseWithError(l.write(w)) }()
	return r, nil
}
