package resources

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"isthmus.dev/isthmus/internal/analyze"
	"isthmus.dev/isthmus/internal/mesh"
)

// Read reads the files that a document names. A file under an entry that names clusters is theirs alone, even if a
// folder around it is named for all. The error is *mesh.Problems where a path is at fault.
func Read(m mesh.Mesh) ([]analyze.Source, error) {
	if len(m.Resources) == 0 {
		return nil, nil
	}
	var problems []mesh.Problem
	refuse := func(i int, message, hint string) {
		problems = append(problems, mesh.Problem{File: m.Source, Path: fmt.Sprintf("spec.resources[%d].path", i), Message: message, Hint: hint})
	}
	var paths []string
	var folders []analyze.Folder
	for i, r := range m.Resources {
		if _, err := os.Stat(r.Path); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				refuse(i, fmt.Sprintf("there is no file or folder %s", r.Path), "paths are taken from the document's folder")
				continue
			}
			return nil, fmt.Errorf("read spec.resources[%d]: %w", i, err)
		}
		found, skipped, err := analyze.Read([]string{r.Path}, nil, nil)
		switch {
		case err != nil:
			return nil, fmt.Errorf("read spec.resources[%d]: %w", i, err)
		case len(skipped) > 0:
			refuse(i, fmt.Sprintf("%s holds templates of a Helm chart", skipped[0]), "render them first (helm template), and name what comes out")
		case len(found) == 0:
			refuse(i, r.Path+" holds no .yaml, .yml or .json file", "take the entry out, or put the files there")
		}
		if len(r.Clusters) == 0 {
			paths = append(paths, r.Path)
		}
		for _, cluster := range r.Clusters {
			folders = append(folders, analyze.Folder{Cluster: cluster, Path: r.Path})
		}
	}
	if err := mesh.Refuse(m.Source, problems); err != nil {
		return nil, err
	}
	sources, _, err := analyze.Read(paths, folders, nil)
	if err != nil {
		return nil, fmt.Errorf("read spec.resources: %w", err)
	}
	return sources, nil
}
