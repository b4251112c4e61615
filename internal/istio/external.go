package istio

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// An external control plane: the istiod of one cluster runs in another, in a namespace of its own, with a kubeconfig of
// the cluster that it serves. Everything that it reads, its mesh configuration and injection template too, is in that
// cluster; beside it are only its certificates, that kubeconfig and the remote secrets. Istio's page about it keeps
// the configuration beside istiod and patches the Deployment for it; here the Deployment is the chart's.

// externalIstiods renders the istiods that run in c for other clusters.
func (r Renderer) externalIstiods(m mesh.Mesh, c mesh.Cluster) ([]object.Object, error) {
	var out []object.Object
	for _, of := range m.Hosted(c) {
		if !of.IsExternal() {
			continue
		}
		bodies, _, err := r.generate(of.Name, externalOperator(m, of), withoutGateway(of.Istio.Set))
		if err != nil {
			return nil, err
		}
		disown(bodies)
		own := []object.Object{{
			Part: object.PartFoundation, Reason: "holds the istiod of " + of.Name,
			Body: namespaceBody(of.IstioNamespace(), map[string]any{LabelNetwork: c.Network}),
		}}
		for _, body := range bodies {
			if runsIstiod(body) {
				own = append(own, object.Object{Part: object.PartControlPlane, Reason: reason(of, body), Body: body})
			}
		}
		for _, o := range own {
			o.For = of.Name
			out = append(out, o)
		}
	}
	return out, nil
}

// runsIstiod tells what an external istiod needs in the cluster that it runs in. It does nothing there but read the
// Secrets of its namespace, so it gets none of the chart's ClusterRoles.
func runsIstiod(b *unstructured.Unstructured) bool {
	return slices.Contains([]string{
		"Deployment", "Service", "ServiceAccount", "Role", "RoleBinding", "HorizontalPodAutoscaler", "PodDisruptionBudget",
	}, b.GetKind()) && b.GetName() != "istio-reader-service-account"
}

// externalOperator is the IstioOperator of a cluster's istiod where it runs.
func externalOperator(m mesh.Mesh, c mesh.Cluster) map[string]any {
	in := operator(m, c)
	spec := in["spec"].(map[string]any)
	spec["profile"] = "empty"
	spec["components"] = map[string]any{"pilot": map[string]any{"enabled": true}}
	ns := c.IstioNamespace()
	spec["values"] = over(spec["values"].(map[string]any), map[string]any{
		"global": map[string]any{
			"remotePilotAddress": "", "configCluster": false, "operatorManageWebhooks": true, "configValidation": false,
			"omitSidecarInjectorConfigMap": true,
		},
		"pilot": map[string]any{
			"configMap": false,
			"env": map[string]any{
				"EXTERNAL_ISTIOD": "true",
				// Remote secrets are beside istiod, not in the cluster that it serves.
				"LOCAL_CLUSTER_SECRET_WATCHER":   "true",
				"INJECTION_WEBHOOK_CONFIG_NAME":  suffixed("istio-sidecar-injector", c.Istio.Revision) + "-" + ns,
				"VALIDATION_WEBHOOK_CONFIG_NAME": suffixed("istio-validator", c.Istio.Revision) + "-" + ns,
			},
		},
	})
	return in
}

// configCluster are the values of a cluster whose own istiod runs elsewhere.
func configCluster(c mesh.Cluster) map[string]any {
	return map[string]any{
		"global": map[string]any{
			"istioNamespace": c.IstioNamespace(), "remotePilotAddress": givenAddress(c, notKnownYet),
			"configCluster": true, "omitSidecarInjectorConfigMap": false,
		},
		"pilot":        map[string]any{"configMap": true},
		"istiodRemote": map[string]any{"injectionPath": "/inject/cluster/" + c.Name + "/net/" + c.Network},
	}
}

func namespaceBody(name string, labels map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name, "labels": labels},
	}}
}

// networkNote is the namespace in which the istiods of other clusters look for a cluster's network.
func networkNote(c mesh.Cluster) object.Object {
	return object.Object{
		Part: object.PartFoundation, Reason: fmt.Sprintf("tells other clusters' istiods that %s is in network %s", c.Name, c.Network),
		Body: namespaceBody(Namespace, map[string]any{LabelNetwork: c.Network}),
	}
}
