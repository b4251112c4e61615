package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var header = Header{Kind: "Facts", Version: 2, Mesh: "shop", Taken: time.Date(2026, 11, 24, 12, 0, 0, 5, time.UTC), Program: "v0.1.0"}

func written(t interface{ Fatal(...any) }, h Header, items ...any) (string, string) {
	var b bytes.Buffer
	digest, err := Write(&b, h, slices.Values(items))
	if err != nil {
		t.Fatal(err)
	}
	return b.String(), digest
}

func TestItIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		items := rapid.SliceOf(rapid.String()).Draw(t, "items")
		var all []any
		for _, i := range items {
			all = append(all, i)
		}
		text, wrote := written(t, header, all...)
		if !json.Valid([]byte(text)) {
			t.Fatalf("no JSON: %s", text)
		}
		var got []string
		h, digest, err := Read(strings.NewReader(text), "Facts", 2, func(raw []byte) error {
			var s string
			err := json.Unmarshal(raw, &s)
			got = append(got, s)
			return err
		})
		if err != nil || digest != wrote || h != header || !slices.Equal(got, items) {
			t.Fatalf("%v: %+v, %q of %q, digest %s of %s", err, h, got, items, digest, wrote)
		}
	})
}

// TestNoChangeGoesUnseen cuts a record off after every byte, and changes every byte of it.
func TestNoChangeGoesUnseen(t *testing.T) {
	text, _ := written(t, header, map[string]int{"a": 1}, map[string]int{"b": 2})
	read := func(text string) error {
		_, _, err := Read(strings.NewReader(text), "Facts", 2, func([]byte) error { return nil })
		return err
	}
	var e *Error
	for i := range len(text) {
		if err := read(text[:i]); !errors.As(err, &e) {
			t.Errorf("cut off after %d of %d bytes it is read: %v", i, len(text), err)
		}
		changed := []byte(text)
		changed[i] ^= 1
		if err := read(string(changed)); !errors.As(err, &e) {
			t.Errorf("with byte %d changed it is read: %v", i, err)
		}
	}
	if err := read(text + "{}"); !errors.As(err, &e) {
		t.Errorf("with something behind it, it is read: %v", err)
	}
	if err := read(text); err != nil {
		t.Error(err)
	}
}

func TestRefusals(t *testing.T) {
	with := func(change func(*Header)) string {
		h := header
		change(&h)
		text, _ := written(t, h, 1)
		return text
	}
	good := with(func(*Header) {})
	for _, c := range []struct{ reason, text, want string }{
		{"nothing", "", "is not a file of facts that isthmus wrote, or its beginning was changed"},
		{"something else", "apiVersion: v1\n", "is not a file of facts that isthmus wrote, or its beginning was changed"},
		{"another kind", with(func(h *Header) { h.Kind = "Plan" }), "holds plan, not facts"},
		{"an old format", with(func(h *Header) { h.Version = 1 }), "was written in format 1 by isthmus v0.1.0, which this program no longer reads (format 2)"},
		{"a new format", with(func(h *Header) { h.Version = 3 }), "was written in format 3 by isthmus v0.1.0, which is newer than this program (format 2)"},
		{"the end is missing", good[:len(good)-90], "is cut off: its end is missing"},
		{"an item was edited", strings.Replace(good, "\n1\n", "\n2\n", 1), "was changed after it was written: its digest is not that of its content"},
		{"the mesh was edited", strings.Replace(good, "shop", "shot", 1), "was changed after it was written: its digest is not that of its content"},
	} {
		_, _, err := Read(strings.NewReader(c.text), "Facts", 2, func(raw []byte) error { return nil })
		if err == nil {
			t.Errorf("%s: it is read", c.reason)
			continue
		}
		if d := cmp.Diff(c.want, err.Error()); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.reason, d)
		}
	}
	broken := errors.New("an item that means nothing")
	if _, _, err := Read(strings.NewReader(good), "Facts", 2, func([]byte) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}
