package status

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"isthmus.dev/isthmus/internal/cluster"
	"isthmus.dev/isthmus/internal/patience"
)

// settle is how long istiods are left alone between the look that finds nothing any more and the one that confirms
// it: a push begins 100 ms after a change (PILOT_DEBOUNCE_AFTER), and proxies then have to take it.
const settle = 3 * time.Second

// settleLooks is how often a proxy is looked at in that time before it is said to be out of step.
const settleLooks = 6

// endpoints are istiod's /debug/endpointShardz: service → namespace → shards by "Provider/cluster" (Istio:
// pilot/pkg/model/endpointshards.go).
type endpoints map[string]map[string]struct {
	Shards map[string]any
}

// Sends tells what a cluster's istiods of one namespace ("": of all), and through them its proxies, still have of other
// clusters; "" for nothing. Asked are all ready istiods, twice, so that what they know has also reached the proxies. A
// cluster with no istiod at all sends to nobody.
func Sends(ctx context.Context, conn *cluster.Conn, namespace string, to []string) (still string, err error) {
	return twice(ctx, func() (string, error) {
		return ofAll(ctx, conn, namespace, func(ctx context.Context, p corev1.Pod) (string, error) { return sendsOf(ctx, conn, p, to) })
	})
}

// twice asks until something is still there, at most two times with a pause for what is on its way.
func twice(ctx context.Context, ask func() (string, error)) (still string, err error) {
	for look := range 2 {
		if look > 0 {
			if err := patience.Sleep(ctx, settle); err != nil {
				return "", err
			}
		}
		if still, err = ask(); err != nil || still != "" {
			return still, err
		}
	}
	return "", nil
}

// ofAll asks all ready istiods, and puts together what they answer.
func ofAll(ctx context.Context, conn *cluster.Conn, namespace string, ask func(context.Context, corev1.Pod) (string, error)) (string, error) {
	pods, err := conn.Kube.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=istiod"})
	if err != nil {
		return "", err
	}
	if len(pods.Items) == 0 {
		return "", nil
	}
	ready := slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool { return !isReady(p) })
	if len(ready) == 0 {
		return noneReady, nil
	}
	found := make([]string, len(ready))
	tasks, ctx := errgroup.WithContext(ctx)
	for i, p := range ready {
		tasks.Go(func() (err error) {
			found[i], err = ask(ctx, p)
			return err
		})
	}
	if err := tasks.Wait(); err != nil {
		if strings.Contains(err.Error(), " is forbidden: ") { // exec's error has no type
			err = apierrors.NewForbidden(schema.GroupResource{Resource: "pods/exec"}, ready[0].Name, err)
		}
		return "", err
	}
	return strings.Join(slices.DeleteFunc(found, func(s string) bool { return s == "" }), "; "), nil
}

// sendsOf is what one istiod still has: the cluster itself, endpoints of it, or proxies that have not taken the news.
func sendsOf(ctx context.Context, conn *cluster.Conn, p corev1.Pod, to []string) (string, error) {
	var remotes []RemoteStatus
	var shards endpoints
	var proxies []ProxyStatus
	for _, q := range []struct {
		name string
		into any
	}{{"clusterz", &remotes}, {"endpointShardz", &shards}, {"syncz", &proxies}} {
		if err := page(ctx, conn, p, q.name, q.into); err != nil {
			return "", err
		}
	}
	return judgeSends(p.Name, remotes, shards, proxies, to), nil
}

func judgeSends(pod string, remotes []RemoteStatus, shards endpoints, proxies []ProxyStatus, to []string) string {
	for _, r := range remotes {
		if slices.Contains(to, r.ID) {
			return fmt.Sprintf("%s still watches %s", pod, r.ID)
		}
	}
	for _, service := range slices.Sorted(maps.Keys(shards)) {
		for _, namespace := range slices.Sorted(maps.Keys(shards[service])) {
			for _, key := range slices.Sorted(maps.Keys(shards[service][namespace].Shards)) {
				if _, name, _ := strings.Cut(key, "/"); slices.Contains(to, name) {
					return fmt.Sprintf("%s still has endpoints of %s in %s", pod, service, name)
				}
			}
		}
	}
	if behind := inStep(proxies).Behind; len(behind) > 0 {
		return fmt.Sprintf("%d proxies of %s have not taken the last change: %s", len(behind), pod, few(behind))
	}
	return ""
}
