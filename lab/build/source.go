package build

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/mod/modfile"
)

// modulePath is the module that this package belongs to.
const modulePath = "isthmus.dev/isthmus"

// FindSource returns the root of a copy of this repository: dir if it is given, else the first that is found from
// the working folder upwards, then from the running program's folder upwards. The nested modules that pin the
// lab's programs are no part of the main module, so they can neither be embedded nor come with go install: the
// lab needs its source at run time.
func FindSource(dir string) (string, error) {
	if dir != "" {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return "", fmt.Errorf("find the lab's source: %w", err)
		}
		if !isSource(abs) {
			return "", &Error{
				Problem: fmt.Sprintf("%s is not the source of %s", dir, modulePath),
				Do:      "Name the folder that holds its go.mod and lab/build.",
			}
		}
		return abs, nil
	}
	var starts []string
	if wd, err := os.Getwd(); err == nil {
		starts = append(starts, wd)
	}
	if exe, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(exe))
	}
	for _, s := range starts {
		for d := s; ; d = filepath.Dir(d) {
			if isSource(d) {
				return d, nil
			}
			if d == filepath.Dir(d) {
				break
			}
		}
	}
	return "", &Error{
		Problem: fmt.Sprintf("the lab builds its programs from the source of %s, which is neither here nor above", modulePath),
		Do:      "Run it inside a clone of the repository, or name one: ISTHMUS_SRC=/path/to/clone",
	}
}

func isSource(dir string) bool {
	b, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil || modfile.ModulePath(b) != modulePath {
		return false
	}
	_, err = os.Stat(filepath.Join(dir, "lab", "build", "kube", "go.mod"))
	return err == nil
}
