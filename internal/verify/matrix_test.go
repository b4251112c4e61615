package verify

import (
	"encoding/xml"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"isthmus.dev/isthmus/internal/probe"
)

// redProof is a mesh of two whose west has no gateway pod.
func redProof() Proof {
	yes := true
	good := func(p string) CallProof {
		return CallProof{Protocol: p, Delivered: true, Encrypted: &yes, OK: true, Tries: 1, Result: probe.Result{OK: true, LatencyMillis: 11.2}}
	}
	down := []Reason{{Code: "gateway-not-ready", Text: "west's gateway has no ready pod", Next: "isthmus apply", Proven: true}}
	p := Proof{
		Mesh: "shop", Taken: noon, TookMillis: 9400, Clusters: []ProvedCluster{{Name: "east"}, {Name: "west"}},
		Cells: []Cell{
			{From: "east", To: "east", Path: Local, OK: true, LatencyMillis: 1.9, Calls: []CallProof{good(probe.HTTP), good(probe.GRPC)}},
			{
				From: "east", To: "west", Path: Gateway, Wrong: "no healthy upstream", Reasons: down,
				Calls: []CallProof{
					{Protocol: probe.HTTP, Encrypted: new(bool), Wrong: "no healthy upstream", Tries: 3, Result: probe.Result{Class: probe.Status}},
					good(probe.GRPC),
				},
			},
			{From: "west", To: "east", Path: Gateway, OK: true, LatencyMillis: 0.4, Calls: []CallProof{good(probe.HTTP), {Protocol: probe.TCP, Delivered: true, OK: true}}},
			{From: "west", To: "west", Path: Local, OK: true, LatencyMillis: 2, Calls: []CallProof{good(probe.HTTP)}},
		},
		Refusals: []Refusal{
			{From: "east", To: "west", Kind: NoCertificate, Wrong: "connection refused", Verdict: probe.NotReached, Reasons: down},
			{From: "west", To: "west", Kind: PlainText, OK: true, Verdict: probe.TurnedAway},
			{From: "east", To: "east", Kind: NotAllowed, OK: true},
			{From: "east", To: "east", Kind: ForgedToken, Issuer: "login", OK: true, Verdict: probe.TurnedAway},
		},
		Any: []AnyCall{{From: "east", Local: true, OK: true, Tries: 1}, {From: "west", Wrong: "no healthy upstream", Reasons: down}},
	}
	p.complete()
	return p
}

func TestOneCauseIsSaidOnce(t *testing.T) {
	p := redProof()
	if p.Passed || len(p.Failures) != 1 {
		t.Fatalf("passed %t, failures %+v; want one", p.Passed, p.Failures)
	}
	f := p.Failures[0]
	if diff := cmp.Diff([]string{"east → west", "stranger from east at west (no certificate)", "west → any cluster"}, f.Subjects); diff != "" {
		t.Errorf("subjects: -want +got\n%s", diff)
	}
	if f.Title() != "east → west, west → any cluster" {
		t.Errorf("title %q: what strangers met is no news beside a call that failed", f.Title())
	}
	f.Subjects = f.Subjects[1:2]
	if f.Title() != "stranger from east at west (no certificate)" {
		t.Errorf("title %q of a stranger alone", f.Title())
	}
	if f.Subjects = []string{"client from east at west (forged token)", "a"}; f.Title() != "a" {
		t.Errorf("title %q beside a call that failed", f.Title())
	}
	f.Subjects = []string{"a", "b", "c", "d", "e", "f"}
	if f.Title() != "a, b, c, d and 2 more" {
		t.Errorf("title %q of six", f.Title())
	}
}

func TestTwoSidesOfOneBrokenLinkAreOneFailure(t *testing.T) {
	p := redProof()
	p.Any = nil
	p.Refusals[0].Reasons = []Reason{{Code: "gateway-not-ready", Text: "the same seen from another side"}}
	p.complete()
	if len(p.Failures) != 1 || p.Failures[0].Reason.Text != "west's gateway has no ready pod" {
		t.Errorf("failures %+v, want one, in the words of the call", p.Failures)
	}
	p.Refusals[0].Reasons[0].Code = "stranger-served"
	if p.complete(); len(p.Failures) != 2 {
		t.Errorf("failures %+v, want two: another link is broken too", p.Failures)
	}
}

func TestTalliesCountWhatWasAsked(t *testing.T) {
	p := redProof()
	p.Refusals = append(p.Refusals, Refusal{Kind: ForgedToken})
	want := Tallies{
		Delivered: Tally{3, 4}, Encrypted: Tally{3, 4}, Strangers: Tally{0, 1}, Plain: Tally{1, 1}, Unallowed: Tally{1, 1}, Tokens: Tally{1, 2},
		Local: Tally{1, 1}, // only west failed, of which nothing was expected but an answer
	}
	if diff := cmp.Diff(want, p.Tallies()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestJUnitHasACaseForEverythingThatWasAsked(t *testing.T) {
	out, err := xml.MarshalIndent(redProof().JUnit(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want := strings.TrimPrefix(`
<testsuite name="isthmus verify shop" tests="13" failures="3" skipped="0" time="9.400" timestamp="2026-11-24T12:00:00">
  <testcase classname="calls" name="east → east http">
    <system-out>11.2 ms</system-out>
  </testcase>
  <testcase classname="calls" name="east → east grpc">
    <system-out>11.2 ms</system-out>
  </testcase>
  <testcase classname="calls" name="east → west http">
    <failure message="no healthy upstream">west&#39;s gateway has no ready pod&#xA;Next: isthmus apply</failure>
  </testcase>
  <testcase classname="calls" name="east → west grpc">
    <system-out>11.2 ms</system-out>
  </testcase>
  <testcase classname="calls" name="west → east http">
    <system-out>11.2 ms</system-out>
  </testcase>
  <testcase classname="calls" name="west → east tcp">
    <system-out>0.0 ms</system-out>
  </testcase>
  <testcase classname="calls" name="west → west http">
    <system-out>11.2 ms</system-out>
  </testcase>
  <testcase classname="refusals" name="east → west no certificate">
    <failure message="connection refused">west&#39;s gateway has no ready pod&#xA;Next: isthmus apply</failure>
    <system-out>unreachable</system-out>
  </testcase>
  <testcase classname="refusals" name="west → west plain text">
    <system-out>refused</system-out>
  </testcase>
  <testcase classname="refusals" name="east → east not allowed"></testcase>
  <testcase classname="refusals" name="east → east forged token">
    <system-out>refused</system-out>
  </testcase>
  <testcase classname="calls" name="east → any cluster, kept local"></testcase>
  <testcase classname="calls" name="west → any cluster">
    <failure message="no healthy upstream">west&#39;s gateway has no ready pod&#xA;Next: isthmus apply</failure>
  </testcase>
</testsuite>`, "\n")
	if diff := cmp.Diff(want, string(out)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}
