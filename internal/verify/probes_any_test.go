package verify

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/probe"
)

// withRegions is a mesh of two with failover, each in a region of its own, and facts of it.
func withRegions() (mesh.Mesh, Evidence) {
	m := twoClusters()
	m.Failover = &mesh.Failover{}
	e := healthy(m)
	settleIn(&e)
	return m, e
}

// settleIn gives every cluster's nodes a region of their own.
func settleIn(e *Evidence) {
	for name, f := range e.Now.Clusters {
		f.Nodes = []facts.Node{{Name: "n1", Region: "eu-" + name}, {Name: "n2", Region: "eu-" + name}}
	}
}

func TestWhereCallsAreExpectedToStay(t *testing.T) {
	drained := func(name string) func(*mesh.Mesh, map[string]*facts.Cluster) {
		return func(_ *mesh.Mesh, now map[string]*facts.Cluster) {
			now["west"].Members = []facts.Member{{Name: name, Drain: &facts.Drain{On: true, Since: atMidday}}}
		}
	}
	for _, c := range []struct {
		reason string
		change func(*mesh.Mesh, map[string]*facts.Cluster)
		want   bool // of calls from east
	}{
		{"failover, and a region for each", func(*mesh.Mesh, map[string]*facts.Cluster) {}, true},
		{"no failover", func(m *mesh.Mesh, _ map[string]*facts.Cluster) { m.Failover = nil }, false},
		{"one cluster alone", func(m *mesh.Mesh, _ map[string]*facts.Cluster) { m.Clusters = m.Clusters[:1] }, false},
		{"the mesh configuration says otherwise", func(m *mesh.Mesh, _ map[string]*facts.Cluster) {
			m.Clusters[0].Istio.MeshConfig = map[string]any{"localityLbSetting": map[string]any{"enabled": false}}
		}, false},
		{"the values do", func(m *mesh.Mesh, _ map[string]*facts.Cluster) {
			m.Clusters[0].Istio.Values = map[string]any{"meshConfig": map[string]any{"zoneAwareLbSetting": map[string]any{}}}
		}, false},
		{"what is set does", func(m *mesh.Mesh, _ map[string]*facts.Cluster) {
			m.Clusters[0].Istio.Set = []string{"meshConfig.localityLbSetting.enabled=false"}
		}, false},
		{"another cluster's does", func(m *mesh.Mesh, _ map[string]*facts.Cluster) {
			m.Clusters[1].Istio.MeshConfig = map[string]any{"localityLbSetting": map[string]any{"enabled": false}}
		}, true},
		{"the configuration of its primary does", func(m *mesh.Mesh, _ map[string]*facts.Cluster) {
			m.Clusters[0].RemoteOf = "west"
			m.Clusters[1].Istio.MeshConfig = map[string]any{"localityLbSetting": map[string]any{"enabled": false}}
		}, false},
		{"it is drained", drained("east"), false},
		{"it was drained, and is not any more", func(_ *mesh.Mesh, now map[string]*facts.Cluster) {
			now["west"].Members = []facts.Member{{Name: "east", Drain: &facts.Drain{Since: atMidday}}}
		}, true},
		{"the other is drained", drained("west"), true},
		{"a cluster of the same istiod is drained", func(m *mesh.Mesh, now map[string]*facts.Cluster) {
			m.Clusters[1].RemoteOf = "east"
			drained("west")(m, now)
		}, false},
		{"a drained cluster that is no member any more", drained("north"), true},
		{"no region", func(_ *mesh.Mesh, now map[string]*facts.Cluster) { now["east"].Nodes[1].Region = "" }, false},
		{"two regions", func(_ *mesh.Mesh, now map[string]*facts.Cluster) { now["east"].Nodes[1].Region = "us" }, false},
		{"the other's is not known", func(_ *mesh.Mesh, now map[string]*facts.Cluster) { now["west"].Nodes = nil }, false},
		{"the other does not answer", func(_ *mesh.Mesh, now map[string]*facts.Cluster) {
			now["west"] = &facts.Cluster{Err: "connection refused", Nodes: now["west"].Nodes}
		}, false},
		{"the other's is the same", func(_ *mesh.Mesh, now map[string]*facts.Cluster) { now["west"].Nodes[1].Region = "eu-east" }, false},
		{"the other has two, and neither is the same", func(_ *mesh.Mesh, now map[string]*facts.Cluster) { now["west"].Nodes[1].Region = "us" }, true},
	} {
		m, e := withRegions()
		c.change(&m, e.Now.Clusters)
		if got := keepsLocal(m, e.Now, m.Clusters[0]); got != c.want {
			t.Errorf("%s: %t", c.reason, got)
		}
	}
}

func TestCallsToAnyCluster(t *testing.T) {
	m := twoClusters()
	answered := func(by ...string) probe.Result {
		r := probe.Result{OK: true, Clusters: map[string]int{}}
		for _, c := range by {
			r.Clusters[c]++
		}
		return r
	}
	for _, c := range []struct {
		reason string
		local  bool
		result probe.Result
		passed bool
	}{
		{"answered at home", true, answered("east"), true},
		{"answered at home and elsewhere", true, answered("east", "west"), false},
		{"answered elsewhere", true, answered("west"), false},
		{"answered by whoever, where that is all that is asked", false, answered("east", "west"), true},
		{"not answered", false, broken(probe.Call{}), false},
	} {
		a := attempt{errand: anyErrand(m, m.Clusters[0], c.local)}
		if a.judge(m, c.result); a.passed != c.passed {
			t.Errorf("%s: passed %t", c.reason, a.passed)
		}
	}
}

// TestStayingAtHomeIsSeenOnceThereIsAChoice has a proxy learn of the other cluster only after a while: until then its
// calls stay at home whatever it prefers.
func TestStayingAtHomeIsSeenOnceThereIsAChoice(t *testing.T) {
	for _, prefers := range []bool{true, false} {
		m, _ := withRegions()
		f := newFake(m)
		f.evidence = settleIn
		learns := 3
		f.answer = func(from string, c probe.Call, n int) probe.Result {
			r := good(m, from, c)
			switch {
			case strings.HasPrefix(c.ID, "west/") && from == "east" && n < learns && c.Token == nil && strings.HasPrefix(c.To, "http"):
				return broken(c)
			case c.ID == "any" && from == "east" && n > learns && !prefers:
				r.Clusters = map[string]int{"east": 5, "west": 5}
			}
			return r
		}
		p, err := f.prover().Prove(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if p.Passed != prefers || f.seen["east any"] <= learns {
			t.Errorf("prefers %t: passed %t, after %d looks: %+v", prefers, p.Passed, f.seen["east any"], p.Failures)
		}
		if !prefers && (len(p.Failures) != 1 || p.Failures[0].Reason.Code != "left-home") {
			t.Errorf("not that calls leave home, but %+v", p.Failures)
		}
	}
}

// TestARuleThatTakesCallsFromHomeIsSeenAtOnce: the caller's proxy says whose rule it follows, and waiting changes nothing
// about that.
func TestARuleThatTakesCallsFromHomeIsSeenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, e := withRegions()
		f := newFake(m)
		f.evidence = func(x *Evidence) { *x = e }
		f.dump = func(c string) string { return dumpOf(c, "shop", "slow", false) }
		f.answer = func(from string, c probe.Call, _ int) probe.Result {
			r := good(m, from, c)
			if c.ID == "any" && from == "east" {
				r.Clusters = map[string]int{"east": 5, "west": 5}
			}
			return r
		}
		p := f.prover()
		p.Limits = Limits{}
		begin := time.Now()
		proof, err := p.Prove(t.Context())
		if err != nil || proof.Passed || !slices.ContainsFunc(proof.Failures, func(f Failure) bool { return f.Reason.Code == "left-home" && f.Reason.Proven }) {
			t.Fatalf("%v: %+v", err, proof.Failures)
		}
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("given up after %s, though it was clear at once", took)
		}
	})
}

func TestWhyCallsLeaveHome(t *testing.T) {
	for _, c := range []struct {
		reason     string
		rule       string
		site       func(*SiteEvidence)
		text, next string
		proven     bool
	}{
		{
			"the rule was deleted", "", func(s *SiteEvidence) { s.RoutesKnown = true },
			"calls from east to a service that it has itself are answered by west too, since DestinationRule istio-system/isthmus-failover, " +
				"by which callers prefer their own region, is missing in east", "isthmus apply", true,
		},
		{
			"it is there", "istio-system/isthmus-failover", func(s *SiteEvidence) { s.RoutesKnown, s.Routes = true, []string{"istio-system/isthmus-failover"} },
			"though DestinationRule istio-system/isthmus-failover has callers prefer their own region",
			"kubectl --context kind-east get destinationrules -A", false,
		},
		{
			"another is in its place", "shop/slow", func(s *SiteEvidence) {
				s.RoutesKnown, s.Routes = true, []string{"istio-system/isthmus-failover", "shop/slow"}
			},
			"since DestinationRule shop/slow takes the place of istio-system/isthmus-failover, by which callers prefer their own region",
			"kubectl --context kind-east edit destinationrule -n shop slow   and add outlierDetection to its trafficPolicy", true,
		},
		{
			"it could not be looked for", "", func(*SiteEvidence) {},
			"so DestinationRule istio-system/isthmus-failover, by which callers prefer their own region, is not in effect",
			"kubectl --context kind-east get destinationrules -A", false,
		},
	} {
		m, e := withRegions()
		site := e.Sites["east"]
		c.site(&site)
		e.Sites["east"] = site
		in := Case{
			Mesh: m, From: m.Clusters[0], To: m.Clusters[0], Path: Local, KeepsLocal: true, Evidence: e,
			Any: &probe.Result{OK: true, Clusters: map[string]int{"east": 4, "west": 6}}, Rule: c.rule,
		}
		got := Judge(in)[0]
		if got.Code != "left-home" || !strings.HasSuffix(got.Text, c.text) || got.Next != c.next || got.Proven != c.proven {
			t.Errorf("%s: %+v", c.reason, got)
		}
		in.Any = &probe.Result{Class: probe.Status, Code: 503, Body: "no healthy upstream"}
		if got := Judge(in)[0]; got.Code != "unknown" || got.Text != "calls from east to a service that every cluster has end with: no healthy upstream" {
			t.Errorf("not answered: %+v", got)
		}
	}
}

// TestCallsAreTriedUntilTheyStay: proxies need a moment to learn of endpoints.
func TestCallsAreTriedUntilTheyStay(t *testing.T) {
	m, e := withRegions()
	f := newFake(m)
	f.evidence = func(x *Evidence) { *x = e }
	f.answer = func(from string, c probe.Call, n int) probe.Result {
		r := good(m, from, c)
		if c.ID == "any" && from == "east" && n < 4 {
			r.Clusters = map[string]int{"east": 5, "west": 5}
		}
		return r
	}
	p := f.prover()
	// Nothing but a test that hangs may end the settling.
	p.Limits.Settle = time.Minute
	proof, err := p.Prove(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := proof.Tallies().Local; !proof.Passed || n != (Tally{2, 2}) || f.seen["east any"] != 4 {
		t.Errorf("kept local %v, %d tries: %+v", n, f.seen["east any"], proof.Failures)
	}
	if c := proof.Any[0]; c.From != "east" || !c.Local || !c.OK || c.Tries != 4 || c.Result.Clusters["east"] == 0 {
		t.Errorf("%+v", c)
	}
}

// TestCallsToAnyClusterFailWithThoseToOne: a broken link is said once.
func TestCallsToAnyClusterFailWithThoseToOne(t *testing.T) {
	f := newFake(twoClusters())
	f.evidence = func(e *Evidence) { delete(e.Now.Clusters["east"].Secrets, "istio-system/istio-remote-secret-west") }
	f.answer = func(from string, c probe.Call, _ int) probe.Result {
		if from == "east" && (c.ID == "any" || strings.HasPrefix(c.ID, "west/") && !strings.HasPrefix(c.To, "tls")) {
			return broken(c)
		}
		return good(f.mesh, from, c)
	}
	p, err := f.prover().Prove(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Failures) != 1 || p.Failures[0].Reason.Code != "remote-secret-missing" {
		t.Fatalf("failures %+v", p.Failures)
	}
	want := []string{"east → west", "uninvited from east at west (not allowed)", "east → any cluster"}
	if diff := cmp.Diff(want, p.Failures[0].Subjects); diff != "" {
		t.Errorf("subjects: -want +got\n%s", diff)
	}
	if n := f.seen["east any"]; n != 2 {
		t.Errorf("%d tries, want 2: it is as hopeless as the other calls", n)
	}
	if c := p.Any[0]; c.Wrong != "no healthy upstream" {
		t.Errorf("wrong: %q", c.Wrong)
	}
	if p.Any[1].From != "west" || !p.Any[1].OK {
		t.Errorf("%+v", p.Any[1])
	}
}

// TestACallThatIsRefusedFailsForTheReasonOfItsPair, and not of another one of the same caller.
func TestACallThatIsRefusedFailsForTheReasonOfItsPair(t *testing.T) {
	f := newFake(twoClusters())
	f.answer = func(from string, c probe.Call, _ int) probe.Result {
		switch {
		case from == "east" && strings.HasPrefix(c.ID, "west/http"):
			return probe.Result{ID: c.ID, To: c.To, Sent: 1, Class: probe.DNS, Error: "lookup to-west: no such host"}
		case from == "east" && strings.HasSuffix(c.ID, string(NotAllowed)):
			return broken(c)
		}
		return good(f.mesh, from, c)
	}
	p, err := f.prover().Prove(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, r := range p.Refusals {
		if !r.OK {
			got[r.From+" "+r.To] = r.Reasons[0].Code
		}
	}
	if diff := cmp.Diff(map[string]string{"east west": "dns", "east east": "unknown"}, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// TestACellIsNotJudgedByCallsToAny: its own cluster answers, another does not.
func TestACellIsNotJudgedByCallsToAny(t *testing.T) {
	f := newFake(twoClusters())
	f.answer = func(from string, c probe.Call, _ int) probe.Result {
		if from == "east" && (c.ID == "any" || c.ID == "east/http/") {
			return broken(c)
		}
		return good(f.mesh, from, c)
	}
	p, err := f.prover().Prove(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r := p.Cells[0].Reasons[0]; r.Text != "http calls from east to east end with: no healthy upstream" {
		t.Errorf("reason %+v", r)
	}
	if r := p.Any[0].Reasons[0]; r.Text != "calls from east to a service that every cluster has end with: no healthy upstream" {
		t.Errorf("reason %+v", r)
	}
}

func TestAnyClusterAway(t *testing.T) {
	f := newFake(twoClusters())
	f.away["west"] = true
	p, err := f.prover().Prove(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if c := p.Any[1]; c.OK || c.Local || c.Result != nil || c.Wrong != "API server away" || c.Reasons[0].Code != "cluster-away" {
		t.Errorf("%+v", c)
	}
	if c := p.Any[0]; !c.OK || c.Local {
		t.Errorf("%+v", c)
	}
}
