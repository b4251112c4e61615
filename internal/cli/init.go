package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"

	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/screen"
)

// initFlags are what init is told.
type initFlags struct {
	contexts []string
	name     string
	network  string
	force    bool
	adopt    bool
}

func newInit(e *env) *cobra.Command {
	var f initFlags
	c := &cobra.Command{
		Use:   "init",
		Short: "Write a mesh document from the contexts of a kubeconfig",
		Long: `Init writes a short document, mesh.yaml, of the clusters that some contexts of your kubeconfig lead to.
It asks no cluster anything, and never writes over a file unless --force says so.

With --adopt it reads the clusters and writes the document of the Istio that runs there: values, mesh configuration,
names, networks and root as they are, so that isthmus plan --adopt has little or nothing to change.

Without --context it asks which contexts, if it has a terminal to ask at.`,
		Example: `  isthmus init --context kind-east --context kind-west
  isthmus init --name shop --network shared -f shop.yaml`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return e.runInit(c.Context(), f, e.atTerminal()) },
	}
	flags := c.Flags()
	flags.StringSliceVar(&f.contexts, "context", nil, "kubeconfig context of a cluster; may be repeated")
	flags.StringVar(&f.name, "name", "", "the mesh's name (default: the name of this folder)")
	flags.StringVar(&f.network, "network", "separate", `"separate": each cluster its own network; "shared": pods reach each other directly`)
	flags.BoolVar(&f.force, "force", false, "write over a file that exists")
	flags.BoolVar(&f.adopt, "adopt", false, "read the clusters, and write the document of the Istio that runs there")
	return c
}

// A drafted document is what init has done, for programs.
type drafted struct {
	File     string            `json:"file"`
	Mesh     string            `json:"mesh"`
	Clusters map[string]string `json:"clusters"` // name → context
}

// runInit writes the document. Where flags name no context and asks says that somebody is there, it asks.
func (e *env) runInit(ctx context.Context, f initFlags, asks bool) error {
	if len(e.set) > 0 {
		return usagef("init takes no --set: give it to the commands that read the document, or edit the document")
	}
	if f.network != "separate" && f.network != "shared" {
		return usagef("--network is separate or shared, not %q", f.network)
	}
	if err := e.mayWrite(f.force); err != nil {
		return err
	}
	have, current, err := contexts(e.kubeconfig)
	if err != nil {
		return err
	}
	chosen, err := e.choose(f.contexts, have, current, asks)
	if err != nil {
		return err
	}
	d := mesh.Draft{Name: f.name, Contexts: chosen, Shared: f.network == "shared"}
	if d.Name == "" {
		d.Name = folder()
	} else if mesh.Label(d.Name) != d.Name {
		return usagef("--name %q cannot name a mesh: lower-case letters, digits and \"-\", at most 63; try %s", d.Name, mesh.Label(d.Name))
	}
	if f.adopt {
		return e.initAdopt(ctx, d, f.force)
	}
	text := d.Text()
	if e.file == "-" {
		_, err := io.WriteString(e.Out, text)
		return err
	}
	if err := write(e.file, text, f.force); err != nil {
		return err
	}
	done := drafted{File: e.file, Mesh: mesh.Label(d.Name), Clusters: map[string]string{}}
	for i, name := range mesh.ClusterNames(chosen) {
		done.Clusters[name] = chosen[i]
	}
	return e.show(done, func(p *screen.Page) {
		summary := d.Summary()
		fmt.Fprintf(p, "Wrote %s: %s.\nNext: isthmus check%s\n", e.file, strings.ToLower(summary[:1])+summary[1:], e.sameFlags())
	})
}

// sameFlags repeats the flags that the next command needs too.
func (e *env) sameFlags() string {
	var b strings.Builder
	if e.file != defaultFile {
		fmt.Fprintf(&b, " -f %s", e.file)
	}
	if e.kubeconfig != "" {
		fmt.Fprintf(&b, " --kubeconfig %s", e.kubeconfig)
	}
	return b.String()
}

const defaultFile = "mesh.yaml"

// mayWrite looks early whether the file can be written, before anybody is asked anything.
func (e *env) mayWrite(force bool) error {
	if e.file == "-" {
		return nil
	}
	info, err := os.Stat(e.file)
	switch {
	case err == nil && info.IsDir():
		return usagef("%s is a folder; name a file: -f %s", e.file, filepath.Join(e.file, defaultFile))
	case err == nil && !force:
		return taken(e.file)
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(filepath.Dir(e.file)); err != nil {
			return fmt.Errorf("write %s: %w", e.file, err)
		}
	}
	return nil
}

func taken(file string) error {
	return fmt.Errorf("%s exists and is left as it is\n  Look at it: isthmus check -f %s   Write over it: isthmus init --force", file, file)
}

// write puts the document into its file; a file that somebody made in the meantime is not written over either.
func write(file, text string, force bool) error {
	mode := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if force {
		mode = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(file, mode, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return taken(file)
	}
	if err != nil {
		return fmt.Errorf("write the mesh document: %w", err)
	}
	_, err = f.WriteString(text)
	if err := cmp.Or(err, f.Close()); err != nil {
		return fmt.Errorf("write the mesh document: %w", err)
	}
	return nil
}

// folder is the name of the folder that the command runs in.
func folder() string {
	dir, err := os.Getwd()
	if err != nil {
		return ""
	}
	return filepath.Base(dir)
}

// contexts are those of a kubeconfig, sorted, and the current one.
func contexts(kubeconfig string) (have []string, current string, err error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	config, err := rules.Load()
	if err != nil {
		return nil, "", fmt.Errorf("read the kubeconfig: %w", err)
	}
	return slices.Sorted(maps.Keys(config.Contexts)), config.CurrentContext, nil
}

// choose is the contexts that flags name, or else those that a person at a terminal picks.
func (e *env) choose(asked, have []string, current string, asks bool) ([]string, error) {
	if len(have) == 0 {
		return nil, errors.New("the kubeconfig has no contexts\n  Name one that has: --kubeconfig FILE, or KUBECONFIG. To make clusters on this machine: isthmus-lab up")
	}
	if len(asked) == 0 {
		if !asks {
			return nil, usagef("say which clusters: --context CONTEXT, once for each\n  The kubeconfig has: %s", strings.Join(have, ", "))
		}
		return e.ask(have, current)
	}
	for i, c := range asked {
		if !slices.Contains(have, c) {
			return nil, usagef("the kubeconfig has no context %q\n  It has: %s", c, strings.Join(have, ", "))
		}
		if slices.Contains(asked[:i], c) {
			return nil, usagef("--context %s is given twice; every cluster has a context of its own", c)
		}
	}
	return asked, nil
}

// atTerminal tells whether there is somebody to ask.
func (e *env) atTerminal() bool {
	in, ok := e.In.(*os.File)
	return ok && screen.IsTerminal(in) && screen.IsTerminal(e.Err)
}

// ask shows the contexts as a numbered list and reads which are meant, until the answer makes sense.
func (e *env) ask(have []string, current string) ([]string, error) {
	page := screen.NewPage(e.Err, false)
	fmt.Fprintln(page, "Which of these contexts are the mesh's clusters?")
	for i, c := range have {
		mark := ""
		if c == current {
			mark = "  (current)"
		}
		fmt.Fprintf(page, "%4d  %s%s\n", i+1, c, mark)
	}
	in := bufio.NewScanner(e.In)
	for {
		fmt.Fprint(page, "Numbers, such as 1 3 or 1-3, or all: ")
		if !in.Scan() {
			fmt.Fprintln(page)
			return nil, errors.New("no answer, and nothing was written\n  Say it with flags: isthmus init --context CONTEXT, once for each cluster")
		}
		chosen, err := pick(in.Text(), have)
		if err == nil {
			return chosen, nil
		}
		fmt.Fprintf(page, "  %v\n", err)
	}
}

// pick reads an answer such as "1 3", "1,2", "2-4" or "all".
func pick(answer string, have []string) ([]string, error) {
	words := strings.FieldsFunc(answer, func(r rune) bool { return r == ' ' || r == ',' || r == '\t' })
	if len(words) == 1 && words[0] == "all" {
		return have, nil
	}
	var chosen []string
	for _, w := range words {
		from, to, isRange := strings.Cut(w, "-")
		if !isRange {
			to = from
		}
		a, errA := strconv.Atoi(from)
		b, errB := strconv.Atoi(to)
		if errA != nil || errB != nil || a < 1 || b > len(have) || a > b {
			return nil, fmt.Errorf("%q is none of 1 to %d", w, len(have))
		}
		for _, c := range have[a-1 : b] {
			if !slices.Contains(chosen, c) {
				chosen = append(chosen, c)
			}
		}
	}
	if len(chosen) == 0 {
		return nil, errors.New("a mesh has at least one cluster")
	}
	return chosen, nil
}
