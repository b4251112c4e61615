package input

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
)

func TestWhatIsNoFileIsNotOpened(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink("/dev/zero", link); err != nil {
		t.Fatal(err)
	}
	sparse := filepath.Join(dir, "sparse")
	if err := os.WriteFile(sparse, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(sparse, 1<<40); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, want string }{
		{"/dev/zero", "it is no regular file"},
		{link, "it is no regular file"},
		{dir, "it is no regular file"},
		{filepath.Join(dir, "none"), "no such file"},
		{sparse, "larger than 16 MiB"},
	} {
		if data, err := ReadFile(c.name, Document); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.name) {
			t.Errorf("%s: %d bytes, %v", c.name, len(data), err)
		}
		if err := Check(c.name, Document); err == nil {
			t.Errorf("%s may be read by others", c.name)
		}
	}
}

// TestAPipeIsReadAsAFile: as of <(command) in a shell; and one that never ends is not read for ever.
func TestAPipeIsReadAsAFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	write := func(n int) {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err == nil {
			_, _ = f.Write(bytes.Repeat([]byte("x"), n)) // whoever reads may have gone
			_ = f.Close()
		}
	}
	go write(100)
	if data, err := ReadFile(name, 100); err != nil || len(data) != 100 {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	go write(1 << 20)
	if data, err := ReadFile(name, 100); !errors.As(err, new(*TooLargeError)) || len(data) > 100 {
		t.Errorf("%d bytes, %v", len(data), err)
	}
}

func TestNothingIsCutOffSilently(t *testing.T) {
	for n := range 40 {
		for name, r := range map[string]io.Reader{
			"at once":        strings.NewReader(strings.Repeat("x", n)),
			"byte by byte":   iotest.OneByteReader(strings.NewReader(strings.Repeat("x", n))),
			"with its error": iotest.DataErrReader(strings.NewReader(strings.Repeat("x", n))),
		} {
			data, err := All(r, 20)
			if (err != nil) != (n > 20) || len(data) != min(n, 20) {
				t.Errorf("%d bytes %s: %d, %v", n, name, len(data), err)
			}
		}
	}
	b := Buffer{Most: 5}
	if _, err := b.Write([]byte("12345")); err != nil {
		t.Error(err)
	}
	if _, err := b.Write([]byte("6")); !errors.As(err, new(*TooLargeError)) || string(b.Bytes()) != "12345" {
		t.Errorf("%q, %v", b.Bytes(), err)
	}
	last := Tail{Most: 4}
	for _, s := range []string{"ab", "cd", "e", "", "fghij"} {
		if n, err := last.Write([]byte(s)); n != len(s) || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
	if string(last.Bytes()) != "ghij" {
		t.Errorf("the end is %q", last.Bytes())
	}
}
