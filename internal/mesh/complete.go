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
)

// complete makes the mesh of a valid document: every default that depends on something else filled in, and each
// cluster's own Istio settings merged over the mesh's.
//
//	cluster context     the cluster's name
//	cluster network     the cluster's name: a network of its own
//	istio version       Release
//	istio hub           DefaultHub
//	istio tag           the version, or Release where it names none of the patches ("1.31")
func complete(doc v1alpha1.Mesh, source string) (Mesh, error) {
	spec := doc.Spec
	m := Mesh{
		Name:     doc.Name,
		EastWest: spec.Gateways.EastWest,
		MTLS:     spec.Security.MTLS,
		Waves:    spec.Rollout.Waves,
		Verify:   spec.Verify,
		Source:   source,
		Istio: Istio{
			Version:    cmp.Or(spec.Istio.Version, Release),
			Profile:    spec.Istio.Profile,
			Hub:        cmp.Or(spec.Istio.Hub, DefaultHub),
			Tag:        tagOf(spec.Istio),
			Values:     object(spec.Istio.Values),
			MeshConfig: object(spec.Istio.MeshConfig),
			Set:        spec.Istio.Set,
		},
		Trust: Trust{Domain: spec.Trust.Domain},
	}
	for _, d := range []struct {
		into *time.Duration
		from v1alpha1.Duration
	}{
		{&m.CredentialTTL, spec.Discovery.CredentialTTL},
		{&m.Trust.IntermediateTTL, spec.Trust.IntermediateTTL},
		{&m.Trust.RootTTL, spec.Trust.Root.SelfSigned.TTL},
	} {
		var err error
		if *d.into, err = time.ParseDuration(string(d.from)); err != nil {
			return Mesh{}, fmt.Errorf("read duration: %w", err)
		}
	}
	for _, c := range spec.Clusters {
		m.Clusters = append(m.Clusters, Cluster{
			Name:       c.Name,
			Context:    cmp.Or(c.Access.Context, c.Name),
			Kubeconfig: beside(source, c.Access.Kubeconfig),
			Network:    cmp.Or(c.Network, c.Name),
			Server:     c.Server,
			Istio:      m.Istio.with(c.Istio),
		})
	}
	return m, nil
}

// with is the mesh's Istio with a cluster's own laid over it. Set is appended: what is set later wins.
func (i Istio) with(own v1alpha1.ClusterIstio) Istio {
	i.Values = Merge(i.Values, object(own.Values))
	i.MeshConfig = Merge(i.MeshConfig, object(own.MeshConfig))
	i.Set = append(append([]string(nil), i.Set...), own.Set...)
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

// tagOf is the image tag of a document.
func tagOf(i v1alpha1.Istio) string {
	switch {
	case i.Tag != "":
		return i.Tag
	case strings.Count(i.Version, ".") == 2:
		return i.Version
	}
	return Release
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
