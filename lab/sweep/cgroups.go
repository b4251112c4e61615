package sweep

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"isthmus.dev/isthmus/lab/layout"
)

// cgroups lists the lab's groups in every hierarchy, outermost first: version 1 has one for each controller.
func cgroups(lab string) []string {
	var list []string
	for _, root := range hierarchies() {
		top := filepath.Join(root, layout.CgroupRoot(lab))
		_ = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				list = append(list, path)
			}
			return nil
		})
	}
	return list
}

// hierarchies lists where cgroup file systems are mounted.
func hierarchies() []string {
	data, _ := os.ReadFile("/proc/self/mountinfo")
	var list []string
	for line := range strings.Lines(string(data)) {
		before, after, ok := strings.Cut(line, " - ")
		fields := strings.Fields(before)
		if ok && len(fields) > 4 && strings.HasPrefix(after, "cgroup") {
			list = append(list, unescape(fields[4]))
		}
	}
	return list
}

// removeCgroups waits for the kernel to let go of groups whose last process has just ended.
func removeCgroups(lab string) error {
	var last error
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		last = nil
		for _, g := range slices.Backward(cgroups(lab)) {
			if err := os.Remove(g); err != nil && !errors.Is(err, fs.ErrNotExist) {
				last = fmt.Errorf("remove cgroup: %w", err)
			}
		}
		if last == nil {
			return nil
		}
	}
	return last
}
