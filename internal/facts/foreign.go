package facts

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"

	"isthmus.dev/isthmus/internal/object"
)

// A foreignKind is a kind of which an Istio installation may have objects.
type foreignKind struct {
	kind     string
	resource schema.GroupVersionResource
}

func kindOf(kind, group, version, resource string) foreignKind {
	return foreignKind{kind, schema.GroupVersionResource{Group: group, Version: version, Resource: resource}}
}

var foreignKinds = []foreignKind{
	kindOf("ConfigMap", "", "v1", "configmaps"), kindOf("Service", "", "v1", "services"), kindOf("ServiceAccount", "", "v1", "serviceaccounts"),
	kindOf("Deployment", "apps", "v1", "deployments"), kindOf("DaemonSet", "apps", "v1", "daemonsets"),
	kindOf("HorizontalPodAutoscaler", "autoscaling", "v2", "horizontalpodautoscalers"), kindOf("PodDisruptionBudget", "policy", "v1", "poddisruptionbudgets"),
	kindOf("Role", "rbac.authorization.k8s.io", "v1", "roles"), kindOf("RoleBinding", "rbac.authorization.k8s.io", "v1", "rolebindings"),
	kindOf("ClusterRole", "rbac.authorization.k8s.io", "v1", "clusterroles"), kindOf("ClusterRoleBinding", "rbac.authorization.k8s.io", "v1", "clusterrolebindings"),
	kindOf("MutatingWebhookConfiguration", "admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations"),
	kindOf("ValidatingWebhookConfiguration", "admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations"),
	kindOf("EnvoyFilter", "networking.istio.io", "v1alpha3", "envoyfilters"),
}

// ofIstio selects what Istio's charts make: all but the chart of a single gateway label it with a component. The names
// of gateways are those that Istio's own documents give them.
var ofIstio = []string{"operator.istio.io/component", "istio in (ingressgateway,egressgateway,eastwestgateway)"}

// foreign lists what an Istio consists of that Isthmus did not install. It is asked where there is one.
func (g *gatherer) foreign(ctx context.Context) error {
	if !slices.ContainsFunc(g.out.Istiods, func(i Istiod) bool { return i.Owner != "isthmus" }) {
		return nil
	}
	client, err := metadata.NewForConfig(g.conn.Config)
	if err != nil {
		return &reachError{cause: CauseContext, why: err.Error()}
	}
	var mu sync.Mutex
	found := map[object.Ref]Foreign{}
	releases := map[string]string{} // "namespace/release" → its name
	tasks, tasksCtx := errgroup.WithContext(ctx)
	tasks.SetLimit(atOnce)
	for _, k := range foreignKinds {
		for _, selector := range ofIstio {
			tasks.Go(func() error {
				got, err := client.Resource(k.resource).List(tasksCtx, metav1.ListOptions{LabelSelector: selector})
				if err != nil {
					return g.tolerate(err, list(k.resource.Resource, k.resource.Group))
				}
				mu.Lock()
				defer mu.Unlock()
				for _, o := range got.Items {
					if len(o.OwnerReferences) > 0 || o.Labels[object.LabelMesh] != "" {
						continue
					}
					ref := object.Ref{Group: k.resource.Group, Kind: k.kind, Namespace: o.Namespace, Name: o.Name}
					found[ref] = Foreign{Object: ref, Owner: Owner(&o)}
					if r := o.Annotations["meta.helm.sh/release-name"]; r != "" {
						releases[o.Annotations["meta.helm.sh/release-namespace"]+"/"+r] = r
					}
				}
				return nil
			})
		}
	}
	if err := tasks.Wait(); err != nil {
		return err
	}
	for _, f := range found {
		g.out.Foreign = append(g.out.Foreign, f)
	}
	if err := g.records(ctx, client, releases); err != nil {
		return err
	}
	slices.SortFunc(g.out.Foreign, func(a, b Foreign) int { return a.Object.Compare(b.Object) })
	return nil
}

// records are what installers remember an installation by: with them they would change it back.
func (g *gatherer) records(ctx context.Context, client metadata.Interface, releases map[string]string) error {
	secrets := schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	if len(releases) > 0 {
		got, err := client.Resource(secrets).List(ctx, metav1.ListOptions{LabelSelector: "owner=helm"})
		if err != nil {
			if err := g.tolerate(err, list("secrets", "")); err != nil {
				return err
			}
			got = &metav1.PartialObjectMetadataList{}
		}
		for _, s := range got.Items {
			r, ok := releases[s.Namespace+"/"+s.Labels["name"]]
			if !ok || !strings.HasPrefix(s.Name, "sh.helm.release.") {
				continue
			}
			g.out.Foreign = append(g.out.Foreign, Foreign{
				Object: object.Ref{Kind: "Secret", Namespace: s.Namespace, Name: s.Name}, Owner: "helm:" + r,
				Record: fmt.Sprintf("Helm's record of release %s: a later helm upgrade would change back what Isthmus keeps, and helm uninstall would delete it; once taken over, let Helm forget it: kubectl -n %s delete secret -l owner=helm,name=%s",
					r, s.Namespace, r),
			})
		}
	}
	operators := schema.GroupVersionResource{Group: "install.istio.io", Version: "v1alpha1", Resource: "istiooperators"}
	got, err := client.Resource(operators).List(ctx, metav1.ListOptions{})
	if err != nil {
		return g.tolerate(err, list("istiooperators", "install.istio.io"))
	}
	for _, o := range got.Items {
		g.out.Foreign = append(g.out.Foreign, Foreign{
			Object: object.Ref{Group: operators.Group, Kind: "IstioOperator", Namespace: o.Namespace, Name: o.Name}, Owner: "istioctl",
			Record: fmt.Sprintf("istioctl's record of its installation: an operator that still runs would change back what Isthmus keeps; once taken over: kubectl -n %s delete istiooperator %s", o.Namespace, o.Name),
		})
	}
	return nil
}
