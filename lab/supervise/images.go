package supervise

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"

	"isthmus.dev/isthmus/lab/layout"
)

// Import loads a docker or OCI archive into the node.
func Import(ctx context.Context, p layout.Programs, n layout.Node, archive io.Reader) error {
	cmd := exec.CommandContext(ctx, filepath.Join(p.Bin, "ctr"), "--address", n.Containerd(), "--namespace", "k8s.io", "images", "import", "-")
	cmd.Stdin = archive
	if out, err := cmd.CombinedOutput(); err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		why := strings.TrimPrefix(lines[len(lines)-1], "ctr: ")
		return fmt.Errorf("load image into node %s: it is no docker or OCI archive that containerd understands: %s (%w)", n.Name, why, err)
	}
	return nil
}

// ImportAll loads the archive at path into every node of the clusters at the same time.
func ImportAll(ctx context.Context, p layout.Programs, clusters []layout.Cluster, path string) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, c := range clusters {
		if c.Hollow {
			continue
		}
		for _, n := range c.Nodes {
			g.Go(func() error {
				f, err := os.Open(path)
				if err != nil {
					return fmt.Errorf("load image: %w", err)
				}
				defer func() { _ = f.Close() }()
				return Import(ctx, p, n, f)
			})
		}
	}
	return g.Wait()
}
