package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"
)

// An item is one file to make: a program or an image.
type item struct {
	// name is the file's; title what people read, if that differs.
	name, title string
	// place is its folder in the set: bin, cni or images.
	place string
	key   string
	// fill makes the file in dir.
	fill func(ctx context.Context, dir string, s *step) error
}

func (i item) label() string {
	if i.title != "" {
		return i.title
	}
	return i.name
}

// A chain is made one item after the other, after prepare, which is left out when nothing is missing.
type chain struct {
	prepare func(ctx context.Context, s *step) error
	items   []item
	// space is what making all of it takes, when nothing of it is in any cache.
	space []space
}

type builder struct {
	root     string // of the repository
	store    store
	parallel int
	progress *progress
	chains   []chain
	istio    source
}

// A source is a module that is needed itself, not only what is built from it.
type source struct {
	dir   string
	fetch func(ctx context.Context, s *step) error
}

func (s source) missing() bool {
	_, err := os.Stat(s.dir)
	return errors.Is(err, fs.ErrNotExist)
}

// read turns what the repository pins into chains: small things first, so that what is missing shows early.
func (b *builder) read(ctx context.Context) error {
	g, err := findGo(ctx)
	if err != nil {
		return err
	}
	mods, err := readModules(b.root)
	if err != nil {
		return err
	}
	own, err := b.own(ctx, g)
	if err != nil {
		return err
	}
	b.chains = []chain{own}
	for _, p := range mods {
		env, err := g.env(ctx, p.dir)
		if err != nil {
			return err
		}
		if err := p.fits(env); err != nil {
			return err
		}
		if p.largest == istioModule {
			b.istio.fetch = func(ctx context.Context, s *step) error { return g.downloadSource(ctx, p, env, s) }
			if b.istio.dir, err = p.source(env.GOMODCACHE, istioModule); err != nil {
				return fmt.Errorf("find the source of Istio: %w", err)
			}
		}
		items, err := p.items(g, env)
		if err != nil {
			return err
		}
		b.chains = append(b.chains, chain{
			items:   items,
			prepare: func(ctx context.Context, s *step) error { return g.download(ctx, p, env, s) },
			space:   p.space(env),
		})
	}
	return nil
}

// own is the chain of what needs no nested module: the pause program, and Envoy.
func (b *builder) own(ctx context.Context, g golang) (chain, error) {
	env, err := g.env(ctx, b.root)
	if err != nil {
		return chain{}, err
	}
	dir := filepath.Join(b.root, "lab", "build", "pause")
	code, err := os.ReadFile(filepath.Join(dir, "main.go"))
	if err != nil {
		return chain{}, fmt.Errorf("read the pause program: %w", err)
	}
	const ldflags = "-s -w"
	pause := item{
		name: "pause", place: "bin", key: keyOf("go", string(code), ldflags, env.key()),
		fill: func(ctx context.Context, out string, s *step) error {
			s.is("building", "")
			// The file and not its package: so Go needs no module, and none is downloaded for it.
			return g.build(ctx, dir, "main.go", ldflags, filepath.Join(out, "pause"), s)
		},
	}
	e, err := envoy(b.root)
	if err != nil {
		return chain{}, err
	}
	return chain{items: []item{e, pause}}, nil
}

// program returns where the store has, or will have, a program.
func (b *builder) program(name string) string {
	for _, c := range b.chains {
		for _, i := range c.items {
			if i.name == name {
				return filepath.Join(b.store.of(i), name)
			}
		}
	}
	return ""
}

// images are the items of all images. The programs must be there.
func (b *builder) images(ctx context.Context) ([]item, error) {
	all, err := specs(ctx, b.program, b.istio.dir)
	if err != nil {
		return nil, err
	}
	out := make([]item, 0, len(imageNames))
	for _, n := range imageNames {
		i, err := b.store.imageItem(n, all[n])
		if err != nil {
			return nil, err
		}
		out = append(out, i)
	}
	return out, nil
}

func (b *builder) programs() []item {
	var out []item
	for _, c := range b.chains {
		out = append(out, c.items...)
	}
	return out
}

// kept returns the set if all of it is there.
func (b *builder) kept(ctx context.Context) (Set, bool, error) {
	items := b.programs()
	if len(b.store.lacking(items)) > 0 || b.istio.missing() {
		return Set{}, false, nil
	}
	images, err := b.images(ctx)
	if err != nil {
		return Set{}, false, err
	}
	items = append(items, images...)
	set := b.set(items)
	if len(b.store.lacking(images)) > 0 || !complete(set.Dir) {
		return Set{}, false, nil
	}
	b.progress.restart(len(items))
	for _, i := range items {
		b.progress.begin(i.label()).done(true)
	}
	return set, true, nil
}

// make makes what is missing. The caller holds the lock.
func (b *builder) make(ctx context.Context) (Set, error) {
	b.progress.restart(len(b.programs()) + len(imageNames))
	if err := b.room(); err != nil {
		return Set{}, err
	}
	if err := b.makePrograms(ctx); err != nil {
		return Set{}, b.explain(err)
	}
	images, err := b.images(ctx)
	if err != nil {
		return Set{}, err
	}
	if err := b.makeChain(ctx, chain{items: images}); err != nil {
		return Set{}, b.explain(err)
	}
	items := append(b.programs(), images...)
	set := b.set(items)
	if complete(set.Dir) {
		return set, nil
	}
	if err := b.store.put(set.Dir, func(dir string) error { return b.link(dir, items) }); err != nil {
		return Set{}, b.explain(fmt.Errorf("put the lab's programs together: %w", err))
	}
	return set, nil
}

func (b *builder) makePrograms(ctx context.Context) error {
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(b.parallel)
	for _, c := range b.chains {
		group.Go(func() error { return b.makeChain(gctx, c) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	// The programs may be kept while Go's module cache was cleaned since.
	if !b.istio.missing() {
		return nil
	}
	s := &step{progress: b.progress, event: Event{Program: "source of Istio"}}
	if err := b.istio.fetch(ctx, s); err != nil {
		return fmt.Errorf("fetch the source of Istio: %w", err)
	}
	return nil
}

func (b *builder) makeChain(ctx context.Context, c chain) error {
	prepare := c.prepare
	for _, i := range c.items {
		made, err := b.makeItem(ctx, i, prepare)
		if err != nil {
			return err
		}
		if made {
			prepare = nil
		}
	}
	return nil
}

// makeItem makes an item that is not there, after prepare, and tells whether it had to.
func (b *builder) makeItem(ctx context.Context, i item, prepare func(context.Context, *step) error) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	s := b.progress.begin(i.label())
	if complete(b.store.of(i)) {
		s.done(true)
		return false, nil
	}
	err := b.store.put(b.store.of(i), func(dir string) error {
		if prepare != nil {
			if err := prepare(ctx, s); err != nil {
				return err
			}
		}
		return i.fill(ctx, dir, s)
	})
	if err != nil {
		return false, fmt.Errorf("build %s: %w", i.label(), err)
	}
	s.done(false)
	return true, nil
}

// set names the folder of a set by all that is in it.
func (b *builder) set(items []item) Set {
	keys := make([]string, 0, len(items))
	for _, i := range items {
		keys = append(keys, i.place+"/"+i.name+" "+i.key)
	}
	dir := b.store.path("sets", "set", keyOf(keys...))
	return Set{Dir: dir, CNIDir: filepath.Join(dir, "cni"), IstioModule: b.istio.dir}
}

// link fills the folder of a set with hard links into the store: a program that runs from there finds what lies
// beside it, and takes no space twice.
func (b *builder) link(dir string, items []item) error {
	for _, i := range items {
		if err := os.MkdirAll(filepath.Join(dir, i.place), 0o755); err != nil {
			return err
		}
		if err := os.Link(filepath.Join(b.store.of(i), i.name), filepath.Join(dir, i.place, i.name)); err != nil {
			return err
		}
	}
	return nil
}

// explain makes an error about a full disk say where and what to do.
func (b *builder) explain(err error) error {
	if !full(err) {
		return err
	}
	return &Error{
		Problem: "the disk is full", Err: err,
		Do: "See df -h for " + b.store.dir + " and Go's caches (go env GOCACHE GOMODCACHE); what is built is kept: make room and run it again.",
	}
}
