package build

import (
	"cmp"
	"context"
	"fmt"
	"go/version"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
)

// The versions that programs report, where their go.mod does not say it: this Istio is a commit on the way to 1.31.
const (
	istioVersion = "1.31.0"
	imageHub     = "lab.local"
)

// istioModule is the module whose source goes into images, and that callers read.
const istioModule = "istio.io/istio"

// A folder beside this file has a go.mod that pins programs by its tool lines.
type folder struct {
	name string
	// largest is the module that takes most of the space: when Go's module cache has it, the folder was built before.
	largest string
	// modules and compiled are the MiB that Go's module cache and build cache take for a first build of it alone;
	// measured in 2026-11 and rounded up.
	modules, compiled int64
}

var folders = []folder{
	{name: "kube", largest: "k8s.io/kubernetes", modules: 650, compiled: 3200},
	{name: "node", largest: "github.com/coredns/coredns", modules: 750, compiled: 1200},
	{name: "istio", largest: istioModule, modules: 800, compiled: 2700},
}

// programNames are the names of programs whose package would give them another, or two the same.
var programNames = map[string]string{
	"go.etcd.io/etcd/server/v3":               "etcd",
	"istio.io/istio/pkg/test/echo/cmd/server": "echo-server",
	"istio.io/istio/pkg/test/echo/cmd/client": "echo-client",
}

// A Program is one that the lab builds from a Go module.
type Program struct {
	// Name is the file's name, such as kubelet.
	Name string
	// Module is the folder below lab/build whose go.mod pins it; empty for the lab's own.
	Module string
	// Package is its Go import path.
	Package string
	// CNI tells that it is a CNI plugin, which lies apart.
	CNI bool
}

// A pinned module is a folder with a go.mod, as read from the source.
type pinned struct {
	folder
	dir      string
	file     *modfile.File
	sums     string // go.mod and go.sum, as they are
	programs []Program
	ldflags  string
}

// Programs lists what is built from Go modules, in the order of the tool lines.
func Programs(source string) ([]Program, error) {
	all, err := readModules(source)
	if err != nil {
		return nil, err
	}
	var out []Program
	for _, p := range all {
		out = append(out, p.programs...)
	}
	return out, nil
}

func readModules(source string) ([]pinned, error) {
	out := make([]pinned, 0, len(folders))
	for _, f := range folders {
		p, err := readModule(f, filepath.Join(source, "lab", "build", f.name))
		if err != nil {
			return nil, fmt.Errorf("read what lab/build/%s pins: %w", f.name, err)
		}
		out = append(out, p)
	}
	return out, nil
}

func readModule(in folder, dir string) (pinned, error) {
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return pinned{}, err
	}
	sum, err := os.ReadFile(filepath.Join(dir, "go.sum"))
	if err != nil {
		return pinned{}, err
	}
	f, err := modfile.Parse(filepath.Join(dir, "go.mod"), mod, nil)
	if err != nil {
		return pinned{}, err
	}
	p := pinned{folder: in, dir: dir, file: f, sums: keyOf(string(mod), string(sum))}
	for _, t := range f.Tool {
		p.programs = append(p.programs, Program{
			Name: programName(t.Path), Module: in.name, Package: t.Path,
			CNI: strings.HasPrefix(t.Path, "github.com/containernetworking/plugins/"),
		})
	}
	p.ldflags = ldflags(p)
	return p, nil
}

var majorSuffix = regexp.MustCompile(`^v[0-9]+$`)

func programName(pkg string) string {
	if n, ok := programNames[pkg]; ok {
		return n
	}
	if b := path.Base(pkg); !majorSuffix.MatchString(b) {
		return b
	}
	return path.Base(path.Dir(pkg))
}

// required returns the version of a module that the go.mod requires.
func (p pinned) required(path string) string {
	for _, r := range p.file.Require {
		if r.Mod.Path == path {
			return r.Mod.Version
		}
	}
	return ""
}

// ldflags are the linker's: no symbols, and the versions that the projects' own builds would write in.
func ldflags(p pinned) string {
	flags := []string{"-s", "-w"}
	set := func(pkg, name, value string) { flags = append(flags, "-X", pkg+"."+name+"="+value) }
	if v := p.required("k8s.io/kubernetes"); v != "" {
		numbers := append(strings.SplitN(strings.TrimPrefix(v, "v"), ".", 3), "", "")
		set("k8s.io/component-base/version", "gitVersion", v)
		set("k8s.io/component-base/version", "gitMajor", numbers[0])
		set("k8s.io/component-base/version", "gitMinor", numbers[1])
	}
	if p.required(istioModule) != "" {
		set("istio.io/istio/pkg/version", "buildVersion", istioVersion)
		set("istio.io/istio/pkg/version", "buildHub", imageHub)
		set("istio.io/istio/pkg/version", "buildTag", istioVersion)
	}
	return strings.Join(flags, " ")
}

// source returns the folder in Go's module cache of a module that the go.mod requires.
func (p pinned) source(modcache, modPath string) (string, error) {
	mp, err := module.EscapePath(modPath)
	if err != nil {
		return "", err
	}
	mv, err := module.EscapeVersion(p.required(modPath))
	return filepath.Join(modcache, mp+"@"+mv), err
}

// code returns the Go files of a program that lies in the folder itself, and so is pinned by no go.sum.
func (p pinned) code(prog Program) (string, error) {
	own, ok := strings.CutPrefix(prog.Package, p.file.Module.Mod.Path+"/")
	if !ok {
		return "", nil
	}
	files, err := filepath.Glob(filepath.Join(p.dir, own, "*.go"))
	if err != nil {
		return "", err
	}
	var parts []string
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return "", err
		}
		parts = append(parts, filepath.Base(f), string(b))
	}
	return keyOf(parts...), nil
}

// items are the programs of a module as things to make.
func (p pinned) items(g golang, env goEnv) ([]item, error) {
	out := make([]item, 0, len(p.programs))
	for _, prog := range p.programs {
		code, err := p.code(prog)
		if err != nil {
			return nil, fmt.Errorf("read the code of %s: %w", prog.Name, err)
		}
		place := "bin"
		if prog.CNI {
			place = "cni"
		}
		out = append(out, item{
			name: prog.Name, place: place,
			key: keyOf("go", p.sums, code, p.ldflags, prog.Package, env.key()),
			fill: func(ctx context.Context, dir string, s *step) error {
				s.is("building", "")
				return g.build(ctx, p.dir, prog.Package, p.ldflags, filepath.Join(dir, prog.Name), s)
			},
		})
	}
	return out, nil
}

// build compiles one main package into a file.
func (g golang) build(ctx context.Context, dir, pkg, ldflags, out string, s *step) error {
	return run(ctx, command{
		dir: dir, env: g.environ(), sign: goSign(s),
		args: slices.Concat([]string{g.program, "build"}, compileFlags, []string{
			"-buildvcs=false", "-mod=readonly", "-v", "-ldflags=" + ldflags, "-o", out, pkg,
		}),
	})
}

// download brings what the module's programs are made of into Go's module cache, no more than is needed for them.
func (g golang) download(ctx context.Context, p pinned, env goEnv, s *step) error {
	args := []string{g.program, "list", "-mod=readonly", "-deps", "-f", "{{.ImportPath}}"}
	for _, prog := range p.programs {
		args = append(args, prog.Package)
	}
	s.is("downloading", "")
	return g.fetch(ctx, p, env, s, args)
}

// downloadSource brings one module that the go.mod requires into Go's module cache, and nothing else.
func (g golang) downloadSource(ctx context.Context, p pinned, env goEnv, s *step) error {
	s.is("downloading", p.largest)
	return g.fetch(ctx, p, env, s, []string{g.program, "mod", "download", p.largest})
}

func (g golang) fetch(ctx context.Context, p pinned, env goEnv, s *step, args []string) error {
	err := run(ctx, command{dir: p.dir, env: g.environ(), stdout: io.Discard, sign: goSign(s), args: args})
	if err == nil || ctx.Err() != nil || full(err) {
		return err
	}
	return &Error{
		Problem: "download the Go modules of lab/build/" + p.name,
		Err:     err,
		Do: fmt.Sprintf("They come from GOPROXY=%s: is the network up? What has arrived is kept: run it again.",
			cmp.Or(env.GOPROXY, "(default)")),
	}
}

// fits tells whether the Go that was found is new enough for a module.
func (p pinned) fits(env goEnv) error {
	if p.file.Go == nil || version.Compare(env.GOVERSION, "go"+p.file.Go.Version) >= 0 {
		return nil
	}
	return &Error{
		Problem: fmt.Sprintf("%s is too old for lab/build/%s, which asks for Go %s", env.GOVERSION, p.name, p.file.Go.Version),
		Do:      "Install a newer Go, or let this one fetch it: GOTOOLCHAIN=auto",
	}
}
