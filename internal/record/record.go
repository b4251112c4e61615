// Package record writes what is kept in a file, facts and plans, and reads it again. A record says what it is, of
// which mesh, when and by which program it was made, and ends with a digest over everything before: one that was
// cut off, edited, or written in another format is refused, and nothing of it is used.
//
// It is JSON, with one item a line, so that jq reads it and thousands of clusters pass through little memory.
package record

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"strings"
	"time"
)

// A Header says what a record is.
type Header struct {
	Kind string `json:"kind"` // "Facts", "Plan"
	// Version is the format's: one that a program does not know it refuses.
	Version int       `json:"version"`
	Mesh    string    `json:"mesh"`
	Taken   time.Time `json:"taken"`   // when the facts in it, or under it, were read
	Program string    `json:"program"` // the version of the program that wrote it
}

const (
	opening = `"items":[`
	closing = "],\n"
	sealing = `"digest":"sha256:`
	theEnd  = "\"}\n"
)

// Write writes a record and returns its digest.
func Write(w io.Writer, h Header, items iter.Seq[any]) (digest string, err error) {
	sum := sha256.New()
	out := bufio.NewWriterSize(io.MultiWriter(w, sum), 1<<16)
	head, err := json.Marshal(h)
	if err != nil {
		return "", fmt.Errorf("write the header: %w", err)
	}
	_, _ = fmt.Fprintf(out, "%s,%s", head[:len(head)-1], opening) // a bufio.Writer keeps its error for Flush
	end := "\n"
	for item := range items {
		raw, err := json.Marshal(item)
		if err != nil {
			return "", fmt.Errorf("write an item: %w", err)
		}
		_, _ = out.WriteString(end)
		_, _ = out.Write(raw)
		end = ",\n"
	}
	_, _ = out.WriteString("\n" + closing)
	if err := out.Flush(); err != nil {
		return "", err
	}
	digest = hex.EncodeToString(sum.Sum(nil))
	_, err = io.WriteString(w, sealing+digest+theEnd)
	return digest, err
}

// An Error says why a record cannot be used: a sentence about "it".
type Error struct{ Why string }

func (e *Error) Error() string { return e.Why }

func bad(format string, args ...any) error { return &Error{fmt.Sprintf(format, args...)} }

// Read reads a record of a kind and a version, gives each item to a function, and returns the digest. Nothing that
// the items say may be used unless the error is nil: the digest stands at the end. The error is *Error where the
// record is at fault.
func Read(r io.Reader, kind string, version int, item func(raw []byte) error) (h Header, digest string, err error) {
	in := &lines{in: bufio.NewReaderSize(r, 1<<16), sum: sha256.New()}
	first, err := in.next()
	if err != nil && !errors.Is(err, io.EOF) {
		return h, "", err
	}
	text, isRecord := bytes.CutSuffix(bytes.TrimRight(first, "\n"), []byte(","+opening))
	if !isRecord || json.Unmarshal(append(bytes.Clone(text), '}'), &h) != nil {
		return h, "", bad("is not a file of %s that isthmus wrote, or its beginning was changed", strings.ToLower(kind))
	}
	switch {
	case h.Kind != kind:
		return h, "", bad("holds %s, not %s", strings.ToLower(h.Kind), strings.ToLower(kind))
	case h.Version > version:
		return h, "", bad("was written in format %d by isthmus %s, which is newer than this program (format %d)", h.Version, h.Program, version)
	case h.Version < version:
		return h, "", bad("was written in format %d by isthmus %s, which this program no longer reads (format %d)", h.Version, h.Program, version)
	}
	itemErr, err := in.items(item)
	if err != nil {
		return h, "", err
	}
	digest = hex.EncodeToString(in.sum.Sum(nil))
	last, err := in.next()
	if err != nil && !errors.Is(err, io.EOF) {
		return h, "", err
	}
	said, whole := strings.CutSuffix(strings.TrimPrefix(string(last), sealing), theEnd)
	more, _ := in.next() // only whether there is anything
	switch {
	case !whole || len(said) != len(digest):
		return h, "", bad("is cut off: its end is missing")
	case said != digest || len(more) > 0:
		return h, "", bad("was changed after it was written: its digest is not that of its content")
	case itemErr != nil:
		return h, "", itemErr
	}
	return h, digest, nil
}

// lines reads line by line and sums what it reads.
type lines struct {
	in  *bufio.Reader
	sum hash.Hash
	buf []byte
}

// next is the next line with its end; it holds until the one after.
func (l *lines) next() ([]byte, error) {
	l.buf = l.buf[:0]
	for {
		part, err := l.in.ReadSlice('\n')
		l.buf = append(l.buf, part...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		l.sum.Write(l.buf)
		return l.buf, err
	}
}

// items gives every item to a function, to the end of the list. An item that cannot be used is told apart, since
// the digest says better why.
func (l *lines) items(item func([]byte) error) (itemErr, err error) {
	for {
		line, err := l.next()
		if errors.Is(err, io.EOF) {
			return nil, bad("is cut off: its end is missing")
		}
		if err != nil {
			return nil, err
		}
		if string(line) == closing {
			return itemErr, nil
		}
		raw := bytes.TrimSuffix(bytes.TrimRight(line, "\n"), []byte(","))
		if itemErr == nil && len(raw) > 0 {
			itemErr = item(raw)
		}
	}
}
