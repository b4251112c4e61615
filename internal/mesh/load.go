package mesh

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	utiljson "k8s.io/apimachinery/pkg/util/json"

	"isthmus.dev/isthmus/api/v1alpha1"
	"isthmus.dev/isthmus/internal/input"
)

// LoadFile reads, completes and validates the document at a path, with "path=value" overrides laid over it as --set
// does. Its error is *Problems where the document is at fault, which includes that there is no such file.
func LoadFile(path string, overrides []string) (Mesh, error) {
	text, err := input.ReadFile(path, input.Document)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Mesh{}, asError(path, []Problem{{File: path, Message: "there is no such file", Hint: "to write one: isthmus init -f " + path}})
	case err != nil:
		if info, bad := os.Stat(path); bad == nil && info.IsDir() {
			return Mesh{}, asError(path, []Problem{{File: path, Message: "is a folder, not a mesh document", Hint: "name the file: -f " + path + "/mesh.yaml"}})
		}
		return Mesh{}, fmt.Errorf("read the mesh document: %w", err)
	}
	return Load(path, text, overrides)
}

// Load reads, completes and validates a document. File is its name in messages, and the folder from which it names
// other files; "-" is standard input. Overrides are "path=value", see Override. The error is *Problems and holds
// everything that is wrong at once, unless the program itself is broken.
func Load(file string, text []byte, overrides []string) (Mesh, error) {
	doc, err := read(file, text, overrides)
	if err != nil {
		return Mesh{}, err
	}
	return complete(doc, file)
}

// read is Load up to the document as it was written, with the CRD's defaults.
func read(file string, text []byte, overrides []string) (v1alpha1.Mesh, error) {
	shown := file
	if file == "-" {
		shown = "standard input"
	}
	l, err := theLaw()
	if err != nil {
		return v1alpha1.Mesh{}, err
	}
	t, problems := parseYAML(shown, text)
	if t == nil {
		return v1alpha1.Mesh{}, asError(shown, problems)
	}
	j := &judge{tree: t, law: l, found: problems, bad: map[string]bool{}}
	for _, o := range overrides {
		j.override(o)
	}
	if !j.kind() {
		return v1alpha1.Mesh{}, asError(shown, j.found)
	}
	clean := j.shape(t.root, l.root(), "").(map[string]any)
	j.rules(clean)
	doc, err := typed(clean)
	if err != nil {
		return v1alpha1.Mesh{}, err
	}
	j.agree(doc)
	return doc, asError(shown, j.found)
}

// typed turns a document of the right shape into its Go type.
func typed(clean map[string]any) (v1alpha1.Mesh, error) {
	var doc v1alpha1.Mesh
	meta, _ := clean["metadata"].(map[string]any)
	for k := range meta {
		if k != "name" && k != "labels" && k != "annotations" {
			delete(meta, k) // an API server's own; nothing here reads it
		}
	}
	text, err := json.Marshal(clean)
	if err != nil {
		return doc, fmt.Errorf("write the document as JSON: %w", err)
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		return doc, fmt.Errorf("read the document: %w", err)
	}
	return doc, nil
}

// decodeJSON reads whole numbers as int64, as Kubernetes does everywhere.
func decodeJSON(text []byte, into *map[string]any) error { return utiljson.Unmarshal(text, into) }
