package status

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"isthmus.dev/isthmus/internal/cluster"
)

// A meshConfig is as much of istiod's /debug/mesh as is asked for here.
type meshConfig struct {
	LocalityLbSetting struct {
		FailoverPriority []string `json:"failoverPriority"`
	} `json:"localityLbSetting"`
}

// Prefers tells what keeps the proxies of a cluster's istiods in one namespace from preferring another cluster; "" if
// they do. Like Sends it looks twice.
func Prefers(ctx context.Context, conn *cluster.Conn, namespace, to string) (not string, err error) {
	return twice(ctx, func() (string, error) {
		return ofAll(ctx, conn, namespace, func(ctx context.Context, p corev1.Pod) (string, error) {
			var config meshConfig
			var proxies []ProxyStatus
			if err := page(ctx, conn, p, "mesh", &config); err != nil {
				return "", err
			}
			if err := page(ctx, conn, p, "syncz", &proxies); err != nil {
				return "", err
			}
			return judgePrefers(p.Name, config, proxies, to), nil
		})
	})
}

func judgePrefers(pod string, config meshConfig, proxies []ProxyStatus, to string) string {
	if !slices.ContainsFunc(config.LocalityLbSetting.FailoverPriority, func(s string) bool { _, value, _ := strings.Cut(s, "="); return value == to }) {
		return pod + " does not prefer " + to + " yet"
	}
	if behind := inStep(proxies).Behind; len(behind) > 0 {
		return fmt.Sprintf("%d proxies of %s have not taken the last change: %s", len(behind), pod, few(behind))
	}
	return ""
}

// OnlyIn lists the hosts of which an istiod knows endpoints in some clusters and in no other: nobody else would answer
// for them. mine says which namespaces count.
func OnlyIn(ctx context.Context, conn *cluster.Conn, namespace string, clusters []string, mine func(namespace string) bool) ([]string, error) {
	var mu sync.Mutex
	var hosts []string
	_, err := ofAll(ctx, conn, namespace, func(ctx context.Context, p corev1.Pod) (string, error) {
		var shards endpoints
		if err := page(ctx, conn, p, "endpointShardz", &shards); err != nil {
			return "", err
		}
		mu.Lock()
		defer mu.Unlock()
		hosts = append(hosts, onlyIn(shards, clusters, mine)...)
		return "", nil
	})
	slices.Sort(hosts)
	return slices.Compact(hosts), err
}

func onlyIn(shards endpoints, clusters []string, mine func(namespace string) bool) []string {
	var hosts []string
	for _, host := range slices.Sorted(maps.Keys(shards)) {
		for namespace, of := range shards[host] {
			here, elsewhere := false, false
			for key, list := range of.Shards {
				if some, _ := list.([]any); len(some) == 0 {
					continue
				}
				_, name, _ := strings.Cut(key, "/")
				if slices.Contains(clusters, name) {
					here = true
				} else {
					elsewhere = true
				}
			}
			if here && !elsewhere && mine(namespace) {
				hosts = append(hosts, host)
			}
		}
	}
	return slices.Compact(hosts)
}
