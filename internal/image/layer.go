package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// A file of the image beside the program.
type extra struct{ name, content string }

var extras = []extra{
	{"etc/group", "root:x:0:\nnonroot:x:65532:\n"},
	{"etc/nsswitch.conf", "hosts: files dns\n"},
	{"etc/passwd", "root:x:0:0::/:/sbin/nologin\nnonroot:x:65532:65532::/:/sbin/nologin\n"},
}

// files is the image's only layer as a tar stream. The program is read as the stream is: it is never in memory
// as a whole.
func files(p Program) (io.ReadCloser, error) {
	f, err := os.Open(p.File)
	if err != nil {
		return nil, fmt.Errorf("open program: %w", err)
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(errors.Join(writeFiles(w, f, p.Size), f.Close())) }()
	return r, nil
}

func writeFiles(w io.Writer, program io.Reader, size int64) error {
	t := tar.NewWriter(w)
	if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "etc/", Mode: 0o755}); err != nil {
		return fmt.Errorf("write layer: %w", err)
	}
	for _, x := range extras {
		if err := writeFile(t, x.name, 0o644, int64(len(x.content)), strings.NewReader(x.content)); err != nil {
			return err
		}
	}
	if err := writeFile(t, strings.TrimPrefix(Path, "/"), 0o755, size, program); err != nil {
		return err
	}
	if err := t.Close(); err != nil {
		return fmt.Errorf("write layer: %w", err)
	}
	return nil
}

func writeFile(t *tar.Writer, name string, mode, size int64, content io.Reader) error {
	if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: size}); err != nil {
		return fmt.Errorf("write layer: %s: %w", name, err)
	}
	if _, err := io.Copy(t, content); err != nil {
		return fmt.Errorf("write layer: %s: %w", name, err)
	}
	return nil
}
