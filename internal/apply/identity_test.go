package apply_test

import (
	"errors"
	"net/http"
	"sync/atomic"
	"testing"

	"isthmus.dev/isthmus/internal/apply"
)

// TestNothingIsWrittenToAnotherCluster: between plan and apply the context of east has come to lead to west.
func TestNothingIsWrittenToAnotherCluster(t *testing.T) {
	b := newBench(t, "elsewhere")
	var writes atomic.Int64
	b.wrap = func(_ string, rt http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.Method != http.MethodGet {
				writes.Add(1)
			}
			return rt.RoundTrip(r)
		})
	}
	p := b.mustPlan()
	if p.UIDs["east"] == "" || p.UIDs["east"] == p.UIDs["west"] || p.Writes() == 0 {
		t.Fatalf("UIDs %v, %d writes", p.UIDs, p.Writes())
	}
	writes.Store(0) // what the caller may do is asked by posts
	conns := b.conns()
	conns["east"] = conns["west"]
	a := apply.Applier{Conns: conns, Sealers: b.sealers(), Lock: &apply.Lock{Home: "east", Holder: holder("test")}}
	_, err := a.Apply(t.Context(), p, nil)
	var other *apply.OtherClusterError
	if !errors.As(err, &other) || other.Cluster != "east" || other.Want != p.UIDs["east"] || other.Have != p.UIDs["west"] {
		t.Errorf("apply: %v", err)
	}
	if n := writes.Load(); n != 0 {
		t.Errorf("%d requests that write were made", n)
	}
}
