// Package lockfile is the lock of a document: a file beside it that says which digest each tag of a registry led to when
// a person looked. It is written when that person asks for it and at no other time, and whoever reads a tag afterwards
// that leads elsewhere is told so. It belongs into the repository of the document.
package lockfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"sigs.k8s.io/yaml"
)

// kind is what a lock says it is; a later format has another apiVersion.
const (
	apiVersion = "isthmus.dev/v1alpha1"
	kind       = "MeshLock"
)

// most is how large a lock may be: some hundred times what a mesh has.
const most = 1 << 20

const header = `# Written by isthmus lock: what tags in registries led to. Keep it with the document; isthmus lock renews it.
`

// A File is what a lock holds: digests, "sha256:…", by reference.
type File struct {
	// Charts are by oci://HOST/PATH:TAG, Images by the name that a pod has.
	Charts map[string]string `json:"charts,omitempty"`
	Images map[string]string `json:"images,omitempty"`
}

type written struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	File
}

var digest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// Name is the file of a document's lock: beside it, and named after it. A document that comes from standard input has
// none: "".
func Name(document string) string {
	if document == "" || document == "-" {
		return ""
	}
	return document + ".lock"
}

// Read reads a lock. nil is none: there is no file of that name, or the name is "".
func Read(file string) (*File, error) {
	if file == "" {
		return nil, nil
	}
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read the lock: %w", err)
	case !info.Mode().IsRegular() || info.Size() > most:
		return nil, fmt.Errorf("read the lock: %s is no file of less than %d MiB", file, most>>20)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read the lock: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return nil, fmt.Errorf("read the lock: %w", err)
	}
	var w written
	if err := yaml.UnmarshalStrict(text, &w); err != nil {
		return nil, fmt.Errorf("%s is no lock that can be read: put it back from the repository, or write it anew with isthmus lock: %w", file, err)
	}
	if w.APIVersion != apiVersion || w.Kind != kind {
		return nil, fmt.Errorf("%s is %.40q of %.40q, and a lock that this program reads is a %s of %s", file, w.Kind, w.APIVersion, kind, apiVersion)
	}
	for _, m := range []map[string]string{w.Charts, w.Images} {
		for ref, d := range m {
			if !digest.MatchString(d) {
				return nil, fmt.Errorf("%s: %.200q has %.100q, and a digest is sha256: and 64 hexadecimal digits", file, ref, d)
			}
		}
	}
	return &w.File, nil
}

// Write writes a lock, whole or not at all.
func Write(file string, f File) error {
	text, err := yaml.Marshal(written{apiVersion, kind, f})
	if err != nil {
		return fmt.Errorf("write the lock: %w", err)
	}
	part, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*")
	if err != nil {
		return fmt.Errorf("write the lock: %w", err)
	}
	_, err = part.Write(append([]byte(header), text...))
	if err = errors.Join(err, part.Chmod(0o644), part.Close()); err == nil {
		err = os.Rename(part.Name(), file)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write the lock: %w", err), os.Remove(part.Name()))
	}
	return nil
}

// A Change is a reference that leads to something else than before; From is "" where it was in no lock, To is "" where
// it is in none any more.
type Change struct {
	Reference string `json:"reference"`
	From      string `json:"from,omitempty"`
	To        string `json:"to,omitempty"`
}

// Changes are those from a lock, nil for none, to this one, sorted: charts first.
func (f File) Changes(from *File) []Change {
	if from == nil {
		from = &File{}
	}
	return slices.Concat(changes(from.Charts, f.Charts), changes(from.Images, f.Images))
}

func changes(from, to map[string]string) []Change {
	all := maps.Clone(from)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, to)
	var out []Change
	for _, ref := range slices.Sorted(maps.Keys(all)) {
		if from[ref] != to[ref] {
			out = append(out, Change{Reference: ref, From: from[ref], To: to[ref]})
		}
	}
	return out
}
