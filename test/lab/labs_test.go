//go:build lab

package lab_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"isthmus.dev/isthmus/lab"
)

// atOnce is how many labs there are, and with that how many tests at the same time: as many as a run may have, or
// ISTHMUS_TEST_LABS. Half of the time of one is waiting for pods.
func atOnce() int {
	if n, err := strconv.Atoi(os.Getenv("ISTHMUS_TEST_LABS")); err == nil {
		return min(max(n, 1), most)
	}
	return most
}

// most is how many labs a run may leave behind.
const most = 2

// labs are the labs of this run. Tests that count calls or break things for seconds have the machine for themselves and
// run first, on the first lab. What mostly waits for pods runs beside others after them, each on a lab of its own: the
// first, or another of the same clusters, which is brought up when it is needed.
type labs struct {
	adding sync.Mutex
	mu     sync.Mutex // all and of
	all    []*lab.Lab
	of     map[string]*lab.Lab // by the name of the test whose lab it is
	free   chan *lab.Lab
}

// beside lets a test run at the same time as others, on a lab that is its own until it ends.
func beside(t *testing.T) {
	t.Helper()
	t.Parallel()
	l, err := world.labs.take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	world.labs.give(t.Name(), l)
	t.Cleanup(func() {
		world.labs.give(t.Name(), nil)
		world.labs.free <- l
	})
}

// here is the lab of a test, or of the one that it is a part of.
func here(t testing.TB) *lab.Lab {
	world.labs.mu.Lock()
	defer world.labs.mu.Unlock()
	for name := t.Name(); name != ""; name = name[:max(0, strings.LastIndexByte(name, '/'))] {
		if l := world.labs.of[name]; l != nil {
			return l
		}
	}
	return world.labs.all[0]
}

// give makes a lab a test's; nil, none.
func (s *labs) give(name string, l *lab.Lab) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of[name] = l
}

// take returns a lab that is no test's.
func (s *labs) take(ctx context.Context) (*lab.Lab, error) {
	s.adding.Lock()
	if len(s.free) == 0 && len(s.all) < atOnce() {
		defer s.adding.Unlock()
		return s.add(ctx)
	}
	s.adding.Unlock()
	return <-s.free, nil
}

// add brings another lab up.
func (s *labs) add(ctx context.Context) (*lab.Lab, error) {
	l, err := up(ctx, lab.Config{Name: labName(len(s.all)), Clusters: []lab.Cluster{
		// West and north reach each other's pods: topologies on one network are made of these two.
		{Name: "east"}, {Name: "west"}, {Name: "north", Network: "west"},
	}})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.all = append(s.all, l)
	s.mu.Unlock()
	return l, l.LoadImage(ctx, world.archive)
}

// down takes every lab down, this run's and what a killed one left.
func (s *labs) down(ctx context.Context) error {
	var errs []error
	for i := range most {
		errs = append(errs, lab.Down(ctx, labName(i), ""))
	}
	return errors.Join(errs...)
}

// labName is the name of one of the labs. Two runs on one machine need labs of other names.
func labName(i int) string {
	name := cmp.Or(os.Getenv("ISTHMUS_TEST_LAB"), "test")
	if i > 0 {
		name += fmt.Sprint("-", i+1)
	}
	return name
}
