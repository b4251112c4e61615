// Package live reads configuration objects of a cluster as they are now: those of Istio, of the Gateway API, and of
// Kubernetes' own kinds that these speak of. It reads only, a bounded number of each kind, and never a Secret.
package live

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"isthmus.dev/isthmus/internal/cluster"
)

// Most is how many objects of one kind are read; a cluster that has more is not read whole, and says so.
const Most = 5000

// page is how many an API server is asked for at once.
const page = 500

// Istio are the kinds by which Istio is configured.
var Istio = []schema.GroupKind{
	{Group: "networking.istio.io", Kind: "VirtualService"},
	{Group: "networking.istio.io", Kind: "DestinationRule"},
	{Group: "networking.istio.io", Kind: "Gateway"},
	{Group: "networking.istio.io", Kind: "ServiceEntry"},
	{Group: "networking.istio.io", Kind: "Sidecar"},
	{Group: "networking.istio.io", Kind: "WorkloadEntry"},
	{Group: "networking.istio.io", Kind: "WorkloadGroup"},
	{Group: "networking.istio.io", Kind: "EnvoyFilter"},
	{Group: "networking.istio.io", Kind: "ProxyConfig"},
	{Group: "security.istio.io", Kind: "AuthorizationPolicy"},
	{Group: "security.istio.io", Kind: "PeerAuthentication"},
	{Group: "security.istio.io", Kind: "RequestAuthentication"},
	{Group: "telemetry.istio.io", Kind: "Telemetry"},
	{Group: "extensions.istio.io", Kind: "WasmPlugin"},
}

// GatewayAPI are the kinds of the Gateway API that Istio serves, and of services across clusters.
var GatewayAPI = []schema.GroupKind{
	{Group: "gateway.networking.k8s.io", Kind: "Gateway"},
	{Group: "gateway.networking.k8s.io", Kind: "GatewayClass"},
	{Group: "gateway.networking.k8s.io", Kind: "HTTPRoute"},
	{Group: "gateway.networking.k8s.io", Kind: "GRPCRoute"},
	{Group: "gateway.networking.k8s.io", Kind: "ReferenceGrant"},
	{Group: "multicluster.x-k8s.io", Kind: "ServiceExport"},
	{Group: "multicluster.x-k8s.io", Kind: "ServiceImport"},
}

// Workloads are the kinds that configuration speaks of.
var Workloads = []schema.GroupKind{
	{Kind: "Namespace"},
	{Kind: "Service"},
	{Kind: "Pod"},
	{Group: "apps", Kind: "Deployment"},
	{Group: "apps", Kind: "StatefulSet"},
	{Group: "apps", Kind: "DaemonSet"},
	{Group: "batch", Kind: "CronJob"},
}

// A Reading is what was read of a cluster.
type Reading struct {
	Objects []*unstructured.Unstructured
	// Unread are kinds that could not be read in whole, and why. Kinds that the cluster does not have are not among them.
	Unread map[string]string
}

// Read lists every object of the kinds, in the order of kinds. Errors: the cluster does not answer. What the caller
// may not read is in Unread.
func Read(ctx context.Context, conn *cluster.Conn, kinds ...schema.GroupKind) (Reading, error) {
	out := Reading{Unread: map[string]string{}}
	lists := make([][]*unstructured.Unstructured, len(kinds))
	var mu sync.Mutex
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.SetLimit(8)
	for i, kind := range kinds {
		tasks.Go(func() error {
			items, why, err := list(ctx, conn, kind)
			if err != nil {
				return fmt.Errorf("cluster %s: list %s: %w", conn.Name, kind.Kind, err)
			}
			lists[i] = items
			if why != "" {
				mu.Lock()
				defer mu.Unlock()
				out.Unread[kind.Kind] = why
			}
			return nil
		})
	}
	if err := tasks.Wait(); err != nil {
		return Reading{}, err
	}
	for _, l := range lists {
		out.Objects = append(out.Objects, l...)
	}
	return out, nil
}

func list(ctx context.Context, conn *cluster.Conn, kind schema.GroupKind) (items []*unstructured.Unstructured, why string, err error) {
	r, err := conn.Resource(kind.WithVersion(""), "")
	if absent(err) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	options := metav1.ListOptions{Limit: page}
	for {
		got, err := r.List(ctx, options)
		switch {
		case apierrors.IsForbidden(err):
			return nil, "the caller may not list them", nil
		case apierrors.IsNotFound(err):
			return nil, "", nil
		case err != nil:
			return nil, "", err
		}
		for _, u := range got.Items {
			u.SetManagedFields(nil)
			items = append(items, &u)
		}
		if options.Continue = got.GetContinue(); options.Continue == "" {
			return items, "", nil
		}
		if len(items) >= Most {
			return items, fmt.Sprintf("there are more than %d; the rest was not read", Most), nil
		}
	}
}

func absent(err error) bool {
	return meta.IsNoMatchError(err) || meta.IsNoMatchError(errors.Unwrap(err))
}
