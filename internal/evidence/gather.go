// Package evidence gathers what a path is judged by (internal/explain): from the API servers of the two clusters, and
// from the proxies themselves through the kubelet, as istioctl asks them. It reads and never writes, except for the call that
// Probe makes when it is asked to. What cannot be read is in the evidence as such.
package evidence

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"isthmus.dev/isthmus/internal/cluster"
	"isthmus.dev/isthmus/internal/explain"
	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/live"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/status"
)

// DefaultDeadline is how long everything may take.
const DefaultDeadline = 20 * time.Second

// A Gatherer gathers for one mesh.
type Gatherer struct {
	Mesh mesh.Mesh
	Dial cluster.Dialer
	Now  func() time.Time
}

// A Question is what a person asks. Parties with a name are workloads; their cluster may be open ("").
type Question struct {
	From, To explain.Party
	// Port is the Service's; 0 for its only or its first HTTP one.
	Port    int
	Method  string
	Path    string
	Headers map[string]string
	Claims  map[string]any
	// Token is for Probe alone; it is no evidence.
	Token string
}

// Gather reads both clusters of a question at the same time. Errors: the question cannot be asked of this mesh.
// A cluster that does not answer is in the evidence.
func (g Gatherer) Gather(ctx context.Context, q Question) (explain.Evidence, error) {
	members, err := g.members(ctx, &q)
	if err != nil {
		return explain.Evidence{}, err
	}
	e := explain.Evidence{Taken: g.Now().UTC(), TrustDomain: g.Mesh.Trust.Domain, From: q.From, To: q.To, Sites: map[string]*explain.Site{}}
	scoped := g.Mesh
	scoped.Clusters = members
	var seen facts.Snapshot
	var mu sync.Mutex
	var wg sync.WaitGroup
	wg.Go(func() { seen = facts.Gather(ctx, scoped, object.Objects{}, g.Dial, 0, g.Now) })
	readers := map[string]*reader{}
	for _, c := range members {
		r := &reader{Question: q, cluster: c, site: &explain.Site{Cluster: c.Name, Context: c.Context, Network: c.Network, Unread: map[string]string{}}}
		readers[c.Name] = r
		wg.Go(func() {
			r.read(ctx, g.Dial)
			mu.Lock()
			defer mu.Unlock()
			e.Sites[c.Name] = r.site
		})
		wg.Go(func() {
			pages := status.Ask(ctx, c, g.Dial)
			mu.Lock()
			defer mu.Unlock()
			r.pages = pages
		})
	}
	wg.Wait()
	for name, r := range readers {
		r.site.Facts, r.site.Pages = seen.Clusters[name], r.pages
		if f := r.site.Facts; f != nil && f.Err != "" {
			r.site.Err = f.Err
		}
	}
	e.Call = callOf(q, e)
	return e, ctx.Err()
}

// members are the clusters of a question, in document order, with an open cluster of either party settled.
func (g Gatherer) members(ctx context.Context, q *Question) ([]mesh.Cluster, error) {
	for _, p := range []*explain.Party{&q.From, &q.To} {
		if p.Cluster == "" {
			found, err := g.settle(ctx, *p, p == &q.To, q.From.Cluster)
			if err != nil {
				return nil, err
			}
			p.Cluster = found
		}
	}
	var members []mesh.Cluster
	for _, c := range g.Mesh.Clusters {
		if c.Name == q.From.Cluster || c.Name == q.To.Cluster {
			members = append(members, c)
		}
	}
	for _, p := range []explain.Party{q.From, q.To} {
		if !slices.ContainsFunc(members, func(c mesh.Cluster) bool { return c.Name == p.Cluster }) {
			var names []string
			for _, c := range g.Mesh.Clusters {
				names = append(names, c.Name)
			}
			return nil, fmt.Errorf("mesh %s has no cluster %q; it has %s", g.Mesh.Name, p.Cluster, strings.Join(names, ", "))
		}
	}
	return members, nil
}

// settle finds the cluster of a workload that names none: one where it has pods; for a callee the caller's own
// cluster first, as proxies prefer it.
func (g Gatherer) settle(ctx context.Context, p explain.Party, callee bool, first string) (string, error) {
	type found struct{ pods, ready int }
	seen := map[string]found{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, c := range g.Mesh.Clusters {
		wg.Go(func() {
			r := &reader{Question: Question{From: p, To: p}, cluster: c, site: &explain.Site{Cluster: c.Name, Unread: map[string]string{}}}
			if r.look(ctx, g.Dial); r.conn != nil {
				r.conn.Close()
			}
			mu.Lock()
			defer mu.Unlock()
			var f found
			pods := r.site.Callees
			if !callee && r.site.Caller != nil {
				pods = []explain.Pod{*r.site.Caller}
			}
			for _, x := range pods {
				f.pods++
				if x.Ready {
					f.ready++
				}
			}
			seen[c.Name] = f
		})
	}
	wg.Wait()
	best := ""
	for _, c := range g.Mesh.Clusters {
		a, b := seen[c.Name], seen[best]
		switch {
		case a.pods == 0:
		case best == "", a.ready > 0 && b.ready == 0, a.ready > 0 && callee && c.Name == first:
			best = c.Name
		}
	}
	if best == "" {
		return "", fmt.Errorf("no cluster of mesh %s runs %s/%s; say which with @CLUSTER to see why", g.Mesh.Name, p.Namespace, p.Name)
	}
	return best, nil
}

// callOf completes a call by what the Service says.
func callOf(q Question, e explain.Evidence) explain.Call {
	c := explain.Call{Port: q.Port, Method: cmp.Or(q.Method, "GET"), Path: cmp.Or(q.Path, "/"), Headers: q.Headers, Claims: q.Claims}
	if q.To.Name == "" {
		return c
	}
	service := q.To.Name
	for _, name := range []string{q.To.Cluster, q.From.Cluster} {
		if s := e.Sites[name]; s != nil && s.Called != "" {
			service = s.Called
			break
		}
	}
	c.Host = service + "." + q.To.Namespace + ".svc.cluster.local"
	for _, name := range []string{q.From.Cluster, q.To.Cluster} {
		if c.Port != 0 || e.Sites[name] == nil {
			continue
		}
		for _, s := range e.Sites[name].Services {
			if s.Namespace == q.To.Namespace && s.Name == service && len(s.Ports) > 0 {
				c.Port = firstHTTP(s.Ports)
			}
		}
	}
	return c
}

func firstHTTP(ports []explain.ServicePort) int {
	for _, p := range ports {
		if strings.HasPrefix(p.Name, "http") || strings.HasPrefix(p.AppProtocol, "http") {
			return p.Port
		}
	}
	return ports[0].Port
}

// A reader reads one cluster.
type reader struct {
	Question
	cluster mesh.Cluster
	conn    *cluster.Conn
	site    *explain.Site
	pages   status.Pages
}

// read fills in everything but facts and pages.
func (r *reader) read(ctx context.Context, dial cluster.Dialer) {
	if !r.look(ctx, dial) {
		return
	}
	defer r.conn.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		got, err := live.Read(ctx, r.conn, live.Istio...)
		if err != nil {
			r.site.Unread["AuthorizationPolicy"], r.site.Unread["RequestAuthentication"] = facts.Plain(err), facts.Plain(err)
			return
		}
		r.site.Config = got.Objects
		maps.Copy(r.site.Unread, got.Unread)
	})
	if s := r.site; s.Caller != nil && s.Caller.Sidecar && r.cluster.Name == r.From.Cluster {
		wg.Go(func() { s.CallerProxy = r.proxy(ctx, s.Caller.Namespace, s.Caller.Name) })
	}
	if r.cluster.Name == r.To.Cluster {
		if i := slices.IndexFunc(r.site.Callees, func(p explain.Pod) bool { return p.Ready && p.Sidecar }); i >= 0 {
			p := r.site.Callees[i]
			wg.Go(func() { r.site.CalleeProxy = r.proxy(ctx, p.Namespace, p.Name) })
		}
		wg.Go(func() { r.gateway(ctx) })
	}
	wg.Wait()
}

// gateway reads the east-west gateway's Service and asks one of its pods.
func (r *reader) gateway(ctx context.Context) {
	options := metav1.ListOptions{LabelSelector: "istio=eastwestgateway"}
	services, err := r.conn.Kube.CoreV1().Services("").List(ctx, options)
	if err != nil || len(services.Items) == 0 {
		return
	}
	first := slices.MinFunc(services.Items, func(a, b corev1.Service) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	r.site.GatewayPorts = portsOf(first)
	pods, err := r.conn.Kube.CoreV1().Pods(first.Namespace).List(ctx, options)
	if err != nil {
		return
	}
	for _, p := range pods.Items {
		if isReady(p) {
			r.site.Gateway = r.proxy(ctx, p.Namespace, p.Name)
			return
		}
	}
}

// proxyContainer is the name of Istio's proxy, in workloads and in gateways.
const proxyContainer = "istio-proxy"

// proxy asks a proxy for its configuration.
func (r *reader) proxy(ctx context.Context, namespace, pod string) *explain.Proxy {
	var dump, clusters []byte
	var err, err2 error
	var wg sync.WaitGroup
	wg.Go(func() { dump, err = r.conn.Envoy(ctx, namespace, pod, "config_dump?include_eds") })
	wg.Go(func() { clusters, err2 = r.conn.Envoy(ctx, namespace, pod, "clusters?format=json") })
	wg.Wait()
	if err = cmp.Or(err, err2); err != nil {
		return &explain.Proxy{Namespace: namespace, Pod: pod, Err: strings.TrimPrefix(facts.Plain(err), "cluster "+r.cluster.Name+": ")}
	}
	p, err := explain.ParseProxy(namespace, pod, dump, clusters)
	if err != nil {
		return &explain.Proxy{Namespace: namespace, Pod: pod, Err: err.Error()}
	}
	return p
}
