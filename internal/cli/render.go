package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"isthmus.dev/isthmus/internal/engine"
	"isthmus.dev/isthmus/internal/render"
	"isthmus.dev/isthmus/internal/screen"
	"isthmus.dev/isthmus/internal/seal"
)

type renderFlags struct {
	dir     string
	only    []string
	secrets bool
}

func newRender(e *env) *cobra.Command {
	var flags renderFlags
	c := &cobra.Command{
		Use:   "render",
		Short: "The same objects as files, for GitOps; no cluster is asked",
		Long: `Render writes what apply would send to clusters that have nothing yet: a folder for each cluster, one object a file,
and a kustomization.yaml that lists them in apply's order. The bodies are the same, byte for byte. It asks no cluster.

  isthmus render -d clusters              clusters/east/..., clusters/west/...; again, and only what differs is written
  isthmus render --cluster east           one cluster as a stream of YAML

The content of Secrets is not in it: they are named, with what they are for, and isthmus apply makes them in the
clusters. With --secrets, files hold those that can be made without a cluster: the mesh's root and the intermediates.
Whoever reads the root's key can speak for every workload of the mesh. Remote secrets cannot be made so: their tokens
are the API servers' to issue.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			format, err := e.format(screen.JSON, screen.YAML)
			switch {
			case err != nil:
				return err
			case flags.secrets && flags.dir == "":
				return usagef("--secrets writes private keys to files only: say where to with -d DIR")
			case format != screen.Human && flags.dir == "":
				return usagef("-o says what was written: it needs -d DIR. The stream without -d is YAML")
			}
			return e.render(c.Context(), flags)
		},
	}
	f := c.Flags()
	f.StringVarP(&flags.dir, "dir", "d", "", "write files into this folder (default: a stream to standard output)")
	f.StringSliceVar(&flags.only, "cluster", nil, "only this cluster; may be repeated")
	f.BoolVar(&flags.secrets, "secrets", false, "also write the root and the intermediates, with their private keys")
	return c
}

// A rendering says what render did, for programs.
type rendering struct {
	Mesh     string            `json:"mesh"`
	Dir      string            `json:"dir"`
	Clusters []renderedCluster `json:"clusters"`
	render.Written
}

type renderedCluster struct {
	Name    string           `json:"name"`
	Files   []string         `json:"files"`
	Secrets []renderedSecret `json:"secrets,omitempty"`
}

// A renderedSecret is named and not written.
type renderedSecret struct {
	Secret string `json:"secret"`
	Reason string `json:"reason"`
	// NeedsCluster says why render cannot make its content; empty where --secrets can.
	NeedsCluster string `json:"needsCluster,omitempty"`
}

func (e *env) render(ctx context.Context, flags renderFlags) error {
	eng, err := e.charted(ctx)
	if err != nil {
		return err
	}
	clusters, err := eng.Render()
	if err != nil {
		return err
	}
	if flags.secrets {
		have, err := render.Secrets(flags.dir, clusters)
		if err != nil {
			return err
		}
		if err := eng.FillSecrets(clusters, have); err != nil {
			return err
		}
	}
	shown, err := chosen(eng, clusters, flags.only)
	if err != nil {
		return err
	}
	if flags.dir == "" {
		for _, c := range shown {
			text, err := c.Stream()
			if err != nil {
				return err
			}
			if _, err := e.Out.Write(text); err != nil {
				return err
			}
		}
		return nil
	}
	written, err := render.Write(flags.dir, shown)
	if err != nil {
		return fmt.Errorf("%w\n  What was written before stays; run it again when that is mended", err)
	}
	if len(flags.only) > 0 {
		written.Departed = nil // those are the clusters that were not asked for
	}
	result := renderingOf(eng, flags.dir, shown, written)
	return e.show(result, func(p *screen.Page) { renderPage(p, result, flags.secrets) })
}

// chosen are the clusters that flags name; all if they name none.
func chosen(eng engine.Engine, all []render.Cluster, only []string) ([]render.Cluster, error) {
	for _, name := range only {
		if _, ok := eng.Mesh.Cluster(name); !ok {
			return nil, usagef("no cluster %q in %s", name, eng.Mesh.Source)
		}
	}
	if len(only) == 0 {
		return all, nil
	}
	return slices.DeleteFunc(all, func(c render.Cluster) bool { return !slices.Contains(only, c.Name) }), nil
}

func renderingOf(eng engine.Engine, dir string, clusters []render.Cluster, written render.Written) rendering {
	r := rendering{Mesh: eng.Mesh.Name, Dir: dir, Written: written}
	for _, c := range clusters {
		x := renderedCluster{Name: c.Name, Files: []string{}}
		secrets := c.Secrets()
		for _, i := range c.Items {
			if i.Object.Sealed == nil || i.Filled {
				x.Files = append(x.Files, i.Name())
			}
		}
		for _, i := range secrets {
			x.Secrets = append(x.Secrets, renderedSecret{i.Object.Ref().String(), i.Object.Reason, seal.NeedsCluster(i.Object)})
		}
		r.Clusters = append(r.Clusters, x)
	}
	return r
}

func renderPage(p *screen.Page, r rendering, secrets bool) {
	files := 0
	var rows [][]string
	for _, c := range r.Clusters {
		files += len(c.Files)
		rows = append(rows, []string{"  " + c.Name, fmt.Sprintf("%d files", len(c.Files)), fmt.Sprintf("%d Secrets named, not written", len(c.Secrets))})
	}
	fmt.Fprintf(p, "%s %s: %d files in %s, %d of them new or other than before, %d removed\n%s", p.Mark(screen.Yes), r.Mesh, files, r.Dir, len(r.Changed), len(r.Removed), screen.Columns(rows))
	for _, f := range r.Kept {
		fmt.Fprintf(p, "%s %s holds a secret and is no longer listed; delete it if nothing else does\n", p.Mark(screen.Hmm), f)
	}
	for _, d := range r.Departed {
		fmt.Fprintf(p, "%s %s is of a cluster that is no longer in the document, and stays. Take the mesh off the cluster first, then: rm -r %s\n", p.Mark(screen.Hmm), d, d)
	}
	if secrets {
		fmt.Fprintf(p, "%s %s\n  Encrypt them before they go anywhere (SOPS, Sealed Secrets, a vault), and never commit them as they are.\n",
			p.Mark(screen.Hmm), p.Warn("PRIVATE KEYS ARE IN "+r.Dir+": secret_*.yaml, readable by you alone."))
		for _, c := range r.Clusters {
			for _, s := range c.Secrets {
				fmt.Fprintf(p, "  not made: %s of %s: %s\n", s.Secret, c.Name, s.NeedsCluster)
			}
		}
	}
	fmt.Fprintf(p, "Next: commit %s; when the clusters have it, isthmus apply makes the Secrets that are not in it\n", strings.TrimSuffix(r.Dir, "/"))
}
