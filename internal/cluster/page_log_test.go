package cluster

import "testing"

func TestTheLogBeforeAPageIsCutOff(t *testing.T) {
	log := "2026-11-24T12:00:00.000000Z\tinfo\tFIPS mode is {off}\n"
	for in, want := range map[string]string{
		log + log + `{"configs": []}` + "\n":    `{"configs": []}` + "\n",
		log + "[\n{}]":                          "[\n{}]",
		`{"configs": []}`:                       `{"configs": []}`,
		log:                                     log,
		"":                                      "",
		"no proxy here, and no line's end [yet": "no proxy here, and no line's end [yet",
	} {
		if got := string(afterLog([]byte(in))); got != want {
			t.Errorf("of %q remains %q, want %q", in, got, want)
		}
	}
}
