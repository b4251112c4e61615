package main

import (
	"strings"
	"testing"
)

// messages is what the scanner says of one vulnerable function that is called, and of one whose module is only there.
const messages = `{"config":{"protocol_version":"v1.0.0"}}
{"finding":{"osv":"GO-2026-1","fixed_version":"v1.2.3","trace":[{"module":"example.org/a","version":"v1.0.0","package":"example.org/a/b","function":"Read"}]}}
{"finding":{"osv":"GO-2026-2","trace":[{"module":"example.org/c","version":"v1.0.0"}]}}`

func TestOnlyWhatIsReachedCounts(t *testing.T) {
	found, err := reached(strings.NewReader(messages))
	if err != nil || len(found) != 1 || found["GO-2026-1"].Fixed != "v1.2.3" {
		t.Errorf("found %v, %v", found, err)
	}
	for _, broken := range []string{"", "{", `{"progress":{}}`} {
		if found, err := reached(strings.NewReader(broken)); err == nil {
			t.Errorf("%q: found %v, and no error", broken, found)
		}
	}
}

func TestAFindingIsJudgedOrFails(t *testing.T) {
	found, err := reached(strings.NewReader(messages))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ reason, judged, want string }{
		{"nobody judged it", "", "GO-2026-1: example.org/a/b.Read of example.org/a v1.0.0 can be reached"},
		{"somebody did", "GO-2026-1 this reader is given nothing but our own files", ""},
		{"a judgement of what nothing finds", "GO-2026-1 this reader is given nothing but our own files\nGO-2026-2 this one is not called from anywhere", "GO-2026-2"},
	} {
		judged, err := judgements(c.judged)
		if err != nil {
			t.Fatal(err)
		}
		err = verdict(found, judged)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.reason, err)
		}
	}
}

func TestAJudgementHasAReason(t *testing.T) {
	for _, text := range []string{"GO-2026-1", "GO-2026-1 no", "CVE-1 this reader is given nothing but our own files"} {
		if judged, err := judgements(text); err == nil {
			t.Errorf("%q: %v", text, judged)
		}
	}
	if judged, err := judgements("# a comment\n\nGO-2026-1 this reader is given nothing but our own files\n"); err != nil || len(judged) != 1 {
		t.Errorf("%v, %v", judged, err)
	}
}
