package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"isthmus.dev/isthmus/internal/cluster"
	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/patience"
	"isthmus.dev/isthmus/internal/traffic"
)

// Statuses of a remote cluster. The others are istiod's own: "syncing", "timeout", "closed" (istio
// pkg/kube/multicluster/cluster.go).
const (
	Synced  = "synced"
	Missing = "missing" // in the document, and istiod does not know it
)

const noneReady = "no istiod pod is ready"

// Proxies are the sidecars and gateways connected to a cluster's istiods.
type Proxies struct {
	Total  int `json:"total"`
	Synced int `json:"synced"`
	// Behind names those that have not taken the last of what they were sent: "pod.namespace".
	Behind []string `json:"behind,omitempty"`
	// Err says why istiod could not be asked.
	Err string `json:"err,omitempty"`
}

// Remotes are the other clusters that a cluster's istiods watch.
type Remotes struct {
	// Wanted is how many the document asks for.
	Wanted   int      `json:"wanted"`
	Synced   int      `json:"synced"`
	Clusters []Remote `json:"clusters,omitempty"`
}

// A Remote is another cluster as an istiod sees it.
type Remote struct {
	Name   string `json:"name"`
	Status string `json:"status"`
	Secret string `json:"secret,omitempty"`
}

// Pages are what the istiods of a cluster answered. A proxy is connected to one of them; each of them watches
// every remote cluster.
type Pages struct {
	Proxies []ProxyStatus
	// Clusters are the remote clusters, by istiod pod.
	Clusters map[string][]RemoteStatus
	// Err says why they could not be asked; the rest is empty then.
	Err string
}

// A ProxyStatus is an item of istiod's /debug/syncz (SyncStatus in istio pilot/pkg/xds/debug.go).
type ProxyStatus struct {
	Cluster   string                    `json:"cluster_id"`
	Proxy     string                    `json:"proxy"`
	Resources map[string]ResourceStatus `json:"resources"`
}

// A ResourceStatus says of one kind of resource what was sent to a proxy last, and what it took.
type ResourceStatus struct {
	Sent      string `json:"sent"`
	Acked     string `json:"acked"`
	LastError string `json:"lastError"`
}

// A RemoteStatus is an item of istiod's /debug/clusterz (DebugInfo in istio pkg/cluster/debug.go). The first one,
// which has no secret, is the cluster that istiod runs in.
type RemoteStatus struct {
	ID         string `json:"id"`
	SecretName string `json:"secretName"`
	SyncStatus string `json:"syncStatus"`
}

// inStep is Istio's own rule (debugSyncStatus in pilot/pkg/xds/statusgen.go): no error, and what was sent was
// taken. What was never sent is no lag.
func (p ProxyStatus) inStep() bool {
	for _, r := range p.Resources {
		if r.Sent != "" && r.Sent != r.Acked {
			return false
		}
	}
	return !p.rejects()
}

// rejects tells a proxy that did not take what it was sent, and said so.
func (p ProxyStatus) rejects() bool {
	for _, r := range p.Resources {
		if r.LastError != "" {
			return true
		}
	}
	return false
}

// proxies are those of one cluster among all that the istiods serve.
func (p Pages) proxies(of mesh.Cluster) Proxies {
	out := inStep(slices.DeleteFunc(slices.Clone(p.Proxies), func(x ProxyStatus) bool { return x.Cluster != of.Name }))
	out.Err = p.Err
	return out
}

// inStep counts those that have taken the last of what they were sent, and names the others.
func inStep(proxies []ProxyStatus) Proxies {
	out := Proxies{Total: len(proxies)}
	for _, x := range proxies {
		if x.inStep() {
			out.Synced++
		} else {
			out.Behind = append(out.Behind, x.Proxy)
		}
	}
	slices.Sort(out.Behind)
	return out
}

// remotes is what all istiods of a cluster agree on: a remote counts as synced when each has it so. A cluster that
// another's istiod serves watches none, and one that is drained is watched by its own istiod alone.
func (p Pages) remotes(m mesh.Mesh, self mesh.Cluster, drains map[string]facts.Drain) Remotes {
	var out Remotes
	for _, c := range m.Clusters {
		if c.Name == self.Name || self.IsRemote() || traffic.Hidden(m, drains, self, c) {
			continue
		}
		out.Wanted++
		if p.Err != "" || len(p.Clusters) == 0 {
			continue
		}
		r := Remote{Name: c.Name, Status: Synced}
		for pod, known := range p.Clusters {
			if !strings.HasPrefix(pod, self.IstioNamespace()+"/") {
				continue // of another cluster's istiod, which runs here too
			}
			i := slices.IndexFunc(known, func(s RemoteStatus) bool { return s.ID == c.Name && s.SecretName != "" })
			switch {
			case i < 0:
				r.Status = Missing
			case known[i].SyncStatus != Synced && r.Status == Synced:
				r.Status = known[i].SyncStatus
			}
			if i >= 0 {
				r.Secret = known[i].SecretName
			}
		}
		if r.Status == Synced {
			out.Synced++
		}
		out.Clusters = append(out.Clusters, r)
	}
	return out
}

// settled asks until every proxy was in step at one look, or some were in none for as long as a push may take: where much
// changes istiods push all the time, and who is behind at one moment is so at no other. Who rejects what it is sent is not
// waited for.
func settled(ctx context.Context, ask func() Pages) Pages {
	pages, fine := ask(), map[string]ProxyStatus{}
	for looks := 0; ; looks++ {
		waited := false
		for i, p := range pages.Proxies {
			key := p.Cluster + "/" + p.Proxy
			if was, ok := fine[key]; ok {
				pages.Proxies[i] = was
			} else if p.inStep() {
				fine[key] = p
			} else {
				waited = waited || !p.rejects()
			}
		}
		if !waited || looks == settleLooks || patience.Sleep(ctx, settle/settleLooks) != nil {
			return pages
		}
		next := ask()
		if next.Err != "" {
			return pages
		}
		pages = next
	}
}

// Ask reads the debug pages of every ready istiod pod of a cluster.
func Ask(ctx context.Context, c mesh.Cluster, dial cluster.Dialer) Pages {
	conn, err := dial(c)
	if err != nil {
		return Pages{Err: brief(c, err)}
	}
	defer conn.Close()
	pods, err := conn.Kube.CoreV1().Pods("").List(ctx, metav1.ListOptions{
		LabelSelector: "app=istiod", FieldSelector: "status.phase=Running",
	})
	if err != nil {
		return Pages{Err: brief(c, err)}
	}
	ready := slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool { return !isReady(p) })
	if len(ready) == 0 {
		return Pages{Err: noneReady}
	}
	proxies := make([][]ProxyStatus, len(ready))
	remotes := make([][]RemoteStatus, len(ready))
	tasks, ctx := errgroup.WithContext(ctx)
	for i, p := range ready {
		tasks.Go(func() error { return page(ctx, conn, p, "syncz", &proxies[i]) })
		tasks.Go(func() error { return page(ctx, conn, p, "clusterz", &remotes[i]) })
	}
	if err := tasks.Wait(); err != nil {
		return Pages{Err: brief(c, err)}
	}
	out := Pages{Proxies: slices.Concat(proxies...), Clusters: map[string][]RemoteStatus{}}
	for i, p := range ready {
		out.Clusters[p.Namespace+"/"+p.Name] = remotes[i]
	}
	return out
}

// page reads a debug page of an istiod.
func page(ctx context.Context, conn *cluster.Conn, p corev1.Pod, name string, into any) error {
	out, err := conn.Istiod(ctx, p.Namespace, p.Name, "/debug/"+name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(out, into); err != nil {
		return fmt.Errorf("read /debug/%s of pod %s/%s: %w", name, p.Namespace, p.Name, err)
	}
	return nil
}

func isReady(p corev1.Pod) bool {
	return p.DeletionTimestamp == nil && slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// brief says why istiod could not be asked.
func brief(c mesh.Cluster, err error) string {
	switch {
	case apierrors.IsForbidden(err), strings.Contains(err.Error(), " is forbidden: "): // exec's error has no type
		return "the caller may not (it takes list pods, and create pods/portforward or pods/exec in the istiod's namespace)"
	case errors.Is(err, context.DeadlineExceeded), strings.Contains(err.Error(), context.DeadlineExceeded.Error()):
		return "no answer in time"
	}
	return strings.TrimPrefix(facts.Plain(err), "cluster "+c.Name+": ")
}
