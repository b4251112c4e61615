// Package input reads what somebody else wrote, within bounds: files that a user names, standard input, answers of
// servers. Where a bound is reached that is an error which names it: what is cut off silently would be judged as if it
// were all.
package input

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Bounds, in bytes: far above what there is in the largest mesh, and far below what a machine has.
const (
	// Document is a mesh document, or a kubeconfig: 4,096 clusters take about 2 MiB.
	Document = 16 << 20
	// File is one file of configuration; an API server takes 3 MiB for one object.
	File = 64 << 20
	// Files are all files that one command reads.
	Files = 512 << 20
	// Answer is one answer of an API server or a page of Envoy or istiod. A configuration dump of a proxy that knows
	// 10,000 services is some 100 MiB.
	Answer = 256 << 20
	// Output is what a program in a container may print.
	Output = 64 << 20
)

// A TooLargeError means that more was there than is read.
type TooLargeError struct{ Most int64 }

func (e *TooLargeError) Error() string {
	if e.Most < 1<<20 {
		return fmt.Sprintf("it is larger than %d bytes, which is the most that is read", e.Most)
	}
	return fmt.Sprintf("it is larger than %d MiB, which is the most that is read", e.Most>>20)
}

// errNotAFile is what devices, sockets and folders are.
var errNotAFile = errors.New("it is no regular file")

// Open opens a file for reading at most so many bytes of it. A pipe that the user names is read as a file is; a device, a
// socket or a folder is an error. name is what messages call it.
func Open(name string, most int64) (io.ReadCloser, error) {
	if err := readable(name, most); err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	return Limit(f, most), nil
}

// readable looks at a file before it is opened: to open a device or a pipe may do something.
func readable(name string, most int64) error {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		if path, is := errors.AsType[*fs.PathError](err); is {
			return path.Err
		}
		return err
	case info.Mode().IsRegular() && info.Size() > most:
		return &TooLargeError{most}
	case info.Mode().IsRegular(), info.Mode()&fs.ModeNamedPipe != 0:
		return nil
	}
	return errNotAFile
}

// Check tells whether a file may be read by Open, for what another library opens.
func Check(name string, most int64) error {
	if err := readable(name, most); err != nil {
		return &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return nil
}

// ReadFile is all of a file, see Open.
func ReadFile(name string, most int64) ([]byte, error) {
	f, err := Open(name, most)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(f)
	if err != nil {
		err = &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return data, errors.Join(err, f.Close())
}

// All is all that a reader gives. Errors: *TooLargeError, and the reader's.
func All(r io.Reader, most int64) ([]byte, error) {
	return io.ReadAll(&limited{r: r, left: most, most: most})
}

// Limit is a reader that ends with an error where more than so many bytes come.
func Limit(r io.ReadCloser, most int64) io.ReadCloser {
	return &closing{limited{r: r, left: most, most: most}, r}
}

type closing struct {
	limited
	io.Closer
}

type limited struct {
	r          io.Reader
	left, most int64
}

func (l *limited) Read(p []byte) (int, error) {
	if int64(len(p)) > l.left+1 { // one more tells whether there is more
		p = p[:l.left+1]
	}
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return n - 1, &TooLargeError{l.most}
	}
	return n, err
}

// A Buffer keeps what is written to it up to a bound, and then refuses more.
type Buffer struct {
	Most int64
	data []byte
}

func (b *Buffer) Write(p []byte) (int, error) {
	if int64(len(b.data)+len(p)) > b.Most {
		return 0, &TooLargeError{b.Most}
	}
	b.data = append(b.data, p...)
	return len(p), nil
}

// Bytes are what was written.
func (b *Buffer) Bytes() []byte { return b.data }

// A Tail keeps the last bytes that are written to it.
type Tail struct {
	Most int
	data []byte
}

func (t *Tail) Write(p []byte) (int, error) {
	t.data = append(t.data, p[max(0, len(p)-t.Most):]...)
	t.data = append([]byte(nil), t.data[max(0, len(t.data)-t.Most):]...)
	return len(p), nil
}

// Bytes are the last of what was written.
func (t *Tail) Bytes() []byte { return t.data }
