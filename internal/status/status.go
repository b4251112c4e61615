// Package status gathers, read only, what a running mesh looks like now: for each cluster its control plane, the
// proxies and remote clusters that it has in step, its gateways, and when its certificates and credentials end.
// Everything happens within one deadline, and a cluster that does not answer keeps nobody else from being shown.
package status

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"isthmus.dev/isthmus/internal/cluster"
	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// DefaultDeadline is how long everything may take.
const DefaultDeadline = 10 * time.Second

// A Report is a mesh as it is now.
type Report struct {
	Mesh  string    `json:"mesh"`
	Taken time.Time `json:"taken"`
	// Istio is the version of the document.
	Istio string `json:"istio"`
	// Root is the mesh's root certificate; nil when none was seen.
	Root     *End      `json:"root,omitempty"`
	Clusters []Cluster `json:"clusters"`
	// Doubted is what records say of drained clusters and is not believed.
	Doubted []facts.DoubtedDrain `json:"doubted,omitempty"`
	// Healthy tells that every cluster answered and has no problem, and that no record is doubted.
	Healthy bool `json:"healthy"`
}

// An End is something that ends.
type End struct {
	// About is a certificate's subject, or the cluster that a credential is for.
	About string `json:"about"`
	// NotAfter is absent (zero) where it never ends.
	NotAfter time.Time `json:"notAfter,omitzero"`
}

// A Cluster is a member as it is now.
type Cluster struct {
	Name   string `json:"name"`
	Server string `json:"server,omitempty"`
	// Err says why it did not answer; the rest is empty then.
	Err string `json:"err,omitempty"`
	// LatencyMilliseconds is the median of a few small requests.
	LatencyMilliseconds int64  `json:"latencyMilliseconds"`
	Kubernetes          string `json:"kubernetes,omitempty"`
	// ServedBy is the cluster whose istiod serves this one, where that is another.
	ServedBy      string         `json:"servedBy,omitempty"`
	ControlPlanes []ControlPlane `json:"controlPlanes"`
	Proxies       Proxies        `json:"proxies"`
	Remotes       Remotes        `json:"remotes"`
	Gateways      []Gateway      `json:"gateways"`
	// Intermediate is the certificate that istiod signs with.
	Intermediate *End `json:"intermediate,omitempty"`
	// Credential is the first of its credentials for other clusters to end.
	Credential *End `json:"credential,omitempty"`
	// OwnRoot is its root where that is another than the mesh's.
	OwnRoot *End `json:"ownRoot,omitempty"`
	// Drained says since when calls are kept from it, and who answers instead; nil where they are not.
	Drained *facts.Drain `json:"drained,omitempty"`
	// Problems say what is wrong, in words for people; none means that it is well.
	Problems []string `json:"problems,omitempty"`
}

// A ControlPlane is an istiod.
type ControlPlane struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Revision  string `json:"revision"`
	Version   string `json:"version"`
	Owner     string `json:"owner"`
	Ready     int32  `json:"ready"`
	Wanted    int32  `json:"wanted"`
}

// A Gateway is an east-west gateway.
type Gateway struct {
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	Network   string   `json:"network"`
	Addresses []string `json:"addresses"`
	Ready     int32    `json:"ready"`
	Wanted    int32    `json:"wanted"`
}

// Gather reads every cluster at the same time within one deadline (zero: DefaultDeadline). It never fails: what
// could not be read says so in the report.
func Gather(ctx context.Context, m mesh.Mesh, dial cluster.Dialer, deadline time.Duration, now func() time.Time) Report {
	if deadline <= 0 {
		deadline = DefaultDeadline
	}
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	pages := map[string]Pages{}
	var mu sync.Mutex
	var asking sync.WaitGroup
	for _, c := range m.Clusters {
		asking.Go(func() {
			p := settled(ctx, func() Pages { return Ask(ctx, c, dial) })
			mu.Lock()
			defer mu.Unlock()
			pages[c.Name] = p
		})
	}
	seen := facts.Gather(ctx, m, nil, dial, deadline, now)
	asking.Wait()
	return Make(m, seen, pages)
}

// Make puts a report together. It is pure: the same facts and pages give the same report.
func Make(m mesh.Mesh, seen facts.Snapshot, pages map[string]Pages) Report {
	r := Report{Mesh: m.Name, Taken: seen.Taken, Healthy: true}
	if len(m.Clusters) > 0 {
		r.Istio = m.Clusters[0].Istio.Version
	}
	drains := facts.Drains(seen)
	for _, d := range facts.DoubtedDrains(seen) {
		if _, member := m.Cluster(d.Cluster); member {
			r.Doubted, r.Healthy = append(r.Doubted, d), false
		}
	}
	root := rootOf(m, seen)
	if root != nil {
		r.Root = &End{root.Subject, root.NotAfter}
	}
	for _, c := range m.Clusters {
		x := clusterOf(m, c, seen, pages, root, drains)
		if d := drains[c.Name]; d.On {
			x.Drained = &d
		}
		r.Healthy = r.Healthy && x.Err == "" && len(x.Problems) == 0
		r.Clusters = append(r.Clusters, x)
	}
	return r
}

// Answered counts the clusters that answered.
func (r Report) Answered() int {
	n := 0
	for _, c := range r.Clusters {
		if c.Err == "" {
			n++
		}
	}
	return n
}

func clusterOf(m mesh.Mesh, c mesh.Cluster, seen facts.Snapshot, pages map[string]Pages, root *facts.Certificate, drains map[string]facts.Drain) Cluster {
	f := seen.Clusters[c.Name]
	switch {
	case f == nil:
		return Cluster{Name: c.Name, Err: "was not asked"}
	case f.Err != "":
		return Cluster{Name: c.Name, Server: f.Server, Err: strings.TrimPrefix(f.Err, "cluster "+c.Name+": ")}
	}
	x := Cluster{
		Name: c.Name, Server: f.Server, LatencyMilliseconds: f.Latency.Milliseconds(), Kubernetes: strings.TrimPrefix(f.Version, "v"),
		ServedBy: servedBy(m, c), Proxies: pages[m.Host(c).Name].proxies(c), Remotes: pages[m.Host(c).Name].remotes(m, c, drains), ControlPlanes: []ControlPlane{}, Gateways: []Gateway{},
	}
	for _, i := range f.Istiods {
		x.ControlPlanes = append(x.ControlPlanes, ControlPlane{i.Namespace, i.Name, i.Revision, i.Version, i.Owner, i.Ready, i.Wanted})
	}
	for _, g := range f.Gateways {
		x.Gateways = append(x.Gateways, Gateway{g.Namespace, g.Name, g.Network, g.Addresses, g.Ready, g.Wanted})
	}
	if host := seen.Clusters[m.Host(c).Name]; !c.IsRemote() && host != nil {
		x.Intermediate = intermediateOf(host, c.IstioNamespace()+"/"+facts.CACerts)
	}
	x.Credential = credentialOf(f)
	x.OwnRoot = ownRoot(f, root)
	x.Problems = problems(m, c, x, seen)
	return x
}

const cacerts = "istio-system/" + facts.CACerts

func intermediateOf(f *facts.Cluster, secret string) *End {
	s := f.Secrets[secret]
	if s == nil || len(s.Certificates["ca-cert.pem"]) == 0 {
		return nil
	}
	c := s.Certificates["ca-cert.pem"][0]
	return &End{c.Subject, c.NotAfter}
}

// credentialOf is the first to end of the remote secrets' credentials; those that never end come last.
func credentialOf(f *facts.Cluster) *End {
	var first *End
	for _, name := range slices.Sorted(maps.Keys(f.Secrets)) {
		s := f.Secrets[name]
		if s.Labels[object.LabelRemoteSecret] != "true" {
			continue
		}
		for _, about := range slices.Sorted(maps.Keys(s.Kubeconfigs)) {
			end := s.Kubeconfigs[about].NotAfter
			if first == nil || !end.IsZero() && (first.NotAfter.IsZero() || end.Before(first.NotAfter)) {
				first = &End{about, end}
			}
		}
	}
	return first
}

// rootOf is the mesh's root: what the home cluster keeps, or else what the first cluster that has one was given.
func rootOf(m mesh.Mesh, seen facts.Snapshot) *facts.Certificate {
	for _, c := range m.Clusters {
		f := seen.Clusters[c.Name]
		if !f.Answered() {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(f.Secrets)) {
			if s := f.Secrets[name]; s.Namespace == object.SystemNamespace {
				if root := selfSigned(s); root != nil {
					return root
				}
			}
		}
		if s := f.Secrets[cacerts]; s != nil {
			if root := selfSigned(s); root != nil {
				return root
			}
		}
	}
	return nil
}

// selfSigned is the first root in a Secret.
func selfSigned(s *facts.Secret) *facts.Certificate {
	for _, key := range slices.Sorted(maps.Keys(s.Certificates)) {
		for _, x := range s.Certificates[key] {
			if x.IsCA && x.Subject == x.Issuer {
				return &x
			}
		}
	}
	return nil
}

// ownRoot is a cluster's root where it is another than the mesh's; nil where it knows that one.
func ownRoot(f *facts.Cluster, root *facts.Certificate) *End {
	s := f.Secrets[cacerts]
	if s == nil || root == nil {
		return nil
	}
	var other *End
	for _, x := range s.Certificates[facts.RootFile] {
		if x.SPKI == root.SPKI {
			return nil
		}
		other = &End{x.Subject, x.NotAfter}
	}
	return other
}

// problems says what is not as it should be in a cluster that answered.
func problems(m mesh.Mesh, c mesh.Cluster, x Cluster, seen facts.Snapshot) []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	switch {
	case x.ServedBy == "" && len(x.ControlPlanes) == 0:
		return []string{"no control plane yet: isthmus apply"}
	case x.ServedBy != "":
		if why := unserved(m, c, seen); why != "" {
			return []string{why}
		}
	}
	for _, i := range x.ControlPlanes {
		if i.Ready < i.Wanted || i.Wanted == 0 {
			say("istiod %s/%s: %d of %d ready", i.Namespace, i.Name, i.Ready, i.Wanted)
		}
	}
	if x.Proxies.Err != "" && (x.Proxies.Err != noneReady || len(out) == 0) {
		say("istiod cannot be asked about proxies and remote clusters: %s", x.Proxies.Err)
	}
	if n := x.Proxies.Total - x.Proxies.Synced; n > 0 {
		say("%d of %d proxies out of step: %s", n, x.Proxies.Total, few(x.Proxies.Behind))
	}
	var missing []string
	for _, r := range x.Remotes.Clusters {
		switch r.Status {
		case Synced:
		case Missing:
			missing = append(missing, r.Name)
		default:
			say("%s", remoteProblem(r))
		}
	}
	if len(missing) > 0 {
		say("istiod knows nothing of %s: no remote secret, or not taken yet; isthmus apply", few(missing))
	}
	if m.HasGateway(c) && len(x.Gateways) == 0 {
		say("no east-west gateway: %s; isthmus apply", withoutGateway(m, c))
	}
	for _, g := range x.Gateways {
		switch {
		case g.Wanted == 0:
			say("gateway %s/%s is scaled to 0", g.Namespace, g.Name)
		case g.Ready < g.Wanted:
			say("gateway %s/%s: %d of %d ready", g.Namespace, g.Name, g.Ready, g.Wanted)
		}
		if len(g.Addresses) == 0 {
			say("gateway %s/%s has no address", g.Namespace, g.Name)
		}
	}
	if x.OwnRoot != nil {
		say("its root is %q, another than the mesh's: calls to and from other clusters fail; isthmus apply", x.OwnRoot.About)
	}
	for _, e := range []struct {
		what string
		end  *End
	}{{"its intermediate", x.Intermediate}, {"its credential for another cluster", x.Credential}} {
		if e.end != nil && !e.end.NotAfter.IsZero() && !e.end.NotAfter.After(seen.Taken) {
			say("%s ended on %s: isthmus apply", e.what, e.end.NotAfter.UTC().Format(time.DateOnly))
		}
	}
	return out
}

func remoteProblem(r Remote) string {
	if r.Status == "timeout" {
		return fmt.Sprintf("istiod waited for %s in vain (timeout): is its API server there, and its credential good?", r.Name)
	}
	return fmt.Sprintf("istiod has %s not in step: %s", r.Name, cmp.Or(r.Status, "?"))
}

func few(all []string) string {
	const most = 3
	if len(all) <= most {
		return strings.Join(all, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(all[:most], ", "), len(all)-most)
}
