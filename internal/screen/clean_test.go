package screen

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// hostile are texts that make a terminal, a pager or an editor do or show something else.
var hostile = []string{
	"\x1b[2J\x1b[1;1H", "\x1b]0;title\x07", "\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "\x9b31m", "\u009b31m", "a\rb", "a\bb", "\x00", "\x7f",
	"\u202eevil\u202c", "\u2066x\u2069", "a\u2028b", "\ufeffx", "\xff\xfe", "\xe2\x28", "\x1b[31mred\x1b[0m", "\x1b[", "\x1b", strings.Repeat("x", longest*2),
}

func TestNothingThatATerminalObeysIsWritten(t *testing.T) {
	for _, colour := range []bool{false, true} {
		for _, text := range hostile {
			var b bytes.Buffer
			p := NewPage(&b, colour)
			fmt.Fprintf(p, "%s %s: %s\n", p.Mark(No), p.Bold("east"), text)
			obeysNothing(t, b.String(), colour)
			if !strings.HasSuffix(b.String(), "\n") || strings.Count(b.String(), "\n") != 1+strings.Count(text, "\n") || len(b.String()) > 6*longest {
				t.Errorf("%.40q became %.80q", text, b.String())
			}
		}
	}
	for _, text := range hostile {
		var b bytes.Buffer
		p := NewProgress(Streams{Err: &b, Env: func(string) string { return "" }})
		p.Set(text, text)
		p.Done(text, Yes, text)
		p.Close()
		obeysNothing(t, b.String(), false)
	}
}

// painted are the colours that a page uses.
var painted = regexp.MustCompile(`\x1b\[(0|1|2|31|32|33)m`)

func obeysNothing(t *testing.T, text string, colour bool) {
	t.Helper()
	if colour {
		text = painted.ReplaceAllString(text, "")
	}
	if i := strings.IndexFunc(text, obeyed); i >= 0 || !utf8.ValidString(text) {
		t.Errorf("%.80q obeys at %d", text, i)
	}
}

// TestColoursOfOthersAreShown: only what this process paints is painted.
func TestColoursOfOthersAreShown(t *testing.T) {
	var b bytes.Buffer
	p := NewPage(&b, true)
	fmt.Fprintf(p, "%s \x1b[32m✔ all is well\x1b[0m", p.Mark(No))
	if got, want := b.String(), "\x1b[31m✘\x1b[0m \\u001b[32m✔ all is well\\u001b[0m"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestProgramsReadWhatWasMeant: JSON stays JSON, of the same texts, and shows no order to a terminal.
func TestProgramsReadWhatWasMeant(t *testing.T) {
	for _, text := range hostile {
		if !utf8.ValidString(text) {
			continue // encoding/json puts U+FFFD there
		}
		var b bytes.Buffer
		if err := Machine(&b, JSON, map[string]string{"x": text}); err != nil {
			t.Fatal(err)
		}
		obeysNothing(t, b.String(), false)
		var back map[string]string
		if err := json.Unmarshal(b.Bytes(), &back); err != nil || back["x"] != text {
			t.Errorf("%q became %q, %v", text, back["x"], err)
		}
		b.Reset()
		if err := Machine(&b, YAML, map[string]string{"x": text}); err != nil {
			t.Fatal(err)
		}
		obeysNothing(t, b.String(), false)
	}
}

// FuzzPage: whatever is in a text, and wherever it is cut into writes.
func FuzzPage(f *testing.F) {
	for _, text := range hostile {
		f.Add(text, text, true)
	}
	f.Add(ours+"2J", ours, true)
	f.Fuzz(func(t *testing.T, a, b string, colour bool) {
		var out bytes.Buffer
		p := NewPage(&out, colour)
		fmt.Fprintf(p, "%s%s", p.Warn(a), b)
		fmt.Fprint(p, b)
		obeysNothing(t, out.String(), colour)
		if clean := Clean(a); Clean(clean) != clean {
			t.Errorf("%q is not clean", clean)
		}
	})
}
