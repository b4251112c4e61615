package screen

import (
	"crypto/rand"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// All text of clusters, files and servers goes to people, and to programs that show it to people, through Clean: a
// terminal obeys control characters, and what it shows then is what their author wants. So does a log viewer, an editor
// and a browser with bidirectional controls (CVE-2021-42574).

// ours begins the colours of this process: nobody else's text can hold it.
var ours = "\x1b[" + rand.Text() + ";"

// longest is how much of one line people are shown, in bytes.
const longest = 16 << 10

// Clean is a text with everything in it shown that a terminal would obey or hide: control characters but line feed and
// tab, and bidirectional controls, as \u and four digits, which JSON reads as the same character; what is no UTF-8, as \x
// and two.
func Clean(text string) string {
	if !strings.ContainsFunc(text, obeyed) && utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && n <= 1:
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case obeyed(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteString(text[i : i+n])
		}
		i += n
	}
	return b.String()
}

// obeyed tells runes that are no letters but orders: C0 and C1 controls and DEL (ECMA-48), separators of lines, and what
// turns the direction of writing (Unicode, UAX 9).
func obeyed(r rune) bool {
	switch {
	case r == '\n' || r == '\t':
		return false
	case r < 0x20, 0x7f <= r && r <= 0x9f:
		return true
	case r == 0x061c, r == 0x200e, r == 0x200f, 0x2028 <= r && r <= 0x202e, 0x2066 <= r && r <= 0x2069, r == 0xfeff:
		return true
	}
	return false
}

// shown is a text as people see it: clean, but for our own colours, and no line without end.
func shown(text string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, ours)
		b.WriteString(Clean(short(before)))
		if !found {
			return b.String()
		}
		code, after, ended := strings.Cut(rest, "m")
		if !ended || strings.Trim(code, "0123456789") != "" {
			text = rest
			continue
		}
		b.WriteString("\x1b[" + code + "m")
		text = after
	}
}

// short cuts lines that are too long.
func short(text string) string {
	if len(text) <= longest {
		return text
	}
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if len(l) > longest {
			lines[i] = strings.ToValidUTF8(l[:longest], "") + fmt.Sprintf("… (%d bytes more)", len(l)-longest)
		}
	}
	return strings.Join(lines, "\n")
}

// people is a writer that people read.
type people struct{ w io.Writer }

func (p people) Write(text []byte) (int, error) {
	if _, err := p.w.Write([]byte(shown(string(text)))); err != nil {
		return 0, err
	}
	return len(text), nil
}
