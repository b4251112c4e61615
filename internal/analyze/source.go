package analyze

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"isthmus.dev/isthmus/internal/input"
)

// A Source is a text before it is read as objects.
type Source struct {
	Name    string // as the user wrote it, for messages
	Cluster string // whose it is; "" is every cluster's
	Data    []byte
}

// A Folder is one cluster's configuration.
type Folder struct{ Cluster, Path string }

// Options are what no file says.
type Options struct {
	// Namespace is that of objects which name none; "" is "default", as for kubectl.
	Namespace   string
	TrustDomain string
	// Failover is Input.Failover.
	Failover bool
}

// Read collects the texts under paths, which concern every cluster, and those of clusters' own folders. A folder is
// walked; in it only .yaml, .yml and .json files count, and templates of Helm charts are left out and named in
// skipped. The path "-" is stdin. A file under a cluster's folder is that cluster's alone.
func Read(paths []string, clusters []Folder, stdin io.Reader) (sources []Source, skipped []string, err error) {
	r := &collector{seen: map[string]bool{}, owned: map[string]bool{}}
	for _, c := range clusters {
		if err := r.walk(c.Path, c.Cluster); err != nil {
			return nil, nil, fmt.Errorf("read cluster %s: %w", c.Cluster, err)
		}
	}
	own := r.sources
	r.sources = nil
	for _, p := range paths {
		if p == "-" {
			data, err := input.All(stdin, input.File)
			if err != nil {
				return nil, nil, fmt.Errorf("read standard input: %w", err)
			}
			r.sources = append(r.sources, Source{Name: "-", Data: data})
			continue
		}
		if err := r.walk(p, ""); err != nil {
			return nil, nil, err
		}
	}
	return append(r.sources, own...), r.skipped, nil
}

type collector struct {
	sources []Source
	skipped []string
	seen    map[string]bool // by cluster and cleaned path: a file is read once for each
	owned   map[string]bool // by cleaned path
	size    int64           // of all, in bytes
}

func (r *collector) walk(root, cluster string) error {
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path != root && strings.HasPrefix(d.Name(), ".") {
				return filepath.SkipDir
			}
			if d.Name() == "templates" && exists(filepath.Join(filepath.Dir(path), "Chart.yaml")) {
				r.skipped = append(r.skipped, path)
				return filepath.SkipDir
			}
			return nil
		}
		clean := filepath.Clean(path)
		ext := strings.ToLower(filepath.Ext(path))
		if r.seen[cluster+"="+clean] || cluster == "" && r.owned[clean] || path != root && !slices.Contains([]string{".yaml", ".yml", ".json"}, ext) {
			return nil
		}
		if info, err := os.Stat(path); err == nil && path != root && !info.Mode().IsRegular() {
			return &fs.PathError{Op: "read", Path: path, Err: errors.New("it is no regular file")}
		}
		r.seen[cluster+"="+clean], r.owned[clean] = true, true
		data, err := input.ReadFile(path, input.File)
		if err != nil {
			return err
		}
		if r.size += int64(len(data)); r.size > input.Files {
			return &fs.PathError{Op: "read", Path: root, Err: &input.TooLargeError{Most: input.Files}}
		}
		r.sources = append(r.sources, Source{Name: path, Cluster: cluster, Data: data})
		return nil
	})
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("%s: %w", pe.Path, pe.Err)
	}
	return err
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// NewInput reads sources. clusters are the names of all clusters, in order; none is one cluster without a name.
func NewInput(sources []Source, clusters []string, o Options) Input {
	if o.Namespace == "" {
		o.Namespace = "default"
	}
	if len(clusters) == 0 {
		clusters = []string{""}
	}
	in := Input{TrustDomain: o.TrustDomain, Failover: o.Failover, Clusters: make([]Cluster, len(clusters))}
	for i, name := range clusters {
		in.Clusters[i].Name = name
	}
	for _, s := range sources {
		f := ParseFile(s.Name, s.Data, o.Namespace)
		in.Files = append(in.Files, f)
		for i := range in.Clusters {
			if c := &in.Clusters[i]; s.Cluster == "" || s.Cluster == c.Name {
				c.Objects = append(c.Objects, f.Objects...)
			}
		}
	}
	return in
}

// A Report is what an analysis found, for people and for programs.
type Report struct {
	Findings []Finding `json:"findings"`
	Files    int       `json:"files"`
	Objects  int       `json:"objects"`
	Clusters []string  `json:"clusters,omitempty"`
	Errors   int       `json:"errors"`
	Warnings int       `json:"warnings"`
	Notes    int       `json:"notes"`
	// Fixable and Guessable count the edits that --fix, and --fix --guess besides, would make.
	Fixable   int `json:"fixable"`
	Guessable int `json:"guessable"`
	// Fixed counts the edits that were made before this was found, and Changed names the files.
	Fixed   int      `json:"fixed,omitempty"`
	Changed []string `json:"changed,omitempty"`
	// Skipped are folders that were not read: templates of Helm charts.
	Skipped []string `json:"skipped,omitempty"`
}

// NewReport runs the table over an input.
func NewReport(in Input) Report { return reportOf(in, Run(in)) }

func reportOf(in Input, findings []Finding) Report {
	r := Report{Findings: findings, Files: len(in.Files)}
	if r.Findings == nil {
		r.Findings = []Finding{}
	}
	seen := map[*Object]bool{}
	for _, c := range in.Clusters {
		if c.Name != "" {
			r.Clusters = append(r.Clusters, c.Name)
		}
		for _, o := range c.Objects {
			seen[o] = true
		}
	}
	r.Objects = len(seen)
	sure, guesses := map[Edit]bool{}, map[Edit]bool{}
	for _, f := range r.Findings {
		switch f.Severity {
		case Error:
			r.Errors++
		case Warning:
			r.Warnings++
		default:
			r.Notes++
		}
		if f.Fix != nil && f.Fix.Guess {
			guesses[*f.Fix] = true
		} else if f.Fix != nil {
			sure[*f.Fix] = true
		}
	}
	r.Fixable, r.Guessable = len(sure), len(guesses)
	return r
}

// Rewrite puts the new content of those sources that changed in place of the old, each file in one step and with
// the mode that it has, and returns their names. Standard input has no place to be written to and is left out.
func Rewrite(before, after []Source) (changed []string, err error) {
	for i, s := range after {
		if s.Name == "-" || slices.Equal(s.Data, before[i].Data) {
			continue
		}
		if err := rewrite(s.Name, s.Data); err != nil {
			return changed, fmt.Errorf("write %s: %w", s.Name, err)
		}
		changed = append(changed, s.Name)
	}
	return changed, nil
}

// rewrite never follows a link: what it names may be somebody else's, and in no folder that the user named.
func rewrite(path string, data []byte) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("it is a link or no regular file, and nothing is written through it: name the file itself")
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(info.Mode().Perm()), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
