package charts

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

// unreleased is the version of every chart in Istio's source tree; its release builder writes the real one.
const unreleased = "1.0.0"

// compatibility begins the profiles with which charts behave like an earlier release line. They have one for each of
// the few lines before their own.
const compatibility = "profile-compatibility-version-"

// releaseOf is the release that charts are of: as their own version says or, in a source tree, the line after the
// newest that they can behave like.
func releaseOf(f fs.FS) (string, error) {
	text, err := fs.ReadFile(f, "charts/base/Chart.yaml")
	if err != nil {
		return "", fmt.Errorf("read the version of the charts: %w", err)
	}
	var chart struct {
		Version string `json:"version"`
	}
	if err := yaml.Unmarshal(text, &chart); err != nil {
		return "", fmt.Errorf("read charts/base/Chart.yaml: %w", err)
	}
	version := strings.TrimPrefix(chart.Version, "v")
	if version != unreleased && version != "" {
		return version, nil
	}
	files, err := fs.Glob(f, "charts/istio-control/istio-discovery/files/"+compatibility+"1.*.yaml")
	if err != nil {
		return "", fmt.Errorf("look for compatibility profiles: %w", err)
	}
	newest := 0
	for _, file := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(path.Base(file), compatibility+"1."), ".yaml")
		if minor, err := strconv.Atoi(name); err == nil {
			newest = max(newest, minor)
		}
	}
	if newest == 0 {
		return "", errors.New("the charts do not say of which release they are: neither a version nor a compatibility profile")
	}
	return "1." + strconv.Itoa(newest+1), nil
}
