package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"isthmus.dev/isthmus/internal/engine"
	"isthmus.dev/isthmus/internal/lockfile"
	"isthmus.dev/isthmus/internal/screen"
)

// A locking says what lock did.
type locking struct {
	Mesh    string            `json:"mesh"`
	File    string            `json:"file"`
	Charts  int               `json:"charts"`
	Images  int               `json:"images"`
	Changes []lockfile.Change `json:"changes"`
	// Unknown are images of which no registry said where the tag leads, and why.
	Unknown map[string]string `json:"unknown,omitempty"`
}

func newLock(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "lock",
		Short: "Keep what the tags of charts and images lead to now, in a file beside the document",
		Long: `Lock asks registries where the tags of the charts and images that the document means lead, and writes the digests into
a file beside the document: mesh.yaml.lock. It shows what is other than before. No cluster is asked.

From then on charts of a registry are read by these digests. When a tag has moved, or one is not in the lock, plan and
all that need the charts say so and stop. For images, which the nodes pull, plan says whether a tag has moved.

Nothing else writes that file: keep it in the repository of the document, and read what changes in it. A digest in the
document itself (spec.istio.chartDigests) needs no lock.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return e.lock(c.Context()) },
	}
}

func (e *env) lock(ctx context.Context) error {
	if _, err := e.format(screen.JSON, screen.YAML); err != nil {
		return err
	}
	file := lockfile.Name(e.file)
	if file == "" {
		return usagef("a document from standard input has no lock beside it: name its file with -f")
	}
	before, err := lockfile.Read(file)
	if err != nil {
		return err
	}
	eng, err := e.engine()
	if err != nil {
		return err
	}
	if eng, err = eng.LoadCharts(ctx); err != nil {
		return err
	}
	now, unknown, err := eng.LockFile(ctx, before)
	if err != nil {
		return err
	}
	result := locking{Mesh: eng.Mesh.Name, File: file, Charts: len(now.Charts), Images: len(now.Images), Changes: now.Changes(before), Unknown: unknown}
	if before == nil || len(result.Changes) > 0 {
		if err := lockfile.Write(file, now); err != nil {
			return err
		}
	}
	return e.show(result, func(p *screen.Page) { lockPage(p, result) })
}

func lockPage(p *screen.Page, r locking) {
	for _, c := range r.Changes {
		switch {
		case c.From == "":
			fmt.Fprintf(p, "%s %s\n    %s\n", p.Good("+"), c.Reference, c.To)
		case c.To == "":
			fmt.Fprintf(p, "%s %s\n", p.Bad("-"), c.Reference)
		default:
			fmt.Fprintf(p, "%s %s has moved\n    %s → %s\n", p.Warn("~"), c.Reference, c.From, c.To)
		}
	}
	for _, image := range slices.Sorted(maps.Keys(r.Unknown)) {
		fmt.Fprintf(p, "%s %s: where its tag leads is not known: %s\n", p.Mark(screen.Hmm), image, r.Unknown[image])
	}
	if len(r.Changes) == 0 {
		fmt.Fprintf(p, "Nothing has moved: %s has %d charts and %d images.\n", r.File, r.Charts, r.Images)
		return
	}
	fmt.Fprintf(p, "%s %s has %d charts and %d images. Keep it with the document.\n", p.Mark(screen.Yes), r.File, r.Charts, r.Images)
}

// locked is the lock beside the document; nil is none.
func (e *env) locked() (*lockfile.File, error) { return lockfile.Read(lockfile.Name(e.file)) }

// charted is engine for what computes wanted objects: with the charts that the document names, as its lock has them.
func (e *env) charted(ctx context.Context) (engine.Engine, error) {
	eng, err := e.engine()
	if err != nil {
		return engine.Engine{}, err
	}
	lock, err := e.locked()
	if err != nil {
		return engine.Engine{}, err
	}
	if lock != nil {
		eng.Charts.Locked = map[string]string{} // a lock without charts is one that has none
		maps.Copy(eng.Charts.Locked, lock.Charts)
	}
	return eng.LoadCharts(ctx)
}
