package apply_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/plan"
)

// errCrash is what requests get from a process that is no more.
var errCrash = errors.New("crash")

// A crash ends the world at the n-th write: before it is sent, or after it was done and before the answer came.
// From then on no request leaves.
type crash struct {
	at    int
	after bool
	stop  context.CancelFunc

	mu     sync.Mutex
	writes int
}

func (c *crash) wrap(_ string, rt http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		if !isWrite(req) {
			return rt.RoundTrip(req)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.writes++
		switch {
		case c.writes < c.at || c.at == 0:
			return rt.RoundTrip(req)
		case c.writes == c.at && c.after:
			if resp, err := rt.RoundTrip(req.WithContext(context.WithoutCancel(req.Context()))); err == nil {
				_ = resp.Body.Close()
			}
		}
		c.stop()
		return nil, errCrash
	})
}

// small is a world with few objects, so that every write of it can be crashed at.
func (b *bench) small() {
	for name, objects := range b.want {
		b.want[name] = slices.DeleteFunc(objects, func(o object.Object) bool {
			switch o.Body.GetKind() {
			case "Namespace", "Secret", "ConfigMap", "Deployment", "Role":
				return false
			}
			return true
		})
	}
}

// edit changes what is wanted in every way: an object changes, one goes, one is replaced, one comes.
func (b *bench) edit() {
	for name, objects := range b.want {
		objects = slices.DeleteFunc(slices.Clone(objects), func(o object.Object) bool { return o.Body.GetKind() == "Role" })
		for i, o := range objects {
			objects[i].Body = o.Body.DeepCopy()
			switch o.Body.GetKind() {
			case "ConfigMap":
				_ = unstructured.SetNestedField(objects[i].Body.Object, "new", "data", "mesh")
			case "Deployment":
				_ = unstructured.SetNestedField(objects[i].Body.Object, "b", "spec", "selector", "matchLabels", "new")
				_ = unstructured.SetNestedField(objects[i].Body.Object, "b", "spec", "template", "metadata", "labels", "new")
			}
		}
		text := `{apiVersion: v1, kind: ConfigMap, metadata: {name: more, namespace: ` + b.mesh.Name + `}}`
		b.want[name] = append(objects, object.Object{Part: object.PartPolicy, Body: body(b.t, text)})
	}
}

// listed checks that whatever exists and is ours is in its cluster's inventory: nothing is orphaned.
func (b *bench) listed(refs map[string][]object.Ref) {
	b.t.Helper()
	for name, all := range refs {
		var text string
		if inv := b.get(name, ref("", "ConfigMap", object.SystemNamespace, facts.InventoryName(b.mesh.Name))); inv != nil {
			text, _, _ = unstructured.NestedString(inv.Object, "data", facts.InventoryKey)
		}
		have, _ := facts.ParseInventory(text)
		for _, r := range all {
			if b.get(name, r) != nil && !slices.Contains(have, r) {
				b.t.Errorf("%s in %s exists and is in no inventory", r, name)
			}
		}
	}
}

func TestACrashAtEveryWriteConverges(t *testing.T) {
	needClusters(t)
	for _, edited := range []bool{false, true} {
		// Every other write is lost before it is sent, the others after they were done.
		for n := 1; crashOnce(t, n, edited, n%2 == 0); n++ {
		}
	}
}

// crashOnce crashes a run at its n-th write and runs again; false when the run ended before there was one.
func crashOnce(t *testing.T, n int, edited, after bool) (crashed bool) {
	name := strings.ToLower(fmt.Sprintf("crash-%d-%t-%t", n, edited, after))
	b := newBench(t, name)
	b.small()
	refs := map[string][]object.Ref{"east": b.want.Refs("east"), "west": b.want.Refs("west")}
	if edited {
		b.converge()
		b.edit()
		refs["east"] = append(refs["east"], b.want.Refs("east")...)
		refs["west"] = append(refs["west"], b.want.Refs("west")...)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	c := &crash{at: n, after: after, stop: stop}
	b.wrap = c.wrap
	p := b.mustPlan()
	set, err := b.apply(ctx, p)
	if (err != nil) != (c.writes >= n) {
		t.Fatalf("%s: apply says %v after %d writes", name, err, c.writes)
	}
	if err != nil && len(set.Done) >= p.Writes() {
		t.Errorf("%s: all %d changes are said to be done", name, len(set.Done))
	}
	b.listed(refs)
	b.wrap = nil
	b.converge()
	if left := b.mustPlan(); left.Writes() != 0 {
		t.Errorf("%s: after the second run there is still %v", name, changes(left))
	}
	b.listed(refs)
	for cluster := range b.want {
		for _, r := range b.want.Refs(cluster) {
			if b.get(cluster, r) == nil {
				t.Errorf("%s: %s is missing in %s", name, r, cluster)
			}
		}
		if edited && b.get(cluster, ref("rbac.authorization.k8s.io", "Role", name, "istiod")) != nil {
			t.Errorf("%s: what is no longer wanted is still in %s", name, cluster)
		}
	}
	b.secretless(p)
	return err != nil
}

// secretless checks that no canary is in a plan, in its error or in an event.
func (b *bench) secretless(p plan.Plan) {
	b.t.Helper()
	for _, text := range []string{fmt.Sprintf("%+v", p), marshal(b.t, p), marshal(b.t, b.facts()), fmt.Sprintf("%+v", b.facts().Clusters["east"]), b.all.String()} {
		if at := strings.Index(text, canary); at >= 0 {
			b.t.Errorf("a secret is in: %s", text[max(0, at-200):at])
		}
	}
}
