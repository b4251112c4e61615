// Package traffic computes how calls find their way among clusters: how soon they leave what does not answer any more
// (failover), and where they go while a cluster is kept free of them (drain). Values in, objects out.
package traffic

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/label"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// FailoverName is the name of the DestinationRule and the EnvoyFilter that make calls leave what does not answer.
const FailoverName = "isthmus-failover"

// Objects returns the mesh's failover in every cluster from which an istiod reads its configuration.
func Objects(m mesh.Mesh) object.Objects {
	out := object.Objects{}
	if m.Failover == nil {
		return out
	}
	for _, c := range m.Governors() {
		for _, o := range failover(c, *m.Failover) {
			out.Add(c.Name, label.Own(m.Name, o))
		}
	}
	return out
}

// failover is what holds for every service without a DestinationRule of its own: a rule in Istio's root namespace
// (istio.io: DestinationRule, "inherited" from the root namespace by lookup, the whole of it), and for all of them what
// no DestinationRule can say.
func failover(c mesh.Cluster, f mesh.Failover) []object.Object {
	list := []object.Object{{
		Part: object.PartTraffic, Reason: fmt.Sprintf("calls leave what does not answer for %s, after %d failed connections in a row", seconds(f.ConnectTimeout), f.ConsecutiveFailures),
		Body: &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "networking.istio.io/v1",
			"kind":       "DestinationRule",
			"metadata":   map[string]any{"name": FailoverName, "namespace": c.IstioNamespace()},
			"spec":       map[string]any{"host": "*.local", "trafficPolicy": policy(f)},
		}},
	}}
	if f.DeadAfter > 0 {
		list = append(list, deadConnections(c, f.DeadAfter))
	}
	return list
}

// policy leaves out endpoints to which connections fail, and never one that answers: an application's errors are its
// own matter. Where all endpoints are left out, all are tried again (minHealthPercent): a call may still succeed, and
// without it would fail at once for as long as the last ejection lasts.
func policy(f mesh.Failover) map[string]any {
	return map[string]any{
		"connectionPool": map[string]any{"tcp": map[string]any{"connectTimeout": seconds(f.ConnectTimeout)}},
		"outlierDetection": map[string]any{
			"splitExternalLocalOriginErrors": true,
			"consecutiveLocalOriginFailures": f.ConsecutiveFailures,
			"consecutiveGatewayErrors":       int64(0),
			"consecutive5xxErrors":           int64(0),
			"interval":                       "1s", // how often it is looked whose time is over
			"baseEjectionTime":               seconds(f.EjectionTime),
			"maxEjectionPercent":             int64(100),
			"minHealthPercent":               int64(1),
		},
	}
}

// deadConnections ends connections to what is gone without a word. Neither a call's cancellation nor outlier detection
// does: an HTTP/2 connection to a cluster that was cut off would take call after call until the kernel gives it up, a
// quarter of an hour later. Istio has no field for it.
func deadConnections(c mesh.Cluster, after time.Duration) object.Object {
	const (
		ipprotoTCP     = 6  // <netinet/in.h>
		tcpUserTimeout = 18 // <linux/tcp.h>
	)
	var patches []any
	for _, context := range []string{"SIDECAR_OUTBOUND", "GATEWAY"} {
		patches = append(patches, map[string]any{
			"applyTo": "CLUSTER", "match": map[string]any{"context": context},
			"patch": map[string]any{"operation": "MERGE", "value": map[string]any{"upstream_bind_config": map[string]any{
				"socket_options": []any{map[string]any{
					"description": "TCP_USER_TIMEOUT", "level": int64(ipprotoTCP), "name": int64(tcpUserTimeout),
					"int_value": after.Milliseconds(), "state": "STATE_PREBIND",
				}},
			}}},
		})
	}
	return object.Object{
		Part: object.PartTraffic, Reason: fmt.Sprintf("a connection that acknowledges nothing for %s is given up", seconds(after)),
		Body: &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "networking.istio.io/v1alpha3",
			"kind":       "EnvoyFilter",
			"metadata": map[string]any{
				"name": FailoverName, "namespace": c.IstioNamespace(),
				// That an EnvoyFilter is a last resort is known, and nobody else can mend it.
				"annotations": map[string]any{"galley.istio.io/analyze-suppress": "IST0133"},
			},
			"spec": map[string]any{"configPatches": patches},
		}},
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%ds", int64(d/time.Second)) }
