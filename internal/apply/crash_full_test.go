package apply_test

import (
	"crypto/rand"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"isthmus.dev/isthmus/internal/apply"
	"isthmus.dev/isthmus/internal/cluster"
	"isthmus.dev/isthmus/internal/engine"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/seal"
)

// meshOfTwo is a document as people have it. The addresses are what other clusters would use, were there nodes.
const meshOfTwo = `
apiVersion: isthmus.dev/v1alpha1
kind: Mesh
metadata: {name: shop}
spec:
  clusters:
  - {name: east, server: "https://198.51.100.1:6443"}
  - {name: west, server: "https://198.51.100.2:6443"}
`

// wholeLife is the life of a whole mesh: every object of Istio in two clusters, with real certificates and tokens, on
// API servers of its own.
func wholeLife(t *testing.T) life {
	on := startServers(t, []string{"east", "west"})
	wanted := func(m mesh.Mesh) object.Objects {
		want, err := engine.Engine{Mesh: m}.Want()
		if err != nil {
			t.Fatal(err)
		}
		return want
	}
	load := func(set ...string) mesh.Mesh {
		m, err := mesh.Load("mesh.yaml", []byte(meshOfTwo), set)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	installed := load()
	upgraded := load("spec.istio.values.pilot.resources.requests.memory=1Gi", "spec.istio.meshConfig.accessLogFile=/dev/stdout")
	one, left, err := upgraded.Without("west")
	if err != nil {
		t.Fatal(err)
	}
	one.Former = left
	b := &bench{t: t, on: on, lock: true, judges: engine.Judges}
	b.seals = func(conns map[string]*cluster.Conn) map[object.SealKind]apply.Sealer {
		return seal.Sealers(b.mesh, conns, time.Now, rand.Reader)
	}
	return life{bench: b, chapters: []chapter{
		{name: "install", mesh: installed, want: wanted(installed)},
		{name: "upgrade", mesh: upgraded, want: wanted(upgraded)},
		{name: "removal of a cluster", mesh: one, want: wanted(one)},
		{name: "uninstall", mesh: one, want: object.Objects{}},
	}}
}

// kindsLife is the part of a whole mesh's life in which kinds come: uninstall keeps them, and they are deleted after it.
// It ends at the first write after which all kinds are there.
func kindsLife(t *testing.T) life {
	l := wholeLife(t)
	install := l.chapters[0]
	install.name = "install of kinds"
	l.chapters = []chapter{install, {name: "uninstall of kinds", mesh: install.mesh, want: object.Objects{}, calm: true}}
	l.crashed = func() (over bool) {
		for name := range l.bench.on.Configs {
			for _, r := range install.want.Refs(name) {
				if r.Kind == "CustomResourceDefinition" && l.bench.get(name, r) == nil {
					return false
				}
			}
		}
		return true
	}
	l.again = func() { l.bench.withoutKinds(install.want) }
	return l
}

// withoutKinds deletes the kinds that uninstall keeps, so that the next install makes them again.
func (b *bench) withoutKinds(want object.Objects) {
	all := func(do func(name string, kinds dynamic.ResourceInterface, kind object.Ref)) {
		for name, conn := range b.conns() {
			for _, r := range want.Refs(name) {
				if r.Kind != "CustomResourceDefinition" {
					continue
				}
				kinds, err := conn.Resource(schema.GroupVersionKind{Group: r.Group, Kind: r.Kind}, "")
				if err != nil {
					b.t.Fatal(err)
				}
				do(name, kinds, r)
			}
		}
	}
	all(func(_ string, kinds dynamic.ResourceInterface, kind object.Ref) {
		if err := kinds.Delete(b.t.Context(), kind.Name, metav1.DeleteOptions{}); err != nil {
			b.t.Fatal(err)
		}
	})
	all(func(name string, kinds dynamic.ResourceInterface, kind object.Ref) {
		for n := 1; b.get(name, kind) != nil; n++ {
			if n%50 == 0 { // an API server that failed to let go of one waits twice as long each time, unless it changes
				note := fmt.Appendf(nil, `{"metadata": {"annotations": {"test": "%d"}}}`, n)
				if _, err := kinds.Patch(b.t.Context(), kind.Name, types.MergePatchType, note, metav1.PatchOptions{}); err != nil && !apierrors.IsNotFound(err) {
					b.t.Fatal(err)
				}
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
}

// A point is where a process ends: at its n-th write, before it is sent or after it was done.
type point struct {
	n     int
	after bool
}

// TestACrashOfAWholeMeshConverges ends the process at writes of the life of a whole mesh: at some of them, spread over
// all, or with ISTHMUS_CRASH=all before and after each (see docs/numbers.md for how long that takes). Kinds take API
// servers longest; they come and go in a life of their own, and stay in the other.
func TestACrashOfAWholeMeshConverges(t *testing.T) {
	needClusters(t)
	t.Parallel() // its lives have API servers of their own
	count := &points{n: map[string]int{}}
	began := time.Now()
	t.Run("lives", func(t *testing.T) {
		for _, s := range []struct {
			name   string
			life   func(*testing.T) life
			sample []point
		}{
			{"kinds", kindsLife, []point{{12, false}, {40, true}}},
			{"the rest", wholeLife, []point{{3, false}, {12, true}, {25, false}, {60, true}}},
		} {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				lives, next, at := 1, atomic.Int64{}, func(i int) (point, bool) {
					return s.sample[min(i, len(s.sample)-1)], i < len(s.sample)
				}
				if os.Getenv("ISTHMUS_CRASH") == "all" {
					lives, at = 2, func(i int) (point, bool) { return point{i/2 + 1, i%2 == 1}, true }
				}
				for i := range lives {
					t.Run(strconv.Itoa(i), func(t *testing.T) {
						t.Parallel()
						l := s.life(t)
						for p, more := at(int(next.Add(1)) - 1); more && l.live(p.n, p.after, count); p, more = at(int(next.Add(1)) - 1) {
							t.Logf("write %d of each chapter, after it %t: %s so far", p.n, p.after, time.Since(began).Round(time.Second))
						}
					})
				}
			})
		}
	})
	total := 0
	for _, c := range slices.Sorted(maps.Keys(count.n)) {
		t.Logf("%s: crashed at %d points", c, count.n[c])
		total += count.n[c]
	}
	t.Logf("crashed at %d points in %s", total, time.Since(began).Round(time.Second))
	if total < 8 {
		t.Errorf("crashed at only %d points", total)
	}
}
