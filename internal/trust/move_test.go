package trust

import (
	"strings"
	"testing"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// TestTheRootMovesToTheNextHome: east, which kept the root, is not the first of the document any more.
func TestTheRootMovesToTheNextHome(t *testing.T) {
	data, root := makeRoot(t, 10*year, now)
	good := seen("isthmus-system", "isthmus-root", "shop", data, true)
	held := map[string]*facts.Secret{"west": seen("istio-system", "cacerts", "shop", makeIntermediate(t, "west", root, year, now), true)}
	m := shop()
	m.Clusters = []mesh.Cluster{{Name: "west"}, {Name: "north"}}
	tests := []struct {
		reason string
		world  world
		stale  string
		err    string
	}{
		{"the old home answers", world{root: good, intermediate: held, at: now}, "moves here", ""},
		{"the old home is away", world{intermediate: held, away: []string{"east"}, at: now}, "", "it may be in east, which does not answer"},
		{"what the old home has is another mesh's", world{root: seen("", "", "bank", data, true), intermediate: held, at: now}, "", "Put the Secret back from a backup"},
		{"what the old home has can sign nothing", world{root: seen("", "", "shop", data, false), intermediate: held, at: now}, "", "Put the Secret back from a backup"},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			stale, err := JudgeRoot(m, "west", object.Object{}, tt.world.snapshot())
			if stale != tt.stale || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%q, %v; want %q, %q", stale, err, tt.stale, tt.err)
			}
		})
	}
	// North's intermediate is missing: the root that moves signs it.
	stale, err := JudgeIntermediate(m, "north", object.Object{Body: secret(Namespace, CACerts, "Opaque")}, world{root: good, intermediate: held, at: now}.snapshot())
	if err != nil || stale != "does not exist yet" {
		t.Errorf("north's intermediate: %q, %v", stale, err)
	}
}
