// Package image assembles container images from files of this machine, with no registry, daemon or root rights.
// The same files give the same image, byte for byte: entries are sorted, times are the epoch, owners are root,
// and a layer is not compressed, since it never travels further than this machine.
package image

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// A Spec says what an image is made of.
type Spec struct {
	// Ref is the image's name and tag, such as lab.local/pause:1.
	Ref string
	// Arch is the architecture as Go names it, such as amd64.
	Arch string
	// Entrypoint is the program and its first arguments.
	Entrypoint []string
	// User is the name or number that the program runs as; empty is root.
	User string
	// Env are variables as NAME=value. PATH is set to the usual folders unless it is among them.
	Env []string
	// Files are what the image holds beside the base that every image has: /etc/passwd and group with root,
	// nobody and istio-proxy (1337), /etc/nsswitch.conf, /tmp, /run and /var/run. A file here replaces one of
	// the base with the same path.
	Files []File
}

// A File is one file of an image. Exactly one of Source, Data and Link says what it is.
type File struct {
	// Path is where the file lies in the image, from the root.
	Path string
	// Source is a file of this machine; its contents and permission bits are taken, symbolic links are followed.
	Source string
	// Data is the file's contents.
	Data []byte
	// Link is where a symbolic link points to.
	Link string
	// Mode are the permission bits; zero takes those of Source, or 0644 for Data.
	Mode os.FileMode
}

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Assemble returns the image of a spec: one layer and a config. The files are read now, for the layer's digest,
// and again when the image is written or pushed: they must not change in between.
func Assemble(s Spec) (v1.Image, error) {
	if _, err := name.NewTag(s.Ref); err != nil {
		return nil, fmt.Errorf("assemble image: %w", err)
	}
	if s.Arch == "" {
		return nil, fmt.Errorf("assemble image %s: no architecture is given", s.Ref)
	}
	l, err := newLayer(s.Files)
	if err != nil {
		return nil, fmt.Errorf("assemble image %s: %w", s.Ref, err)
	}
	img, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		return nil, fmt.Errorf("assemble image %s: %w", s.Ref, err)
	}
	cfg, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("assemble image %s: %w", s.Ref, err)
	}
	cfg = cfg.DeepCopy()
	cfg.OS, cfg.Architecture = "linux", s.Arch
	// A history entry for each layer is what docker load and its like expect; without a time it stays reproducible.
	cfg.History = []v1.History{{CreatedBy: "isthmus lab", Comment: s.Ref}}
	cfg.Config = v1.Config{Entrypoint: s.Entrypoint, User: s.User, Env: environment(s.Env), WorkingDir: "/"}
	if img, err = mutate.ConfigFile(img, cfg); err != nil {
		return nil, fmt.Errorf("assemble image %s: %w", s.Ref, err)
	}
	return img, nil
}

func environment(env []string) []string {
	for _, e := range env {
		if len(e) > 5 && e[:5] == "PATH=" {
			return env
		}
	}
	return append([]string{defaultPath}, env...)
}

// Write writes an image under its name and tag as a docker archive (the form that docker save makes and
// ctr images import reads).
func Write(w io.Writer, ref string, img v1.Image) error {
	tag, err := name.NewTag(ref)
	if err != nil {
		return fmt.Errorf("write image: %w", err)
	}
	if err := tarball.Write(tag, img, w); err != nil {
		return fmt.Errorf("write image %s: %w", ref, err)
	}
	return nil
}

// WriteFile is Write into a file, which holds either the whole archive or, after an error, nothing.
func WriteFile(path, ref string, img v1.Image) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write image %s: %w", ref, err)
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	return Write(f, ref, img)
}
