package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

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
	live     bool
	deadline time.Duration
	options  analyze.Options
}

func newAnalyze(e *env) *cobra.Command {
	var a analysis
	c := &cobra.Command{
		Use:   "analyze [--live] [file or folder ...]",
		Short: "Is the Istio configuration right, across clusters: in files, in the clusters themselves, or both?",
		Long: `Analyze reads configuration from files, of one cluster or of several at once, and says what in it does not do what
it says, each with file, line and what to do. Istio's own analysers run too. Without --live it talks to no cluster.

--live reads the configuration, Services, workloads and namespaces of every cluster of the mesh document (-f), and
writes nothing. With files too it answers: would these be right in those clusters? Hosts, gateways, workloads and
other configuration are then those of the clusters, and what is wrong there already is left out.

Files and folders named alone concern every cluster; --cluster east=clusters/east is one cluster's own. The more it
is given to read (Services, Deployments, Namespaces), the more it can judge; what may exist elsewhere it does not
call missing. "-" is standard input.

--fix rewrites the files where there is no doubt and keeps every comment; --fix --guess also where it is likely.
Every finding has an id: isthmus help ANA001. Exit 4 if anything is an error.

Output (-o): for people, json, yaml, junit or sarif.`,
		Example: `  isthmus analyze gateway.yaml
  isthmus analyze --fix mesh/
  isthmus analyze mesh/ --cluster east=clusters/east --cluster west=clusters/west
  isthmus analyze --live
  isthmus analyze --live route.yaml`,
		RunE: func(c *cobra.Command, args []string) error {
			a.paths = args
			return e.analyze(c.Context(), a)
		},
	}
	f := c.Flags()
	f.StringArrayVar(&a.clusters, "cluster", nil, "name=folder: the configuration of one cluster; may be repeated")
	f.BoolVar(&a.fix, "fix", false, "rewrite the files where the right form is sure")
	f.BoolVar(&a.guess, "guess", false, "with --fix: also where it is likely")
	f.BoolVar(&a.live, "live", false, "read the clusters of the mesh document, too or alone")
	f.DurationVar(&a.deadline, "deadline", 30*time.Second, "with --live: how long one cluster may take to be read")
	f.StringVarP(&a.options.Namespace, "namespace", "n", "default", "namespace of objects that name none")
	f.StringVar(&a.options.TrustDomain, "trust-domain", "", "the mesh's trust domain (default: as a Mesh document in the files says)")
	return c
}

func (e *env) analyze(ctx context.Context, a analysis) error {
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
	if len(a.paths)+len(folders) == 0 && !a.live {
		return usagef("nothing to read: name files or folders, --cluster name=folder, or --live")
	}
	read := func(s []analyze.Source) analyze.Input { return analyze.NewInput(s, names, a.options) }
	judge := func(s []analyze.Source) analyze.Report { return analyze.NewReport(read(s)) }
	if a.live {
		if judge, read, err = e.over(ctx, &a, names); err != nil {
			return err
		}
	}
	sources, skipped, err := analyze.Read(a.paths, folders, e.In)
	if err != nil {
		return err
	}
	made, changed := 0, []string(nil)
	if a.fix {
		if sources, made, changed, err = e.fix(sources, read, a.guess); err != nil {
			return err
		}
	}
	report := judge(sources)
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
	var words []string
	if a.live {
		words = append(words, "--live")
	}
	words = append(words, a.paths...)
	for _, c := range a.clusters {
		words = append(words, "--cluster "+c)
	}
	return words
}
