package apply

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"isthmus.dev/isthmus/internal/facts"
)

// emptyOfOthers refuses to delete a namespace, and everything in it with it, while something is in it that is not ours:
// it may have come since the plan was made, or have been out of sight then.
func (w writer) emptyOfOthers(ctx context.Context) error {
	var held facts.Held
	err := w.run.retry(ctx, w.notice, func(ctx context.Context) error {
		var err error
		held, err = facts.OthersIn(ctx, w.conn, w.change.Object.Name, w.run.set.Mesh)
		return err
	})
	if err != nil {
		return fmt.Errorf("look for what else is in it: %w", err)
	}
	if held.None() {
		return nil
	}
	return fmt.Errorf("%s: move or delete that first", held)
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
		pods, err := w.inIt(ctx, client, schema.GroupVersionResource{Version: "v1", Resource: "pods"})
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
