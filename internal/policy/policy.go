// Package policy computes who may talk to whom, and who is believed: the mesh-wide PeerAuthentication, the rules of
// spec.access as AuthorizationPolicies, the issuers of spec.identity as RequestAuthentications. Values in, objects out.
//
// What a document's rules mean is one sentence: a call is let in if a rule about the called workload lets it in, or if
// no rule is about that workload and the default is to allow. Tests hold that sentence against what istiod's own code
// makes of these objects.
package policy

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/label"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// Objects returns the policies of every cluster from which an istiod reads its configuration; they hold for all that
// this istiod serves. made are the objects of the installation, among which gateways are found.
func Objects(m mesh.Mesh, made object.Objects) (object.Objects, error) {
	out := object.Objects{}
	for _, c := range m.Governors() {
		list := []object.Object{strict(m, c)}
		var installed []object.Object // in all clusters that read their configuration here
		for _, x := range m.Clusters {
			if m.Primary(x).Name == c.Name {
				installed = append(installed, made[x.Name]...)
			}
		}
		list = append(list, access(m, c, installed)...)
		list = append(list, issuers(m, c)...)
		for _, o := range list {
			out.Add(c.Name, label.Own(m.Name, o))
		}
	}
	return out, nil
}

// strict is the mesh-wide PeerAuthentication: one named "default" without a selector in Istio's root namespace
// (istio.io: PeerAuthentication).
func strict(m mesh.Mesh, c mesh.Cluster) object.Object {
	o := istioObject("PeerAuthentication", c.IstioNamespace(), "default", map[string]any{"mtls": map[string]any{"mode": m.MTLS}})
	o.Reason = fmt.Sprintf("every workload of %s takes mutual TLS: %s", c.Name, m.MTLS)
	return o
}

func istioObject(kind, namespace, name string, spec map[string]any) object.Object {
	group := "security.istio.io/v1"
	if kind == "Telemetry" {
		group = "telemetry.istio.io/v1"
	}
	return object.Object{Part: object.PartPolicy, Body: &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": group,
		"kind":       kind,
		"metadata":   map[string]any{"name": name, "namespace": namespace},
		"spec":       spec,
	}}}
}

// selecting is a spec that is about pods with some labels; all of a namespace without any.
func selecting(labels map[string]string, spec map[string]any) map[string]any {
	if len(labels) > 0 {
		match := map[string]any{}
		for k, v := range labels {
			match[k] = v
		}
		spec["selector"] = map[string]any{"matchLabels": match}
	}
	return spec
}

// texts is a list as it is written into an object.
func texts[S ~string](list []S) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return out
}
