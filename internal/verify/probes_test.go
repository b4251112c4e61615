package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/probe"
)

// A fakeMesh plays clusters for the loop that proves: which calls are made, when it gives up, what it takes away.
// What calls really show is proved on real clusters, in the lab.
type fakeMesh struct {
	mesh mesh.Mesh
	mu   sync.Mutex
	// answer plays one call; n counts the calls to one target from one pod, from 1.
	answer func(from string, c probe.Call, n int) probe.Result
	// away clusters do not answer, unready ones never have a ready server.
	away, unready map[string]bool
	noImage       bool
	evidence      func(*Evidence)
	// dump is what a client's proxy answers, and refuse why a changed Service cannot be placed; nil: all is well.
	dump   func(cluster string) string
	refuse func(cluster string) error

	left            map[string]bool // clusters whose own service selects nobody
	words           []string        // of commands, and all objects
	open            map[string]bool // clusters whose ingress gateway was given verify's Gateway
	seen            map[string]int
	again           map[string]int // calls that were made some more times
	placed, removed []string
	looks           int
}

func newFake(m mesh.Mesh) *fakeMesh {
	return &fakeMesh{
		mesh: m, seen: map[string]int{}, again: map[string]int{}, left: map[string]bool{}, open: map[string]bool{}, away: map[string]bool{}, unready: map[string]bool{},
		answer:   func(from string, c probe.Call, _ int) probe.Result { return good(m, from, c) },
		evidence: func(*Evidence) {},
		dump:     func(cluster string) string { return dumpOf(cluster, "istio-system", "isthmus-failover", true) },
		refuse:   func(string) error { return nil },
	}
}

// dumpOf is what a proxy says of a cluster's service that fails over: the form of Envoy's /config_dump, of which this
// is one cluster and what is read of it.
func dumpOf(cluster, namespace, rule string, detects bool) string {
	c := map[string]any{"name": "outbound|80||failover-" + cluster + ".isthmus-verify.svc.cluster.local"}
	if rule != "" {
		c["metadata"] = map[string]any{"filter_metadata": map[string]any{"istio": map[string]any{
			"config": "/apis/networking.istio.io/v1alpha3/namespaces/" + namespace + "/destination-rule/" + rule,
		}}}
	}
	if detects {
		c["outlier_detection"] = map[string]any{"interval": "1s"}
	}
	text, err := json.Marshal(map[string]any{"configs": []any{map[string]any{
		"@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump", "dynamic_active_clusters": []any{map[string]any{"cluster": c}},
	}}})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// good is how a call goes in a mesh that works.
func good(m mesh.Mesh, from string, c probe.Call) probe.Result {
	r := probe.Result{ID: c.ID, To: c.To, Sent: 1}
	if strings.HasPrefix(c.To, "tls://") {
		r.Class, r.Shown = probe.TLSAlert, &probe.Shown{AskedForCertificate: true, Root: "aaaaaaaaaaaa"}
		return r
	}
	if strings.HasSuffix(c.ID, string(NotAllowed)) {
		r.Class, r.Code, r.Body, r.Flag = probe.Status, 403, "RBAC: access denied", "RBAC"
		return r
	}
	if c.Token != nil {
		r.Class, r.Code, r.Body = probe.Status, 401, "Jwt verification fails"
		return r
	}
	if strings.Contains(c.To, "100.64.0.7") {
		r.Class = probe.Reset
		return r
	}
	_, rest, _ := strings.Cut(c.To, "://to-")
	_, inside, _ := strings.Cut(c.To, ":80/")
	to, _, _ := strings.Cut(rest, ":")
	switch {
	case to == "any", c.ID == "failover":
		to = from
	case strings.HasPrefix(c.ID, "ingress/"):
		to = inside
	case strings.HasPrefix(c.ID, "failover/"):
		to = m.Clusters[(slices.Index(m.Names(), from)+1)%len(m.Clusters)].Name
	}
	r.OK, r.Answered, r.LatencyMillis, r.Clusters = true, 1, 11, map[string]int{to: 1}
	r.Reply = &probe.Reply{Cluster: to}
	if !strings.HasPrefix(c.To, "tcp") {
		r.Reply.Caller, r.Reply.Server = Identity(m, Client), Identity(m, Server)
	}
	return r
}

// broken is how a call goes when there is no endpoint.
func broken(c probe.Call) probe.Result {
	return probe.Result{
		ID: c.ID, To: c.To, Sent: 1, Class: probe.Status, Code: 503, Body: "no healthy upstream",
		Error: "answered 503: no healthy upstream", Flag: "UH",
	}
}

func (f *fakeMesh) prover() *Prover {
	p := &Prover{
		Mesh: f.mesh, Sites: map[string]Site{}, Now: time.Now, Report: func(Step) {},
		Limits: Limits{Settle: 100 * time.Millisecond, Pause: time.Millisecond, Start: 100 * time.Millisecond},
		Facts: func(context.Context) facts.Snapshot {
			e := healthy(f.mesh)
			f.evidence(&e)
			for name := range f.away {
				e.Now.Clusters[name] = &facts.Cluster{Name: name, Err: "connection refused"}
			}
			return e.Now
		},
		Look: func(_ context.Context, cluster string, _ map[Role]Pod) SiteEvidence {
			f.mu.Lock()
			f.looks++
			f.mu.Unlock()
			e := healthy(f.mesh)
			f.evidence(&e)
			return e.Sites[cluster]
		},
	}
	for _, c := range f.mesh.Clusters {
		p.Sites[c.Name] = fakeSite{f, c.Name}
	}
	return p
}

type fakeSite struct {
	*fakeMesh
	name string
}

func (s fakeSite) Answers(context.Context) error {
	if s.away[s.name] {
		return errors.New("connection refused")
	}
	return nil
}

func (s fakeSite) Place(_ context.Context, objects []object.Object, _ func(string)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.placed = append(s.placed, s.name)
	if len(objects) == 0 {
		return errors.New("nothing to place")
	}
	for _, o := range objects {
		text, err := o.Body.MarshalJSON()
		if err != nil {
			return err
		}
		s.words = append(s.words, string(text))
		if o.Body.GetKind() == "Gateway" {
			s.open[s.name] = true
		}
		if o.Body.GetKind() != "Service" || o.Body.GetName() != FailoverService(s.name) {
			continue
		}
		selector, _, err := unstructured.NestedStringMap(o.Body.Object, "spec", "selector")
		if err != nil {
			return err
		}
		s.left[s.name] = selector["app"] != string(Server)
	}
	if s.left[s.name] {
		return s.refuse(s.name)
	}
	return nil
}

func (s fakeSite) Remove(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removed = append(s.removed, s.name)
	slices.Sort(s.removed)
	return ctx.Err()
}

func (s fakeSite) Pods(context.Context) (map[Role]Pod, error) {
	pods := healthy(s.mesh).Sites[s.name].Pods
	if s.unready[s.name] {
		pods[Server] = Pod{Name: "server-1", Sidecar: true, Problem: "container istio-proxy is not ready"}
	}
	if s.noImage {
		pods[Server] = Pod{Name: "server-1", Problem: "container probe: ErrImageNeverPull", Stuck: true, NoImage: true}
	}
	return pods, nil
}

// ExecInput is the way of calls that bring a token; by the other none may.
func (s fakeSite) ExecInput(_ context.Context, pod, container string, in []byte, argv ...string) ([]byte, error) {
	if want := []string{"/isthmus", "probe", "call", "--plan", "-", "-o", "json"}; container != Container || !cmp.Equal(argv, want) {
		return nil, fmt.Errorf("strange command in %s/%s: %v", pod, container, argv)
	}
	return s.calls(string(in))
}

func (s fakeSite) Envoy(_ context.Context, pod, page string) ([]byte, error) {
	for _, service := range []string{FailoverService(s.name), AnyService(s.mesh)} {
		if page == "config_dump?name_regex=outbound.*"+service+".isthmus-verify.*" {
			return []byte(strings.ReplaceAll(s.dump(s.name), FailoverService(s.name), service)), nil
		}
	}
	return nil, fmt.Errorf("strange page of %s: %s", pod, page)
}

func (s fakeSite) Exec(_ context.Context, pod, container string, argv ...string) ([]byte, error) {
	s.mu.Lock()
	s.words = append(s.words, argv...)
	s.mu.Unlock()
	if want := []string{"/isthmus", "probe", "call", "--plan"}; container != Container || !cmp.Equal(argv[:4], want) {
		return nil, fmt.Errorf("strange command in %s/%s: %v", pod, container, argv)
	}
	return s.calls(argv[4])
}

func (s fakeSite) calls(plan string) ([]byte, error) {
	var calls []probe.Call
	if err := json.Unmarshal([]byte(plan), &calls); err != nil {
		return nil, err
	}
	var results []probe.Result
	for _, c := range calls {
		if c.Repeat > 1 {
			results = append(results, probe.Repeat(context.Background(), c.Repeat, func() probe.Result {
				s.mu.Lock()
				s.again[s.name+" "+c.ID]++
				n := s.again[s.name+" "+c.ID]
				s.mu.Unlock()
				return s.answer(s.name, c, n+s.seen[s.name+" "+c.ID])
			}))
			continue
		}
		s.mu.Lock()
		s.seen[s.name+" "+c.ID]++
		n := s.seen[s.name+" "+c.ID]
		early := strings.HasPrefix(c.ID, "failover/") != s.left[s.name] && strings.HasPrefix(c.ID, "failover")
		s.mu.Unlock()
		if early {
			return nil, fmt.Errorf("%s called %s before its time, or after", s.name, c.ID)
		}
		results = append(results, s.answer(s.name, c, n))
	}
	return json.Marshal(results)
}

func TestAMeshThatWorksIsProvedInOneRound(t *testing.T) {
	f := newFake(twoClusters())
	p, err := f.prover().Prove(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !p.Passed || len(p.Failures) > 0 {
		t.Errorf("not passed: %+v", p.Failures)
	}
	want := Tallies{Delivered: Tally{4, 4}, Encrypted: Tally{4, 4}, Strangers: Tally{4, 4}, Plain: Tally{2, 2}, Unallowed: Tally{4, 4}}
	if diff := cmp.Diff(want, p.Tallies()); diff != "" {
		t.Errorf("tallies: -want +got\n%s", diff)
	}
	for call, n := range f.seen {
		if n != 1 {
			t.Errorf("%s was called %d times", call, n)
		}
	}
	if len(f.seen) != 24 || f.looks != 0 {
		t.Errorf("%d calls, %d looks; want 24 and none", len(f.seen), f.looks)
	}
	if want := []string{"east", "west"}; !cmp.Equal(f.removed, want) {
		t.Errorf("removed from %v, want %v", f.removed, want)
	}
}

func TestCallsThatSucceedLaterAreProved(t *testing.T) {
	f := newFake(twoClusters())
	f.answer = func(from string, c probe.Call, n int) probe.Result {
		if from == "east" && strings.Contains(c.ID, "west/http") && n < 4 {
			return broken(c)
		}
		return good(f.mesh, from, c)
	}
	p, err := f.prover().Prove(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !p.Passed {
		t.Errorf("not passed: %+v", p.Failures)
	}
	if n := f.seen["east west/http/"]; n != 4 {
		t.Errorf("the late call was tried %d times, want 4", n)
	}
	if n := f.seen["west east/http/"]; n != 1 {
		t.Errorf("a call that had passed was made %d times", n)
	}
}

func TestGivesUpEarlyOnlyOnWhatIsProven(t *testing.T) {
	cases := []struct {
		reason   string
		evidence func(*Evidence)
		code     string
		atMost   int // tries; 0: until the time is over
	}{
		{
			"a remote secret that is missing twice in a row",
			func(e *Evidence) { delete(e.Now.Clusters["east"].Secrets, "istio-system/istio-remote-secret-west") },
			"remote-secret-missing", 2,
		},
		{"nothing known: it may still come", func(*Evidence) {}, "unknown", 0},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			f := newFake(twoClusters())
			f.evidence = c.evidence
			f.answer = func(from string, call probe.Call, _ int) probe.Result {
				if from == "east" && strings.HasPrefix(call.ID, "west/") && !strings.HasPrefix(call.To, "tls") {
					return broken(call)
				}
				return good(f.mesh, from, call)
			}
			p, err := f.prover().Prove(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(p.Failures) != 1 || p.Failures[0].Reason.Code != c.code || p.Failures[0].Title() != "east → west" {
				t.Errorf("%s: failures %+v, want %s of east → west", c.reason, p.Failures, c.code)
			}
			if n := f.seen["east west/http/"]; c.atMost > 0 && n > c.atMost || c.atMost == 0 && n < 3 {
				t.Errorf("%s: %d tries", c.reason, n)
			}
		})
	}
}

func TestAClusterThatIsAwaySaysSoInItsRowAndColumn(t *testing.T) {
	f := newFake(twoClusters())
	f.away["west"] = true
	f.answer = func(from string, c probe.Call, _ int) probe.Result {
		if strings.Contains(c.To, "to-west") {
			return broken(c)
		}
		return good(f.mesh, from, c)
	}
	p, err := f.prover().Prove(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, c := range p.Cells {
		if !c.OK {
			got[c.From+" "+c.To] = c.Reasons[0].Code + ": " + c.Wrong
		}
	}
	want := map[string]string{
		"east west": "cluster-away: no healthy upstream",
		"west east": "cluster-away: API server away",
		"west west": "cluster-away: API server away",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("cells: -want +got\n%s", diff)
	}
	if !cmp.Equal(f.placed, []string{"east"}) || !cmp.Equal(f.removed, []string{"east"}) {
		t.Errorf("placed in %v, removed from %v; want east alone", f.placed, f.removed)
	}
	if p.Clusters[1].Problem == "" {
		t.Error("the cluster's problem is not said")
	}
}

func TestACallIsProvedEvenWhereItsTargetsAPIServerIsAway(t *testing.T) {
	f := newFake(twoClusters())
	f.away["west"] = true
	p, err := f.prover().Prove(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if c := p.Cells[1]; !c.OK || c.To != "west" {
		t.Errorf("%s → %s: %s; its pods still serve", c.From, c.To, c.Wrong)
	}
}

func TestNoClusterAnswers(t *testing.T) {
	f := newFake(twoClusters())
	f.away["east"], f.away["west"] = true, true
	if _, err := f.prover().Prove(t.Context()); !errors.Is(err, errNoCluster) {
		t.Errorf("error %v, want %v", err, errNoCluster)
	}
}

func TestWithoutTheImageThereIsNoProof(t *testing.T) {
	f := newFake(twoClusters())
	f.noImage = true
	_, err := f.prover().Prove(t.Context())
	var noImage *ImageError
	if !errors.As(err, &noImage) || !strings.Contains(err.Error(), "isthmus image") {
		t.Errorf("error %v, want one that says how to make the image", err)
	}
	if len(f.removed) != 2 {
		t.Errorf("removed from %v, want both", f.removed)
	}
}

func TestAPodThatDoesNotStartIsNamed(t *testing.T) {
	f := newFake(twoClusters())
	f.unready["west"] = true
	f.answer = func(from string, c probe.Call, _ int) probe.Result {
		if strings.Contains(c.To, "to-west") {
			return broken(c)
		}
		return good(f.mesh, from, c)
	}
	p, err := f.prover().Prove(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r := p.Cells[1].Reasons; len(r) == 0 || r[0].Code != "pod-not-ready" {
		t.Errorf("reasons %+v, want pod-not-ready first", r)
	}
}

func TestInterruptedItTakesTheWorkloadsAway(t *testing.T) {
	f := newFake(twoClusters())
	ctx, cancel := context.WithCancel(t.Context())
	f.answer = func(_ string, c probe.Call, _ int) probe.Result {
		cancel()
		return broken(c)
	}
	if _, err := f.prover().Prove(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	if want := []string{"east", "west"}; !cmp.Equal(f.removed, want) {
		t.Errorf("removed from %v, want %v", f.removed, want)
	}
}

func TestKeepKeeps(t *testing.T) {
	f := newFake(twoClusters())
	p := f.prover()
	p.Keep = true
	proof, err := p.Prove(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(f.removed) > 0 || !proof.Kept {
		t.Errorf("removed from %v, kept %t", f.removed, proof.Kept)
	}
}

// TestKeptWorkloadsAreAsTheyWere is that what the last calls took away is there again.
func TestKeptWorkloadsAreAsTheyWere(t *testing.T) {
	m, _ := withRegions()
	f := newFake(m)
	taken := map[string]bool{}
	f.refuse = func(cluster string) error {
		taken[cluster] = true
		return nil
	}
	p := f.prover()
	p.Keep = true
	if _, err := p.Prove(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range m.Names() {
		if !taken[name] || f.left[name] {
			t.Errorf("%s: its own endpoints were taken away %t, and are still away %t", name, taken[name], f.left[name])
		}
	}
}

func TestErrandsFollowNetworks(t *testing.T) {
	separate, shared := twoClusters(), twoClusters()
	shared.Clusters[1].Network = "east"
	permissive := twoClusters()
	permissive.MTLS = "PERMISSIVE"
	cases := []struct {
		reason string
		mesh   mesh.Mesh
		want   []string
	}{
		{"strangers knock at gateways, plain text is tried where pods are reached", separate, []string{
			"east east plain text http://100.64.0.7:8080",
			"east west no certificate tls://198.18.0.12:15443",
			"east west forged certificate tls://198.18.0.12:15443",
			"west east no certificate tls://198.18.0.11:15443",
			"west east forged certificate tls://198.18.0.11:15443",
			"west west plain text http://100.64.0.7:8080",
		}},
		{"on a shared network strangers knock at pods", shared, []string{
			"east east plain text http://100.64.0.7:8080",
			"east west no certificate tls://100.64.0.7:8080",
			"east west forged certificate tls://100.64.0.7:8080",
			"east west plain text http://100.64.0.7:8080",
			"west east no certificate tls://100.64.0.7:8080",
			"west east forged certificate tls://100.64.0.7:8080",
			"west east plain text http://100.64.0.7:8080",
			"west west plain text http://100.64.0.7:8080",
		}},
		{"where plain text is allowed it is not asked about", permissive, []string{
			"east west no certificate tls://198.18.0.12:15443",
			"east west forged certificate tls://198.18.0.12:15443",
			"west east no certificate tls://198.18.0.11:15443",
			"west east forged certificate tls://198.18.0.11:15443",
		}},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			var got []string
			for _, e := range errands(c.mesh, func(from, to mesh.Cluster) string { return doorOf(healthy(c.mesh), c.mesh, from, to) }, nowhere) {
				if !e.kind.inside() {
					got = append(got, fmt.Sprintf("%s %s %s %s", e.from.Name, e.to.Name, e.kind, e.call.To))
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s: -want +got\n%s", c.reason, diff)
			}
		})
	}
}

func nowhere(mesh.Cluster) bool { return false }

// TestWhoIsNotLetInIsAskedAboutEverywhere: once for every ordered pair and every cluster with itself, by another
// identity than the one that calls are delivered for.
func TestWhoIsNotLetInIsAskedAboutEverywhere(t *testing.T) {
	m := twoClusters()
	var got []string
	for _, e := range errands(m, func(mesh.Cluster, mesh.Cluster) string { return "" }, nowhere) {
		if e.kind == NotAllowed {
			got = append(got, fmt.Sprintf("%s %s %s %s", e.from.Name, e.to.Name, e.role, e.call.To))
		}
	}
	want := []string{
		"east east server http://to-east:80", "east west server http://to-west:80",
		"west east server http://to-east:80", "west west server http://to-west:80",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	for _, c := range []struct {
		reason string
		result probe.Result
		passed bool
	}{
		{"refused by the policy", probe.Result{Class: probe.Status, Code: 403, Flag: "RBAC"}, true},
		{"refused by somebody else", probe.Result{Class: probe.Status, Code: 403}, false},
		{"served", probe.Result{OK: true}, false},
		{"not reached: nothing is proved", probe.Result{Class: probe.Status, Code: 503, Flag: "UH"}, false},
	} {
		a := attempt{errand: uninvited(m.Clusters[0], m.Clusters[1])}
		if a.judge(m, c.result); a.passed != c.passed {
			t.Errorf("%s: passed %t", c.reason, a.passed)
		}
	}
}

func TestPlansAreCutWhereACommandLineEnds(t *testing.T) {
	var calls []probe.Call
	for i := range 500 {
		calls = append(calls, probe.Call{ID: fmt.Sprint(i), To: "http://" + strings.Repeat("x", 60)})
	}
	texts, err := plans(calls)
	if err != nil {
		t.Fatal(err)
	}
	var again []probe.Call
	for _, text := range texts {
		if len(text) > maxPlan {
			t.Errorf("a plan of %d bytes", len(text))
		}
		var part []probe.Call
		if err := json.Unmarshal([]byte(text), &part); err != nil {
			t.Fatal(err)
		}
		again = append(again, part...)
	}
	if diff := cmp.Diff(calls, again); diff != "" {
		t.Errorf("calls are lost or out of order: -want +got\n%s", diff)
	}
}
