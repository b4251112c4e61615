package verify

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/probe"
)

// failing is a mesh of two whose document has failover.
func failing() mesh.Mesh {
	m := twoClusters()
	m.Failover = &mesh.Failover{}
	return m
}

// TestFailoverServicesAreOneService: of one name and the same ports in every cluster, answered by the servers of all,
// and by nobody of the cluster that takes its own away.
func TestFailoverServicesAreOneService(t *testing.T) {
	m := failing()
	objects := Workloads(m)
	for _, of := range m.Clusters {
		for _, where := range m.Clusters {
			var d appsv1.Deployment
			into(t, find(t, objects[where.Name], "Deployment", "server"), &d)
			for _, changed := range []bool{false, true} {
				all := objects[where.Name]
				if changed {
					all = departed(m, where, all)
				}
				var s corev1.Service
				into(t, find(t, all, "Service", FailoverService(of.Name)), &s)
				want := !changed || of.Name != where.Name
				if got := selects(s.Spec.Selector, d.Spec.Template.Labels); got != want || len(s.Spec.Ports) != 3 {
					t.Errorf("%s in %s, changed %t: selects its server %t, %d ports", s.Name, where.Name, changed, got, len(s.Spec.Ports))
				}
			}
		}
	}
	if got := find(t, objects["east"], "Service", FailoverService("east")).Object["spec"].(map[string]any)["selector"]; !cmp.Equal(got, map[string]any{"app": "server"}) {
		t.Errorf("to change a cluster's objects changed those that it was made from: %v", got)
	}
	for reason, change := range map[string]func(*mesh.Mesh){
		"without failover":  func(m *mesh.Mesh) { m.Failover = nil },
		"one cluster alone": func(m *mesh.Mesh) { m.Clusters = m.Clusters[:1] },
	} {
		m := failing()
		change(&m)
		for _, o := range Workloads(m)["east"] {
			if strings.HasPrefix(o.Body.GetName(), "failover-") {
				t.Errorf("%s there is %s", reason, o.Ref())
			}
		}
	}
}

func TestFailoverIsProvedFromEveryCluster(t *testing.T) {
	f := newFake(failing())
	f.answer = func(from string, c probe.Call, n int) probe.Result {
		r := good(f.mesh, from, c)
		if from == "east" && strings.HasPrefix(c.ID, "failover/") && n == 1 {
			if c.ID == "failover/3" {
				return broken(c)
			}
			r.Clusters = map[string]int{"east": 1} // not told yet
		}
		return r
	}
	p, err := f.prover().Prove(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !p.Passed || p.Tallies().Failover != (Tally{2, 2}) {
		t.Fatalf("failover %v: %+v", p.Tallies().Failover, p.Failures)
	}
	east, west := p.Failover[0], p.Failover[1]
	if east.Sent != 20 || east.Failed != 1 || east.Home != 9 || east.Tries != 2 || !cmp.Equal(east.After, map[string]int{"west": 10}) || !cmp.Equal(east.Before, map[string]int{"east": 1}) {
		t.Errorf("east: %+v", east)
	}
	if west.Sent != 10 || west.Failed+west.Home != 0 || west.OutlierDetection == nil || !*west.OutlierDetection || west.Rule != "istio-system/isthmus-failover" {
		t.Errorf("west: %+v", west)
	}
	if f.looks != 0 {
		t.Errorf("%d looks for a cause of what was only not there yet", f.looks)
	}
	// Changed in every cluster once, and taken away with the rest.
	slices.Sort(f.placed)
	if want := []string{"east", "east", "west", "west"}; !cmp.Equal(f.placed, want) || !cmp.Equal(f.removed, []string{"east", "west"}) {
		t.Errorf("placed %v, removed %v", f.placed, f.removed)
	}
	suite := p.JUnit()
	i := slices.IndexFunc(suite.Cases, func(c TestCase) bool { return c.Class == "failover" })
	if c := suite.Cases[i]; c.Name != "east → elsewhere" || c.Output != "answered by west; 1 of 20 calls failed meanwhile" || c.Failure != nil {
		t.Errorf("%+v", c)
	}
}

func TestWhereThereIsNothingToFailOverTo(t *testing.T) {
	for _, c := range []struct {
		reason  string
		change  func(*fakeMesh)
		skipped string
	}{
		{"one cluster alone", func(f *fakeMesh) { f.mesh.Clusters = f.mesh.Clusters[:1] }, "the mesh has no other cluster"},
		{"the other is drained", func(f *fakeMesh) {
			f.evidence = func(e *Evidence) {
				e.Now.Clusters["east"].Members = []facts.Member{{Name: "west", Drain: &facts.Drain{On: true, Since: time.Unix(1, 0), To: "east"}}}
			}
		}, "every other cluster is drained"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			f := newFake(failing())
			c.change(f)
			p, err := f.prover().Prove(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if x := p.Failover[0]; !p.Passed || x.Skipped != c.skipped || !x.OK || x.Tries != 0 {
				t.Errorf("%+v, failures %+v", x, p.Failures)
			}
			if f.seen["east failover"]+f.seen["east failover/0"] > 0 || f.left["east"] {
				t.Errorf("calls %v, changed %v", f.seen, f.left)
			}
			suite := p.JUnit()
			i := slices.IndexFunc(suite.Cases, func(c TestCase) bool { return c.Class == "failover" })
			if x := suite.Cases[i]; x.Skipped == nil || x.Skipped.Message != c.skipped || suite.Skipped != 1 {
				t.Errorf("%+v, %d skipped", x, suite.Skipped)
			}
			if n := len(f.mesh.Clusters) - 1; p.Tallies().Failover.Asked != n { // what a drained cluster's own calls do is asked
				t.Errorf("asked %d times, want %d", p.Tallies().Failover.Asked, n)
			}
		})
	}
	f := newFake(twoClusters())
	p, err := f.prover().Prove(t.Context())
	if err != nil || len(p.Failover) > 0 {
		t.Errorf("without failover in the document: %v, %v", p.Failover, err)
	}
}

// TestWhyCallsDoNotFailOver: what is broken is named, and the same as for other calls where it is the same.
func TestWhyCallsDoNotFailOver(t *testing.T) {
	at := func(f *fakeMesh, change func(*SiteEvidence)) {
		f.evidence = func(e *Evidence) {
			s := e.Sites["east"]
			s.RoutesKnown, s.Routes = true, []string{"istio-system/isthmus-failover"}
			change(&s)
			e.Sites["east"] = s
		}
	}
	left := func(how func(probe.Call) probe.Result) func(*fakeMesh) {
		return func(f *fakeMesh) {
			f.answer = func(from string, c probe.Call, _ int) probe.Result {
				if from == "east" && strings.HasPrefix(c.ID, "failover/") {
					return how(c)
				}
				return good(f.mesh, from, c)
			}
		}
	}
	for _, c := range []struct {
		reason            string
		breaks            func(*fakeMesh)
		code, text, wrong string
	}{
		{"nobody answers", left(broken), "unknown", "calls from east to a service whose endpoints there are gone end with: no healthy upstream", "no healthy upstream"},
		{"nobody answers, since a link is broken that nothing else needed", func(f *fakeMesh) {
			left(broken)(f)
			f.evidence = func(e *Evidence) { delete(e.Now.Clusters["east"].Secrets, "istio-system/istio-remote-secret-west") }
		}, "remote-secret-missing", "there is no remote secret for it", "no healthy upstream"},
		{"its own cluster still answers", left(func(c probe.Call) probe.Result {
			return probe.Result{ID: c.ID, OK: true, Clusters: map[string]int{"east": 1}}
		}), "still-home", "still answered there", "answered by east"},
		{
			"a DestinationRule of somebody's own has taken the place of the mesh's", func(f *fakeMesh) {
				f.dump = func(c string) string { return dumpOf(c, "shop", "slow", c != "east") }
			}, "failover-replaced", "DestinationRule shop/slow in east takes the place of istio-system/isthmus-failover", "no outlier detection",
		},
		{"the mesh's is missing", func(f *fakeMesh) {
			f.dump = func(c string) string { return dumpOf(c, "", "", c != "east") }
			at(f, func(s *SiteEvidence) { s.Routes = nil })
		}, "failover-missing", "DestinationRule istio-system/isthmus-failover is missing in east", "no outlier detection"},
		{"it is there, and the proxy has none", func(f *fakeMesh) {
			f.dump = func(c string) string { return dumpOf(c, "", "", c != "east") }
			at(f, func(*SiteEvidence) {})
		}, "failover-not-in-effect", "though DestinationRule istio-system/isthmus-failover asks for it", "no outlier detection"},
		{"the proxy cannot be read", func(f *fakeMesh) {
			f.dump = func(c string) string {
				if c == "east" {
					return "upstream connect error"
				}
				return dumpOf(c, "istio-system", "isthmus-failover", true)
			}
		}, "proxy-unread", "its client's proxy could not be asked", "no outlier detection"},
		{"its endpoints cannot be taken away", func(f *fakeMesh) {
			f.refuse = func(c string) error {
				if c == "east" {
					return errors.New("services is forbidden")
				}
				return nil
			}
		}, "not-changed", "Service failover-east in east could not be changed: services is forbidden", "endpoints could not be taken away"},
		{"calls did not get through before", func(f *fakeMesh) {
			f.answer = func(from string, c probe.Call, _ int) probe.Result {
				if from == "east" && c.ID == "failover" {
					return broken(c)
				}
				return good(f.mesh, from, c)
			}
		}, "unknown", "calls from east to a service that every cluster has end with: no healthy upstream", "no healthy upstream"},
		{"the other cluster does not answer", func(f *fakeMesh) { f.away["west"] = true }, "cluster-away", "west's API server does not answer", "API server away"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			f := newFake(failing())
			c.breaks(f)
			p, err := f.prover().Prove(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			x := p.Failover[0]
			if x.OK || p.Passed || len(x.Reasons) == 0 || x.Reasons[0].Code != c.code || !strings.Contains(x.Reasons[0].Text, c.text) || x.Wrong != c.wrong || x.Reasons[0].Next == "" {
				t.Errorf("%+v", x)
			}
			if !slices.ContainsFunc(p.Failures, func(f Failure) bool {
				return f.Reason.Code == c.code && slices.Contains(f.Subjects, "east → elsewhere")
			}) {
				t.Errorf("failures %+v", p.Failures)
			}
			if !f.away["west"] && !p.Failover[1].OK {
				t.Errorf("west: %+v", p.Failover[1])
			}
			if !slices.Contains(f.removed, "east") {
				t.Errorf("removed %v", f.removed)
			}
		})
	}
}

// TestHopelessFailoverIsGivenUp: once the first moments are over causes are looked for, and one that is proven twice in a
// row is enough.
func TestHopelessFailoverIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(failing())
		f.dump = func(c string) string { return dumpOf(c, "shop", "slow", false) }
		p := f.prover()
		p.Limits = Limits{}
		begin := time.Now()
		proof, err := p.Prove(t.Context())
		if err != nil || proof.Failover[0].Reasons[0].Code != "failover-replaced" {
			t.Fatalf("%v: %+v", err, proof.Failover)
		}
		if took := time.Since(begin); took < quickly || took > 10*time.Second {
			t.Errorf("given up after %s: not at once, and long before the settling's 30s", took)
		}
		if n := f.looks; n != 4 { // twice, in two clusters
			t.Errorf("%d looks, want 4", n)
		}
	})
}

// TestSomebodysOwnOutlierDetectionWillDo: a rule that takes the mesh's place and detects outliers itself breaks nothing.
func TestSomebodysOwnOutlierDetectionWillDo(t *testing.T) {
	f := newFake(failing())
	f.dump = func(c string) string { return dumpOf(c, "shop", "mine", true) }
	p, err := f.prover().Prove(t.Context())
	if err != nil || !p.Passed || p.Failover[0].Rule != "shop/mine" {
		t.Errorf("%v: %+v", err, p.Failover)
	}
}
