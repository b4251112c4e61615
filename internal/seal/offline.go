package seal

import (
	"fmt"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/trust"
)

// Offline makes the content of sealed objects where no cluster can be asked, for whoever keeps secrets in files. What
// was made before is handed in, judged as that of a cluster would be, and kept as long as it is right: a root that is
// made anew each time would be no root.
type Offline struct {
	Mesh   mesh.Mesh
	Now    func() time.Time
	Random io.Reader
	// Have is what earlier runs made: cluster → Secret.
	Have map[string]map[object.Ref]*unstructured.Unstructured
}

// NeedsCluster says why the content of an object cannot be made without its cluster; "" if it can.
func NeedsCluster(o object.Object) string {
	switch o.Sealed.Kind {
	case object.SealRoot, object.SealIntermediate:
		return ""
	case object.SealRemoteSecret:
		return "its token can be issued by the API server of " + o.Sealed.About + " alone"
	}
	return "it is copied from the cluster"
}

// Content is the body of a sealed object with its content. The root must be asked for before the intermediates. Errors:
// what was handed in is somebody else's, cannot be read, or makes going on do harm.
func (f Offline) Content(cluster string, o object.Object) (*unstructured.Unstructured, error) {
	if why := NeedsCluster(o); why != "" {
		return nil, fmt.Errorf("cluster %s: %s: %s", cluster, o.Ref(), why)
	}
	now, err := f.snapshot()
	if err != nil {
		return nil, err
	}
	judge := trust.JudgeIntermediate
	if o.Sealed.Kind == object.SealRoot {
		judge = trust.JudgeRoot
	}
	stale, err := judge(f.Mesh, cluster, o, now)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %s: %w", cluster, o.Ref(), err)
	}
	var data map[string][]byte
	have := f.Have[cluster][o.Ref()]
	switch {
	case stale == "" && have != nil:
		kept, err := secretOf(have)
		if err != nil {
			return nil, fmt.Errorf("cluster %s: %s: %w", cluster, o.Ref(), err)
		}
		data = kept.Data
	case o.Sealed.Kind == object.SealRoot:
		data, err = trust.NewRoot(f.Mesh.Name, f.Mesh.Trust.RootTTL, f.Now(), f.Random)
	default:
		data, err = f.intermediate(o)
	}
	if err != nil {
		return nil, err
	}
	body := withData(o.Body, nil, data)
	if f.Have[cluster] == nil {
		f.Have[cluster] = map[object.Ref]*unstructured.Unstructured{}
	}
	f.Have[cluster][o.Ref()] = body
	return body, nil
}

func (f Offline) intermediate(o object.Object) (map[string][]byte, error) {
	home := f.Mesh.Home().Name
	var root corev1.Secret
	ref := object.Ref{Kind: "Secret", Namespace: object.SystemNamespace, Name: trust.RootSecret}
	if have := f.Have[home][ref]; have != nil {
		var err error
		if root, err = secretOf(have); err != nil {
			return nil, fmt.Errorf("cluster %s: %s: %w", home, ref, err)
		}
	}
	authority, err := trust.ParseRoot(root.Data)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %s: %w", home, ref, err)
	}
	return trust.NewIntermediate(f.Mesh.Name, o.Sealed.About, authority, f.Mesh.Trust.IntermediateTTL, f.Now(), f.Random)
}

// snapshot is what is known of the Secrets that were handed in, as facts of clusters that hold them.
func (f Offline) snapshot() (facts.Snapshot, error) {
	now := facts.Snapshot{Taken: f.Now().UTC(), Clusters: map[string]*facts.Cluster{}}
	for _, c := range f.Mesh.Clusters {
		seen := &facts.Cluster{Name: c.Name, Secrets: map[string]*facts.Secret{}}
		for ref, body := range f.Have[c.Name] {
			s, err := secretOf(body)
			if err != nil {
				return now, fmt.Errorf("cluster %s: %s: %w", c.Name, ref, err)
			}
			seen.Secrets[ref.Namespace+"/"+ref.Name] = facts.Reduce(s)
		}
		now.Clusters[c.Name] = seen
	}
	return now, nil
}

// secretOf reads a Secret. The cause is left out: it may quote what it read.
func secretOf(body *unstructured.Unstructured) (corev1.Secret, error) {
	var s corev1.Secret
	if runtime.DefaultUnstructuredConverter.FromUnstructured(body.Object, &s) != nil {
		return s, fmt.Errorf("its data is not base64: if it is encrypted, decrypt it first")
	}
	return s, nil
}
