package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isthmus.dev/isthmus/internal/screen"
)

func runAnalyze(t *testing.T, in string, args ...string) (out, errs string, code int) {
	t.Helper()
	var o, x bytes.Buffer
	e := &env{Streams: screen.Streams{In: strings.NewReader(in), Out: &o, Err: &x, Env: func(string) string { return "" }}}
	c := newAnalyze(e)
	c.Flags().StringVarP(&e.output, "output", "o", "", "")
	c.SilenceErrors, c.SilenceUsage = true, true
	c.SetArgs(args)
	err := c.ExecuteContext(context.Background())
	if err != nil {
		x.WriteString(err.Error())
	}
	return o.String(), x.String(), codeOf(err)
}

func TestAnalyzeX(t *testing.T) {
	dir := t.TempDir()
	for _, n := range []string{"gateway-and-virtualservice.yaml", "authorizationpolicy.yaml"} {
		b, _ := os.ReadFile(filepath.Join("/work/shared/seed", n))
		os.WriteFile(filepath.Join(dir, n), b, 0o644)
	}
	t.Chdir(dir)
	for _, args := range [][]string{{"."}, {"--fix", "."}, {"--fix", "--guess", "."}} {
		out, errs, code := runAnalyze(t, "", args...)
		t.Logf("%v %d\n%s%s", args, code, out, errs)
	}
	b, _ := os.ReadFile("gateway-and-virtualservice.yaml")
	t.Logf("%s", b)
}
