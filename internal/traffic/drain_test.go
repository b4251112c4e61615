package traffic

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	meshconfig "istio.io/api/mesh/v1alpha1"
	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/validation"
	"istio.io/istio/pkg/util/protomarshal"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"

	"isthmus.dev/isthmus/internal/discovery"
	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// world are facts of a mesh whose clusters have services of namespace "a": {"east": "x y"}.
func world(have map[string]string) facts.Snapshot {
	s := facts.Snapshot{Taken: noon, Clusters: map[string]*facts.Cluster{}}
	for name, list := range have {
		f := &facts.Cluster{Name: name, Meshed: []facts.Meshed{{Namespace: "a", Workloads: 1, Pods: 1}}}
		for x := range strings.FieldsSeq(list) {
			f.Services = append(f.Services, facts.Service{Namespace: "a", Name: x}, facts.Service{Namespace: "outside", Name: x})
		}
		s.Clusters[name] = f
	}
	return s
}

// wanted is as much of an installation as drain has to do with.
func wanted(t *testing.T, m mesh.Mesh) object.Objects {
	t.Helper()
	want, err := discovery.Objects(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range m.Governors() {
		want.Add(g.Name, object.Object{Part: object.PartControlPlane, Body: &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "istio", "namespace": g.IstioNamespace()},
			"data": map[string]any{"mesh": "trustDomain: cluster.local\nlocalityLbSetting:\n  distribute: []\n", "meshNetworks": "networks: {}"},
		}}})
	}
	for name, list := range Objects(m) {
		want.Add(name, list...)
	}
	return want
}

func drained(t *testing.T, m mesh.Mesh, now facts.Snapshot, names ...string) (object.Objects, object.Objects, map[string]facts.Drain) {
	t.Helper()
	want := wanted(t, m)
	before := fmt.Sprint(want)
	drains := Drains(m, now, Said{Drain: names})
	got, dropped, err := Drain(m, want, now, drains)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(want) != before {
		t.Error("what is wanted without the drain was changed")
	}
	for cluster, refs := range dropped {
		for ref, why := range refs {
			if !slices.Contains(want.Refs(cluster), ref) || slices.Contains(got.Refs(cluster), ref) || !strings.HasSuffix(why, " is drained") {
				t.Errorf("%s: %s is said to be dropped: %s", cluster, ref, why)
			}
		}
	}
	return want, got, drains
}

func knows(objects object.Objects, cluster, other string) bool {
	return slices.ContainsFunc(objects.Refs(cluster), func(r object.Ref) bool { return r.Name == discovery.RemoteSecret(other) })
}

// prefers is the failover priority that istiod reads from a cluster's mesh configuration.
func prefers(t *testing.T, objects object.Objects, cluster string) []string {
	t.Helper()
	for _, o := range objects[cluster] {
		if o.Body.GetKind() != "ConfigMap" {
			continue
		}
		text, _, _ := unstructured.NestedString(o.Body.Object, "data", "mesh")
		raw, err := yaml.YAMLToJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		var c meshconfig.MeshConfig
		if err := protomarshal.Unmarshal(raw, &c); err != nil {
			t.Fatalf("istiod cannot read the mesh configuration: %v\n%s", err, text)
		}
		if c.GetTrustDomain() != "cluster.local" {
			t.Errorf("the mesh configuration lost what it said: %s", text)
		}
		return c.GetLocalityLbSetting().GetFailoverPriority()
	}
	t.Fatalf("%s has no mesh configuration", cluster)
	return nil
}

func TestDrain(t *testing.T) {
	m := shop("east", "west", "north")
	_, got, drains := drained(t, m, world(map[string]string{"east": "x y", "west": "x y z", "north": "y z"}), "west")
	if knows(got, "east", "west") || knows(got, "north", "west") {
		t.Error("others know west still")
	}
	for _, pair := range [][2]string{{"west", "east"}, {"west", "north"}, {"east", "north"}, {"north", "east"}} {
		if !knows(got, pair[0], pair[1]) {
			t.Errorf("%s lost sight of %s", pair[0], pair[1])
		}
	}
	if diff := cmp.Diff([]string{"topology.istio.io/cluster=east"}, prefers(t, got, "west")); diff != "" {
		t.Errorf("west's own callers prefer:\n%s", diff)
	}
	if p := prefers(t, got, "east"); p != nil {
		t.Errorf("east's callers prefer %v", p)
	}
	if d := drains["west"]; !d.On || d.To != "east" || d.Since != noon {
		t.Errorf("said of west: %+v", d)
	}
	// z is not in east.
	var rules []string
	for _, o := range got["west"] {
		if strings.HasPrefix(o.Body.GetName(), drainPrefix) {
			rule := read(t, o, &networking.DestinationRule{}, validation.ValidateDestinationRule)
			rules = append(rules, fmt.Sprint(rule.GetHost(), " ", rule.GetTrafficPolicy().GetLoadBalancer().GetLocalityLbSetting().GetFailoverPriority(),
				" ", rule.GetTrafficPolicy().GetOutlierDetection() != nil))
		}
	}
	if diff := cmp.Diff([]string{"z.a.svc.cluster.local [topology.istio.io/cluster=north] true"}, rules); diff != "" {
		t.Errorf("rules for services that east does not have:\n%s", diff)
	}
}

// The istiod that serves a remote goes on knowing it: its proxies hang on it.
func TestDrainOfARemote(t *testing.T) {
	m := shop("east", "west")
	m.Clusters = append(m.Clusters, mesh.Cluster{Name: "far", Network: "far", RemoteOf: "west"})
	_, got, drains := drained(t, m, world(map[string]string{"east": "x", "west": "x", "far": "x"}), "far")
	if knows(got, "east", "far") || !knows(got, "west", "far") {
		t.Errorf("east knows it: %t, west, which serves it: %t; want only the latter", knows(got, "east", "far"), knows(got, "west", "far"))
	}
	if to := drains["far"].To; !slices.Equal(prefers(t, got, "west"), []string{"topology.istio.io/cluster=" + to}) {
		t.Errorf("west's istiod prefers %v, and %q stands in", prefers(t, got, "west"), to)
	}
}

func TestDrainWithoutFailoverBringsIt(t *testing.T) {
	m := shop("east", "west")
	m.Failover = nil
	_, got, _ := drained(t, m, world(map[string]string{"east": "x", "west": "x"}), "west")
	has := func(cluster string) bool {
		return slices.ContainsFunc(got.Refs(cluster), func(r object.Ref) bool { return r.Name == FailoverName })
	}
	if !has("west") || has("east") {
		t.Errorf("outlier detection, without which there is no preference: in west %t, in east %t", has("west"), has("east"))
	}
}

func TestStandIn(t *testing.T) {
	m := shop("east", "west", "north", "south")
	now := world(map[string]string{"east": "x", "west": "x y", "north": "x y", "south": "x"})
	at := func(to string) facts.Drain { return facts.Drain{On: true, Since: noon.Add(-time.Hour), To: to} }
	record := func(d facts.Drain) facts.Snapshot {
		s := world(map[string]string{"east": "x", "west": "x y", "north": "x y", "south": "x"})
		s.Clusters["east"].Members = []facts.Member{{Name: "west", Drain: &d}}
		return s
	}
	away := world(map[string]string{"east": "x", "west": "x y", "south": "x"})
	away.Clusters["north"] = &facts.Cluster{Name: "north", Err: "no answer"}
	near := world(map[string]string{"east": "x", "west": "x", "north": "x", "south": "x"})
	near.Clusters["west"].Nodes, near.Clusters["south"].Nodes = []facts.Node{{Region: "r1"}}, []facts.Node{{Region: "r1"}}
	for _, c := range []struct {
		name         string
		now          facts.Snapshot
		drain, undo  []string
		want         string
		on, fromPast bool
	}{
		{"has most of its services", now, []string{"west"}, nil, "north", true, false},
		{"is not drained itself", now, []string{"west", "north"}, nil, "east", true, false},
		{"answers", away, []string{"west"}, nil, "east", true, false},
		{"is near where others have as much", near, []string{"west"}, nil, "south", true, false},
		{"is kept", record(at("south")), nil, nil, "south", true, true},
		{"is kept when it is drained again", record(at("south")), []string{"west"}, nil, "south", true, true},
		{"is another where the old one is drained", record(at("south")), []string{"south"}, nil, "north", true, true},
		{"is another where the old one left", record(at("gone")), nil, nil, "north", true, true},
		{"is none any more", record(at("south")), nil, []string{"west"}, "", false, false},
		{"is none where all others are drained", now, []string{"east", "west", "north", "south"}, nil, "", true, false},
	} {
		d := Drains(m, c.now, Said{Drain: c.drain, Undrain: c.undo})["west"]
		if d.To != c.want || d.On != c.on || d.Since.Before(noon) != c.fromPast {
			t.Errorf("%s: %+v", c.name, d)
		}
	}
}

// A cluster that was away while another was undrained says the older thing when it is back.
func TestTheNewestRecordCounts(t *testing.T) {
	m := shop("east", "west", "north")
	now := world(map[string]string{"east": "x", "west": "x", "north": "x"})
	now.Clusters["east"].Members = []facts.Member{{Name: "west", Drain: &facts.Drain{Since: noon}}}
	now.Clusters["north"].Members = now.Clusters["east"].Members
	now.Clusters["west"].Members = []facts.Member{{Name: "west", Drain: &facts.Drain{On: true, Since: noon.Add(-time.Minute), To: "east"}}}
	if d := Drains(m, now, Said{})["west"]; d.On {
		t.Errorf("west is drained: %+v", d)
	}
	if got := Drains(m, now, Said{Undrain: []string{"east"}}); len(got) != 1 {
		t.Errorf("what was never drained is undrained: %v", got)
	}
}

// TestUndrainingWritesOverEverything: whatever one record says, and of whatever time, undrain ends it.
func TestUndrainingWritesOverEverything(t *testing.T) {
	m := shop("east", "west")
	for _, since := range []time.Time{noon.Add(-time.Hour), noon.Add(facts.ClockTolerance), noon.Add(time.Hour), noon.AddDate(7973, 0, 0)} {
		for _, speaker := range []string{"east", "west"} {
			now := world(map[string]string{"east": "x", "west": "x"})
			for _, c := range m.Clusters {
				now.Clusters[c.Name].Members = []facts.Member{{Name: "west"}}
			}
			now.Clusters[speaker].Members = []facts.Member{{Name: "west", Drain: &facts.Drain{On: true, Since: since, To: "east"}}}
			d, said := Drains(m, now, Said{Undrain: []string{"west"}, By: "a@b"})["west"]
			if !said || d.On || d.By != "a@b" {
				t.Fatalf("%s says since %s: undrained it is %+v", speaker, since, d)
			}
			for _, c := range m.Clusters { // apply writes it into every record
				now.Clusters[c.Name].Members = []facts.Member{{Name: "west", Drain: &d}}
			}
			if d := Drains(m, now, Said{})["west"]; d.On {
				t.Errorf("%s said since %s: it is drained again: %+v", speaker, since, d)
			}
		}
	}
}

// Whatever is drained, nobody but its own istiod knows it, everything else stays, and undrain brings all back.
func TestDrainAndUndrainGiveBackWhatWas(t *testing.T) {
	all := []string{"a", "b", "c", "d"}
	rapid.Check(t, func(r *rapid.T) {
		m, have := shop(), map[string]string{}
		for i, name := range all[:rapid.IntRange(2, 4).Draw(r, "clusters")] {
			c := mesh.Cluster{Name: name, Network: name}
			if i > 1 && rapid.Bool().Draw(r, "remote") {
				c.RemoteOf = "a"
			}
			m.Clusters = append(m.Clusters, c)
			have[name] = strings.Join(rapid.SliceOfDistinct(rapid.SampledFrom([]string{"x", "y", "z"}), rapid.ID).Draw(r, "services"), " ")
		}
		var names []string
		for _, c := range m.Clusters {
			if rapid.Bool().Draw(r, "drained") {
				names = append(names, c.Name)
			}
		}
		now := world(have)
		want, got, drains := drained(t, m, now, names...)
		for _, g := range m.Governors() {
			for _, c := range m.Clusters {
				before := knows(want, g.Name, c.Name)
				hidden := before && slices.Contains(names, c.Name) && m.Primary(c).Name != g.Name
				if knows(got, g.Name, c.Name) != (before && !hidden) {
					r.Fatalf("drained %v: %s knows %s: %t", names, g.Name, c.Name, !hidden)
				}
			}
		}
		for _, x := range m.Clusters {
			record := []facts.Member{}
			for name, d := range drains {
				record = append(record, facts.Member{Name: name, Drain: &d})
			}
			now.Clusters[x.Name].Members = record
		}
		now.Taken = noon.Add(time.Hour)
		back, dropped, err := Drain(m, want, now, Drains(m, now, Said{Undrain: names}))
		if err != nil || len(dropped) != 0 || fmt.Sprint(back) != fmt.Sprint(want) {
			r.Fatalf("undrained %v: %v, dropped %v", names, err, dropped)
		}
	})
}
