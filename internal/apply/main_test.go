package apply_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"

	"isthmus.dev/isthmus/internal/facts/apitest"
)

// clusters are the API servers that all tests of this package share; each test works in namespaces of its own.
var clusters *apitest.Clusters

func TestMain(m *testing.M) {
	flag.Parse()
	// What runs side by side here waits for API servers, and does not compute.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	code, err := withClusters(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

func withClusters(m *testing.M) (int, error) {
	var err error
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	clusters, err = apitest.Start(ctx, "east", "west")
	if err != nil && !errors.Is(err, apitest.ErrNoPrograms) {
		return 1, err
	}
	if clusters != nil {
		defer clusters.Stop()
		for _, cfg := range clusters.Configs {
			if err := serveWorkloads(ctx, cfg); err != nil {
				return 1, err
			}
		}
	}
	return m.Run(), nil
}

// needClusters skips a test where no programs were given.
func needClusters(t *testing.T) {
	t.Helper()
	if clusters == nil {
		t.Skip(apitest.ErrNoPrograms)
	}
}

// startServers starts API servers, with what stands in for the controllers and nodes that they do not have.
func startServers(t testing.TB, names []string) *apitest.Clusters {
	t.Helper()
	on := apitest.For(t, names...)
	for _, cfg := range on.Configs {
		if err := serveWorkloads(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	return on
}
