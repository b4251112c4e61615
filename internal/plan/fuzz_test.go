package plan

import (
	"bytes"
	"slices"
	"testing"

	"isthmus.dev/isthmus/internal/record"
)

// FuzzRead: a saved plan that somebody edited is refused, or read as what it says. Its lines are given a right frame, since
// without one nothing of them is read.
func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"head":{"facts":"f","document":"d","plan":{"mesh":"shop","waves":[{"clusters":["a"],"changes":[]}]}}}`), []byte(`{"change":{"cluster":"a","object":{"kind":"Secret","name":"x"},"wave":0,"want":{"body":0}}}`))
	f.Add([]byte(`{"head":{}}`), []byte(`{"change":{"wave":-1}}`))
	f.Add([]byte(`{"body":{"kind":"x"}}`), []byte(`{"change":{"wave":9,"first":{"body":7},"reclaim":[["f:x"]]}}`))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		for _, framed := range []bool{true, false} {
			var out bytes.Buffer
			if framed {
				items := slices.Values([]any{raw(a), raw(b)})
				if _, err := record.Write(&out, record.Header{Kind: RecordKind, Version: recordVersion, Mesh: "shop"}, items); err != nil {
					return // no JSON
				}
			} else {
				out.Write(append(a, b...))
			}
			s, _, err := Read(&out)
			if err == nil && s.Plan.Mesh != "shop" {
				t.Errorf("a plan of mesh %q", s.Plan.Mesh)
			}
		}
	})
}

// raw is JSON as it is.
type raw []byte

func (r raw) MarshalJSON() ([]byte, error) { return r, nil }
