package apply_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"isthmus.dev/isthmus/internal/apply"
	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/plan"
)

// quick is an Applier that gives up soon.
func quick(ready time.Duration) *apply.Applier {
	return &apply.Applier{RetryFor: 3 * time.Second, ReadyFor: ready}
}

func objects(t *testing.T, texts ...string) []object.Object {
	t.Helper()
	var all []object.Object
	for _, text := range texts {
		all = append(all, object.Object{Part: object.PartProbes, Reason: "a proof needs it", Body: body(t, text)})
	}
	return all
}

func TestASetComesAndGoes(t *testing.T) {
	needClusters(t)
	ctx, c := t.Context(), conn(t, "east")
	inventory := facts.InventoryName("verify-set")
	want := objects(t,
		`{apiVersion: v1, kind: Namespace, metadata: {name: set}}`,
		`{apiVersion: v1, kind: Service, metadata: {name: echo, namespace: set}, spec: {selector: {app: echo}, ports: [{port: 80}]}}`,
		`{apiVersion: apps/v1, kind: Deployment, metadata: {name: echo, namespace: set}, spec: {selector: {matchLabels: {app: echo}}, template: {metadata: {labels: {app: echo}}, spec: {containers: [{name: a, image: a}]}}}}`)
	set, err := quick(20*time.Second).ApplySet(ctx, c, want, inventory, nil)
	if err != nil {
		t.Fatal(err)
	}
	if done, planned := set.Count("east"); done != planned || done < 4 {
		t.Errorf("%d of %d changes were made", done, planned)
	}
	if set, err = quick(20*time.Second).ApplySet(ctx, c, want, inventory, nil); err != nil || len(set.Done) != 0 {
		t.Errorf("the second time: %v, %v", set.Done, err)
	}
	if set, err = quick(20*time.Second).ApplySet(ctx, c, want[:1], inventory, nil); err != nil || len(set.Done) != 3 {
		t.Errorf("with less wanted, want two deletions and the inventory: %v, %v", set.Done, err)
	}
	if _, err = quick(20*time.Second).DeleteSet(ctx, c, inventory, nil); err != nil {
		t.Fatal(err)
	}
	for _, r := range []object.Ref{ref("", "Namespace", "", "set"), ref("", "ConfigMap", object.SystemNamespace, inventory)} {
		if get(t, "east", r) != nil {
			t.Errorf("%s is still there", r)
		}
	}
	detached := quick(20 * time.Second)
	detached.Detach = true
	if _, err = detached.ApplySet(ctx, c, want, inventory, nil); err != nil {
		t.Fatal(err)
	}
	if _, err = detached.DeleteSet(ctx, c, inventory, nil); err != nil {
		t.Fatal(err)
	}
	if _, err = quick(20*time.Second).ApplySet(ctx, c, want[:1], inventory, nil); err != nil {
		t.Errorf("again while it is on its way out: %v", err)
	}
	if u := get(t, "east", want[0].Ref()); u == nil || u.GetDeletionTimestamp() != nil {
		t.Error("it was not made anew")
	}
	if _, err = quick(20*time.Second).DeleteSet(ctx, c, inventory, nil); err != nil {
		t.Fatal(err)
	}
	if set, err = quick(time.Second).DeleteSet(ctx, c, inventory, nil); err != nil || len(set.Done) != 0 {
		t.Errorf("deleting what is not there: %v, %v", set.Done, err)
	}
	if _, err := quick(time.Second).DeleteSet(ctx, c, "mine", nil); err == nil {
		t.Error("a name that is no inventory's is taken for one")
	}
}

func TestANamespaceWithOthersThingsStays(t *testing.T) {
	needClusters(t)
	inventory := facts.InventoryName("verify-guest")
	if _, err := quick(5*time.Second).ApplySet(t.Context(), conn(t, "east"), objects(t, `{apiVersion: v1, kind: Namespace, metadata: {name: guest}}`), inventory, nil); err != nil {
		t.Fatal(err)
	}
	create(t, "east", "kubectl-create", `{apiVersion: v1, kind: Secret, metadata: {name: precious, namespace: guest}}`)
	_, err := quick(5*time.Second).DeleteSet(t.Context(), conn(t, "east"), inventory, nil)
	if err == nil || !strings.Contains(err.Error(), "Secret precious") {
		t.Errorf("want a refusal that names the secret, got %v", err)
	}
	if u := get(t, "east", ref("", "Namespace", "", "guest")); u == nil || u.GetDeletionTimestamp() != nil {
		t.Error("the namespace is going, and the secret with it")
	}
}

func TestWhyItIsNotReady(t *testing.T) {
	needClusters(t)
	cases := []struct {
		reason, kind, text string
		pod                string // a pod that a node would have made
		want               string
	}{
		{
			reason: "nobody makes pods", text: `{apiVersion: apps/v1, kind: Deployment, metadata: {name: never, namespace: unready}, spec: {selector: {matchLabels: {app: never}}, template: {metadata: {labels: {app: never}}, spec: {containers: [{name: a, image: a}]}}}}`,
			want: "cluster east: Deployment unready/never is not ready after 2s: no pod was made yet",
		},
		{
			reason: "no address", text: `{apiVersion: v1, kind: Service, metadata: {name: gateway, namespace: unready}, spec: {type: LoadBalancer, ports: [{port: 80}]}}`,
			want: "cluster east: Service unready/gateway is not ready after 2s: no LoadBalancer implementation has given it an address; install one, or set spec.gateways.eastWest.serviceType",
		},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			inventory := facts.InventoryName("verify-unready")
			_, err := quick(2*time.Second).ApplySet(t.Context(), conn(t, "east"), objects(t, `{apiVersion: v1, kind: Namespace, metadata: {name: unready}}`, c.text), inventory, nil)
			var unready *apply.NotReadyError
			if !errors.As(err, &unready) || err.Error() != c.want {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}

// TestTheNextWaveIsNotTouched stops at the first wave that fails.
func TestTheNextWaveIsNotTouched(t *testing.T) {
	b := newBench(t, "waves")
	b.small()
	b.mesh.Waves = [][]string{{"west"}, {"east"}}
	b.wrap = func(name string, rt http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			if name == "west" && req.Method == http.MethodPatch && strings.Contains(req.URL.Path, "/deployments/") {
				return answer(req, http.StatusForbidden, `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": 403, "message": "admission webhook \"policy.test\" denied the request: no images from hub.test"}`), nil
			}
			return rt.RoundTrip(req)
		})
	}
	set, err := b.apply(t.Context(), b.mustPlan())
	want := `cluster west: apply Deployment waves/istiod: webhook policy.test refuses it: no images from hub.test`
	if err == nil || err.Error() != want {
		t.Fatalf("%v, want %s", err, want)
	}
	if done, planned := set.Count("east"); done != 0 || planned == 0 {
		// The root and what it needs are made with the first wave, whose intermediates it signs.
		for _, d := range set.Done {
			if d.Cluster == "east" && !slices.Contains([]string{"waves", "root-waves", object.SystemNamespace, facts.InventoryName("waves")}, d.Object.Name) {
				t.Errorf("%s was touched in the next wave's cluster", d.Object)
			}
		}
	}
	if set.Waves != 0 || set.Of != 2 {
		t.Errorf("%d of %d waves are complete, want 0 of 2", set.Waves, set.Of)
	}
}

func answer(req *http.Request, code int, body string) *http.Response {
	return &http.Response{
		StatusCode: code, Status: http.StatusText(code), Request: req, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(body)), ProtoMajor: 1, ProtoMinor: 1,
	}
}

// TestWhatPassesIsTriedAgain lets every write fail once, each in one of the ways that go away by themselves.
func TestWhatPassesIsTriedAgain(t *testing.T) {
	b := newBench(t, "passing")
	b.small()
	var mu sync.Mutex
	failed := map[string]bool{}
	troubles := []string{
		`{"reason": "InternalError", "code": 500, "message": "Internal error occurred: failed calling webhook \"validation.istio.io\": failed to call webhook: Post \"https://istiod.istio-system.svc:443\": dial tcp: connect: connection refused"}`,
		`{"reason": "TooManyRequests", "code": 429, "message": "too many requests"}`,
		`{"reason": "InternalError", "code": 500, "message": "etcdserver: leader changed"}`,
		`{"reason": "ServiceUnavailable", "code": 503, "message": "the server is starting"}`,
		``,
	}
	b.wrap = func(name string, rt http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			if !isWrite(req) || failed[name+req.URL.Path] {
				return rt.RoundTrip(req)
			}
			failed[name+req.URL.Path] = true
			text := troubles[len(failed)%len(troubles)]
			if text == "" {
				return nil, io.ErrUnexpectedEOF
			}
			code := map[bool]int{true: 500, false: 503}[strings.Contains(text, "500")]
			if strings.Contains(text, "429") {
				code = 429
			}
			return answer(req, code, `{"kind": "Status", "apiVersion": "v1", "status": "Failure", `+text[1:]), nil
		})
	}
	b.converge()
	b.wrap = nil
	if len(failed) < 10 {
		t.Errorf("only %d writes failed once", len(failed))
	}
	if n := b.mustPlan().Writes(); n != 0 {
		t.Errorf("%d changes are left: %v", n, changes(b.mustPlan()))
	}
}

func TestInterruptedItSaysHowFarItCame(t *testing.T) {
	b := newBench(t, "interrupted")
	b.small()
	for _, o := range b.want["east"] {
		if o.Body.GetKind() == "Deployment" {
			o.Body.SetName("never") // is never ready, so that there is time to interrupt
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	p := b.mustPlan()
	b.wrap = func(name string, rt http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			if req.Method == http.MethodGet && strings.Contains(req.URL.Path, "/deployments/never") {
				stop()
			}
			return rt.RoundTrip(req)
		})
	}
	set, err := b.apply(ctx, p)
	if !errors.Is(err, context.Canceled) || err.Error() != "interrupted: context canceled" {
		t.Errorf("%v, want that it was interrupted", err)
	}
	done, planned := set.Count("east")
	if done == 0 || done >= planned {
		t.Errorf("%d of %d changes are said to be done in east", done, planned)
	}
	for _, d := range set.Done {
		if get(t, d.Cluster, d.Object) == nil {
			t.Errorf("%s is said to be made in %s and is not there", d.Object, d.Cluster)
		}
	}
}

// TestTwoMeshesShareAClusterInPeace: what one does, the other does not see as a change.
func TestTwoMeshesShareAClusterInPeace(t *testing.T) {
	a, b := newBench(t, "one"), newBench(t, "two")
	a.small()
	b.small()
	a.converge()
	b.converge()
	if n := a.mustPlan().Writes() + b.mustPlan().Writes(); n != 0 {
		t.Errorf("%d changes, want none: %v %v", n, changes(a.mustPlan()), changes(b.mustPlan()))
	}
	b.want = object.Objects{}
	b.converge()
	if n := a.mustPlan().Writes(); n != 0 {
		t.Errorf("removing the one changes the other: %v", changes(a.mustPlan()))
	}
	// The same objects wanted by another mesh are in the way, not shared.
	other := newBench(t, "one")
	other.small()
	other.mesh.Name = "three"
	for _, c := range other.mustPlan().Conflicts {
		if c.Object.Kind != "Namespace" && c.Why != "exists and belongs to mesh one" {
			t.Errorf("%s: %s", c.Object, c.Why)
		}
	}
	if n := len(other.mustPlan().Conflicts); n < 6 {
		t.Errorf("%d conflicts with the other mesh's objects", n)
	}
}

func TestEventsTellOfEveryPartOnce(t *testing.T) {
	b := newBench(t, "events")
	b.small()
	conns := map[string]bool{}
	parts := map[string]int{}
	p := b.mustPlan()
	var mu sync.Mutex
	a := apply.Applier{Conns: b.conns(), Sealers: b.sealers(), ReadyFor: 20 * time.Second}
	set, err := a.Apply(t.Context(), p, func(e apply.Event) {
		if !mu.TryLock() {
			t.Error("two events at once")
			return
		}
		defer mu.Unlock()
		conns[e.Cluster] = true
		if e.Done && e.Object == (object.Ref{}) {
			parts[fmt.Sprintf("%s %s", e.Cluster, e.Part)]++
		}
		if e.Err != nil {
			t.Errorf("an error: %v", e.Err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{}
	for _, c := range changes(p) {
		want[fmt.Sprintf("%s %s", c.Cluster, c.Part)] = 1
	}
	if d := cmp.Diff(want, parts); d != "" {
		t.Errorf("parts that were reported done (-want +got):\n%s", d)
	}
	if set.Waves != len(p.Waves) || len(set.Done) != p.Writes() {
		t.Errorf("%d waves and %d changes, want %d and %d", set.Waves, len(set.Done), len(p.Waves), p.Writes())
	}
}

func TestNoConnectionIsAnErrorBeforeTheFirstWrite(t *testing.T) {
	p := plan.Plan{Mesh: "m", Waves: []plan.Wave{{Clusters: []string{"east"}, Changes: []plan.Change{
		{Cluster: "east", Object: ref("", "Namespace", "", "a"), Action: plan.Create},
	}}}}
	_, err := (&apply.Applier{}).Apply(t.Context(), p, nil)
	want := "cluster east: no connection to it was made, and Namespace a is to be changed there"
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if set, err := (&apply.Applier{}).Apply(t.Context(), plan.Plan{Mesh: "m"}, nil); err != nil || len(set.Done) != 0 {
		t.Errorf("an empty plan: %v, %v", set, err)
	}
}

// TestWhatAnEarlierRunLeftIsWaitedFor: an object that is as it should be and not ready yet is not passed by.
func TestWhatAnEarlierRunLeftIsWaitedFor(t *testing.T) {
	needClusters(t)
	inventory := facts.InventoryName("verify-left")
	want := objects(t,
		`{apiVersion: v1, kind: Namespace, metadata: {name: left}}`,
		`{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingWebhookConfiguration, metadata: {name: left}, webhooks: [{name: left.sidecar-injector.istio.io, sideEffects: None, admissionReviewVersions: [v1], failurePolicy: Ignore, clientConfig: {service: {name: istiod, namespace: left, path: /inject}}, rules: [{operations: [CREATE], apiGroups: [none.istio.io], apiVersions: ["*"], resources: ["*"]}]}]}`,
		`{apiVersion: apps/v1, kind: Deployment, metadata: {name: gateway, namespace: left}, spec: {selector: {matchLabels: {app: g}}, template: {metadata: {labels: {app: g}}, spec: {containers: [{name: a, image: a}]}}}}`)
	hook, gateway := ref("admissionregistration.k8s.io", "MutatingWebhookConfiguration", "", "left"), ref("apps", "Deployment", "left", "gateway")
	for _, reason := range []string{"the first run", "the second run, for which the webhook is unchanged"} {
		_, err := quick(time.Second).ApplySet(t.Context(), conn(t, "east"), want, inventory, nil)
		var unready *apply.NotReadyError
		if !errors.As(err, &unready) || unready.Object != hook {
			t.Errorf("%s: %v, want that %s is not ready", reason, err, hook)
		}
		if get(t, "east", gateway) != nil {
			t.Errorf("%s: the gateway was made before the webhook that injects it works", reason)
		}
	}
	patch(t, "east", hook, "pilot-discovery", `{"webhooks": [{"name": "left.sidecar-injector.istio.io", "sideEffects": "None", "admissionReviewVersions": ["v1"], "failurePolicy": "Ignore", "clientConfig": {"caBundle": "`+testCA+`", "service": {"name": "istiod", "namespace": "left", "path": "/inject"}}, "rules": [{"operations": ["CREATE"], "apiGroups": ["none.istio.io"], "apiVersions": ["*"], "resources": ["*"]}]}]}`)
	for _, writes := range []int{1, 0} {
		set, err := quick(20*time.Second).ApplySet(t.Context(), conn(t, "east"), want, inventory, nil)
		if err != nil || len(set.Done) != writes {
			t.Errorf("%v and %v, want %d changes", err, set.Done, writes)
		}
	}
}

// TestAnIstiodOfAnotherRootIsReadyWhenItHasToldIt: its pods run at once, and workloads that start before it has written
// the new root would trust the old one.
func TestAnIstiodOfAnotherRootIsReadyWhenItHasToldIt(t *testing.T) {
	b := newBench(t, "another-root")
	b.small()
	b.converge()
	istiod, cacerts, told := ref("apps", "Deployment", b.mesh.Name, "istiod"), ref("", "Secret", b.mesh.Name, facts.CACerts), ref("", "ConfigMap", b.mesh.Name, facts.RootConfigMap)
	text := func(ca string) string {
		raw, err := base64.StdEncoding.DecodeString(ca)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	root := makeCA()
	tell := marshal(t, map[string]any{"data": map[string]string{facts.RootFile: text(root)}})
	for _, c := range []string{"east", "west"} {
		patch(t, c, cacerts, "test", `{"data": {"`+facts.RootFile+`": "`+root+`"}}`)
		create(t, c, "pilot-discovery", `{apiVersion: v1, kind: ConfigMap, metadata: {name: `+told.Name+`, namespace: `+told.Namespace+`}, data: {`+facts.RootFile+`: `+strconv.Quote(text(testCA))+`}}`)
	}
	patch(t, "west", told, "pilot-discovery", tell)
	b.restart = func(_ mesh.Mesh, _ string, o object.Object, _ facts.Snapshot) (string, error) {
		if o.Body.GetName() == istiod.Name {
			return "holds another root", nil
		}
		return "", nil
	}
	const untold = "it has not told workloads of its root yet (ConfigMap " + facts.RootConfigMap + ")"
	var said []string
	a := apply.Applier{Conns: b.conns(), Sealers: b.sealers(), ReadyFor: ready}
	set, err := a.Apply(t.Context(), b.mustPlan(), func(e apply.Event) {
		if strings.HasSuffix(e.Text, untold) {
			said = append(said, e.Cluster)
			patch(t, e.Cluster, told, "pilot-discovery", tell)
		}
	})
	if want := []string{"east"}; err != nil || len(set.Done) != 2 || !slices.Equal(said, want) {
		t.Errorf("%v and %v, waited for %v, want two restarts and that only %v is waited for", err, set.Done, said, want)
	}
}
