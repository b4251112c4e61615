package screen

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestColumns(t *testing.T) {
	got := Columns([][]string{{"CLUSTER", "STATE"}, {"é", "ready"}, {"east", ""}})
	want := "CLUSTER  STATE\né        ready\neast\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestSeconds(t *testing.T) {
	cases := []struct {
		reason string
		in     time.Duration
		want   string
	}{
		{"short times have a decimal", 440 * time.Millisecond, "0.4 s"},
		{"longer ones do not", 12*time.Second + 300*time.Millisecond, "12 s"},
		{"minutes", 161 * time.Second, "2:41"},
	}
	for _, c := range cases {
		if got := Seconds(c.in); got != c.want {
			t.Errorf("%s: %s, want %s", c.reason, got, c.want)
		}
	}
}

func TestProgressWithoutATerminal(t *testing.T) {
	var out bytes.Buffer
	p := NewProgress(Streams{Err: &out, Env: func(string) string { return "" }})
	p.Set("east", "waiting for API server")
	p.Set("east", "waiting for API server") // nothing new
	p.Done("east", Yes, "8.0 s")
	p.Close()
	want := "  east  waiting for API server\n✔ east  8.0 s\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
