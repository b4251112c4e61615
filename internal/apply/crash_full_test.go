package apply_test

import (
	"context"
	"crypto/rand"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"isthmus.dev/isthmus/internal/apply"
	"isthmus.dev/isthmus/internal/cluster"
	"isthmus.dev/isthmus/internal/engine"
	"isthmus.dev/isthmus/internal/facts/apitest"
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
	ctx, cancel := context.WithCancel(t.Context())
	on, err := apitest.Start(ctx, "east", "west")
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		on.Stop()
		cancel()
	})
	for _, cfg := range on.Configs {
		if err := serveWorkloads(ctx, cfg); err != nil {
			t.Fatal(err)
		}
	}
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
	one, _, err := upgraded.Without("west")
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, on: on, lock: true, judge: engine.Judges()}
	l := life{bench: b, chapters: []chapter{
		{"install", installed, wanted(installed)},
		{"upgrade", upgraded, wanted(upgraded)},
		{"removal of a cluster", one, wanted(one)},
		{"uninstall", one, object.Objects{}},
	}}
	b.seals = func(conns map[string]*cluster.Conn) map[object.SealKind]apply.Sealer {
		return seal.Sealers(b.mesh, conns, time.Now, rand.Reader)
	}
	l.again = func() { b.withoutKinds(l.chapters[0].want) }
	return l
}

// withoutKinds deletes the kinds that uninstall keeps, so that the next install makes them again.
func (b *bench) withoutKinds(want object.Objects) {
	for name, conn := range b.conns() {
		for _, r := range want.Refs(name) {
			if r.Kind != "CustomResourceDefinition" {
				continue
			}
			kinds, err := conn.Resource(schema.GroupVersionKind{Group: r.Group, Kind: r.Kind}, "")
			if err != nil {
				b.t.Fatal(err)
			}
			if err := kinds.Delete(b.t.Context(), r.Name, metav1.DeleteOptions{}); err != nil {
				b.t.Fatal(err)
			}
		}
	}
	for name := range b.conns() {
		for _, r := range want.Refs(name) {
			for r.Kind == "CustomResourceDefinition" && b.get(name, r) != nil && b.t.Context().Err() == nil {
				time.Sleep(20 * time.Millisecond)
			}
		}
	}
}

// TestACrashOfAWholeMeshConverges ends the process at writes of the life of a whole mesh: at some of them, spread over
// all, or with ISTHMUS_CRASH=all before and after each (see docs/numbers.md for how long that takes).
func TestACrashOfAWholeMeshConverges(t *testing.T) {
	needClusters(t)
	lives, at := 1, func(i int) (n int, after bool) {
		sample := []int{3, 12, 25, 60}
		return sample[min(i, len(sample)-1)], i%2 == 1
	}
	last := 3
	if os.Getenv("ISTHMUS_CRASH") == "all" {
		lives, last, at = 2, math.MaxInt, func(i int) (int, bool) { return i/2 + 1, i%2 == 1 }
	}
	count := &points{n: map[string]int{}}
	var next atomic.Int64
	began := time.Now()
	t.Run("lives", func(t *testing.T) {
		for i := range lives {
			t.Run(strconv.Itoa(i), func(t *testing.T) {
				t.Parallel()
				l := wholeLife(t)
				for i := int(next.Add(1)) - 1; i <= last; i = int(next.Add(1)) - 1 {
					n, after := at(i)
					if !l.live(n, after, count) {
						return
					}
					t.Logf("write %d of each chapter, after it %t: %s so far", n, after, time.Since(began).Round(time.Second))
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
