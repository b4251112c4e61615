package analyze

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

// A scene is one txtar archive of testdata: its first line is the reason, "clusters: east west" says that folders of
// these names are clusters and everything else is common, "whole" that there is nothing else, "trust-domain: x" is
// the option. In a file, a comment "# want: ANA010 error" says which findings its line has; a file under fixed/ is
// what --fix makes of the one without.
type scene struct {
	name, reason string
	clusters     []string
	whole        bool
	options      Options
	sources      []Source
	fixed        map[string]string
	want         []string
}

func readScene(t *testing.T, path string) scene {
	t.Helper()
	archive, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := scene{name: strings.TrimSuffix(filepath.Base(path), ".txtar"), fixed: map[string]string{}}
	head := strings.Split(strings.TrimSpace(string(archive.Comment)), "\n")
	s.reason = head[0]
	for _, line := range head[1:] {
		key, value, _ := strings.Cut(line, ": ")
		switch key {
		case "clusters":
			s.clusters = strings.Fields(value)
		case "whole":
			s.whole = true
		case "trust-domain":
			s.options.TrustDomain = value
		default:
			t.Fatalf("%s: what is %q?", path, line)
		}
	}
	for _, f := range archive.Files {
		if name, ok := strings.CutPrefix(f.Name, "fixed/"); ok {
			s.fixed[name] = string(f.Data)
			continue
		}
		folder, _, _ := strings.Cut(f.Name, "/")
		if !slices.Contains(s.clusters, folder) {
			folder = ""
		}
		s.sources = append(s.sources, Source{Name: f.Name, Cluster: folder, Data: f.Data})
		for i, line := range strings.Split(string(f.Data), "\n") {
			if _, wants, ok := strings.Cut(line, "# want: "); ok {
				for w := range strings.SplitSeq(wants, ", ") {
					s.want = append(s.want, fmt.Sprintf("%s:%d %s", f.Name, i+1, w))
				}
			}
		}
	}
	slices.Sort(s.want)
	return s
}

func (s scene) input(sources []Source) Input {
	in := NewInput(sources, s.clusters, s.options)
	for i := range in.Clusters {
		in.Clusters[i].Whole = s.whole
	}
	return in
}

func scenes(t *testing.T, folder string) []scene {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", folder, "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) < 40 {
		t.Errorf("testdata/%s has %d scenes; the promise is 40", folder, len(paths))
	}
	all := make([]scene, len(paths))
	for i, p := range paths {
		all[i] = readScene(t, p)
	}
	return all
}

func summary(findings []Finding) (lines, texts []string) {
	for _, f := range findings {
		lines = append(lines, fmt.Sprintf("%s:%d %s %s", f.File, f.Line, f.ID, f.Severity))
		texts = append(texts, fmt.Sprintf("%s:%d:%d %s", f.File, f.Line, f.Col, f.Text()))
	}
	slices.Sort(lines)
	return lines, texts
}

// TestBroken: every broken scene has exactly the findings that its lines ask for, and is mended as it says.
func TestBroken(t *testing.T) {
	for _, s := range scenes(t, "broken") {
		t.Run(s.name, func(t *testing.T) {
			got, texts := summary(Run(s.input(s.sources)))
			if len(s.want) == 0 {
				t.Error("the scene wants nothing")
			}
			if diff := cmp.Diff(s.want, got); diff != "" {
				t.Errorf("%s\nfindings (-want +got):\n%s%s", s.reason, diff, strings.Join(texts, "\n"))
			}
			fixed, _, err := Fix(s.sources, s.input, false)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range fixed {
				i := slices.IndexFunc(s.sources, func(x Source) bool { return x.Name == f.Name })
				want, ok := s.fixed[f.Name]
				if !ok {
					want = string(s.sources[i].Data)
				}
				if diff := cmp.Diff(want, string(f.Data)); diff != "" {
					t.Errorf("%s after --fix (-want +got):\n%s", f.Name, diff)
				}
			}
		})
	}
}

// TestRight: configuration that is right has no finding at all, not even a note. The rate is printed.
func TestRight(t *testing.T) {
	all := scenes(t, "right")
	alarms := 0
	for _, s := range all {
		t.Run(s.name, func(t *testing.T) {
			findings := Run(s.input(s.sources))
			if len(findings) > 0 {
				alarms++
			}
			for _, f := range findings {
				t.Errorf("%s: %s:%d:%d %s %s: %s", s.reason, f.File, f.Line, f.Col, f.Severity, f.ID, f.Text())
			}
			if objects := len(s.input(s.sources).Clusters[0].Objects); objects == 0 {
				t.Error("there is no object in it")
			}
		})
	}
	t.Logf("false alarms in %d of %d right configurations (%.1f %%)", alarms, len(all), 100*float64(alarms)/float64(len(all)))
}
