package object

import "testing"

func TestPartsAreReadFromTheirLabels(t *testing.T) {
	for _, p := range parts {
		if got := PartOf(p.Label()); got != p {
			t.Errorf("part %q is read from its label as %q", p, got)
		}
	}
	if got := PartOf("new-things"); got != "new-things" {
		t.Errorf("a part of another version is read as %q", got)
	}
}
