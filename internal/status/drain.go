package status

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
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

// Pushed is how far a cluster's istiods of one namespace have come with telling proxies things, by pod: the number of the
// last push that a proxy was sent.
type Pushed map[string]uint64

// HowFar returns Pushed as it is now.
func HowFar(ctx context.Context, conn *cluster.Conn, namespace string) (Pushed, error) {
	var mu sync.Mutex
	out := Pushed{}
	_, err := ofAll(ctx, conn, namespace, func(ctx context.Context, p corev1.Pod) (string, error) {
		var proxies []ProxyStatus
		if err := page(ctx, conn, p, "syncz", &proxies); err != nil {
			return "", err
		}
		var last uint64
		for _, x := range proxies {
			for _, r := range x.Resources {
				last = max(last, push(r.Sent))
			}
		}
		mu.Lock()
		defer mu.Unlock()
		out[p.Name] = last
		return "", nil
	})
	return out, err
}

// push is the number of the push in which something was sent: istiod's nonces are a time, "/", that number, and a UUID
// (istio.io: pilot/pkg/model, PushVersion; pilot/pkg/xds, nonce). 0 where a nonce is none.
func push(nonce string) uint64 {
	const uuid = 36
	_, rest, ok := strings.Cut(nonce, "/")
	if !ok || len(rest) <= uuid {
		return 0
	}
	n, err := strconv.ParseUint(rest[:len(rest)-uuid], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// endpointType is the kind of resource that tells a proxy where to send calls.
const endpointType = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"

// Prefers tells what keeps the proxies of a cluster's istiods in one namespace from preferring another cluster; "" if
// they do. Like Sends it looks twice. since is how far istiods were before the mesh configuration was changed: of a new
// one all proxies are told (Istio forces that push), so who has not taken a later push has not heard of it. It is nil
// where nothing was changed.
func Prefers(ctx context.Context, conn *cluster.Conn, namespace, to string, since Pushed) (not string, err error) {
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
			before, asked := since[p.Name]
			return judgePrefers(p.Name, config, proxies, to, before, asked), nil
		})
	})
}

func judgePrefers(pod string, config meshConfig, proxies []ProxyStatus, to string, before uint64, asked bool) string {
	if !slices.ContainsFunc(config.LocalityLbSetting.FailoverPriority, func(s string) bool { _, value, _ := strings.Cut(s, "="); return value == to }) {
		return pod + " does not prefer " + to + " yet"
	}
	behind := inStep(proxies).Behind
	for _, x := range proxies {
		if r, has := x.Resources[endpointType]; has && asked && push(r.Acked) <= before && !slices.Contains(behind, x.Proxy) {
			behind = append(behind, x.Proxy)
		}
	}
	if len(behind) > 0 {
		slices.Sort(behind)
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
