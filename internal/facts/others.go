package facts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"isthmus.dev/isthmus/internal/cluster"
	"isthmus.dev/isthmus/internal/object"
)

// Held is what a namespace holds that is not Isthmus's: whoever deletes the namespace deletes that too.
type Held struct {
	// Objects are some of them, sorted; More tells that there are others, which were not counted.
	Objects []object.Ref `json:"objects,omitempty"`
	More    bool         `json:"more,omitempty"`
	// Err says why it is not known what it holds.
	Err string `json:"err,omitempty"`
}

// None tells that everything in it was seen, and is Isthmus's or would be missed by nobody.
func (h Held) None() bool { return len(h.Objects) == 0 && h.Err == "" }

// String is what a namespace holds, for people: a few of them by name.
func (h Held) String() string {
	if h.Err != "" {
		return "what is in it cannot be known: " + h.Err
	}
	names := make([]string, 0, len(h.Objects))
	for _, o := range h.Objects {
		names = append(names, o.Kind+" "+o.Name)
	}
	const few = 3
	if len(names) > few {
		more := fmt.Sprintf("%d", len(names)-few)
		if h.More {
			more = "more than " + more
		}
		return fmt.Sprintf("it holds what is not Isthmus's: %s and %s others", strings.Join(names[:few], ", "), more)
	}
	return "it holds what is not Isthmus's: " + strings.Join(names, ", ")
}

const (
	othersPage = 500   // objects of one request, as kubectl asks for them
	othersMost = 20000 // objects of one kind in one namespace that are looked at
	othersSome = 100   // of those that are found as many are kept
)

// Hold adds to a snapshot what the namespaces hold that Isthmus made for a mesh and that are not wanted any more. want is
// what is wanted, by cluster; of one that is not in it nothing is.
func Hold(ctx context.Context, mesh string, s Snapshot, want object.Objects, dial func(name string) (*cluster.Conn, error)) {
	var tasks errgroup.Group
	for name, c := range s.Clusters {
		if going := c.going(want[name]); c.Answered() && len(going) > 0 {
			c.Held = make(map[string]Held, len(going))
			tasks.Go(func() error {
				conn, err := dial(name)
				for _, namespace := range going {
					var held Held
					if err == nil {
						held, err = OthersIn(ctx, conn, namespace, mesh)
					}
					if err != nil {
						held = Held{Err: Plain(err)}
					}
					c.Held[namespace] = held
				}
				return nil
			})
		}
	}
	_ = tasks.Wait() // each error is in its place
}

// going are the namespaces that are ours and not wanted, sorted.
func (c *Cluster) going(want []object.Object) []string {
	wanted := map[string]bool{object.SystemNamespace: len(want) > 0}
	for _, o := range want {
		if o.Body.GetKind() == "Namespace" {
			wanted[o.Body.GetName()] = true
		}
	}
	var going []string
	for _, ref := range append([]object.Ref{{Kind: "Namespace", Name: object.SystemNamespace}}, c.Inventory...) {
		if ref.Kind == "Namespace" && ref.Group == "" && !wanted[ref.Name] && c.Exists(ref) {
			going = append(going, ref.Name)
		}
	}
	slices.Sort(going)
	return slices.Compact(going)
}

// OthersIn looks through every namespaced kind that the API server serves for objects in a namespace that are not
// mesh's: by discovery, page by page. What cannot be listed is an error: then nobody knows what is in it.
func OthersIn(ctx context.Context, conn *cluster.Conn, namespace, mesh string) (Held, error) {
	lists, err := conn.Kube.Discovery().ServerPreferredNamespacedResources()
	if err != nil {
		if _, failed := errors.AsType[*discovery.ErrGroupDiscoveryFailed](err); failed {
			return Held{}, fmt.Errorf("some kinds are served by an API that does not answer, and its namespace could not be deleted either: %w", err)
		}
		return Held{}, fmt.Errorf("which kinds there are: %w", err)
	}
	cfg := rest.CopyConfig(conn.Config)
	cfg.Timeout = 10 * time.Second
	client, err := metadata.NewForConfig(cfg)
	if err != nil {
		return Held{}, err
	}
	seen := census{mesh: mesh, byUID: map[types.UID]*resident{}, kinds: map[schema.GroupKind]bool{}}
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.SetLimit(atOnce)
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return Held{}, fmt.Errorf("which kinds there are: %w", err)
		}
		for _, r := range list.APIResources {
			kind := gv.WithKind(r.Kind).GroupKind()
			seen.kinds[kind] = true
			// What cannot be deleted goes by itself: it is a view of something else.
			if !slices.Contains(r.Verbs, "list") || !slices.Contains(r.Verbs, "delete") || fleeting[kind] {
				continue
			}
			resource := client.Resource(gv.WithResource(r.Name)).Namespace(namespace)
			tasks.Go(func() error { return seen.list(ctx, resource, kind) })
		}
	}
	if err := tasks.Wait(); err != nil {
		return Held{}, err
	}
	return seen.held(), nil
}

// fleeting are kinds whose objects are news and locks: made anew by whoever needs them.
var fleeting = map[schema.GroupKind]bool{
	{Kind: "Event"}:                               true,
	{Group: "events.k8s.io", Kind: "Event"}:       true,
	{Group: "coordination.k8s.io", Kind: "Lease"}: true,
}

// A census is all that lives in a namespace.
type census struct {
	mesh  string
	mu    sync.Mutex
	kinds map[schema.GroupKind]bool // those that are namespaced
	all   []*resident
	byUID map[types.UID]*resident
}

type resident struct {
	kind schema.GroupKind
	metav1.ObjectMeta
	asked bool // whose it is was asked, and is not known yet
}

func (s *census) list(ctx context.Context, r metadata.ResourceInterface, kind schema.GroupKind) error {
	var items []metav1.PartialObjectMetadata
	opts := metav1.ListOptions{Limit: othersPage}
	for restarted := false; ; {
		page, err := r.List(ctx, opts)
		switch {
		case apierrors.IsNotFound(err): // the kind has gone meanwhile
			return nil
		case apierrors.IsResourceExpired(err) && !restarted: // it took too long: from the beginning, once
			items, opts.Continue, restarted = nil, "", true
			continue
		case err != nil:
			return fmt.Errorf("list %s: %w", kind, err)
		}
		items = append(items, page.Items...)
		if opts.Continue = page.Continue; opts.Continue == "" {
			break
		}
		if len(items) > othersMost {
			return fmt.Errorf("there are more than %d of %s", othersMost, kind)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range items {
		x := &resident{kind: kind, ObjectMeta: items[i].ObjectMeta}
		s.all = append(s.all, x)
		s.byUID[x.UID] = x
	}
	return nil
}

func (s *census) held() Held {
	var h Held
	for _, x := range s.all {
		if !s.incidental(x) {
			h.Objects = append(h.Objects, object.Ref{Group: x.kind.Group, Kind: x.kind.Kind, Namespace: x.Namespace, Name: x.Name})
		}
	}
	slices.SortFunc(h.Objects, object.Ref.Compare)
	if len(h.Objects) > othersSome {
		h.Objects, h.More = h.Objects[:othersSome], true
	}
	return h
}

// incidental tells objects that nobody would miss: ours, on their way out, those of an owner of which the same holds,
// and what Kubernetes and istiod put into namespaces by themselves.
func (s *census) incidental(x *resident) bool {
	if x.DeletionTimestamp != nil || s.ours(x) || s.owned(x) {
		return true
	}
	switch x.kind {
	case schema.GroupKind{Kind: "ServiceAccount"}:
		return x.Name == "default" // made anew by Kubernetes in every namespace
	case schema.GroupKind{Kind: "Endpoints"}:
		return !slices.ContainsFunc(s.all, func(o *resident) bool { // they go with their Service
			return o.kind == schema.GroupKind{Kind: "Service"} && o.Name == x.Name && !s.incidental(o)
		})
	case schema.GroupKind{Kind: "Secret"}:
		of := x.Annotations["kubernetes.io/service-account.name"]
		return x.Name == SelfSigned || of != "" && !slices.ContainsFunc(s.all, func(o *resident) bool {
			return o.kind == schema.GroupKind{Kind: "ServiceAccount"} && o.Name == of && !s.incidental(o)
		})
	case schema.GroupKind{Kind: "ConfigMap"}:
		// Istio's leaders hold on to ConfigMaps, named after what they lead (istio.io/istio/pilot/pkg/leaderelection),
		// which client-go's locks mark.
		return slices.Contains([]string{"kube-root-ca.crt", RootConfigMap, "istio-ca-crl"}, x.Name) ||
			x.Annotations["control-plane.alpha.kubernetes.io/leader"] != ""
	}
	return false
}

// ours tells what says that it is this mesh's, and has been written by Isthmus: a label alone is copied with whatever
// else somebody copies.
func (s *census) ours(x *resident) bool {
	return x.Labels[object.LabelMesh] == s.mesh && slices.ContainsFunc(x.ManagedFields, func(e metav1.ManagedFieldsEntry) bool {
		return e.Manager == object.Manager
	})
}

// owned tells whether an object goes with an owner in the namespace that nobody would miss, or whose owner has gone
// already, so that Kubernetes collects it. An owner outside of namespaces keeps what is its own.
func (s *census) owned(x *resident) bool {
	if len(x.OwnerReferences) == 0 || x.asked {
		return false
	}
	x.asked = true // owners that own each other are nobody's
	defer func() { x.asked = false }()
	return !slices.ContainsFunc(x.OwnerReferences, func(o metav1.OwnerReference) bool {
		if owner := s.byUID[o.UID]; owner != nil {
			return !s.incidental(owner)
		}
		gv, err := schema.ParseGroupVersion(o.APIVersion)
		return err != nil || !s.kinds[gv.WithKind(o.Kind).GroupKind()]
	})
}
