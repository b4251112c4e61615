package facts

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"

	"isthmus.dev/isthmus/internal/object"
)

func list(resource, group string) Right { return Right{Verb: "list", Group: group, Resource: resource} }

func (g *gatherer) identity(ctx context.Context) error {
	ns, err := g.conn.Kube.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err == nil {
		g.out.UID = string(ns.UID)
	}
	return g.tolerate(err, Right{Verb: "get", Resource: "namespaces"})
}

// manyPods is how many pods are looked at to tell what nodes have left; a larger cluster has its own dashboards,
// and reading them all would take longer than everything else.
const manyPods = 3000

func (g *gatherer) nodes(ctx context.Context) error {
	nodes, err := g.conn.Kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return g.tolerate(err, list("nodes", ""))
	}
	pods, err := g.conn.Kube.CoreV1().Pods("").List(ctx, metav1.ListOptions{
		FieldSelector: "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed", Limit: manyPods,
	})
	if err != nil {
		if err := g.tolerate(err, list("pods", "")); err != nil {
			return err
		}
		pods = &corev1.PodList{}
	}
	asked := map[string][2]int64{}
	if pods.Continue == "" {
		asked = requests(pods.Items)
	}
	for _, n := range nodes.Items {
		x := nodeOf(n)
		x.CPURequested, x.MemoryRequested = asked[n.Name][0], asked[n.Name][1]
		g.out.Nodes = append(g.out.Nodes, x)
		if scheme, _, ok := strings.Cut(n.Spec.ProviderID, "://"); ok {
			g.mu.Lock()
			g.out.LoadBalancer.Provider = cmp.Or(g.out.LoadBalancer.Provider, providers[scheme])
			g.mu.Unlock()
		}
	}
	slices.SortFunc(g.out.Nodes, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// requests sums what pods ask for by node: millicores, bytes. Init containers run before the others, so a pod
// asks for the larger of the two (sidecars, which restart always, count with the others).
func requests(pods []corev1.Pod) map[string][2]int64 {
	by := map[string][2]int64{}
	for _, p := range pods {
		var main, first [2]int64
		for _, c := range p.Spec.Containers {
			main[0] += c.Resources.Requests.Cpu().MilliValue()
			main[1] += c.Resources.Requests.Memory().Value()
		}
		for _, c := range p.Spec.InitContainers {
			cpu, memory := c.Resources.Requests.Cpu().MilliValue(), c.Resources.Requests.Memory().Value()
			if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
				main[0], main[1] = main[0]+cpu, main[1]+memory
				continue
			}
			first[0], first[1] = max(first[0], cpu), max(first[1], memory)
		}
		sum := by[p.Spec.NodeName]
		by[p.Spec.NodeName] = [2]int64{sum[0] + max(main[0], first[0]), sum[1] + max(main[1], first[1])}
	}
	return by
}

func nodeOf(n corev1.Node) Node {
	x := Node{
		Name: n.Name, Arch: n.Status.NodeInfo.Architecture, Region: n.Labels[corev1.LabelTopologyRegion],
		Zone: n.Labels[corev1.LabelTopologyZone], PodCIDRs: n.Spec.PodCIDRs,
		CPUMilli: n.Status.Allocatable.Cpu().MilliValue(), Memory: n.Status.Allocatable.Memory().Value(),
		Unschedulable: n.Spec.Unschedulable,
	}
	if len(x.PodCIDRs) == 0 && n.Spec.PodCIDR != "" {
		x.PodCIDRs = []string{n.Spec.PodCIDR}
	}
	for _, c := range n.Status.Conditions {
		x.Ready = x.Ready || c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	}
	for _, t := range n.Spec.Taints {
		x.Unschedulable = x.Unschedulable || t.Effect == corev1.TaintEffectNoSchedule || t.Effect == corev1.TaintEffectNoExecute
	}
	return x
}

func (g *gatherer) serviceCIDRs(ctx context.Context) error {
	got, err := g.conn.Kube.NetworkingV1().ServiceCIDRs().List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return g.tolerate(err, list("servicecidrs", "networking.k8s.io"))
	}
	for _, c := range got.Items {
		g.out.ServiceCIDRs = append(g.out.ServiceCIDRs, c.Spec.CIDRs...)
	}
	slices.Sort(g.out.ServiceCIDRs)
	return nil
}

func (g *gatherer) namespaces(ctx context.Context) error {
	got, err := g.conn.Kube.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return g.tolerate(err, list("namespaces", ""))
	}
	for _, n := range got.Items {
		g.out.Namespaces = append(g.out.Namespaces, Namespace{Name: n.Name, Labels: n.Labels, Terminating: n.DeletionTimestamp != nil})
	}
	slices.SortFunc(g.out.Namespaces, func(a, b Namespace) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// inventories lists whose inventories there are.
func (g *gatherer) inventories(ctx context.Context) error {
	got, err := g.conn.Kube.CoreV1().ConfigMaps(object.SystemNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return g.tolerate(err, Right{Verb: "list", Resource: "configmaps", Namespace: object.SystemNamespace})
	}
	for _, c := range got.Items {
		if owner, ok := strings.CutPrefix(c.Name, inventoryPrefix); ok {
			g.out.Inventories = append(g.out.Inventories, owner)
		}
	}
	slices.Sort(g.out.Inventories)
	return nil
}

var crdResource = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// defined lists the definitions of kinds, without their schemas, which are megabytes. It is asked once.
func (g *gatherer) defined(ctx context.Context) func() (*metav1.PartialObjectMetadataList, error) {
	return sync.OnceValues(func() (*metav1.PartialObjectMetadataList, error) {
		client, err := metadata.NewForConfig(g.conn.Config)
		if err != nil {
			return nil, &reachError{cause: CauseContext, why: err.Error()}
		}
		return client.Resource(crdResource).List(ctx, metav1.ListOptions{})
	})
}

// crds reads the kinds that a mesh uses.
func (g *gatherer) crds(context.Context) error {
	got, err := g.definitions()
	if _, ok := errors.AsType[*reachError](err); ok {
		return err
	}
	if err != nil {
		return g.tolerate(err, list(crdResource.Resource, crdResource.Group))
	}
	for _, c := range got.Items {
		if strings.HasSuffix(c.Name, ".istio.io") || strings.HasSuffix(c.Name, ".gateway.networking.k8s.io") {
			g.out.CRDs = append(g.out.CRDs, CRD{Name: c.Name, Owner: Owner(&c)})
		}
		if strings.HasSuffix(c.Name, ".metallb.io") {
			g.mu.Lock()
			g.out.LoadBalancer.Provider = "metallb"
			g.mu.Unlock()
		}
	}
	slices.SortFunc(g.out.CRDs, func(a, b CRD) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// providers tells who serves LoadBalancer Services where nodes name their cloud: the scheme of spec.providerID.
var providers = map[string]string{
	"aws": "cloud", "gce": "cloud", "azure": "cloud", "digitalocean": "cloud", "linode": "cloud", "hcloud": "cloud",
	"openstack": "cloud", "vsphere": "cloud", "ibm": "cloud", "oci": "cloud", "k3s": "k3s", "isthmus-lab": "isthmus-lab",
}
