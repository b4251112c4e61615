// Package redact hides keys and tokens in text that others wrote. A webhook or an API server may answer with what it
// was sent, in any form: as it is, on one line, in base64, in base64 of more than it, or only a part of it.
package redact

import (
	"encoding/base64"
	"errors"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Hidden stands in the place of what is secret.
const Hidden = "(hidden)"

const (
	// window is how many bytes of a secret in a row are hidden: fewer may be there by chance, and say little of a key.
	window = 12
	// shortest is the length below which a value is nothing that anybody keeps secret.
	shortest = 4
	// longest bounds a text that secrets are looked for in; what comes after is left out. An API server's message is
	// some hundred bytes long.
	longest = 256 << 10
	// most bounds what is remembered of secrets, in windows.
	most = 8 << 20
)

// Secrets are values that no text may show. The zero value hides what looks like a key or a token, and nothing else.
type Secrets struct {
	short   []string
	windows map[[window]byte]bool
}

// Of are these values, what is in base64 in them, and all the forms in which somebody may show them.
func Of(values ...string) Secrets {
	s := Secrets{windows: map[[window]byte]bool{}}
	for _, v := range values {
		s.add(v, 2)
	}
	return s
}

// encoded is a run of base64 that is long enough for a secret.
var encoded = regexp.MustCompile(`[A-Za-z0-9+/_-]{16,}={0,2}`)

func (s *Secrets) add(value string, depth int) {
	if len(value) < shortest {
		return
	}
	if len(value) < window {
		s.short = append(s.short, value, base64.StdEncoding.EncodeToString([]byte(value)))
		return
	}
	lines := strings.Split(value, "\n")
	for _, joined := range []string{value, strings.Join(lines, ""), strings.Join(lines, " "), strings.Join(lines, `\n`), strings.Join(lines, `\\n`)} {
		s.windowsOf(joined)
	}
	for shift := range 3 { // where a value begins within the three bytes that base64 takes together
		raw := append(make([]byte, shift), value...)
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			text := enc.EncodeToString(raw)
			s.windowsOf(text[min(len(text), (shift*8+5)/6):])
		}
	}
	if depth == 0 {
		return
	}
	for _, run := range encoded.FindAllString(value, -1) {
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			if raw, err := enc.DecodeString(strings.TrimRight(run, "=")); err == nil && len(raw) >= window {
				s.add(string(raw), depth-1)
			}
		}
	}
}

func (s *Secrets) windowsOf(text string) {
	for i := 0; i+window <= len(text) && len(s.windows) < most; i++ {
		s.windows[[window]byte([]byte(text[i:i+window]))] = true
	}
}

// Text is a text without them. It is given as somebody wrote it: what was cut or folded already may be a part of a
// secret that nothing tells as one.
func (s Secrets) Text(text string) string {
	if len(text) > longest {
		text = text[:longest] + "…"
	}
	for _, v := range s.short {
		text = strings.ReplaceAll(text, v, Hidden)
	}
	return keys(s.hide(text))
}

// hide takes out every run of bytes that windows cover.
func (s Secrets) hide(text string) string {
	if len(s.windows) == 0 {
		return text
	}
	var out strings.Builder
	end := 0 // of what is hidden
	for i := range len(text) {
		if i+window <= len(text) && s.windows[[window]byte([]byte(text[i:i+window]))] {
			if i >= end {
				out.WriteString(Hidden)
			}
			end = i + window
		}
		if i >= end {
			out.WriteByte(text[i])
		}
	}
	return out.String()
}

// What looks like a key or a token wherever it is seen: a private key in PEM, one that was cut, a JSON Web Token
// (RFC 7519), and base64 of something in PEM.
var looks = []*regexp.Regexp{
	regexp.MustCompile(`(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(-----END [A-Z0-9 ]*PRIVATE KEY-----|$)`),
	regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(\.[A-Za-z0-9_-]*)?`),
	regexp.MustCompile(`[A-Za-z0-9+/_-]*(?:` + strings.Join(armour(), "|") + `)[A-Za-z0-9+/_=-]*(?:\s+[A-Za-z0-9+/_-]{16,}={0,2})*`),
}

// armour is the beginning of PEM in base64, for each place within three bytes that it may begin at.
func armour() []string {
	const begin = "-----BEGIN "
	var all []string
	for shift := range 3 {
		text := base64.RawStdEncoding.EncodeToString(append(make([]byte, shift), begin...))
		whole := (shift + len(begin)) * 8 / 6
		all = append(all, regexp.QuoteMeta(text[(shift*8+5)/6:whole]))
	}
	return all
}

func keys(text string) string {
	for _, r := range looks {
		text = r.ReplaceAllString(text, Hidden)
	}
	return text
}

// Error is an error whose texts do not show them. An API server's stays one of its kind, with its reason and causes; what
// another wraps can be asked for by errors.Is and errors.As, and is not read.
func (s Secrets) Error(err error) error {
	if err == nil {
		return nil
	}
	var api apierrors.APIStatus
	if !errors.As(err, &api) {
		if text := s.Text(err.Error()); text != err.Error() {
			return &hidden{text, err}
		}
		return err
	}
	status := api.Status()
	status.Message = s.Text(status.Message)
	if status.Details != nil {
		details := *status.Details
		details.Causes = make([]metav1.StatusCause, len(status.Details.Causes))
		for i, c := range status.Details.Causes {
			details.Causes[i] = metav1.StatusCause{Type: c.Type, Field: s.Text(c.Field), Message: s.Text(c.Message)}
		}
		status.Details = &details
	}
	clean := &apierrors.StatusError{ErrStatus: status}
	if direct, is := err.(apierrors.APIStatus); is && direct == api {
		return clean
	}
	return &wrapped{s.Text(err.Error()), clean}
}

type hidden struct {
	text string
	err  error
}

func (e *hidden) Error() string        { return e.text }
func (e *hidden) Is(target error) bool { return errors.Is(e.err, target) }

type wrapped struct {
	text string
	err  error
}

func (e *wrapped) Error() string { return e.text }
func (e *wrapped) Unwrap() error { return e.err }
