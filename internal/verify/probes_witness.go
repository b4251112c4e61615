package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"isthmus.dev/isthmus/internal/cluster"
)

// Witness looks at what decides about calls in one cluster: what istiod says of other clusters, what the client's
// proxy knows, and which policies there are. Istio is the namespace that Istio is in. What cannot be seen is left out. It only reads.
func Witness(ctx context.Context, conn *cluster.Conn, istio, namespace string, pods map[Role]Pod) SiteEvidence {
	var e SiteEvidence
	e.Remotes = watched(ctx, conn, istio)
	if client := pods[Client]; client.Sidecar {
		out, err := conn.Envoy(ctx, namespace, client.Name, "clusters?format=json")
		if err == nil {
			e.Endpoints = endpoints(out, namespace)
		}
	}
	e.Peer, e.PeerKnown = peerAuthentications(ctx, conn, istio, namespace)
	e.Policies = authorizationPolicies(ctx, conn, istio, namespace)
	e.TokenRules, e.TokenRulesKnown = named(ctx, conn, "security.istio.io", "RequestAuthentication", istio, namespace)
	e.Routes, e.RoutesKnown = named(ctx, conn, "networking.istio.io", "DestinationRule", istio, namespace)
	return e
}

// watched asks an istiod which clusters it watches. Every istiod pod of a cluster watches the same ones.
func watched(ctx context.Context, conn *cluster.Conn, istio string) []Remote {
	pods, err := conn.Kube.CoreV1().Pods(istio).List(ctx, metav1.ListOptions{LabelSelector: "app=istiod"})
	if err != nil {
		return nil
	}
	for _, p := range pods.Items {
		if p.Status.Phase != corev1.PodRunning {
			continue
		}
		out, err := conn.Istiod(ctx, istio, p.Name, "/debug/clusterz")
		if err != nil {
			continue
		}
		found := []Remote{}
		if json.Unmarshal(out, &found) == nil {
			return found
		}
	}
	return nil
}

// endpoints picks those of verify's HTTP servers out of Envoy's /clusters?format=json (admin.v3.Clusters), by the
// cluster that the server is in. The map is never nil: a proxy that knows none was asked all the same.
func endpoints(clusters []byte, namespace string) map[string][]Endpoint {
	var status struct {
		Clusters []struct {
			Name  string `json:"name"`
			Hosts []struct {
				Address struct {
					Socket struct {
						Address string `json:"address"`
						Port    int    `json:"port_value"`
					} `json:"socket_address"`
				} `json:"address"`
				Health struct {
					EDS     string `json:"eds_health_status"`
					Outlier bool   `json:"failed_outlier_check"`
					Active  bool   `json:"failed_active_health_check"`
				} `json:"health_status"`
			} `json:"host_statuses"`
		} `json:"cluster_statuses"`
	}
	if json.Unmarshal(clusters, &status) != nil {
		return nil
	}
	found := map[string][]Endpoint{}
	prefix := fmt.Sprintf("outbound|%d||to-", servicePorts[0].port)
	for _, c := range status.Clusters {
		name, rest, ok := strings.Cut(strings.TrimPrefix(c.Name, prefix), ".")
		if !ok || !strings.HasPrefix(c.Name, prefix) || !strings.HasPrefix(rest, namespace+".") {
			continue
		}
		for _, h := range c.Hosts {
			found[name] = append(found[name], Endpoint{
				Address: net.JoinHostPort(h.Address.Socket.Address, strconv.Itoa(h.Address.Socket.Port)),
				Healthy: h.Health.EDS == "HEALTHY" && !h.Health.Outlier && !h.Health.Active,
			})
		}
	}
	return found
}

// narrowestFirst reads objects of Istio's security API that hold for verify's server, the narrowest first: those that
// select it, then its namespace's, then the mesh's.
func narrowestFirst(ctx context.Context, conn *cluster.Conn, kind, istio, namespace string) ([]unstructured.Unstructured, error) {
	var narrow, wide []unstructured.Unstructured
	for _, ns := range []string{namespace, istio} {
		r, err := conn.Resource(schema.GroupVersionKind{Group: "security.istio.io", Version: "v1", Kind: kind}, ns)
		if err != nil {
			return nil, err
		}
		all, err := r.List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, fmt.Errorf("list %s in namespace %s: %w", kind, ns, err)
		}
		for _, u := range all.Items {
			labels, selects, err := unstructured.NestedStringMap(u.Object, "spec", "selector", "matchLabels")
			switch {
			case err == nil && (!selects || len(labels) == 0):
				wide = append(wide, u)
			case err == nil && len(labels) == 1 && labels["app"] == string(Server):
				narrow = append(narrow, u)
			}
		}
	}
	return slices.Concat(narrow, wide), nil
}

// named are the objects of a kind in namespaces, "namespace/name".
func named(ctx context.Context, conn *cluster.Conn, group, kind string, namespaces ...string) (names []string, known bool) {
	for _, ns := range namespaces {
		r, err := conn.Resource(schema.GroupVersionKind{Group: group, Version: "v1", Kind: kind}, ns)
		if err != nil {
			return nil, false
		}
		all, err := r.List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, false
		}
		for _, u := range all.Items {
			names = append(names, ns+"/"+u.GetName())
		}
	}
	return names, true
}

func peerAuthentications(ctx context.Context, conn *cluster.Conn, istio, namespace string) ([]PeerAuthentication, bool) {
	all, err := narrowestFirst(ctx, conn, "PeerAuthentication", istio, namespace)
	if err != nil {
		return nil, false
	}
	var out []PeerAuthentication
	for _, u := range all {
		mode, _, err := unstructured.NestedString(u.Object, "spec", "mtls", "mode")
		if err != nil || mode == "UNSET" {
			mode = ""
		}
		out = append(out, PeerAuthentication{Namespace: u.GetNamespace(), Name: u.GetName(), Mode: mode})
	}
	return out, true
}

func authorizationPolicies(ctx context.Context, conn *cluster.Conn, istio, namespace string) []string {
	all, err := narrowestFirst(ctx, conn, "AuthorizationPolicy", istio, namespace)
	if err != nil {
		return nil
	}
	var names []string
	for _, u := range all {
		if u.GetNamespace() == namespace && slices.Contains([]string{string(Server), ingressName, tokenGate}, u.GetName()) {
			continue // verify's own, see invitation, leadingIn and TokenGate
		}
		if u.GetNamespace() == istioNamespace && strings.HasPrefix(u.GetName(), "isthmus-gateway-") {
			continue // it lets in
		}
		names = append(names, u.GetNamespace()+"/"+u.GetName())
	}
	return names
}
