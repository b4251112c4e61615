package facts

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"

	"isthmus.dev/isthmus/internal/object"
)

// recorded reads the inventory, and the objects that it names as they are. It is by what version of their kinds the
// cluster prefers: the inventory names none.
func (g *gatherer) recorded(ctx context.Context) error {
	inventory := g.inventory()
	if err := g.readLive(ctx, inventory, "v1"); err != nil {
		return err
	}
	if u := g.object(inventory); u != nil {
		text, _, _ := unstructured.NestedString(u.Object, "data", InventoryKey) // not a string is no list
		refs, err := ParseInventory(text)
		if err != nil {
			g.unread(inventory, err)
		}
		g.out.Inventory = refs
		if text, ok, _ := unstructured.NestedString(u.Object, "data", MembersKey); ok { // sets have none
			if g.out.Members, err = ParseMembers(text); err != nil {
				g.unread(inventory, err)
			}
		}
	}
	versions := map[object.Ref]string{{Kind: "Namespace", Name: object.SystemNamespace}: "v1"}
	for _, r := range g.out.Inventory {
		versions[r] = ""
	}
	delete(versions, inventory)
	return g.readAll(ctx, versions)
}

func (g *gatherer) inventory() object.Ref {
	return object.Ref{Kind: "ConfigMap", Namespace: object.SystemNamespace, Name: InventoryName(g.owner)}
}

func (g *gatherer) object(ref object.Ref) *unstructured.Unstructured {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.out.Live[ref]
}

func (g *gatherer) unread(ref object.Ref, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.out.Unread[ref] = err.Error()
}

// live reads the wanted objects that the inventory does not name, or that it found in another version of their kind
// than is wanted.
func (g *gatherer) live(ctx context.Context) error {
	versions := map[object.Ref]string{}
	asked := map[object.Ref]bool{g.inventory(): true, {Kind: "Namespace", Name: object.SystemNamespace}: true}
	for _, r := range g.out.Inventory {
		asked[r] = true
	}
	for _, o := range g.want {
		ref, version := o.Ref(), o.Body.GroupVersionKind().Version
		if u := g.out.Live[ref]; !asked[ref] || u != nil && u.GroupVersionKind().Version != version {
			versions[ref] = version
		}
	}
	if err := g.readAll(ctx, versions); err != nil {
		return err
	}
	for ref := range versions {
		asked[ref] = true
	}
	g.out.Absent = slices.SortedFunc(maps.Keys(asked), object.Ref.Compare)
	g.out.Absent = slices.DeleteFunc(g.out.Absent, func(r object.Ref) bool { return g.out.Live[r] != nil || g.out.Unread[r] != "" })
	return nil
}

func (g *gatherer) readAll(ctx context.Context, versions map[object.Ref]string) error {
	absent := g.absentKinds(versions)
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.SetLimit(atOnce)
	for _, ref := range slices.SortedFunc(maps.Keys(versions), object.Ref.Compare) {
		if !absent[schema.GroupKind{Group: ref.Group, Kind: ref.Kind}] {
			tasks.Go(func() error { return g.readLive(ctx, ref, versions[ref]) })
		}
	}
	return tasks.Wait()
}

// absentKinds asks once for each kind, since asking for a kind that is not there reads the whole discovery anew.
func (g *gatherer) absentKinds(versions map[object.Ref]string) map[schema.GroupKind]bool {
	absent := map[schema.GroupKind]bool{}
	for ref, version := range versions {
		gk := schema.GroupKind{Group: ref.Group, Kind: ref.Kind}
		if _, asked := absent[gk]; asked {
			continue
		}
		_, err := g.conn.Resource(gvkOf(ref, version), ref.Namespace)
		absent[gk] = meta.IsNoMatchError(errors.Unwrap(err)) || meta.IsNoMatchError(err)
	}
	return absent
}

func (g *gatherer) readLive(ctx context.Context, ref object.Ref, version string) error {
	u, err := g.get(ctx, ref, version)
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case err == nil:
	case apierrors.IsNotFound(err):
		return nil
	case apierrors.IsForbidden(err):
		g.out.Unread[ref] = Plain(err)
		return nil
	default:
		return fmt.Errorf("read %s: %w", ref, err)
	}
	if ref.Kind == "Secret" && ref.Group == "" {
		var s corev1.Secret
		if runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &s) == nil {
			g.out.Secrets[ref.Namespace+"/"+ref.Name] = Reduce(s)
		}
		hide(u)
	}
	g.out.Live[ref] = u
	return nil
}

func (g *gatherer) get(ctx context.Context, ref object.Ref, version string) (*unstructured.Unstructured, error) {
	if ref.Kind == "CustomResourceDefinition" {
		return g.getCRD(ctx, ref.Name)
	}
	r, err := g.conn.Resource(gvkOf(ref, version), ref.Namespace)
	if err != nil {
		return nil, err
	}
	return r.Get(ctx, ref.Name, metav1.GetOptions{})
}

// getCRD is a kind without its schema, which is large, out of the list of all: managedFields tell all that a plan asks of
// one of ours. Of somebody else's it asks whether it serves what is wanted. To ask for each by itself would cost an API
// server more than everything else that is read.
func (g *gatherer) getCRD(ctx context.Context, name string) (*unstructured.Unstructured, error) {
	m, err := g.definition(ctx, name)
	if err != nil {
		return nil, err
	}
	if m.Labels[object.LabelMesh] == "" {
		r, err := g.conn.Resource(gvkOf(object.Ref{Group: crdResource.Group, Kind: "CustomResourceDefinition"}, crdResource.Version), "")
		if err != nil {
			return nil, err
		}
		return r.Get(ctx, name, metav1.GetOptions{})
	}
	m.TypeMeta = metav1.TypeMeta{APIVersion: crdResource.GroupVersion().String(), Kind: "CustomResourceDefinition"}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(m)
	if err != nil {
		return nil, err
	}
	if plural, group, _ := strings.Cut(name, "."); g.conn.Serves(schema.GroupResource{Group: group, Resource: plural}) {
		// What its status says, known without reading it: a definition is served once it is established.
		content["status"] = map[string]any{"conditions": []any{map[string]any{"type": "Established", "status": "True", "reason": "Served"}}}
	}
	return &unstructured.Unstructured{Object: content}, nil
}

// definition is one of the list; asked for by itself where the caller may not list them.
func (g *gatherer) definition(ctx context.Context, name string) (*metav1.PartialObjectMetadata, error) {
	all, err := g.definitions()
	if err != nil {
		client, err := metadata.NewForConfig(g.conn.Config)
		if err != nil {
			return nil, err
		}
		return client.Resource(crdResource).Get(ctx, name, metav1.GetOptions{})
	}
	i := slices.IndexFunc(all.Items, func(m metav1.PartialObjectMetadata) bool { return m.Name == name })
	if i < 0 {
		return nil, apierrors.NewNotFound(crdResource.GroupResource(), name)
	}
	return all.Items[i].DeepCopy(), nil
}

// hide replaces every value of a Secret by its digest, and leaves only annotations that hold no copy of it.
func hide(u *unstructured.Unstructured) {
	data, _, _ := unstructured.NestedMap(u.Object, "data") // data of another type is dropped below
	for k, v := range data {
		s, _ := v.(string)
		raw, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			raw = []byte(s)
		}
		data[k] = Digest(raw)
	}
	delete(u.Object, "data")
	delete(u.Object, "stringData")
	if len(data) > 0 {
		u.Object["data"] = data
	}
	if notes := u.GetAnnotations(); notes != nil {
		u.SetAnnotations(publicNotes(notes))
	}
}

// salt is different in every run: a digest in a file lets nobody try values until one fits.
var salt = func() []byte {
	raw := make([]byte, sha256.Size)
	if _, err := rand.Read(raw); err != nil { // it never fails
		panic(err)
	}
	return raw
}()

// digestPrefix begins a Digest.
const digestPrefix = "hmac-sha256:"

// Digest stands for a secret value in Live: equal values have equal digests within one run, and nothing else can be told
// from it.
func Digest(value []byte) string {
	mac := hmac.New(sha256.New, salt)
	mac.Write(value)
	return digestPrefix + hex.EncodeToString(mac.Sum(nil))
}
