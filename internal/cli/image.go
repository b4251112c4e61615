package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"isthmus.dev/isthmus/internal/image"
	"isthmus.dev/isthmus/internal/screen"
)

// An imageResult is what image made.
type imageResult struct {
	// ID is the image's, the same in a file and in a registry.
	ID string `json:"id"`
	// Name is the tag in the file, or the reference by digest in the registry.
	Name     string `json:"name"`
	File     string `json:"file,omitempty"`
	Platform string `json:"platform"`
	// Bytes is the program's size.
	Bytes int64 `json:"bytes"`
}

type imageFlags struct{ file, push, tag, binary, platform string }

func newImage(e *env) *cobra.Command {
	var flags imageFlags
	c := &cobra.Command{
		Use:   "image",
		Short: "This program as a container image, for verify's workloads: no Dockerfile, no builder",
		Long: `Image makes a container image of this very program. The same program gives the same image.

  isthmus image --push registry.example/tools/isthmus:dev    to a registry, with the credentials of docker login
  isthmus image --output isthmus.tar --tag NAME:TAG          to a file, as docker save writes it
  isthmus image --output - --tag NAME:TAG | docker load      to standard output

Then name it in the document: spec.verify.image. Without --tag that name is taken from there, if it is there already.
The program must be a static one for Linux; --binary names another file than the one that is running.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if (flags.file == "") == (flags.push == "") {
				return usagef("say where to: --output FILE (- for standard output) or --push REGISTRY/NAME:TAG")
			}
			if _, err := e.format(screen.JSON, screen.YAML); err != nil {
				return err
			}
			return e.image(c.Context(), flags)
		},
	}
	f := c.Flags()
	// The name that every other command has for the format means the file here, as with docker save.
	f.StringVar(&flags.file, "output", "", "write the image to this file; - is standard output")
	f.StringVarP(&e.output, "format", "o", "", "json or yaml instead of the form for people")
	f.StringVar(&flags.push, "push", "", "push the image to this reference")
	f.StringVar(&flags.tag, "tag", "", "name and tag in the file (default: the document's spec.verify.image, then "+image.DefaultTag+")")
	f.StringVar(&flags.binary, "binary", "", "the isthmus program to put into the image (default: this one)")
	f.StringVar(&flags.platform, "platform", "", "refuse a program that is for another platform, such as linux/arm64")
	return c
}

func (e *env) image(ctx context.Context, flags imageFlags) error {
	arch, err := archOf(flags.platform)
	if err != nil {
		return err
	}
	if flags.binary == "" {
		if flags.binary, err = os.Executable(); err != nil {
			return fmt.Errorf("find this program's own file: %w", err)
		}
	}
	program, err := image.Inspect(flags.binary, arch)
	if err != nil {
		return err
	}
	if flags.file != "" && flags.tag == "" {
		flags.tag = cmp.Or(e.documentImage(), image.DefaultTag)
	}
	img, err := image.Build(program, flags.push != "")
	if err != nil {
		return err
	}
	result := imageResult{Name: flags.tag, File: flags.file, Platform: program.OS + "/" + program.Arch, Bytes: program.Size}
	id, err := img.ConfigName()
	if err != nil {
		return fmt.Errorf("image ID: %w", err)
	}
	result.ID = id.String()
	switch {
	case flags.push != "":
		progress := screen.NewProgress(e.Streams)
		progress.Set(flags.push, "pushing")
		result.Name, err = image.Push(ctx, e.registry(), img, flags.push)
		progress.Close()
		if err != nil {
			return err
		}
	case flags.file == "-":
		return image.Save(e.Out, img, flags.tag)
	default:
		if err := saveFile(flags.file, img, flags.tag); err != nil {
			return err
		}
	}
	return e.show(result, func(p *screen.Page) { imagePage(p, flags, result) })
}

func imagePage(p *screen.Page, flags imageFlags, r imageResult) {
	if flags.push != "" {
		fmt.Fprintf(p, "%s pushed %s (%s)\nNext: spec.verify.image: %s\n", p.Mark(screen.Yes), r.Name, r.Platform, flags.push)
		return
	}
	fmt.Fprintf(p, "%s wrote %s: %s (%s, %d MiB)\nNext: load it into the nodes of every cluster, with spec.verify.image: %s\n",
		p.Mark(screen.Yes), r.File, r.Name, r.Platform, r.Bytes>>20, r.Name)
}

// documentImage is what the document calls the image; "" if there is no document or it calls it nothing.
func (e *env) documentImage() string {
	m, err := e.mesh()
	if err != nil {
		return ""
	}
	return m.Verify.Image
}

// saveFile writes beside the file and renames, so that an interrupted run leaves no half image under its name.
func saveFile(file string, img v1.Image, tag string) (err error) {
	part := file + ".part"
	f, err := os.Create(part)
	if err != nil {
		return fmt.Errorf("write image: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(part))
		}
	}()
	if err := errors.Join(image.Save(io.Writer(f), img, tag), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(part, file); err != nil {
		return fmt.Errorf("write image: %w", err)
	}
	return nil
}

// archOf reads "linux/arm64"; "" is any architecture.
func archOf(platform string) (string, error) {
	if platform == "" {
		return "", nil
	}
	system, arch, ok := strings.Cut(platform, "/")
	if !ok || system != "linux" || arch == "" {
		return "", usagef("--platform is linux/ARCHITECTURE, such as linux/arm64; not %q", platform)
	}
	return arch, nil
}
