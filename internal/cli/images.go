package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"isthmus.dev/isthmus/internal/engine"
	"isthmus.dev/isthmus/internal/screen"
)

// A list of images for programs.
type imageList struct {
	Mesh   string         `json:"mesh"`
	Images []engine.Image `json:"images"`
}

func newImages(e *env) *cobra.Command {
	var only []string
	var plain bool
	c := &cobra.Command{
		Use:   "images",
		Short: "Every image that the mesh needs, for mirrors and air gaps; no cluster is asked",
		Long: `Images lists what the clusters will pull: control planes, gateways, proxies, CNI plugin, ztunnel and the workloads of
verify. They are read from the rendered objects, and what the injector gives to pods is found by running it over its
own templates. Templates that a pod must ask for by name (grpc-simple, grpc-agent) are not in it.

  isthmus images --plain | xargs -n 1 crane pull ...
  isthmus images --cluster east -o json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if _, err := e.format(screen.JSON, screen.YAML); err != nil {
				return err
			}
			eng, err := e.charted(c.Context())
			if err != nil {
				return err
			}
			for _, name := range only {
				if _, ok := eng.Mesh.Cluster(name); !ok {
					return usagef("no cluster %q in %s", name, eng.Mesh.Source)
				}
			}
			all, err := eng.Images()
			if err != nil {
				return err
			}
			list := imageList{Mesh: eng.Mesh.Name, Images: of(all, only)}
			return e.show(list, func(p *screen.Page) {
				if plain {
					for _, i := range list.Images {
						fmt.Fprintln(p, i.Image)
					}
					return
				}
				imagesPage(p, list, eng.Mesh.Verify.Image != "")
			})
		},
	}
	f := c.Flags()
	f.StringSliceVar(&only, "cluster", nil, "only what this cluster needs; may be repeated")
	f.BoolVar(&plain, "plain", false, "one image a line and nothing else")
	return c
}

// of are the images that clusters need; all if none is named.
func of(all []engine.Image, clusters []string) []engine.Image {
	if len(clusters) == 0 {
		return all
	}
	some := []engine.Image{}
	for _, i := range all {
		i.Clusters = slices.DeleteFunc(slices.Clone(i.Clusters), func(c string) bool { return !slices.Contains(clusters, c) })
		if len(i.Clusters) > 0 {
			some = append(some, i)
		}
	}
	return some
}

func imagesPage(p *screen.Page, list imageList, verify bool) {
	rows := [][]string{{p.Bold("IMAGE"), p.Bold("CLUSTERS"), p.Bold("FOR")}}
	for _, i := range list.Images {
		rows = append(rows, []string{i.Image, strings.Join(i.Clusters, ", "), strings.Join(short(i.For), ", ")})
	}
	fmt.Fprint(p, screen.Columns(rows))
	if !verify {
		fmt.Fprintf(p, "%s verify's image is not in it: spec.verify.image is not set (isthmus image makes one)\n", p.Mark(screen.Hmm))
	}
}

// short leaves out the namespaces: "Deployment istiod".
func short(uses []string) []string {
	var out []string
	for _, u := range uses {
		kind, name, ok := strings.Cut(u, " ")
		if at := strings.LastIndex(name, "/"); ok && at >= 0 && !strings.Contains(name, " ") {
			u = kind + " " + name[at+1:]
		}
		out = append(out, u)
	}
	return out
}
