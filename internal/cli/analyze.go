package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"isthmus.dev/isthmus/internal/analyze"
	"isthmus.dev/isthmus/internal/screen"
)

// sarif is a format that analyze alone has: code hosts show it beside the lines.
const sarif screen.Format = "sarif"

// analysis is what the flags of analyze say.
type analysis struct {
	paths    []string
	clusters []string // name=folder
	fix      bool
	guess    bool
	options  analyze.Options
}

func newAnalyze(e *env) *cobra.Command {
	var a analysis
	c := &cobra.Command{
		Use:   "analyze [file or folder ...]",
		Short: "Is the Istio configuration in these files right, across clusters?",
		Long: `Analyze reads configuration from files, of one cluster or of several at once, and says what in it does not do what
it says, each with file, line and what to do. Istio's own analysers run too. It talks to no cluster.

Files and folders named alone concern every cluster; --cluster east=clusters/east is one cluster's own. The more it
is given to read (Services, Deployments, Namespaces), the more it can judge; what may exist elsewhere it does not
call missing. "-" is standard input.

--fix rewrites the files where there is no doubt and keeps every comment; --fix --guess also where it is likely.
Every finding has an id: isthmus help ANA001. Exit 4 if anything is an error.

Output (-o): for people, json, yaml, junit or sarif.`,
		Example: `  isthmus analyze gateway.yaml
  isthmus analyze --fix mesh/
  isthmus analyze mesh/ --cluster east=clusters/east --cluster west=clusters/west`,
		RunE: func(_ *cobra.Command, args []string) error {
			a.paths = args
			return e.analyze(a)
		},
	}
	f := c.Flags()
	f.StringArrayVar(&a.clusters, "cluster", nil, "name=folder: the configuration of one cluster; may be repeated")
	f.BoolVar(&a.fix, "fix", false, "rewrite the files where the right form is sure")
	f.BoolVar(&a.guess, "guess", false, "with --fix: also where it is likely")
	f.StringVarP(&a.options.Namespace, "namespace", "n", "default", "namespace of objects that name none")
	f.StringVar(&a.options.TrustDomain, "trust-domain", "", "the mesh's trust domain (default: as a Mesh document in the files says)")
	return c
}

func (e *env) analyze(a analysis) error {
	if _, err := e.format(screen.JSON, screen.YAML, screen.JUnit, sarif); err != nil {
		return err
	}
	folders, names, err := a.folders()
	if err != nil {
		return err
	}
	if a.guess && !a.fix {
		return usagef("--guess says what --fix may do: isthmus analyze --fix --guess")
	}
	if len(a.paths)+len(folders) == 0 {
		return usagef("nothing to read: name files or folders, or --cluster name=folder")
	}
	sources, skipped, err := analyze.Read(a.paths, folders, e.In)
	if err != nil {
		return err
	}
	read := func(s []analyze.Source) analyze.Input { return analyze.NewInput(s, names, a.options) }
	made, changed := 0, []string(nil)
	if a.fix {
		if sources, made, changed, err = e.fix(sources, read, a.guess); err != nil {
			return err
		}
	}
	report := analyze.NewReport(read(sources))
	report.Fixed, report.Changed, report.Skipped = made, changed, skipped
	if report.Objects == 0 && len(report.Findings) == 0 {
		return fmt.Errorf("no Kubernetes object in %s (%s read)", strings.Join(a.words(), ", "), counted(report.Files, "file"))
	}
	if err := e.showAnalysis(report, a); err != nil {
		return err
	}
	if report.Errors > 0 {
		return checksFailed()
	}
	return nil
}

// fix rewrites files; what came from standard input goes to standard output, and the report to standard error.
func (e *env) fix(sources []analyze.Source, read func([]analyze.Source) analyze.Input, guess bool) ([]analyze.Source, int, []string, error) {
	fixed, made, err := analyze.Fix(sources, read, guess)
	if err != nil {
		return nil, 0, nil, err
	}
	changed, err := analyze.Rewrite(sources, fixed)
	if err != nil {
		return nil, 0, nil, err
	}
	if i := slices.IndexFunc(fixed, func(s analyze.Source) bool { return s.Name == "-" }); i >= 0 {
		if _, err := e.Out.Write(fixed[i].Data); err != nil {
			return nil, 0, nil, err
		}
		e.Out = e.Err
	}
	return fixed, made, changed, nil
}

// folders reads --cluster.
func (a analysis) folders() (folders []analyze.Folder, names []string, err error) {
	for _, s := range a.clusters {
		name, path, ok := strings.Cut(s, "=")
		if !ok || name == "" || path == "" {
			return nil, nil, usagef("--cluster takes name=folder, not %q", s)
		}
		folders = append(folders, analyze.Folder{Cluster: name, Path: path})
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return folders, names, nil
}

// words are the arguments to repeat in a command for the next step.
func (a analysis) words() []string {
	words := slices.Clone(a.paths)
	for _, c := range a.clusters {
		words = append(words, "--cluster "+c)
	}
	return words
}
