package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"isthmus.dev/isthmus/internal/screen"
	"isthmus.dev/isthmus/internal/verify"
)

// helpOf runs isthmus help with these words beside one other command.
func helpOf(t *testing.T, output string, words ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	e := &env{Streams: screen.Streams{Out: &out, Err: &out, Env: func(string) string { return "" }}, output: output}
	root := &cobra.Command{Use: "isthmus", SilenceErrors: true, SilenceUsage: true, Long: "all of it", RunE: func(*cobra.Command, []string) error { return nil }}
	root.AddCommand(&cobra.Command{Use: "plan", Long: "about plan", RunE: func(*cobra.Command, []string) error { return nil }})
	root.SetHelpCommand(newHelp(e))
	root.SetOut(&out)
	root.SetArgs(append([]string{"help"}, words...))
	err := root.Execute()
	return out.String(), err
}

func TestHelp(t *testing.T) {
	for _, tc := range []struct {
		reason string
		words  []string
		want   string // a part of what is printed
		fails  string // a part of the error
	}{
		{reason: "nothing asked", want: "all of it"},
		{reason: "a command", words: []string{"plan"}, want: "about plan"},
		{reason: "a check, however it is written", words: []string{"chk014"}, want: "Is there a node with room for istiod?"},
		{reason: "all checks", words: []string{"checks"}, want: "CHK044"},
		{reason: "a check that is none", words: []string{"CHK999"}, fails: `no check "CHK999"`},
		{reason: "a command that is none", words: []string{"plam"}, fails: `no help about "plam"`},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			out, err := helpOf(t, "", tc.words...)
			if tc.fails == "" && err != nil || !strings.Contains(out, tc.want) {
				t.Errorf("%v\n%s", err, out)
			}
			if tc.fails != "" && (err == nil || !strings.Contains(err.Error(), tc.fails) || codeOf(err) != exitUsage) {
				t.Errorf("error %v (exit %d), want %q (exit %d)", err, codeOf(err), tc.fails, exitUsage)
			}
		})
	}
}

func TestHelpOfACheck(t *testing.T) {
	out, err := helpOf(t, "", "CHK029")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "help-CHK029.txt", out)
}

func TestHelpFitsATerminal(t *testing.T) {
	for _, c := range verify.Preflight {
		out, err := helpOf(t, "", c.ID)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(out, "\n") {
			if i > 0 && screen.Width(line) > helpWidth && strings.Contains(strings.TrimSpace(line), " ") {
				t.Errorf("%s: a line of %d columns: %s", c.ID, screen.Width(line), line)
			}
		}
	}
}

func TestHelpForPrograms(t *testing.T) {
	out, err := helpOf(t, "json", "checks")
	if err != nil {
		t.Fatal(err)
	}
	var got []entry
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != len(verify.Preflight) || got[0].ID != "CHK001" || got[0].Why == "" {
		t.Errorf("%+v", got)
	}
	if _, err := helpOf(t, "xml", "checks"); !errors.As(err, new(*exitError)) {
		t.Errorf("an output format that is none is a usage error; got %v", err)
	}
}
