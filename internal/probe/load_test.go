package probe

import (
	"context"
	"net"
	"testing"
	"time"
)

// A load goes on at its rate while nobody answers, and tells which calls were missed and who answered the others.
func TestLoadCountsWhatIsMissed(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	ready := make(chan Addresses, 1)
	served := make(chan error, 1)
	go func() {
		served <- Server{Cluster: "east", HTTP: "127.0.0.1:0", GRPC: "-", TCP: "-"}.Serve(ctx, func(a Addresses) { ready <- a })
	}()
	at := <-ready
	caller := Caller{Now: time.Now}
	type ended struct {
		result LoadResult
		err    error
	}
	done := make(chan ended, 1)
	go func() {
		r, err := caller.Load(t.Context(), Load{Call: Call{To: "http://" + at.HTTP + "/", TimeoutMillis: 500}, Rate: 20, For: 2 * time.Second})
		done <- ended{r, err}
	}()
	time.Sleep(time.Second)
	stop()
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	e := <-done
	r := e.result
	if e.err != nil || r.Sent != 40 || r.Answered+len(r.Misses) != r.Sent || r.Clusters["east"] != r.Answered {
		t.Fatalf("%+v, %v", r, e.err)
	}
	if r.Answered == 0 || len(r.Misses) == 0 {
		t.Errorf("%d answered and %d missed, want some of each: the server ended half way", r.Answered, len(r.Misses))
	}
	sent := 0
	for _, s := range r.Seconds {
		sent += s.Sent
	}
	if sent != r.Sent {
		t.Errorf("the seconds count %d calls, the load %d", sent, r.Sent)
	}
	for _, m := range r.Misses {
		if m.Class == "" || m.At.Before(r.Began) || m.Ended().Before(m.At) {
			t.Errorf("a miss without a reason or a time: %+v", m)
		}
	}
}

func TestLoadRefusesWhatItCannotCall(t *testing.T) {
	if _, err := (Caller{Now: time.Now}).Load(t.Context(), Load{Call: Call{To: net.JoinHostPort("127.0.0.1", "1")}, Rate: 1, For: time.Second}); err == nil {
		t.Error("an address without a protocol was called")
	}
}
