package screen

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestColumns(t *testing.T) {
	var b bytes.Buffer
	p := NewPage(&b, true)
	fmt.Fprint(p, Columns([][]string{{"CLUSTER", "REACH"}, {"east", p.Good("12 ms")}, {"a-long-name", "✘"}}))
	got := b.String()
	want := "CLUSTER      REACH\neast         \x1b[32m12 ms\x1b[0m\na-long-name  ✘\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
}

func TestDurations(t *testing.T) {
	cases := []struct {
		reason string
		got    string
		want   string
	}{
		{"tenths while they matter", Seconds(420 * time.Millisecond), "0.4 s"},
		{"whole seconds after that", Seconds(12400 * time.Millisecond), "12 s"},
		{"minutes as a clock", Seconds(161 * time.Second), "2:41"},
		{"an edit a while ago", Age(12 * time.Minute), "12 min"},
		{"an intermediate's end", Age(89*24*time.Hour + time.Hour), "89 d"},
		{"a root's end", Age((9*365 + 364) * 24 * time.Hour), "9 y 364 d"},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			if c.got != c.want {
				t.Errorf("got %q, want %q", c.got, c.want)
			}
		})
	}
}

func TestProgressWithoutATerminal(t *testing.T) {
	var b bytes.Buffer
	p := NewProgress(Streams{Err: &b, Env: func(string) string { return "" }})
	p.Set("east", "waiting for istiod")
	p.Set("east", "waiting for istiod") // says nothing new
	p.Done("east", Yes, "control plane ready")
	p.Close()
	want := "east  waiting for istiod\n✔ east  control plane ready\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("progress (-want +got):\n%s", diff)
	}
}
