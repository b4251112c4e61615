package verify

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"isthmus.dev/isthmus/internal/facts"
)

// finding makes a check that finds these whatever it is given, and notes which clusters it was asked about.
func finding(id string, asked *[]string, found ...Finding) Check {
	return Check{ID: id, Severity: Error, Run: func(in Input) []Finding {
		*asked = nil
		for _, m := range in.Members() {
			*asked = append(*asked, m.Name)
		}
		return found
	}}
}

func needing(c Check, needs ...string) Check {
	c.Needs = needs
	return c
}

func TestRunHonoursNeeds(t *testing.T) {
	var asked []string
	var ignored []string
	for _, tc := range []struct {
		reason    string
		first     []Finding
		wantAsked []string
		wantSkip  string
		wantOn    []Skip
	}{
		{reason: "nothing found: all are asked", wantAsked: []string{"east", "west"}},
		{
			reason: "an error in one cluster leaves that one out", first: []Finding{{Cluster: "west"}},
			wantAsked: []string{"east"}, wantOn: []Skip{{"west", "A"}},
		},
		{reason: "a warning leaves nobody out", first: []Finding{{Cluster: "west", Severity: Warning}}, wantAsked: []string{"east", "west"}},
		{reason: "errors everywhere leave nothing to ask", first: []Finding{{Cluster: "west"}, {Cluster: "east"}}, wantSkip: "A"},
		{reason: "an error of the mesh as a whole too", first: []Finding{{}}, wantSkip: "A"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			asked = nil
			results := Run([]Check{
				finding("A", &ignored, tc.first...),
				needing(finding("B", &asked), "A"),
				needing(finding("C", &ignored), "B"),
			}, joined())
			if diff := cmp.Diff(tc.wantAsked, asked); diff != "" {
				t.Errorf("asked about (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(Result{ID: "B", Severity: Error, Skipped: tc.wantSkip, SkippedOn: tc.wantOn}, results[1]); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
			if tc.wantSkip != "" && results[2].Skipped != "B" {
				t.Errorf("what needs a skipped check is skipped too; got %+v", results[2])
			}
			if tc.wantOn != nil {
				if diff := cmp.Diff([]Skip{{"west", "B"}}, results[2].SkippedOn); diff != "" {
					t.Errorf("a cluster that was left out is left out further on (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestAClusterThatDoesNotAnswerIsJudgedByNothingElse(t *testing.T) {
	in := joined()
	west(&in).Err, west(&in).Cause = "no route to host", facts.CauseUnreachable
	west(&in).Istiods[0].Owner = "istioctl" // not to be trusted: the facts are those of a cluster that did not answer
	for _, r := range Run(Preflight, in) {
		switch {
		case r.ID == "CHK001":
			if r.Worst() != Error {
				t.Errorf("CHK001 must find it: %+v", r)
			}
		case len(r.Findings) > 0:
			t.Errorf("%s judged it: %+v", r.ID, r.Findings)
		case len(r.SkippedOn) != 1 || r.SkippedOn[0].Cluster != "west":
			t.Errorf("%s does not say that it left west out: %+v", r.ID, r)
		}
	}
	if !Failed(Run(Preflight, in)) {
		t.Error("an error of severity error is a failure")
	}
}

func TestResultHasTheSeverityOfWhatWasFound(t *testing.T) {
	var asked []string
	for _, tc := range []struct {
		reason string
		found  []Finding
		want   Severity
	}{
		{"nothing found: what there could be", nil, Error},
		{"a warning of a check that knows errors stops nobody", []Finding{{Severity: Warning}, {Severity: Note}}, Warning},
		{"what says nothing is the check's", []Finding{{Severity: Note}, {}}, Error},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			r := Run([]Check{finding("A", &asked, tc.found...)}, joined())
			if r[0].Severity != tc.want || Failed(r) != (tc.want == Error && tc.found != nil) {
				t.Errorf("severity %q, failed %v; want %q", r[0].Severity, Failed(r), tc.want)
			}
		})
	}
}

func TestWorst(t *testing.T) {
	for _, tc := range []struct {
		reason string
		in     []Severity
		want   Severity
	}{
		{"nothing found", nil, ""},
		{"an error is worst", []Severity{Note, Error, Warning}, Error},
		{"a warning is worse than a note", []Severity{Note, Warning, Note}, Warning},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			var r Result
			for _, s := range tc.in {
				r.Findings = append(r.Findings, Finding{Severity: s})
			}
			if got := r.Worst(); got != tc.want {
				t.Errorf("Worst() = %q, want %q", got, tc.want)
			}
		})
	}
}
