package apply

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/object"
)

// precious are resources that people put into a namespace and would miss.
var precious = []schema.GroupVersionResource{
	{Version: "v1", Resource: "pods"},
	{Version: "v1", Resource: "services"},
	{Version: "v1", Resource: "configmaps"},
	{Version: "v1", Resource: "secrets"},
	{Version: "v1", Resource: "persistentvolumeclaims"},
	{Group: "apps", Version: "v1", Resource: "deployments"},
	{Group: "apps", Version: "v1", Resource: "statefulsets"},
	{Group: "apps", Version: "v1", Resource: "daemonsets"},
	{Group: "batch", Version: "v1", Resource: "jobs"},
	{Group: "batch", Version: "v1", Resource: "cronjobs"},
}

// emptyOfOthers refuses to delete a namespace, and everything in it with it, while something is in it that is
// neither ours nor made by a controller.
func (w writer) emptyOfOthers(ctx context.Context) error {
	client, err := w.metadata()
	if err != nil {
		return err
	}
	var found []string
	for _, r := range precious {
		items, err := w.inIt(ctx, client, r)
		if err != nil {
			return fmt.Errorf("look for what else is in it: %w", err)
		}
		for _, o := range items {
			if !w.incidental(o) {
				found = append(found, strings.TrimSuffix(r.Resource, "s")+" "+o.Name)
			}
		}
	}
	if len(found) == 0 {
		return nil
	}
	slices.Sort(found)
	more := ""
	if len(found) > 3 {
		found, more = found[:3], fmt.Sprintf(" and %d more", len(found)-3)
	}
	return fmt.Errorf("it holds what is not Isthmus's (%s%s): move or delete that first", strings.Join(found, ", "), more)
}

// podsFor is how long pods of a namespace get to end before it is deleted: what Kubernetes gives a pod, and a little.
const podsFor = 40 * time.Second

// podsEnd waits until a namespace's pods have ended by themselves, which workloads that were deleted a moment ago take
// some seconds for. A namespace that is deleted earlier looks again only when half of the time has passed that its
// pods may take (Kubernetes: pkg/controller/namespace/deletion), 16 s mostly. It does not insist: a pod on a node that
// is gone never ends, and the deletion says so.
func (w writer) podsEnd(ctx context.Context) error {
	client, err := w.metadata()
	if err != nil {
		return err
	}
	began := w.run.now()
	for w.run.since(began) < podsFor {
		pods, err := w.inIt(ctx, client, precious[0])
		if err != nil || len(pods) == 0 {
			return err
		}
		if err := lookAgain(ctx, w.run.since(began)); err != nil {
			return err
		}
	}
	return nil
}

func (w writer) metadata() (metadata.Interface, error) {
	cfg := rest.CopyConfig(w.conn.Config)
	cfg.Timeout = 10 * time.Second
	return metadata.NewForConfig(cfg)
}

// inIt lists what is in the namespace that is changed; nothing where the kind is not there.
func (w writer) inIt(ctx context.Context, client metadata.Interface, r schema.GroupVersionResource) (items []metav1.PartialObjectMetadata, err error) {
	err = w.run.retry(ctx, w.notice, func(ctx context.Context) error {
		got, err := client.Resource(r).Namespace(w.change.Object.Name).List(ctx, metav1.ListOptions{Limit: 500})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err == nil {
			items = got.Items
		}
		return err
	})
	return items, err
}

// incidental tells objects that nobody would miss: ours, on their way out, or made by a controller for the namespace.
func (w writer) incidental(o metav1.PartialObjectMetadata) bool {
	if o.Labels[object.LabelMesh] == w.run.set.Mesh || o.DeletionTimestamp != nil || len(o.OwnerReferences) > 0 {
		return true
	}
	switch o.Name {
	case "kube-root-ca.crt", facts.RootConfigMap, "istio-ca-crl", facts.SelfSigned:
		return true
	}
	// Istio's leaders hold on to ConfigMaps, named after what they lead (istio.io/istio/pilot/pkg/leaderelection),
	// which client-go's locks mark.
	return o.Annotations["control-plane.alpha.kubernetes.io/leader"] != "" || o.Annotations["kubernetes.io/service-account.name"] != ""
}
