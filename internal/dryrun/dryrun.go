// Package dryrun reads what proxies wrote down while spec.access.mode was dryRun: calls that would have been refused.
// It changes nothing. That a proxy would have refused a call is Envoy's own word, judged by the very policies that will
// be enforced; nothing is judged here a second time.
package dryrun

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"isthmus.dev/isthmus/internal/cluster"
	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
)

// proxyContainer is what Istio calls the container of its proxy, in sidecars and gateways alike.
const proxyContainer = "istio-proxy"

// atOnce is how many pods of a cluster are read at the same time.
const atOnce = 16

// maxLog is how much of the end of a pod's log is read, in bytes.
const maxLog = 4 << 20

// A Refusal is calls, alike but for their time, that would have been refused.
type Refusal struct {
	Cluster   string `json:"cluster"` // of the called workload
	Namespace string `json:"namespace"`
	Workload  string `json:"workload"`
	// Caller is the SPIFFE identity; "" for a caller without one.
	Caller string    `json:"caller"`
	Method string    `json:"method,omitempty"` // "" for what is no HTTP
	Path   string    `json:"path,omitempty"`   // without its query
	Port   int       `json:"port"`             // of the pod
	Count  int       `json:"count"`
	Last   time.Time `json:"last"`
}

// A Report is everything that would have been refused since a moment.
type Report struct {
	Since    time.Time `json:"since"`
	Pods     int       `json:"pods"` // whose logs were read
	Refusals []Refusal `json:"refusals"`
	// Unread are clusters and pods that could not be read, and why: what they would refuse is not known.
	Unread []string `json:"unread,omitempty"`
}

// Gather reads the logs of every proxy in the clusters of a mesh.
func Gather(ctx context.Context, m mesh.Mesh, conns map[string]*cluster.Conn, since time.Time) Report {
	r := Report{Since: since.UTC(), Refusals: []Refusal{}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, c := range m.Clusters {
		wg.Go(func() {
			pods, refusals, unread := gather(ctx, conns[c.Name], since)
			mu.Lock()
			defer mu.Unlock()
			r.Pods += pods
			r.Refusals = append(r.Refusals, refusals...)
			r.Unread = append(r.Unread, unread...)
		})
	}
	wg.Wait()
	r.Refusals = together(r.Refusals)
	slices.Sort(r.Unread)
	return r
}

func gather(ctx context.Context, conn *cluster.Conn, since time.Time) (pods int, refusals []Refusal, unread []string) {
	list, err := conn.Kube.CoreV1().Pods("").List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return 0, nil, []string{fmt.Sprintf("cluster %s: list pods: %s", conn.Name, facts.Plain(err))}
	}
	var mu sync.Mutex
	var group errgroup.Group
	group.SetLimit(atOnce)
	for _, p := range list.Items {
		if !proxied(p) {
			continue
		}
		pods++
		group.Go(func() error {
			found, err := logOf(ctx, conn, p, since)
			mu.Lock()
			defer mu.Unlock()
			refusals = append(refusals, found...)
			if err != nil {
				unread = append(unread, fmt.Sprintf("cluster %s: pod %s/%s: %s", conn.Name, p.Namespace, p.Name, facts.Plain(err)))
			}
			return nil
		})
	}
	_ = group.Wait() // what could not be read is in unread
	return pods, refusals, unread
}

// proxied tells whether a pod has a proxy of Istio's that runs; as a sidecar it may be among the init containers.
func proxied(p corev1.Pod) bool {
	has := func(list []corev1.Container) bool {
		return slices.ContainsFunc(list, func(c corev1.Container) bool { return c.Name == proxyContainer })
	}
	return p.Status.Phase == corev1.PodRunning && (has(p.Spec.Containers) || has(p.Spec.InitContainers))
}

func logOf(ctx context.Context, conn *cluster.Conn, p corev1.Pod, since time.Time) ([]Refusal, error) {
	at, most := metav1.NewTime(since), int64(maxLog)
	body, err := conn.Kube.CoreV1().Pods(p.Namespace).GetLogs(p.Name, &corev1.PodLogOptions{
		Container: proxyContainer, SinceTime: &at, LimitBytes: &most,
	}).Stream(ctx)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return Parse(body, Refusal{Cluster: conn.Name, Namespace: p.Namespace, Workload: workload(p)})
}

// workload is what people call a pod's workload: its app label, or its own name.
func workload(p corev1.Pod) string {
	return cmp.Or(p.Labels["app"], p.Labels["app.kubernetes.io/name"], p.Labels["service.istio.io/canonical-name"], p.Name)
}

// Parse reads a proxy's log; of is what is the same for all of its lines. Lines of other logs are passed over.
func Parse(log io.Reader, of Refusal) ([]Refusal, error) {
	lines := bufio.NewScanner(log)
	lines.Buffer(make([]byte, 0, 64<<10), 1<<20)
	var all []Refusal
	for lines.Scan() {
		if !bytes.HasPrefix(lines.Bytes(), []byte("{")) {
			continue
		}
		var line struct {
			Log, Caller, Method, Path string
			Time                      time.Time
			Port                      json.Number
		}
		if json.Unmarshal(lines.Bytes(), &line) != nil || line.Log != mesh.DryRunProvider {
			continue
		}
		r := of
		port, _ := line.Port.Int64() // no number is no port
		r.Caller, r.Method, r.Path, r.Port = told(line.Caller), told(line.Method), told(line.Path), int(port)
		r.Last, r.Count = line.Time, 1
		all = append(all, r)
	}
	if err := lines.Err(); err != nil {
		return all, fmt.Errorf("read log: %w", err)
	}
	return all, nil
}

// told is a field of Envoy's log; "-" is its word for nothing.
func told(s string) string {
	if s == "-" {
		return ""
	}
	return s
}

// together counts refusals that differ in their time alone, and puts the most frequent first.
func together(all []Refusal) []Refusal {
	at := map[Refusal]int{}
	out := []Refusal{}
	for _, r := range all {
		key := r
		key.Count, key.Last = 0, time.Time{}
		i, have := at[key]
		if !have {
			at[key] = len(out)
			out = append(out, r)
			continue
		}
		out[i].Count += r.Count
		if r.Last.After(out[i].Last) {
			out[i].Last = r.Last
		}
	}
	slices.SortFunc(out, func(a, b Refusal) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Cluster, b.Cluster), strings.Compare(a.Namespace, b.Namespace),
			strings.Compare(a.Workload, b.Workload), strings.Compare(a.Caller, b.Caller), strings.Compare(a.Method, b.Method),
			strings.Compare(a.Path, b.Path), cmp.Compare(a.Port, b.Port))
	})
	return out
}
