package cli

import (
	"cmp"
	"context"
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
	var plain, digests bool
	c := &cobra.Command{
		Use:   "images",
		Short: "Every image that the mesh needs, for mirrors and air gaps; no cluster is asked",
		Long: `Images lists what the clusters will pull: control planes, gateways, proxies, CNI plugin, ztunnel and the workloads of
verify. They are read from the rendered objects, and what the injector gives to pods is found by running it over its
own templates. Templates that a pod must ask for by name (grpc-simple, grpc-agent) are not in it.

With --digests their registries are asked where the tags lead, and each image is printed by its digest: what is pulled by
that is the same for ever. An image goes into the document by its digest where values take a whole name:
values.pilot.image, values.global.proxy.image, values.cni.image, values.ztunnel.image and spec.verify.image.

  isthmus images --plain | xargs -n 1 crane pull ...
  isthmus images --plain --digests
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
			if digests {
				resolve(c.Context(), eng, list.Images)
			}
			err = e.show(list, func(p *screen.Page) {
				if !plain {
					imagesPage(p, list, eng.Mesh.Verify.Image != "")
				}
				for _, i := range list.Images {
					if shown := cmp.Or(i.Pinned(), i.Image); plain && (i.Pinned() != "" || !digests) {
						fmt.Fprintln(p, shown)
					}
				}
			})
			return cmp.Or(err, unresolved(list.Images, plain))
		},
	}
	f := c.Flags()
	f.StringSliceVar(&only, "cluster", nil, "only what this cluster needs; may be repeated")
	f.BoolVar(&plain, "plain", false, "one image a line and nothing else")
	f.BoolVar(&digests, "digests", false, "ask the registries where the tags lead, and print the images by digest")
	return c
}

// resolve fills in where the tags of images lead.
func resolve(ctx context.Context, eng engine.Engine, images []engine.Image) {
	names := make([]string, 0, len(images))
	for _, i := range images {
		names = append(names, i.Image)
	}
	found := eng.Digests(ctx, names)
	for n, i := range images {
		images[n].Digest, images[n].Unknown = found[i.Image].Digest, found[i.Image].Unknown
	}
}

// unresolved is an error where a list for programs is not whole: nobody would see what is not in it.
func unresolved(images []engine.Image, plain bool) error {
	var lacks []string
	for _, i := range images {
		if plain && i.Unknown != "" {
			lacks = append(lacks, fmt.Sprintf("%s: %s", i.Image, i.Unknown))
		}
	}
	if len(lacks) == 0 {
		return nil
	}
	return fmt.Errorf("not in the list, since their digests are not known:\n  %s", strings.Join(lacks, "\n  "))
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
		rows = append(rows, []string{cmp.Or(i.Pinned(), i.Image), strings.Join(i.Clusters, ", "), strings.Join(short(i.For), ", ")})
	}
	fmt.Fprint(p, screen.Columns(rows))
	for _, i := range list.Images {
		if i.Unknown != "" {
			fmt.Fprintf(p, "%s %s: where its tag leads is not known: %s\n", p.Mark(screen.Hmm), i.Image, i.Unknown)
		}
	}
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
