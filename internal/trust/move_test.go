package trust

import (
	"crypto/x509"
	"encoding/pem"
	"slices"
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

// TestAPlantedRootDoesNotMove: a cluster holds a Secret with the name and the label of the mesh's root.
func TestAPlantedRootDoesNotMove(t *testing.T) {
	data, root := makeRoot(t, 10*year, now)
	planted, plantedRoot := makeRoot(t, 10*year, now)
	keep := func(data map[string][]byte) *facts.Secret {
		return seen("isthmus-system", "isthmus-root", "shop", data, true)
	}
	of := func(cluster string, by Authority) *facts.Secret {
		return seen("istio-system", "cacerts", "shop", makeIntermediate(t, cluster, by, year, now), true)
	}
	fingerprint := func(s *facts.Secret) string { return s.Certificates[RootCert][0].Fingerprint }
	type secrets = map[string][2]*facts.Secret // by cluster: what says that it is the root, and cacerts
	for _, c := range []struct {
		reason  string
		has     secrets
		pinned  string
		cluster string
		doubted []string
		err     string
	}{
		{"none", secrets{"west": {nil, of("west", root)}}, "", "", nil, ""},
		{"the old home's, which signed for another", secrets{"east": {keep(data), of("east", root)}, "west": {nil, of("west", root)}}, "", "east", nil, ""},
		{"the old home's, alone with intermediates", secrets{"east": {keep(data), of("east", root)}}, "", "east", nil, ""},
		{"a planted one that comes first by name", secrets{"aaa": {keep(planted), nil}, "east": {keep(data), of("east", root)}, "west": {nil, of("west", root)}}, "", "east", []string{"aaa"}, ""},
		{"a planted one with an intermediate of its own beside it", secrets{"aaa": {keep(planted), of("aaa", plantedRoot)}, "west": {nil, of("west", root)}}, "", "", []string{"aaa"}, ""},
		{"a planted one that signed nothing", secrets{"aaa": {keep(planted), nil}}, "", "", []string{"aaa"}, ""},
		{"two that signed for others", secrets{"aaa": {keep(planted), of("aaa", root)}, "east": {keep(data), of("east", plantedRoot)}}, "", "", nil, "Name the right one"},
		{"a copy in a second cluster", secrets{"aaa": {keep(data), nil}, "east": {keep(data), of("east", root)}, "west": {nil, of("west", root)}}, "", "aaa", nil, ""},
		{"two that signed for others, and the document names one", secrets{"aaa": {keep(planted), of("aaa", root)}, "east": {keep(data), of("east", plantedRoot)}}, fingerprint(keep(data)), "east", []string{"aaa"}, ""},
		{"one that signed nothing, and the document names it", secrets{"aaa": {keep(planted), nil}}, fingerprint(keep(planted)), "aaa", nil, ""},
		{"the home has the root", secrets{"home": {keep(data), of("home", root)}, "aaa": {keep(planted), nil}, "west": {nil, of("west", root)}}, "", "", []string{"aaa"}, ""},
		{"the home has the root, and another the same", secrets{"home": {keep(data), of("home", root)}, "aaa": {keep(data), nil}}, "", "", nil, ""},
	} {
		t.Run(c.reason, func(t *testing.T) {
			m := shop()
			m.Clusters = []mesh.Cluster{{Name: "home"}, {Name: "west"}, {Name: "aaa"}}
			m.Trust.RootFingerprint = c.pinned
			s := facts.Snapshot{Taken: now, Clusters: map[string]*facts.Cluster{"home": {}, "west": {}, "aaa": {}, "east": {}}}
			for name, has := range c.has {
				s.Clusters[name].Secrets = map[string]*facts.Secret{}
				for i, at := range []string{object.SystemNamespace + "/" + RootSecret, Namespace + "/" + CACerts} {
					if has[i] != nil {
						s.Clusters[name].Secrets[at] = has[i]
					}
				}
			}
			k := FindKeeper(m, s)
			var doubted []string
			for _, d := range k.Doubted {
				doubted = append(doubted, d.Cluster)
			}
			if k.Cluster != c.cluster || !slices.Equal(doubted, c.doubted) || (k.Err == "") != (c.err == "") || !strings.Contains(k.Err, c.err) {
				t.Errorf("keeper %q, doubted %v, error %q", k.Cluster, k.Doubted, k.Err)
			}
		})
	}
}

// TestARootThatIsNotTheNamedOneIsRefused: the document names the root, and the home keeps another.
func TestARootThatIsNotTheNamedOneIsRefused(t *testing.T) {
	data, _ := makeRoot(t, 10*year, now)
	m := shop()
	m.Trust.RootFingerprint = strings.Repeat("0", 64)
	_, err := JudgeRoot(m, "east", object.Object{}, world{root: seen("isthmus-system", "isthmus-root", "shop", data, true), at: now}.snapshot())
	if err == nil || !strings.Contains(err.Error(), "spec.trust.root.selfSigned.fingerprint says 0000") {
		t.Errorf("%v", err)
	}
}

// TestAnIntermediateOfTheFutureIsMadeAnew: the clock of whoever made it was wrong.
func TestAnIntermediateOfTheFutureIsMadeAnew(t *testing.T) {
	data, root := makeRoot(t, 10*year, now)
	later := makeIntermediate(t, "west", root, year, now.Add(5*year))
	w := world{root: seen("isthmus-system", "isthmus-root", "shop", data, true), intermediate: map[string]*facts.Secret{"west": seen("istio-system", "cacerts", "shop", later, true)}, at: now}
	stale, err := JudgeIntermediate(shop(), "west", object.Object{Body: secret(Namespace, CACerts, "Opaque")}, w.snapshot())
	if err != nil || !strings.HasPrefix(stale, "is valid only from 2031-11-") {
		t.Errorf("%q, %v", stale, err)
	}
}

// TestWhatMaySignIsBounded: the root signs intermediates, an intermediate workloads, and nothing signs further.
func TestWhatMaySignIsBounded(t *testing.T) {
	_, root := makeRoot(t, 10*year, now)
	if root.Cert.MaxPathLen != 1 || root.Cert.MaxPathLenZero {
		t.Errorf("the root's path length is %d", root.Cert.MaxPathLen)
	}
	block, _ := pem.Decode(makeIntermediate(t, "west", root, year, now)[CACert])
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil || ca.MaxPathLen != 0 || !ca.MaxPathLenZero {
		t.Errorf("the intermediate's path length is %d: %v", ca.MaxPathLen, err)
	}
}
