package facts

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"isthmus.dev/isthmus/internal/object"
)

// Istio's own labels (istio.io/api/label).
const (
	labelRevision = "istio.io/rev"
	labelNetwork  = "topology.istio.io/network"
)

// hook is what mutating and validating webhooks have in common.
type hook struct {
	name   string
	client admissionv1.WebhookClientConfig
	policy *admissionv1.FailurePolicyType
}

func (g *gatherer) webhooks(ctx context.Context) error {
	var found []Webhook
	const group = "admissionregistration.k8s.io"
	mutating, err := g.conn.Kube.AdmissionregistrationV1().MutatingWebhookConfigurations().List(ctx, metav1.ListOptions{})
	if err != nil {
		if err := g.tolerate(err, list("mutatingwebhookconfigurations", group)); err != nil {
			return err
		}
		mutating = &admissionv1.MutatingWebhookConfigurationList{}
	}
	for _, c := range mutating.Items {
		hooks := make([]hook, 0, len(c.Webhooks))
		for _, h := range c.Webhooks {
			hooks = append(hooks, hook{h.Name, h.ClientConfig, h.FailurePolicy})
		}
		found = append(found, webhookOf("MutatingWebhookConfiguration", &c, hooks)...)
	}
	validating, err := g.conn.Kube.AdmissionregistrationV1().ValidatingWebhookConfigurations().List(ctx, metav1.ListOptions{})
	if err != nil {
		if err := g.tolerate(err, list("validatingwebhookconfigurations", group)); err != nil {
			return err
		}
		validating = &admissionv1.ValidatingWebhookConfigurationList{}
	}
	for _, c := range validating.Items {
		hooks := make([]hook, 0, len(c.Webhooks))
		for _, h := range c.Webhooks {
			hooks = append(hooks, hook{h.Name, h.ClientConfig, h.FailurePolicy})
		}
		found = append(found, webhookOf("ValidatingWebhookConfiguration", &c, hooks)...)
	}
	slices.SortFunc(found, func(a, b Webhook) int {
		return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Name, b.Name))
	})
	g.out.Webhooks = found
	return nil
}

// webhookOf is a configuration if it has to do with Istio: by the names of its webhooks, or the service they call.
func webhookOf(kind string, o metav1.Object, hooks []hook) []Webhook {
	w := Webhook{Name: o.GetName(), Kind: kind, Revision: o.GetLabels()[labelRevision], Owner: Owner(o)}
	istio := false
	for _, h := range hooks {
		istio = istio || strings.HasSuffix(h.name, "istio.io")
		if s := h.client.Service; s != nil {
			w.Service = s.Namespace + "/" + s.Name
			istio = istio || strings.HasPrefix(s.Name, "istiod")
		} else if h.client.URL != nil {
			w.Service = cmp.Or(w.Service, *h.client.URL)
		}
		if h.policy == nil || *h.policy == admissionv1.Fail {
			w.FailurePolicy = string(admissionv1.Fail)
		}
		w.FailurePolicy = cmp.Or(w.FailurePolicy, string(admissionv1.Ignore))
	}
	if !istio {
		return nil
	}
	return []Webhook{w}
}

// controlPlanes finds istiods by their label, in whatever namespace and by whomever installed.
func (g *gatherer) controlPlanes(ctx context.Context) error {
	got, err := g.conn.Kube.AppsV1().Deployments("").List(ctx, metav1.ListOptions{LabelSelector: "app=istiod"})
	if err != nil {
		return g.tolerate(err, list("deployments", "apps"))
	}
	for _, d := range got.Items {
		i := istiodOf(d)
		if err := g.istiodConfig(ctx, &i); err != nil {
			return err
		}
		if err := g.istiodRoots(ctx, &i, d.Spec.Selector); err != nil {
			return err
		}
		g.out.Istiods = append(g.out.Istiods, i)
		if d.Namespace != object.IstioNamespace {
			if err := g.secretsOf(ctx, d.Namespace); err != nil {
				return err
			}
		}
	}
	slices.SortFunc(g.out.Istiods, func(a, b Istiod) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	return g.foreign(ctx)
}

func istiodOf(d appsv1.Deployment) Istiod {
	i := Istiod{
		Namespace: d.Namespace, Name: d.Name, Revision: cmp.Or(d.Labels[labelRevision], "default"), Owner: Owner(&d),
		Ready: d.Status.ReadyReplicas, Wanted: 1, Mesh: d.Labels[object.LabelMesh], Network: d.Labels[labelNetwork],
	}
	if d.Spec.Replicas != nil {
		i.Wanted = *d.Spec.Replicas
	}
	for _, c := range d.Spec.Template.Spec.Containers {
		if c.Name != "discovery" {
			continue
		}
		if at := strings.LastIndex(c.Image, ":"); at > strings.LastIndex(c.Image, "/") {
			i.Version, _, _ = strings.Cut(c.Image[at+1:], "@")
		}
		for _, e := range c.Env {
			if e.Name == "CLUSTER_ID" {
				i.ClusterName = e.Value
			}
		}
	}
	i.Version = cmp.Or(i.Version, d.Labels["operator.istio.io/version"], d.Labels["app.kubernetes.io/version"])
	return i
}

// istiodConfig reads the mesh configuration and the injector's values beside an istiod: ConfigMaps "istio" and
// "istio-sidecar-injector", with "-<revision>" for every revision but the default one.
func (g *gatherer) istiodConfig(ctx context.Context, i *Istiod) error {
	suffix := ""
	if i.Revision != "default" {
		suffix = "-" + i.Revision
	}
	get := func(name, key string) (string, error) {
		cm, err := g.conn.Kube.CoreV1().ConfigMaps(i.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return "", g.tolerate(err, Right{Verb: "get", Resource: "configmaps", Namespace: i.Namespace})
		}
		return cm.Data[key], nil
	}
	text, err := get("istio"+suffix, "mesh")
	if err != nil {
		return err
	}
	var config struct {
		TrustDomain   string `json:"trustDomain"`
		DefaultConfig struct {
			MeshID string `json:"meshId"`
		} `json:"defaultConfig"`
	}
	if yaml.Unmarshal([]byte(text), &config) == nil && text != "" {
		i.TrustDomain = cmp.Or(config.TrustDomain, "cluster.local")
		i.MeshID = config.DefaultConfig.MeshID
	}
	if text, err = get("istio-sidecar-injector"+suffix, "values"); err != nil {
		return err
	}
	var values struct {
		Global struct {
			Network      string `json:"network"`
			MeshID       string `json:"meshID"`
			MultiCluster struct {
				ClusterName string `json:"clusterName"`
			} `json:"multiCluster"`
		} `json:"global"`
	}
	if json.Unmarshal([]byte(text), &values) == nil {
		i.Network = cmp.Or(values.Global.Network, i.Network)
		i.MeshID = cmp.Or(values.Global.MeshID, i.MeshID)
		i.ClusterName = cmp.Or(i.ClusterName, values.Global.MultiCluster.ClusterName)
	}
	return nil
}

// istiodRoots reads what an istiod trusts now, and since when it runs. It reads its root when it starts and keeps it,
// whatever becomes of the Secret (istio: pilot/pkg/bootstrap/istio_ca.go, handleEvent).
func (g *gatherer) istiodRoots(ctx context.Context, i *Istiod, selector *metav1.LabelSelector) error {
	cm, err := g.conn.Kube.CoreV1().ConfigMaps(i.Namespace).Get(ctx, RootConfigMap, metav1.GetOptions{})
	if err != nil {
		return g.tolerate(err, Right{Verb: "get", Resource: "configmaps", Namespace: i.Namespace})
	}
	for _, c := range parse([]byte(cm.Data[RootFile])) {
		i.Roots = append(i.Roots, sum(c.Raw))
	}
	pods, err := g.conn.Kube.CoreV1().Pods(i.Namespace).List(ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(selector)})
	if err != nil {
		return g.tolerate(err, Right{Verb: "list", Resource: "pods", Namespace: i.Namespace})
	}
	for _, p := range pods.Items {
		if at := p.Status.StartTime; at != nil && p.DeletionTimestamp == nil && (i.Since.IsZero() || at.Time.Before(i.Since)) {
			i.Since = at.UTC()
		}
	}
	return nil
}

// Values of the label istio, which Istio's own profiles and samples give to gateways.
const (
	eastWestGateway = "eastwestgateway"
	ingressGateway  = "ingressgateway"
)

// gateways finds east-west and ingress gateways by their label.
func (g *gatherer) gateways(ctx context.Context) error {
	const selector = "istio in (" + eastWestGateway + ", " + ingressGateway + ")"
	services, err := g.conn.Kube.CoreV1().Services("").List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return g.tolerate(err, list("services", ""))
	}
	deployments, err := g.conn.Kube.AppsV1().Deployments("").List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		if err := g.tolerate(err, list("deployments", "apps")); err != nil {
			return err
		}
		deployments = &appsv1.DeploymentList{}
	}
	for _, s := range services.Items {
		ready, wanted, account := podsBehind(s, deployments.Items)
		if s.Labels["istio"] == ingressGateway {
			x := Ingress{
				Namespace: s.Namespace, Name: s.Name, Type: string(s.Spec.Type), Addresses: addresses(s), Account: account, Ready: ready, Wanted: wanted,
			}
			for _, p := range s.Spec.Ports {
				x.Ports = append(x.Ports, p.Port)
			}
			g.out.Ingresses = append(g.out.Ingresses, x)
			continue
		}
		g.out.Gateways = append(g.out.Gateways, Gateway{
			Namespace: s.Namespace, Name: s.Name, Network: s.Labels[labelNetwork], Type: string(s.Spec.Type),
			Addresses: addresses(s), Annotations: withoutCopies(s.Annotations), Ready: ready, Wanted: wanted,
		})
	}
	slices.SortFunc(g.out.Gateways, func(a, b Gateway) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	slices.SortFunc(g.out.Ingresses, func(a, b Ingress) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	return nil
}

// podsBehind counts the pods that a Service leads to, as their Deployments have them, and names their service account.
func podsBehind(s corev1.Service, deployments []appsv1.Deployment) (ready, wanted int32, account string) {
	for _, d := range deployments {
		if d.Namespace != s.Namespace || !selects(s.Spec.Selector, d.Spec.Template.Labels) {
			continue
		}
		ready += d.Status.ReadyReplicas
		wanted++
		if d.Spec.Replicas != nil {
			wanted += *d.Spec.Replicas - 1
		}
		account = cmp.Or(account, d.Spec.Template.Spec.ServiceAccountName, "default")
	}
	return ready, wanted, account
}

func selects(selector, labels map[string]string) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return len(selector) > 0
}

func addresses(s corev1.Service) []string {
	var all []string
	for _, i := range s.Status.LoadBalancer.Ingress {
		if a := cmp.Or(i.IP, i.Hostname); a != "" {
			all = append(all, a)
		}
	}
	if len(all) > 0 {
		return all
	}
	return s.Spec.ExternalIPs
}
