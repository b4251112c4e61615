package probe

import (
	"testing"
)

func TestRepeatShowsWhatDiffers(t *testing.T) {
	ok, no := Result{OK: true, Clusters: map[string]int{"east": 1}}, Result{Class: Status, Code: 503, Flag: "UH"}
	other := Result{OK: true, Clusters: map[string]int{"west": 1}}
	for _, c := range []struct {
		reason   string
		ends     []Result
		shown    Result
		differed int
	}{
		{"all alike", []Result{ok, ok, ok, ok}, ok, 0},
		{"one fails", []Result{ok, ok, no, ok}, no, 1},
		{"all but the first fail", []Result{ok, no, no, no}, no, 3},
		{"the first alone fails", []Result{no, ok, ok, ok}, ok, 3},
		{"another cluster answers", []Result{ok, ok, ok, other}, other, 1},
		{"all fail alike", []Result{no, no, no, no}, no, 0},
	} {
		n := 0
		got := Repeat(t.Context(), len(c.ends), func() Result { n++; return c.ends[n-1] })
		if got.Repeated != len(c.ends) || got.Differed != c.differed || got.end() != c.shown.end() || n != len(c.ends) {
			t.Errorf("%s: %+v after %d", c.reason, got, n)
		}
	}
	if got := Repeat(t.Context(), 0, func() Result { return ok }); got.Repeated != 0 || !got.OK {
		t.Errorf("once: %+v", got)
	}
	n := 0
	if got := Repeat(t.Context(), 1<<30, func() Result { n++; return ok }); got.Repeated != maxRepeat || n != maxRepeat {
		t.Errorf("without end: %d", n)
	}
}
