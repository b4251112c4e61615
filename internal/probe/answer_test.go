package probe

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// answered is what a server in west says to a call, without a network between.
func answered(t *testing.T, calls *tally, path, attempt string) (int, Reply) {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	if attempt != "" {
		req.Header.Set(headerAttempt, attempt)
	}
	rec := httptest.NewRecorder()
	Server{Cluster: "west", Version: "v2"}.answerHTTP(calls)(rec, req)
	var reply Reply
	if rec.Code != http.StatusBadRequest {
		if err := json.Unmarshal(rec.Body.Bytes(), &reply); err != nil {
			t.Fatalf("%s: %v: %s", path, err, rec.Body)
		}
	}
	return rec.Code, reply
}

func TestStatusIsWhatThePathAsksFor(t *testing.T) {
	cases := []struct {
		reason, path, attempt string
		want                  int
	}{
		{"no wish", "/anything", "", 200},
		{"always", "/-/status/503", "", 503},
		{"always, whichever attempt", "/-/status/503", "4", 503},
		{"a status that is none of an error", "/-/status/204", "", 204},
		{"in this cluster", "/-/status/503?cluster=west", "", 503},
		{"in another cluster", "/-/status/503?cluster=east", "", 200},
		{"the last attempt that fails", "/-/status/503?attempts=2", "2", 503},
		{"the first that does not", "/-/status/503?attempts=2", "3", 200},
		{"without a proxy that counts each attempt is the first", "/-/status/503?attempts=2", "", 503},
		{"in another cluster no attempt fails", "/-/status/503?attempts=2&cluster=east", "1", 200},
		{"no number", "/-/status/many", "", 400},
		{"a status that ends no call", "/-/status/100", "", 400},
		{"no number of attempts", "/-/status/503?attempts=few", "", 400},
		{"a proxy that counts strangely", "/-/status/503?attempts=2", "x", 400},
		{"no time", "/-/wait/long", "", 400},
		{"a time too long", "/-/wait/2m", "", 400},
		{"a time that was", "/-/wait/-1s", "", 400},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			code, reply := answered(t, new(tally), c.path, c.attempt)
			if code != c.want {
				t.Errorf("%s: status %d, want %d", c.path, code, c.want)
			}
			if code != http.StatusBadRequest && (reply.Cluster != "west" || reply.Version != "v2") {
				t.Errorf("%s: the reply does not name who answers: %+v", c.path, reply)
			}
		})
	}
}

func TestWaitTakesItsTimeAndNoLongerThanTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		if code, reply := answered(t, new(tally), "/-/wait/5s", ""); code != http.StatusOK || reply.Version != "v2" {
			t.Errorf("status %d, reply %+v", code, reply)
		}
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("took %s, want 5s", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		rec := httptest.NewRecorder()
		begin = time.Now()
		Server{}.answerHTTP(new(tally))(rec, httptest.NewRequestWithContext(ctx, http.MethodGet, "/-/wait/5s", nil))
		if took := time.Since(begin); took != time.Second || rec.Body.Len() != 0 {
			t.Errorf("a caller that is gone after 1s was answered %q after %s", rec.Body, took)
		}
	})
}

func TestCallsAreCounted(t *testing.T) {
	calls := new(tally)
	for range 3 {
		answered(t, calls, "/a?b", "")
	}
	answered(t, calls, "/-/status/503", "")
	answered(t, calls, "/-/count", "")
	_, reply := answered(t, calls, "/-/count", "")
	if diff := cmp.Diff(map[string]int{"/a": 3, "/-/status/503": 1}, reply.Counts); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if _, reply = answered(t, calls, "/a", ""); reply.Counts != nil {
		t.Errorf("counts %v where none were asked for", reply.Counts)
	}
}

// TestCountsAreBounded: a stranger that calls one new path after another does not fill the memory.
func TestCountsAreBounded(t *testing.T) {
	calls := new(tally)
	for n := range maxCounts + 5 {
		calls.count(fmt.Sprint("/", n))
	}
	calls.count("/0")
	got := calls.all()
	if len(got) != maxCounts+1 || got[otherPaths] != 5 || got["/0"] != 2 {
		t.Errorf("%d paths, %d calls of others, %d of the first", len(got), got[otherPaths], got["/0"])
	}
}

// TestGRPCCallsCarryHeaders: routes choose by them, and by whom a call asks for.
func TestGRPCCallsCarryHeaders(t *testing.T) {
	at := serve(t)
	r := newCaller().Do(t.Context(), Call{To: "grpc://" + at.GRPC, Headers: map[string]string{"Host": "shop.example.com", "X-Request-Id": "r1"}})
	if !r.OK || r.Reply.Headers["host"] != "shop.example.com" || r.Reply.Headers["x-request-id"] != "r1" {
		t.Errorf("%+v, reply %+v", r, r.Reply)
	}
	if r = newCaller().Do(t.Context(), Call{To: "grpc://" + at.GRPC}); !r.OK || r.Reply.Headers["host"] != at.GRPC {
		t.Errorf("without headers: %+v, reply %+v", r, r.Reply)
	}
}
