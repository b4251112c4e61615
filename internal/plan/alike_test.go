package plan

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestByWave is that changes are sorted into their waves, each once.
func TestByWave(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		groups := rapid.IntRange(1, 6).Draw(t, "waves")
		waveOf := rapid.SliceOf(rapid.IntRange(0, groups-1)).Draw(t, "waveOf")
		size, all := make([]int, groups), make([]Change, len(waveOf))
		want := make([][]string, groups)
		for i, w := range waveOf {
			all[i].UID = string(rune('a' + i))
			size[w]++
			want[w] = append(want[w], all[i].UID)
		}
		got := make([][]string, groups)
		for w, changes := range byWave(all, slices.Clone(waveOf), size) {
			for _, c := range changes {
				got[w] = append(got[w], c.UID)
			}
			slices.Sort(got[w])
			slices.Sort(want[w])
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}
