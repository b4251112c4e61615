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

// images loads the lab's own images into the node once its containerd answers.
func (c *cluster) images(ctx context.Context, n layout.Node) {
	for _, p := range c.processes {
		if p.Name == "containerd" && p.Site.Node.Name == n.Name {
			select {
			case <-p.first:
			case <-ctx.Done():
				return
			}
		}
	}
	for _, path := range c.s.lab.Programs.Images {
		c.insist(ctx, "images", func() error {
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			defer func() { _ = f.Close() }()
			return Import(ctx, c.s.lab.Programs, n, f)
		})
	}
}

// Import loads a docker or OCI archive into the node.
func Import(ctx context.Context, p layout.Programs, n layout.Node, archive io.Reader) error {
	cmd := exec.CommandContext(ctx, filepath.Join(p.Bin, "ctr"), "--address", n.Containerd(), "--namespace", "k8s.io", "images", "import", "-")
	cmd.Stdin = archive
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("load image into node %s: %w: %s", n.Name, err, strings.TrimSpace(string(out)))
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
