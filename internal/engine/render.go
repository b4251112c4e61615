package engine

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/istio"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/plan"
	"isthmus.dev/isthmus/internal/render"
	"isthmus.dev/isthmus/internal/seal"
	"isthmus.dev/isthmus/internal/verify"
)

// Render computes what every cluster that has nothing yet would get, and asks none: it is the plan for such clusters,
// so that what is rendered is what apply sends.
func (e Engine) Render() ([]render.Cluster, error) {
	want, err := e.Want()
	if err != nil {
		return nil, err
	}
	now := facts.Snapshot{Taken: e.Now().UTC(), Clusters: map[string]*facts.Cluster{}}
	for _, c := range e.Mesh.Clusters {
		now.Clusters[c.Name] = &facts.Cluster{Name: c.Name}
	}
	want, waiting := istio.Resolve(e.Mesh, want, now)
	for _, c := range e.Mesh.Clusters {
		if waiting[c.Name] != "" {
			return nil, fmt.Errorf("cluster %s: %s, and no cluster is asked for a rendering\n  Say where istiod is reached: spec.clusters[name:%s].istio.values.global.remotePilotAddress",
				c.Name, waiting[c.Name], c.Name)
		}
	}
	p, err := plan.Make(plan.Input{Mesh: e.Mesh, Want: want, Now: now, Judges: Judges()})
	if err != nil {
		return nil, err
	}
	return render.Of(e.Mesh, p), nil
}

// FillSecrets puts content into the sealed objects of a rendering that need no cluster for it. have is what an
// earlier run made, which is kept as long as it is right. What cannot be made is left as it is, see seal.NeedsCluster.
func (e Engine) FillSecrets(clusters []render.Cluster, have map[string]map[object.Ref]*unstructured.Unstructured) error {
	off := seal.Offline{Mesh: e.Mesh, Now: e.Now, Random: e.Rand, Have: have}
	for _, kind := range []object.SealKind{object.SealRoot, object.SealIntermediate} {
		for n := range clusters {
			for _, i := range clusters[n].Secrets() {
				if i.Object.Sealed.Kind != kind {
					continue
				}
				body, err := off.Content(clusters[n].Name, i.Object)
				if err != nil {
					return err
				}
				clusters[n].Fill(i.Object.Ref(), body)
			}
		}
	}
	return nil
}

// An Image is one that a mesh needs, where, and for what.
type Image struct {
	Image    string   `json:"image"`
	Clusters []string `json:"clusters"`
	For      []string `json:"for"`
	// Digest is where the tag leads, where somebody asked and the registry said so; Unknown is why it did not.
	Digest  string `json:"digest,omitempty"`
	Unknown string `json:"unknown,omitempty"`
}

// Pinned is the image by its digest, which no registry can change; "" where that is not known.
func (i Image) Pinned() string {
	if i.Digest == "" {
		return ""
	}
	name, _, _ := strings.Cut(i.Image, "@")
	if at := strings.LastIndex(name, ":"); at > strings.LastIndex(name, "/") {
		name = name[:at]
	}
	return name + "@" + i.Digest
}

// Images lists every image that the clusters of a mesh need, sorted by name: those of the wanted objects, those that
// the injector gives to pods, and that of verify's workloads.
func (e Engine) Images() ([]Image, error) {
	want, err := e.Want()
	if err != nil {
		return nil, err
	}
	workloads := verify.Workloads(e.Mesh)
	byName := map[string]*Image{}
	for _, c := range e.Mesh.Clusters {
		uses, err := istio.Images(want[c.Name])
		if err != nil {
			return nil, fmt.Errorf("cluster %s: %w", c.Name, err)
		}
		if e.Mesh.Verify.Image != "" {
			own, err := istio.Images(workloads[c.Name])
			if err != nil {
				return nil, fmt.Errorf("cluster %s: %w", c.Name, err)
			}
			uses = append(uses, own...)
		}
		for _, u := range uses {
			i := byName[u.Image]
			if i == nil {
				i = &Image{Image: u.Image}
				byName[u.Image] = i
			}
			if !slices.Contains(i.Clusters, c.Name) {
				i.Clusters = append(i.Clusters, c.Name)
			}
			if !slices.Contains(i.For, u.By) {
				i.For = append(i.For, u.By)
			}
		}
	}
	var all []Image
	for _, i := range byName {
		slices.Sort(i.For)
		all = append(all, *i)
	}
	slices.SortFunc(all, func(a, b Image) int { return strings.Compare(a.Image, b.Image) })
	return all, nil
}
