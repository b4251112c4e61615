package live

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"isthmus.dev/isthmus/internal/cluster"
	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
)

// A Member is what was read of one cluster of a mesh.
type Member struct {
	Name string
	// Away says why it could not be read; the rest is empty then.
	Away string
	Reading
}

// All reads the kinds in every cluster of a mesh, all at the same time, each within the deadline, and beside them
// Istio's mesh configuration. The result is in document order.
func All(ctx context.Context, m mesh.Mesh, dial cluster.Dialer, deadline time.Duration, kinds ...schema.GroupKind) []Member {
	out := make([]Member, len(m.Clusters))
	var wg sync.WaitGroup
	for i, c := range m.Clusters {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, deadline)
			defer cancel()
			out[i] = Member{Name: c.Name}
			got, err := all(ctx, c, dial, kinds)
			if err != nil {
				out[i].Away = facts.Plain(err)
				return
			}
			out[i].Reading = got
		})
	}
	wg.Wait()
	return out
}

func all(ctx context.Context, c mesh.Cluster, dial cluster.Dialer, kinds []schema.GroupKind) (Reading, error) {
	conn, err := dial(c)
	if err != nil {
		return Reading{}, err
	}
	defer conn.Close()
	got, err := Read(ctx, conn, kinds...)
	if err != nil {
		return got, err
	}
	for _, u := range got.Objects {
		slim(u)
	}
	config, err := meshConfig(ctx, conn)
	switch {
	case apierrors.IsForbidden(err):
		got.Unread["ConfigMap"] = "the caller may not read the mesh configuration"
	case err != nil && !apierrors.IsNotFound(err):
		return got, err
	case err == nil:
		got.Objects = append(got.Objects, config)
	}
	return got, nil
}

// meshConfig is the ConfigMap with Istio's mesh configuration.
func meshConfig(ctx context.Context, conn *cluster.Conn) (*unstructured.Unstructured, error) {
	cm, err := conn.Kube.CoreV1().ConfigMaps("istio-system").Get(ctx, "istio", metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	cm.ManagedFields = nil
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(cm)
	if err != nil {
		return nil, err
	}
	u := &unstructured.Unstructured{Object: content}
	u.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ConfigMap"))
	return u, nil
}

// slim takes off what configuration is not judged by: statuses, copies of the object in its annotations, and of a
// pod all but what it is called, bears and listens on.
func slim(u *unstructured.Unstructured) {
	delete(u.Object, "status")
	if notes := u.GetAnnotations(); notes != nil {
		delete(notes, corev1.LastAppliedConfigAnnotation)
		u.SetAnnotations(notes)
	}
	if u.GetKind() != "Pod" {
		return
	}
	spec, _ := u.Object["spec"].(map[string]any)
	kept := map[string]any{}
	for _, key := range []string{"serviceAccountName", "nodeName", "hostNetwork"} {
		if v, ok := spec[key]; ok {
			kept[key] = v
		}
	}
	for _, key := range []string{"containers", "initContainers"} {
		list, _ := spec[key].([]any)
		var short []any
		for _, x := range list {
			c, _ := x.(map[string]any)
			short = append(short, map[string]any{"name": c["name"], "image": c["image"], "ports": c["ports"]})
		}
		if len(short) > 0 {
			kept[key] = short
		}
	}
	u.Object["spec"] = kept
}
