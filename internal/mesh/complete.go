package mesh

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime"

	"isthmus.dev/isthmus/api/v1alpha1"
)

// Defaults that depend on this program's release. All others are constants, stand in the CRD beside their fields,
// and are filled in from there; those that depend on another field are made by complete.
const (
	// Release is the release of Istio whose charts this program carries and whose images it asks for.
	Release = "1.31.1"
	// DefaultHub is where Istio publishes its images.
	DefaultHub = "docker.io/istio"

	// remoteProfile is Istio's profile of clusters whose istiod is elsewhere.
	remoteProfile = "remote"
)

// former are clusters that were members: how they are reached is all that is needed of them.
func former(clusters []v1alpha1.FormerCluster, source string) []Cluster {
	var all []Cluster
	for _, c := range clusters {
		all = append(all, Cluster{
			Name: c.Name, Context: cmp.Or(c.Access.Context, c.Name), Kubeconfig: beside(source, c.Access.Kubeconfig),
		})
	}
	return all
}

// complete makes the mesh of a valid document: every default that depends on something else filled in, and each
// cluster's own Istio settings merged over the mesh's.
//
//	cluster context     the cluster's name
//	cluster network     the cluster's name: a network of its own
//	istio               see istioOf; profile remote, where another cluster's istiod serves
func complete(doc v1alpha1.Mesh, source string) (Mesh, error) {
	spec := doc.Spec
	m := Mesh{
		Name:     doc.Name,
		EastWest: spec.Gateways.EastWest,
		MTLS:     spec.Security.MTLS,
		Access:   spec.Access,
		JWT:      spec.Identity.JWT,
		Waves:    spec.Rollout.Waves,
		Verify:   spec.Verify,
		Source:   source,
		Istio:    istioOf(spec.Istio, v1alpha1.ClusterIstio{}, source),
		Trust:    Trust{Domain: spec.Trust.Domain, ExistingRoot: spec.Trust.Root.Existing != nil},
	}
	root := spec.Trust.Root.SelfSigned
	if root == nil {
		root = &v1alpha1.SelfSignedRoot{TTL: "0s"}
	}
	m.Trust.RootFingerprint = strings.ToLower(strings.ReplaceAll(root.Fingerprint, ":", ""))
	failover := Failover{ConsecutiveFailures: int64(spec.Traffic.Failover.ConsecutiveFailures)}
	for _, d := range []struct {
		into *time.Duration
		from v1alpha1.Duration
	}{
		{&m.CredentialTTL, spec.Discovery.CredentialTTL},
		{&m.Trust.IntermediateTTL, spec.Trust.IntermediateTTL},
		{&m.Trust.RootTTL, root.TTL},
		{&failover.ConnectTimeout, spec.Traffic.Failover.ConnectTimeout},
		{&failover.DeadAfter, spec.Traffic.Failover.DeadAfter},
		{&failover.EjectionTime, spec.Traffic.Failover.EjectionTime},
	} {
		var err error
		if *d.into, err = time.ParseDuration(string(d.from)); err != nil {
			return Mesh{}, fmt.Errorf("read duration: %w", err)
		}
	}
	if on := spec.Traffic.Failover.Enabled; on == nil || *on {
		m.Failover = &failover
	}
	m.Resources = resources(spec.Resources, source)
	m.Former = former(spec.Former, source)
	for _, c := range spec.Clusters {
		m.Clusters = append(m.Clusters, Cluster{
			Name:       c.Name,
			Context:    cmp.Or(c.Access.Context, c.Name),
			Kubeconfig: beside(source, c.Access.Kubeconfig),
			Network:    cmp.Or(c.Network, c.Name),
			Server:     c.Server,
			RemoteOf:   c.ControlPlane.RemoteOf,
			ExternalAt: c.ControlPlane.ExternalAt,
			Istio:      istioOf(spec.Istio, c.Istio, source).ofRole(c.ControlPlane),
		})
	}
	if m.DryRun() && m.AsksAccess() {
		for i := range m.Clusters {
			m.Clusters[i].Istio.MeshConfig = withDryRun(m.Clusters[i].Istio.MeshConfig)
		}
	}
	return m, nil
}

// ofRole has the profile of a cluster without an istiod where it has none: Istio's "remote".
func (i Istio) ofRole(c v1alpha1.ControlPlane) Istio {
	if c.RemoteOf != "" || c.ExternalAt != "" {
		i.Profile = remoteProfile
	}
	return i
}

// Merge lays one set of values over another: maps by key, everything else replaced; null replaces too, which is how
// Helm is told to drop a chart's default. Neither is changed, and the result shares nothing with them.
func Merge(base, over map[string]any) map[string]any {
	if base == nil && over == nil {
		return nil
	}
	out := map[string]any{}
	for k, v := range base {
		out[k] = clone(v)
	}
	for k, v := range over {
		below, isMap := out[k].(map[string]any)
		above, isMapToo := v.(map[string]any)
		if isMap && isMapToo {
			out[k] = Merge(below, above)
			continue
		}
		out[k] = clone(v)
	}
	return out
}

// beside is a file as seen from the folder of the document that names it.
func beside(document, file string) string {
	if file == "" || filepath.IsAbs(file) || document == "-" || document == "" {
		return file
	}
	return filepath.Join(filepath.Dir(document), file)
}

// object is a free-form field as JSON values; nil where there is none.
func object(raw *runtime.RawExtension) map[string]any {
	if raw == nil || len(raw.Raw) == 0 {
		return nil
	}
	m := map[string]any{}
	if err := decodeJSON(raw.Raw, &m); err != nil {
		return nil
	}
	return m
}
