package istio

import (
	"fmt"
	"maps"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

const (
	// gatewaySet begins the --set flags that are meant for the east-west gateway alone.
	gatewaySet = "components.ingressGateways.[name:" + EastWestGateway + "]"
	// ingressValues is the path of the values that all gateways of the chart share.
	ingressValues = "istio-ingressgateway"
)

// notForEastWest are values of the ingress gateway that say what its Service is, and so are not the east-west
// gateway's; those that say how a gateway's pods run (resources, tolerations, autoscaling...) are for both.
var notForEastWest = []string{
	"name", "labels", "ports", "type", "serviceAnnotations", "loadBalancerIP", "loadBalancerSourceRanges",
	"externalTrafficPolicy", "customService", "ingressPorts", "enabled",
}

// eastWest renders the gateway that carries calls from other networks into a cluster, as
// samples/multicluster/gen-eastwest-gateway.sh of Istio describes it, and the Gateway that opens it
// (expose-services.yaml there). Two things differ. Its Deployment is written out, where the script leaves image
// and arguments to injection: so a plan shows when they change, and it starts without waiting for the webhook.
// And it may read no Secret.
func (r Renderer) eastWest(m mesh.Mesh, c mesh.Cluster) ([]object.Object, error) {
	bodies, merged, err := r.generate(c.Name, eastWestOperator(m, c), forGateway(c.Istio.Set))
	if err != nil {
		return nil, err
	}
	if err := agree(m, c, merged); err != nil {
		return nil, err
	}
	disown(bodies)
	var out []object.Object
	for _, body := range bodies {
		if readsSecrets(body) {
			continue
		}
		out = append(out, object.Object{Part: object.PartGateway, Reason: gatewayReason(c, body), Body: body})
	}
	if len(m.Hosted(c)) > 0 {
		out = append(out, exposeIstiods(m, c, merged)...)
	}
	if !m.MultiNetwork() {
		return out, nil
	}
	hosts := []any{"*.local"}
	if domain := merged.GetPathString("spec.values.global.proxy.clusterDomain"); domain != "" && !strings.HasSuffix(domain, ".local") {
		hosts = append(hosts, "*."+domain)
	}
	return append(out, exposeServices(c, hosts)), nil
}

// eastWestOperator is the IstioOperator of the east-west gateway alone, in the profile and with the values of
// the cluster's installation.
func eastWestOperator(m mesh.Mesh, c mesh.Cluster) map[string]any {
	off := map[string]any{"enabled": false}
	service := map[string]any{"ports": []any{
		port("status-port", 15021), port("tls", 15443), port("tls-istiod", 15012), port("tls-webhook", 15017),
	}}
	if m.EastWest.ServiceType != "" {
		service["type"] = m.EastWest.ServiceType
	}
	k8s := map[string]any{
		// Endpoints of its own network are what it hands calls on to.
		"env":     []any{map[string]any{"name": "ISTIO_META_REQUESTED_NETWORK_VIEW", "value": c.Network}},
		"service": service,
	}
	if len(m.EastWest.Annotations) > 0 {
		k8s["serviceAnnotations"] = toAny(m.EastWest.Annotations)
	}
	in := operator(m, c)
	spec := in["spec"].(map[string]any)
	spec["components"] = map[string]any{
		"base": off, "pilot": off, "cni": off, "ztunnel": off, "egressGateways": []any{},
		"ingressGateways": []any{map[string]any{
			"name": EastWestGateway, "namespace": c.IstioNamespace(), "enabled": true, "k8s": k8s,
			"label": map[string]any{"istio": "eastwestgateway", "app": EastWestGateway, LabelNetwork: c.Network},
		}},
	}
	spec["values"] = gatewayValues(m, spec["values"].(map[string]any))
	return in
}

// gatewayValues are a cluster's values without what is the ingress gateway's alone, and with as many replicas as
// the document says: exactly so many, or if the values ask for autoscaling at least.
func gatewayValues(m mesh.Mesh, all map[string]any) map[string]any {
	replicas := int64(1)
	if m.EastWest.Replicas != nil {
		replicas = int64(*m.EastWest.Replicas)
	}
	all = maps.Clone(all)
	gateways, _ := all["gateways"].(map[string]any)
	shared, _ := gateways[ingressValues].(map[string]any)
	own := map[string]any{"autoscaleEnabled": false}
	maps.Copy(own, shared)
	for _, key := range notForEastWest {
		delete(own, key)
	}
	own["replicaCount"] = replicas
	if own["autoscaleEnabled"] == true {
		own["autoscaleMin"] = replicas
	}
	all["gateways"] = map[string]any{ingressValues: own}
	return all
}

func port(name string, number int64) map[string]any {
	return map[string]any{"name": name, "port": number, "targetPort": number, "protocol": "TCP"}
}

func toAny(in map[string]string) map[string]any {
	out := make(map[string]any, len(in))
	for k, v := range in {
		out[k] = v
	}
	return out
}

// withoutGateway are the --set flags of the installation: all but those meant for the east-west gateway, which
// is not in its list of gateways.
func withoutGateway(sets []string) []string {
	var out []string
	for _, set := range sets {
		if !strings.HasPrefix(strings.TrimSpace(set), gatewaySet) {
			out = append(out, set)
		}
	}
	return out
}

// forGateway are the --set flags of the east-west gateway: its own, and all that are of no component and do not
// say what the ingress gateway's Service is.
func forGateway(sets []string) []string {
	var out []string
	for _, set := range sets {
		path, _, _ := strings.Cut(strings.TrimSpace(set), "=")
		of, isValue := strings.CutPrefix(path, "values.gateways."+ingressValues+".")
		switch {
		case strings.HasPrefix(path, gatewaySet):
		case strings.HasPrefix(path, "components."):
			continue
		case isValue && serviceValue(of):
			continue
		}
		out = append(out, set)
	}
	return out
}

func serviceValue(path string) bool {
	for _, key := range notForEastWest {
		if rest, ok := strings.CutPrefix(path, key); ok && (rest == "" || strings.ContainsAny(rest[:1], ".[")) {
			return true
		}
	}
	return false
}

// readsSecrets tells the Role and the RoleBinding by which the chart lets a gateway read Secrets.
func readsSecrets(b *unstructured.Unstructured) bool {
	return (b.GetKind() == "Role" || b.GetKind() == "RoleBinding") && b.GetName() == EastWestGateway+"-sds"
}

// exposeServices opens the gateway for every service of the mesh, to callers with a certificate of the mesh:
// it passes their mutual TLS through by the name that they ask for, and reads nothing of it.
func exposeServices(c mesh.Cluster, hosts []any) object.Object {
	return object.Object{
		Part:   object.PartGateway,
		Reason: fmt.Sprintf("lets other networks call every service of %s, mutual TLS passed through", c.Name),
		Body: &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "networking.istio.io/v1", "kind": "Gateway",
			"metadata": map[string]any{"name": "cross-network-gateway", "namespace": c.IstioNamespace()},
			"spec": map[string]any{
				"selector": map[string]any{"istio": "eastwestgateway"},
				"servers": []any{map[string]any{
					"port":  map[string]any{"number": int64(15443), "name": "tls", "protocol": "TLS"},
					"tls":   map[string]any{"mode": "AUTO_PASSTHROUGH"},
					"hosts": hosts,
				}},
			},
		}},
	}
}
