package verify

import (
	"math/rand"
	"strings"
	"testing"

	"isthmus.dev/isthmus/internal/probe"
)

// TestHalfOfAllCallsFailing: a path of two, one of which is broken. Of twenty such meshes none is proved, whichever calls
// are the unlucky ones; with one round alone nearly all were.
func TestHalfOfAllCallsFailing(t *testing.T) {
	for seed := range int64(20) {
		f, random := newFake(twoClusters()), rand.New(rand.NewSource(seed))
		f.answer = func(from string, c probe.Call, _ int) probe.Result {
			f.mu.Lock()
			defer f.mu.Unlock()
			if from == "east" && strings.Contains(c.ID, "west/http") && random.Intn(2) == 0 {
				return broken(c)
			}
			return good(f.mesh, from, c)
		}
		p, err := f.prover().Prove(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if p.Passed {
			t.Errorf("seed %d: it is proved", seed)
			continue
		}
		for _, c := range p.Cells {
			if (c.From == "east" && c.To == "west") == c.OK {
				t.Errorf("seed %d: %s → %s: %t %s", seed, c.From, c.To, c.OK, c.Wrong)
			}
		}
	}
}

// TestEveryKindOfProbeMustPassAllOfItsCalls: the ninth of the calls after the first that passed fails.
func TestEveryKindOfProbeMustPassAllOfItsCalls(t *testing.T) {
	for _, kind := range []string{"west/http/", "west/grpc/", "west/tcp/", "west/no certificate", "west/forged certificate", "west/not allowed"} {
		f, hits := newFake(twoClusters()), 0
		f.answer = func(from string, c probe.Call, n int) probe.Result {
			if from != "east" || !strings.Contains(strings.ReplaceAll(c.ID, "//", "/"), kind) || n != 10 {
				return good(f.mesh, from, c)
			}
			f.mu.Lock()
			hits++
			f.mu.Unlock()
			r := broken(c)
			if good(f.mesh, from, c).Verdict() == probe.TurnedAway || good(f.mesh, from, c).Code != 0 {
				r = probe.Result{ID: c.ID, To: c.To, OK: true, Sent: 1, Answered: 1} // let in
			}
			return r
		}
		p, err := f.prover().Prove(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if hits != 1 || p.Passed {
			t.Errorf("%s: %d calls failed, passed %t", kind, hits, p.Passed)
			continue
		}
		if len(p.Failures) != 1 || p.Failures[0].Reason.Code != "calls-lost" || !strings.Contains(p.Failures[0].Reason.Text, "of 20 after the first that passed 1 did not") {
			t.Errorf("%s: %+v", kind, p.Failures)
		}
	}
}

func TestHowOftenCallsAreMadeAgainIsTold(t *testing.T) {
	f := newFake(twoClusters())
	prover := f.prover()
	prover.Limits.Calls = 7
	p, err := prover.Prove(t.Context())
	if err != nil || !p.Passed {
		t.Fatalf("%v, %+v", err, p.Failures)
	}
	for _, c := range p.Cells {
		for _, call := range c.Calls {
			if call.Repeated != 7 || call.Lost != 0 || call.Tries != 1 {
				t.Errorf("%s → %s %s: %+v", c.From, c.To, call.Protocol, call)
			}
		}
	}
	for _, r := range p.Refusals {
		if r.Repeated != 7 || r.Lost != 0 {
			t.Errorf("%s → %s %s: %+v", r.From, r.To, r.Kind, r)
		}
	}
}

// TestWhoClosedAConnectionIsNotKnown: plain text ends in a reset, and nothing else shows that the server is there.
func TestWhoClosedAConnectionIsNotKnown(t *testing.T) {
	f := newFake(twoClusters())
	f.answer = func(from string, c probe.Call, _ int) probe.Result {
		if from == "east" && strings.Contains(c.To, "://to-east") {
			return broken(c)
		}
		return good(f.mesh, from, c)
	}
	p, err := f.prover().Prove(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, r := range p.Refusals {
		if r.Kind == PlainText && r.From == "east" && r.To == "east" {
			if seen++; r.OK || r.Verdict != probe.Unclear {
				t.Errorf("%+v", r)
			}
		}
	}
	if seen != 1 {
		t.Errorf("%d such refusals", seen)
	}
}
