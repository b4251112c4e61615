package trust

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/plan"
)

var (
	_ plan.Judge = JudgeRoot
	_ plan.Judge = JudgeIntermediate
)

func shop() mesh.Mesh {
	return mesh.Mesh{
		Name:     "shop",
		Clusters: []mesh.Cluster{{Name: "east", Context: "kind-east"}, {Name: "west", Context: "kind-west"}, {Name: "north"}},
		Trust:    mesh.Trust{Domain: "cluster.local", RootTTL: 10 * year, IntermediateTTL: year},
	}
}

// seen is what facts say of a Secret with this data.
func seen(namespace, name, owner string, data map[string][]byte, keyMatches bool) *facts.Secret {
	s := &facts.Secret{
		Namespace: namespace, Name: name, Keys: slices.Sorted(maps.Keys(data)), KeyMatches: keyMatches,
		Labels: map[string]string{object.LabelMesh: owner}, Certificates: map[string][]facts.Certificate{},
	}
	for key, content := range data {
		for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
			c, err := x509.ParseCertificate(block.Bytes)
			if block.Type != "CERTIFICATE" || err != nil {
				continue
			}
			sum := sha256.Sum256(c.Raw)
			s.Certificates[key] = append(s.Certificates[key], facts.Certificate{
				Subject: c.Subject.String(), Issuer: c.Issuer.String(), NotBefore: c.NotBefore, NotAfter: c.NotAfter, IsCA: c.IsCA,
				Fingerprint: hex.EncodeToString(sum[:]), PEM: string(pem.EncodeToMemory(block)),
			})
		}
	}
	return s
}

// A world is what the three clusters hold; nil Secrets are not there.
type world struct {
	root         *facts.Secret
	intermediate map[string]*facts.Secret
	away         []string
	at           time.Time
}

func (w world) snapshot() facts.Snapshot {
	out := facts.Snapshot{Taken: w.at, Clusters: map[string]*facts.Cluster{}}
	for _, c := range shop().Clusters {
		f := &facts.Cluster{Name: c.Name, Secrets: map[string]*facts.Secret{}}
		if slices.Contains(w.away, c.Name) {
			f.Err = "connection refused"
		}
		if w.root != nil && c.Name == "east" {
			f.Secrets["isthmus-system/isthmus-root"] = w.root
		}
		if s := w.intermediate[c.Name]; s != nil {
			f.Secrets["istio-system/cacerts"] = s
		}
		out.Clusters[c.Name] = f
	}
	return out
}

func without(data map[string][]byte, key string) map[string][]byte {
	out := maps.Clone(data)
	delete(out, key)
	return out
}

func with(data map[string][]byte, key string, value []byte) map[string][]byte {
	out := maps.Clone(data)
	out[key] = value
	return out
}

type verdict struct {
	reason string
	world  world
	stale  string   // a part of it; "" for none
	err    []string // parts of it; nil for none
}

func (v verdict) check(t *testing.T, judge plan.Judge, cluster string) {
	t.Helper()
	stale, err := judge(shop(), cluster, object.Object{Body: secret(Namespace, CACerts, "Opaque")}, v.world.snapshot())
	if (v.err == nil) != (err == nil) {
		t.Fatalf("error %v, want %v", err, v.err)
	}
	for _, part := range v.err {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not say %q: %v", part, err)
		}
	}
	if (v.stale == "") != (stale == "") || !strings.Contains(stale, v.stale) {
		t.Errorf("stale %q, want %q", stale, v.stale)
	}
}

func TestJudgeRoot(t *testing.T) {
	data, root := makeRoot(t, 10*year, now)
	leaf, leafKey := makeLeaf(t, root)
	good := seen("isthmus-system", "isthmus-root", "shop", data, true)
	middle := seen("istio-system", "cacerts", "shop", makeIntermediate(t, "west", root, year, now), true)
	held := map[string]*facts.Secret{"west": middle}
	tests := []verdict{
		{"a new mesh has none", world{at: now}, "does not exist", nil},
		{"a whole one stays", world{root: good, intermediate: held, at: now}, "", nil},
		{"one that nears its end stays: to replace it is a rotation", world{root: good, intermediate: held, at: now.Add(99 * year / 10)}, "", nil},
		{"lost, and a cluster relies on it", world{intermediate: held, at: now}, "", []string{"does not exist", "west has an intermediate", "backup", "isthmus apply"}},
		{"lost, and who relies on it is not known", world{away: []string{"west"}, at: now}, "", []string{"not known", "west does not answer"}},
		{"its own cluster is away", world{away: []string{"east"}, at: now}, "", []string{"east, which keeps the mesh's root, does not answer", "connection refused"}},
		{"ended, and a cluster relies on it", world{root: good, intermediate: held, at: now.Add(11 * year)}, "", []string{"ended on", "west"}},
		{"ended, and nobody relies on it", world{root: good, at: now.Add(11 * year)}, "", []string{"ended on", "Put the Secret back from a backup", "delete it: kubectl"}},
		{"its key is gone and nobody relies on it", world{root: seen("", "", "shop", without(data, RootKey), false), at: now}, "", []string{"lacks tls.key", "Put the Secret back from a backup", "delete it: kubectl"}},
		{"its key is gone and a cluster relies on it", world{root: seen("", "", "shop", without(data, RootKey), false), intermediate: held, at: now}, "", []string{"lacks tls.key", "backup"}},
		{"the key of another", world{root: seen("", "", "shop", data, false), at: now}, "", []string{"key that is not its certificate's", "Put the Secret back from a backup", "delete it: kubectl"}},
		{"no certificate in it", world{root: seen("", "", "shop", with(data, RootCert, []byte("x")), false), at: now}, "", []string{"holds no certificate", "Put the Secret back from a backup", "delete it: kubectl"}},
		{"no authority", world{root: seen("", "", "shop", map[string][]byte{RootCert: leaf, RootKey: leafKey}, true), at: now}, "", []string{"no authority", "Put the Secret back from a backup", "delete it: kubectl"}},
		{"it is not valid yet", world{root: good, at: now.Add(-2 * time.Hour)}, "", []string{"is valid only from", "backup"}},
		{"another mesh's", world{root: seen("", "", "bank", data, true), at: now}, "", []string{"not made for mesh shop", "kubectl --context kind-east"}},
		{
			"somebody else's cacerts rely on no root of ours",
			world{intermediate: map[string]*facts.Secret{"west": seen("", "", "", makeIntermediate(t, "west", root, year, now), true)}, at: now},
			"does not exist", nil,
		},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) { tt.check(t, JudgeRoot, "east") })
	}
}

func TestJudgeIntermediate(t *testing.T) {
	rootData, root := makeRoot(t, 10*year, now)
	_, stranger := makeRoot(t, 10*year, now)
	shortRoot, short := makeRoot(t, year/2, now)
	data := makeIntermediate(t, "west", root, year, now)
	r := seen("isthmus-system", "isthmus-root", "shop", rootData, true)
	west := func(data map[string][]byte, keyMatches bool) map[string]*facts.Secret {
		return map[string]*facts.Secret{"west": seen("istio-system", "cacerts", "shop", data, keyMatches)}
	}
	owned := func(by string) map[string]*facts.Secret {
		return map[string]*facts.Secret{"west": seen("istio-system", "cacerts", by, data, true)}
	}
	leaf, _ := makeLeaf(t, root)
	tests := []verdict{
		{"a new cluster has none", world{root: r, at: now}, "does not exist yet", nil},
		{"a new mesh has no root either: the same apply makes both", world{at: now}, "does not exist yet", nil},
		{"a whole one stays", world{root: r, intermediate: west(data, true), at: now}, "", nil},
		{"two thirds of its life over", world{root: r, intermediate: west(data, true), at: now.Add(year * 7 / 10)}, "within a third", nil},
		{"just before that", world{root: r, intermediate: west(data, true), at: now.Add(year * 6 / 10)}, "", nil},
		{"it ended", world{root: r, intermediate: west(data, true), at: now.Add(2 * year)}, "ended on", nil},
		{
			"it ends with its root: a new one would end no later, so none is made at each apply",
			world{root: seen("", "", "shop", shortRoot, true), intermediate: west(makeIntermediate(t, "west", short, year, now), true), at: now.Add(year * 4 / 10)},
			"", nil,
		},
		{"no key", world{root: r, intermediate: west(without(data, CAKey), false), at: now}, "lacks ca-key.pem", nil},
		{"no chain", world{root: r, intermediate: west(without(data, CertChain), true), at: now}, "lacks cert-chain.pem", nil},
		{"the key of another", world{root: r, intermediate: west(data, false), at: now}, "key that is not its certificate's", nil},
		{"no certificate", world{root: r, intermediate: west(with(data, CACert, []byte("x")), false), at: now}, "holds no certificate", nil},
		{"a workload's certificate", world{root: r, intermediate: west(with(with(data, CACert, leaf), CertChain, leaf), true), at: now}, "no authority", nil},
		{"a chain of another", world{root: r, intermediate: west(with(data, CertChain, rootData[RootCert]), true), at: now}, "does not begin with", nil},
		{
			"given another root behind our back",
			world{root: r, intermediate: west(makeIntermediate(t, "west", stranger, year, now), true), at: now},
			"not by the mesh's root", nil,
		},
		{
			"a root bundle without the mesh's root",
			world{root: r, intermediate: west(with(data, RootBundle, makeIntermediate(t, "x", stranger, year, now)[RootBundle]), true), at: now},
			"does not trust the mesh's root", nil,
		},
		{"somebody else's", world{root: r, intermediate: owned(""), at: now}, "", []string{"somebody else's", "CN=shop root", "kubectl --context kind-west -n istio-system delete secret cacerts", "isthmus apply"}},
		{"another mesh's", world{root: r, intermediate: owned("bank"), at: now}, "", []string{"mesh bank's"}},
		{"the cluster is away", world{away: []string{"west"}, at: now}, "", []string{"west does not answer"}},
		{"home is away and it serves", world{intermediate: west(data, true), away: []string{"east"}, at: now}, "", nil},
		{"home is away and it ends in a while: the next apply", world{intermediate: west(data, true), away: []string{"east"}, at: now.Add(year * 7 / 10)}, "", nil},
		{"home is away and there is none", world{away: []string{"east"}, at: now}, "", []string{"cannot be had", "east, which keeps it, does not answer"}},
		{"the root is lost and it serves: the root's own judge says so", world{intermediate: west(data, true), at: now}, "", nil},
		{"the root is lost and it ended", world{intermediate: west(data, true), at: now.Add(2 * year)}, "", []string{"cannot be had", "isthmus-root of east does not exist"}},
		{"the root is broken and there is none", world{root: seen("", "", "shop", rootData, false), at: now}, "", []string{"cannot be had"}},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) { tt.check(t, JudgeIntermediate, "west") })
	}
}

func TestObjectsHoldNoSecret(t *testing.T) {
	out := Objects(shop())
	var got []string
	for _, c := range shop().Clusters {
		for _, o := range out[c.Name] {
			got = append(got, c.Name+" "+o.Ref().String()+" "+string(o.Sealed.Kind)+" "+o.Sealed.About)
			text, err := json.Marshal(o.Body.Object)
			if err != nil || bytes.Contains(text, []byte(`"data"`)) || bytes.Contains(text, []byte("KEY")) {
				t.Errorf("%s has content: %s", o.Ref(), text)
			}
			if o.Body.GetLabels()[object.LabelMesh] != "shop" || o.Part != object.PartTrust || o.Reason == "" {
				t.Errorf("%s: labels %v, part %q, reason %q", o.Ref(), o.Body.GetLabels(), o.Part, o.Reason)
			}
			o.Body.DeepCopy()
		}
	}
	want := []string{
		"east Secret isthmus-system/isthmus-root root east",
		"east Secret istio-system/cacerts intermediate east",
		"west Secret istio-system/cacerts intermediate west",
		"north Secret istio-system/cacerts intermediate north",
	}
	if !slices.Equal(want, got) {
		t.Errorf("got %q", got)
	}
}
