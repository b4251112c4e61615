package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"isthmus.dev/isthmus/internal/cluster"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/plan"
)

// A writer makes one change in one cluster.
type writer struct {
	run    *run
	conn   *cluster.Conn
	change plan.Change
	notice func(text string)
}

// client is for the changed object's kind; without a version, the one that the API server prefers.
func (w writer) client(version string) (dynamic.ResourceInterface, error) {
	ref := w.change.Object
	return w.conn.Resource(schema.GroupVersionKind{Group: ref.Group, Version: version, Kind: ref.Kind}, ref.Namespace)
}

func (w writer) failed(verb string, err error) error {
	if err == nil {
		return nil
	}
	return &ObjectError{Cluster: w.change.Cluster, Verb: verb, Object: w.change.Object, Err: err}
}

// apply writes an object. What is not ours yet may not be overruled: then a field that somebody else set is an
// error. What is ours is made what it should be, whoever changed it.
func (w writer) apply(ctx context.Context, o object.Object) error {
	body, secrets, err := w.content(ctx, o)
	if err != nil {
		return w.failed("seal", err)
	}
	if w.change.UID != "" {
		// The name must still mean the object that the plan looked at.
		body.SetUID(types.UID(w.change.UID))
	}
	opts := metav1.ApplyOptions{FieldManager: object.Manager, Force: w.change.Action != plan.Create && !w.change.Adopt}
	scrub, tries := scrubber(secrets), 0
	err = w.run.retry(ctx, w.notice, func(ctx context.Context) error {
		tries++
		return scrub(w.write(ctx, o, body, opts, tries > 1))
	})
	return w.failed("apply", err)
}

// write is one try of apply; again tells that an earlier one may have been done and its answer lost.
func (w writer) write(ctx context.Context, o object.Object, body *unstructured.Unstructured, opts metav1.ApplyOptions, again bool) error {
	if err := w.run.locks.mayWrite(w.change.Cluster); err != nil {
		return err
	}
	r, err := w.client(body.GroupVersionKind().Version)
	if err != nil {
		return err
	}
	if o.Sealed != nil && o.Sealed.Kind == object.SealRoot && w.change.Action == plan.Create {
		return w.createOnce(ctx, r, body)
	}
	if err := w.reclaim(ctx, r); err != nil {
		return err
	}
	live, err := r.Apply(ctx, body.GetName(), body, opts)
	if err != nil || w.change.Action == plan.Configure || again {
		return err // after a lost answer it may be our own, with a controller's marks on it by now
	}
	return w.giveBack(ctx, r, live)
}

// giveBack looks whether what was just made was there already, in a form that nothing in ours contradicted. A
// namespace is then adopted; of anything else we take our fields away again and say so.
func (w writer) giveBack(ctx context.Context, r dynamic.ResourceInterface, live *unstructured.Unstructured) error {
	somebodys := slices.ContainsFunc(live.GetManagedFields(), func(e metav1.ManagedFieldsEntry) bool {
		return e.Manager != object.Manager && e.Subresource == ""
	})
	if !somebodys {
		return nil
	}
	back := &unstructured.Unstructured{Object: map[string]any{}}
	back.SetGroupVersionKind(live.GroupVersionKind())
	back.SetNamespace(live.GetNamespace())
	back.SetName(live.GetName())
	if live.GetKind() == "Namespace" {
		back = w.change.Want.Body.DeepCopy()
		notes := back.GetAnnotations()
		notes[plan.AnnotationAdopted] = "true"
		back.SetAnnotations(notes)
	}
	if _, err := r.Apply(ctx, live.GetName(), back, metav1.ApplyOptions{FieldManager: object.Manager}); err != nil {
		return err
	}
	if live.GetKind() == "Namespace" {
		return nil
	}
	return errAppeared
}

// reclaim makes fields ours that applying is to take away: items of lists that somebody put in the place of ours, and
// all that the former owner set of an object that is taken over. Only managedFields change; if that is all that gets
// done, the next plan goes on from there.
func (w writer) reclaim(ctx context.Context, r dynamic.ResourceInterface) error {
	if len(w.change.Reclaim) == 0 && len(w.change.Inherit) == 0 || w.change.Adopt {
		return nil
	}
	live, err := r.Get(ctx, w.change.Object.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	fields, err := plan.Inherited(live.GetManagedFields(), w.change.Inherit)
	if err != nil {
		return err
	}
	if fields, err = plan.Reclaimed(fields, w.change.Reclaim); err != nil {
		return err
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": live.GetUID(), "resourceVersion": live.GetResourceVersion(), "managedFields": fields,
	}})
	if err != nil {
		return err
	}
	_, err = r.Patch(ctx, w.change.Object.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: object.Manager})
	return err
}

// createOnce makes an object that must never be overwritten: if two run at once, the first one's stays. An object
// that is already there and equal is the answer to an earlier try of this very request that got lost.
func (w writer) createOnce(ctx context.Context, r dynamic.ResourceInterface, body *unstructured.Unstructured) error {
	_, err := r.Create(ctx, body, metav1.CreateOptions{FieldManager: object.Manager})
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	live, getErr := r.Get(ctx, body.GetName(), metav1.GetOptions{})
	if getErr != nil {
		return getErr
	}
	if digestOf(live) != digestOf(body) {
		return err
	}
	return nil
}

// content is the body to write, and the secret values in it that no message may show.
func (w writer) content(ctx context.Context, o object.Object) (*unstructured.Unstructured, []string, error) {
	if o.Sealed == nil {
		return o.Body.DeepCopy(), values(o.Body), nil
	}
	if w.change.Seal || w.change.Action == plan.Create || w.change.Action == plan.Replace {
		seal := w.run.a.Sealers[o.Sealed.Kind]
		if seal == nil {
			return nil, nil, fmt.Errorf("nothing makes content of kind %q", o.Sealed.Kind)
		}
		mine := o
		mine.Body = o.Body.DeepCopy()
		body, err := seal(ctx, w.change.Cluster, mine)
		if err != nil {
			return nil, nil, err
		}
		return body, values(body), nil
	}
	body, err := w.carry(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	return body, values(body), nil
}

// carry puts the content that a Secret has into the body: applying it without would take the content away, since
// it is ours.
func (w writer) carry(ctx context.Context, o object.Object) (*unstructured.Unstructured, error) {
	r, err := w.client(o.Body.GroupVersionKind().Version)
	if err != nil {
		return nil, err
	}
	live, err := r.Get(ctx, o.Body.GetName(), metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read the content to keep: %w", err)
	}
	body := o.Body.DeepCopy()
	for _, k := range []string{"data", "type"} {
		if v, ok := live.Object[k]; ok {
			body.Object[k] = v
		}
	}
	notes := body.GetAnnotations()
	for k, v := range live.GetAnnotations() {
		if _, ok := notes[k]; !ok && strings.HasPrefix(k, "isthmus.dev/") {
			notes[k] = v
		}
	}
	body.SetAnnotations(notes)
	return body, nil
}

// delete has the object deleted that the plan looked at, and no other that has its name now. It does not wait until it
// is gone.
func (w writer) delete(ctx context.Context) error {
	if w.change.Object.Kind == "Namespace" && w.change.Action == plan.Delete { // one that is replaced is going already
		if err := w.emptyOfOthers(ctx); err != nil {
			return w.failed("delete", err)
		}
		if w.run.lingers(w.change) {
			if err := w.podsEnd(ctx); err != nil {
				return w.failed("delete", err)
			}
		}
	}
	if w.change.MovedTo != "" {
		if err := w.moved(ctx); err != nil {
			return w.failed("delete", err)
		}
	}
	background := metav1.DeletePropagationBackground
	opts := metav1.DeleteOptions{PropagationPolicy: &background}
	if uid := types.UID(w.change.UID); uid != "" {
		opts.Preconditions = &metav1.Preconditions{UID: &uid}
	}
	err := w.run.retry(ctx, w.notice, func(ctx context.Context) error {
		if err := w.run.locks.mayWrite(w.change.Cluster); err != nil {
			return err
		}
		r, err := w.client("")
		if noKind(err) {
			return nil // the kind is gone, and its objects with it
		}
		if err != nil {
			return err
		}
		err = r.Delete(ctx, w.change.Object.Name, opts)
		if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return nil
		}
		return err
	})
	return w.failed("delete", err)
}
