package render

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"isthmus.dev/isthmus/internal/object"
)

// Secrets reads the content of sealed objects that an earlier run wrote into a folder: cluster → Secret. No error
// quotes what is in a file.
func Secrets(dir string, clusters []Cluster) (map[string]map[object.Ref]*unstructured.Unstructured, error) {
	have := map[string]map[object.Ref]*unstructured.Unstructured{}
	for _, c := range clusters {
		have[c.Name] = map[object.Ref]*unstructured.Unstructured{}
		for _, i := range c.Secrets() {
			file := filepath.Join(dir, c.Name, i.Name())
			text, err := os.ReadFile(file)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			body := map[string]any{}
			if yaml.Unmarshal(text, &body) != nil {
				return nil, fmt.Errorf("%s is no YAML that can be read: put it back from a copy, or move it away and every certificate is made anew", file)
			}
			u := &unstructured.Unstructured{Object: body}
			if u.GetKind() != "Secret" || object.RefOf(u) != i.Object.Ref() {
				return nil, fmt.Errorf("%s does not hold %s", file, i.Object.Ref())
			}
			have[c.Name][i.Object.Ref()] = u
		}
	}
	return have, nil
}
