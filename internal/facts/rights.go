package facts

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	authv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// Rights lists what apply and verify will do in a cluster: read, make, change and delete every wanted object and the
// inventory, ask for tokens of accounts whose remote secrets are wanted elsewhere, and run a program in a proof's pod.
func Rights(m mesh.Mesh, want object.Objects, cluster string) []Right {
	all := map[Right]bool{}
	add := func(ref object.Ref) {
		r := resourceOf(ref)
		for _, verb := range []string{"get", "create", "patch", "delete"} {
			r.Verb = verb
			all[r] = true
		}
	}
	for _, o := range want[cluster] {
		add(o.Ref())
		if o.Body.GetKind() == "ServiceAccount" && o.Part == object.PartDiscovery {
			all[Right{Verb: "create", Resource: "serviceaccounts/token", Namespace: o.Body.GetNamespace()}] = true
		}
	}
	if len(want[cluster]) > 0 {
		add(object.Ref{Kind: "Namespace", Name: object.SystemNamespace})
		add(object.Ref{Kind: "ConfigMap", Namespace: object.SystemNamespace, Name: InventoryName(m.Name)})
		for _, verb := range []string{"get", "create", "update", "delete"} { // apply's lock
			all[Right{Verb: verb, Group: "coordination.k8s.io", Resource: "leases", Namespace: object.SystemNamespace}] = true
		}
		if m.Verify.Namespace != "" {
			all[Right{Verb: "create", Resource: "pods/exec", Namespace: m.Verify.Namespace}] = true
		}
	}
	return slices.SortedFunc(maps.Keys(all), compareRights)
}

// resourceOf guesses a kind's resource, as kubectl does for kinds that the API server does not have yet: an access
// review asks about names, not about what exists.
func resourceOf(ref object.Ref) Right {
	return Right{Group: ref.Group, Resource: Plural(ref.Kind), Namespace: ref.Namespace}
}

// Plural is the name of a kind's resource, as kubectl guesses it; but a "y" after a vowel takes an "s", as in gateways.
func Plural(kind string) string {
	lower := strings.ToLower(kind)
	if n := len(lower); n > 1 && lower[n-1] == 'y' && strings.ContainsRune("aeiou", rune(lower[n-2])) {
		return lower + "s"
	}
	plural, _ := meta.UnsafeGuessKindToResource(schema.GroupVersionKind{Kind: kind})
	return plural.Resource
}

func compareRights(a, b Right) int {
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Group, b.Group),
		strings.Compare(a.Resource, b.Resource), strings.Compare(a.Verb, b.Verb))
}

// denied asks the API server which of the rights the caller lacks. Whoever may do everything is asked about once.
func (g *gatherer) denied(ctx context.Context) error {
	if len(g.rights) == 0 {
		return nil
	}
	if ok, err := g.may(ctx, Right{Verb: "*", Group: "*", Resource: "*"}); err != nil || ok {
		return err
	}
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.SetLimit(atOnce)
	for _, r := range g.rights {
		tasks.Go(func() error {
			ok, err := g.may(ctx, r)
			if err == nil && !ok {
				g.mu.Lock()
				defer g.mu.Unlock()
				g.out.Denied = append(g.out.Denied, r)
			}
			return err
		})
	}
	return tasks.Wait()
}

func (g *gatherer) may(ctx context.Context, r Right) (bool, error) {
	resource, sub, _ := strings.Cut(r.Resource, "/")
	review := &authv1.SelfSubjectAccessReview{Spec: authv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authv1.ResourceAttributes{
			Verb: r.Verb, Group: r.Group, Resource: resource, Subresource: sub, Namespace: r.Namespace,
		},
	}}
	got, err := g.conn.Kube.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return false, g.tolerate(err, Right{Verb: "create", Group: "authorization.k8s.io", Resource: "selfsubjectaccessreviews"})
	}
	return got.Status.Allowed, nil
}
