package cli

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"isthmus.dev/isthmus/internal/analyze"
	"isthmus.dev/isthmus/internal/screen"
	"isthmus.dev/isthmus/internal/verify"
)

// seedFolder is a folder with a copy of the original document's files, and the current one.
func seedFolder(t *testing.T) {
	t.Helper()
	paths, err := filepath.Glob("../analyze/testdata/seed/*.yaml")
	if err != nil || len(paths) != 2 {
		t.Fatalf("the original document: %v (%v)", paths, err)
	}
	dir := t.TempDir()
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(p)), data, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
}

func runAnalyze(t *testing.T, in string, args ...string) (out, errs string, code int) {
	t.Helper()
	var o, x bytes.Buffer
	s := screen.Streams{In: strings.NewReader(in), Out: &o, Err: &x, Env: func(string) string { return "" }}
	code = Run(t.Context(), s, append([]string{"analyze"}, args...))
	return o.String(), x.String(), code
}

func TestAnalyzeForPeople(t *testing.T) {
	seedFolder(t)
	out, _, code := runAnalyze(t, "", "authorizationpolicy.yaml")
	want := strings.TrimLeft(`
authorizationpolicy.yaml:1:13   warning  ANA007  security.istio.io/v1beta1 is an old version of AuthorizationPolicy; it is served still, but v1 is the one that is kept
                                                 --fix: write security.istio.io/v1
authorizationpolicy.yaml:13:11  error    ANA020  the principal "service.cluster-a.svc.cluster.local" is no SPIFFE identity (cluster.local/ns/NAMESPACE/sa/ACCOUNT): it matches nobody, so it lets nobody in
                                                 since: it is a host name; read as service account service in namespace cluster-a
                                                 --fix --guess: probably meant: cluster.local/ns/cluster-a/sa/service
1 object in 1 file: 1 error, 1 warning. 1 can be fixed, 1 more by a guess: isthmus analyze --fix [--guess] authorizationpolicy.yaml
More about one of them: isthmus help ANA007
`, "\n")
	if diff := cmp.Diff(want, out); diff != "" || code != exitChecks {
		t.Errorf("exit %d, output (-want +got):\n%s", code, diff)
	}
}

func TestAnalyzeFixes(t *testing.T) {
	seedFolder(t)
	out, _, code := runAnalyze(t, "", "--fix", ".")
	if code != exitChecks || !strings.Contains(out, "✔ 6 edits made in authorizationpolicy.yaml, gateway-and-virtualservice.yaml") {
		t.Errorf("exit %d:\n%s", code, out)
	}
	out, _, code = runAnalyze(t, "", "--fix", "--guess", ".")
	if code != exitDone || !strings.Contains(out, "nothing is wrong with them") {
		t.Errorf("exit %d:\n%s", code, out)
	}
	info, err := os.Stat("authorizationpolicy.yaml")
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the file's mode became %v (%v)", info.Mode(), err)
	}
	left, err := filepath.Glob(".*")
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
	t.Run("from standard input to standard output", func(t *testing.T) {
		in := "apiVersion: networking.istio.io/v1beta1\nkind: DestinationRule # mine\nmetadata: {name: a}\nspec: {host: b}\n"
		out, errs, code := runAnalyze(t, in, "--fix", "-")
		if want := strings.Replace(in, "v1beta1", "v1", 1); out != want || code != exitDone || !strings.Contains(errs, "nothing is wrong") {
			t.Errorf("exit %d\n%s\n%s", code, out, errs)
		}
	})
}

func TestAnalyzeForPrograms(t *testing.T) {
	seedFolder(t)
	t.Run("json", func(t *testing.T) {
		out, _, code := runAnalyze(t, "", "-o", "json", ".")
		var got analyze.Report
		if err := json.Unmarshal([]byte(out), &got); err != nil || code != exitChecks {
			t.Fatalf("exit %d: %v", code, err)
		}
		if len(got.Findings) != 8 || got.Errors != 4 || got.Warnings != 4 || got.Fixable != 6 || got.Guessable != 2 || got.Objects != 3 {
			t.Errorf("%+v", got)
		}
		for _, field := range []string{`"id": "ANA002"`, `"file": "gateway-and-virtualservice.yaml"`, `"line": 13`, `"column": 5`, `"object": "Gateway default/gateway"`, `"severity": "error"`} {
			if !strings.Contains(out, field) {
				t.Errorf("no %s in:\n%s", field, out)
			}
		}
	})
	t.Run("junit", func(t *testing.T) {
		out, _, _ := runAnalyze(t, "", "-o", "junit", ".")
		var got verify.TestSuite
		if err := xml.Unmarshal([]byte(out), &got); err != nil {
			t.Fatal(err)
		}
		if got.Tests != 8 || got.Failures != 4 || len(got.Cases) != 8 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("sarif", func(t *testing.T) {
		out, _, _ := runAnalyze(t, "", "-o", "sarif", ".")
		var got analyze.Sarif
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			t.Fatal(err)
		}
		if len(got.Runs) != 1 || len(got.Runs[0].Results) != 8 || len(got.Runs[0].Tool.Driver.Rules) != 6 {
			t.Errorf("%+v", got)
		}
	})
}

func TestAnalyzeOfClusters(t *testing.T) {
	t.Chdir(t.TempDir())
	service := func(port string) string {
		return "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n  selector: {app: web}\n  ports:\n  - {name: http, port: " + port + "}\n"
	}
	for name, text := range map[string]string{"all/east/web.yaml": service("80"), "all/west/web.yaml": service("81"), "all/x.txt": "no YAML"} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// The folder that holds both is given too: a cluster's own files are its alone all the same.
	out, _, code := runAnalyze(t, "", "all", "--cluster", "east=all/east", "--cluster", "west=all/west")
	if code != exitChecks || !strings.Contains(out, "all/west/web.yaml:6:3  error  ANA041  east, west: web.default.svc.cluster.local has the ports 80 http in east and 81 http in west") {
		t.Errorf("exit %d:\n%s", code, out)
	}
	if !strings.Contains(out, "2 objects in 2 files of 2 clusters: 1 error.") {
		t.Errorf("the last line:\n%s", out)
	}
}

func TestAnalyzeRefuses(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("values.yaml", []byte("replicas: 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		reason string
		args   []string
		code   int
		says   string
	}{
		{"nothing named", nil, exitUsage, "nothing to read: name files or folders"},
		{"a cluster without a folder", []string{"--cluster", "east"}, exitUsage, `--cluster takes name=folder, not "east"`},
		{"guessing without fixing", []string{"--guess", "."}, exitUsage, "isthmus analyze --fix --guess"},
		{"a format that it has not", []string{"-o", "toml", "."}, exitUsage, `no output format "toml" here`},
		{"a file that is not there", []string{"gone.yaml"}, exitFailed, "gone.yaml: no such file or directory"},
		{"a cluster's folder that is not there", []string{"--cluster", "east=gone"}, exitFailed, "read cluster east: gone: no such file or directory"},
		{"no object in what was read", []string{"."}, exitFailed, "no Kubernetes object in . (1 file read)"},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			out, errs, code := runAnalyze(t, "", c.args...)
			if code != c.code || !strings.Contains(errs, c.says) || out != "" {
				t.Errorf("exit %d, want %d\n%s%s", code, c.code, out, errs)
			}
		})
	}
}

func TestHang(t *testing.T) {
	cases := []struct {
		reason, text, want string
		indent, width      int
	}{
		{"no terminal, no breaks", "one two three", "one two three", 4, 0},
		{"broken between words", "one two three", "one two\n    three", 4, 12},
		{"a word that is too long stands alone", "a verylongword b", "a\n  verylongword\n  b", 2, 8},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			if got := hang(c.text, c.indent, c.width); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestAnalyserHelp(t *testing.T) {
	cases := []struct{ reason, id, says string }{
		{"one of ours", "ana001", "--fix  writes the separator"},
		{"one of Istio's", "IST0101", "analysis/ist0101/"},
		{"none", "ANA999", ""},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			var out bytes.Buffer
			e := &env{Streams: screen.Streams{Out: &out, Env: func(string) string { return "" }}}
			shown, err := e.analyserHelp(c.id)
			if err != nil || shown != (c.says != "") || !strings.Contains(out.String(), c.says) {
				t.Errorf("shown %v, %v:\n%s", shown, err, out.String())
			}
		})
	}
}
