package status

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"isthmus.dev/isthmus/internal/mesh"
)

func TestWhoIsBehindOnlyForAMomentIsInStep(t *testing.T) {
	at := func(name, acked, err string) ProxyStatus {
		return ProxyStatus{Cluster: "east", Proxy: name, Resources: map[string]ResourceStatus{"CDS": {Sent: "2", Acked: acked, LastError: err}}}
	}
	for name, tc := range map[string]struct {
		looks  [][]ProxyStatus // the last is that of all further ones
		behind []string
		total  int
		within time.Duration
	}{
		"all in step at once":           {looks: [][]ProxyStatus{{at("a", "2", ""), at("b", "2", "")}}, total: 2},
		"in step at the next look":      {looks: [][]ProxyStatus{{at("a", "1", "")}, {at("a", "2", "")}}, total: 1, within: time.Second},
		"each behind at another moment": {looks: [][]ProxyStatus{{at("a", "1", ""), at("b", "2", "")}, {at("a", "2", ""), at("b", "1", "")}}, total: 2, within: time.Second},
		"gone by then":                  {looks: [][]ProxyStatus{{at("a", "1", ""), at("b", "2", "")}, {at("b", "2", "")}}, total: 1, within: time.Second},
		"behind for good":               {looks: [][]ProxyStatus{{at("a", "1", ""), at("b", "2", "")}}, behind: []string{"a"}, total: 2, within: 2 * settle},
		"a rejection is not waited for": {looks: [][]ProxyStatus{{at("a", "1", "no such filter")}}, behind: []string{"a"}, total: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, n := time.Now(), 0
				pages := settled(t.Context(), func() Pages {
					look := tc.looks[min(n, len(tc.looks)-1)]
					n++
					return Pages{Proxies: append([]ProxyStatus(nil), look...)}
				})
				got := pages.proxies(mesh.Cluster{Name: "east"})
				if diff := cmp.Diff(tc.behind, got.Behind); diff != "" || got.Total != tc.total {
					t.Errorf("of %d, want %d, behind (-want +got):\n%s", got.Total, tc.total, diff)
				}
				if took := time.Since(began); took > tc.within {
					t.Errorf("took %s of a clock, want at most %s", took, tc.within)
				}
			})
		})
	}
}

// An istiod that cannot be asked again leaves what it said.
func TestWhatWasSeenIsKeptWhenIstiodFallsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		pages := settled(t.Context(), func() Pages {
			if n++; n > 1 {
				return Pages{Err: "no answer in time"}
			}
			return Pages{Proxies: []ProxyStatus{{Cluster: "east", Proxy: "a", Resources: map[string]ResourceStatus{"CDS": {Sent: "2", Acked: "1"}}}}}
		})
		if pages.Err != "" || len(pages.Proxies) != 1 || pages.Proxies[0].inStep() {
			t.Errorf("%+v", pages)
		}
	})
}
