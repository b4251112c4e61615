package apply_test

import (
	"strings"
	"testing"

	"isthmus.dev/isthmus/internal/object"
)

// wanted are objects of every stage and of the shapes that make trouble: keyed lists, sets, atomic maps and lists,
// defaults, quantities, empty values, a kind made in the same plan and an object of it.
func wanted(t *testing.T, ns string) object.Objects {
	t.Helper()
	want := object.Objects{}
	for _, name := range []string{"east", "west"} {
		add := func(part object.Part, sealed *object.Sealed, text string) {
			text = strings.NewReplacer("NS", ns, "THIS", name).Replace(text)
			want.Add(name, object.Object{Part: part, Reason: "for a test", Sealed: sealed, Body: body(t, text)})
		}
		add(object.PartFoundation, nil, `{apiVersion: v1, kind: Namespace, metadata: {name: NS, labels: {topology.istio.io/network: THIS}}}`)
		if name == "east" {
			add(object.PartTrust, &object.Sealed{Kind: object.SealRoot}, `{apiVersion: v1, kind: Secret, metadata: {name: root-NS, namespace: NS}}`)
		}
		add(object.PartTrust, &object.Sealed{Kind: object.SealIntermediate, About: name}, `{apiVersion: v1, kind: Secret, metadata: {name: cacerts, namespace: NS}}`)
		other := map[string]string{"east": "west", "west": "east"}[name]
		add(object.PartDiscovery, &object.Sealed{Kind: object.SealRemoteSecret, About: other}, `{apiVersion: v1, kind: Secret, metadata: {name: remote, namespace: NS, labels: {istio/multiCluster: "true"}}}`)
		for _, text := range config {
			add(object.PartControlPlane, nil, text)
		}
		add(object.PartGateway, nil, `{apiVersion: v1, kind: Service, metadata: {name: gateway, namespace: NS}, spec: {type: ClusterIP, selector: {app: gateway}, ports: [{name: tls, port: 15443}, {name: status, port: 15021, targetPort: 15021, protocol: TCP}]}}`)
		add(object.PartPolicy, nil, `{apiVersion: NS.istio.io/v1, kind: Thing, metadata: {name: a, namespace: NS}, spec: {size: 3, list: [a, b]}}`)
	}
	return want
}

var config = []string{
	`{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: things.NS.istio.io, creationTimestamp: null},
      spec: {group: NS.istio.io, scope: Namespaced, names: {kind: Thing, plural: things}, versions: [{name: v1, served: true, storage: true,
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]}, status: {acceptedNames: {kind: "", plural: ""}, conditions: null, storedVersions: null}}`,
	`{apiVersion: v1, kind: ServiceAccount, metadata: {name: istiod, namespace: NS}, imagePullSecrets: []}`,
	`{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: istiod-NS}, rules: [{apiGroups: [""], resources: [pods, nodes], verbs: [get, list]}]}`,
	`{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: istiod-NS}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: istiod-NS}, subjects: [{kind: ServiceAccount, name: istiod, namespace: NS}]}`,
	`{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: istiod, namespace: NS}, rules: []}`,
	`{apiVersion: v1, kind: ConfigMap, metadata: {name: istio, namespace: NS}, data: {mesh: "a: b\nc: d\n", empty: ""}}`,
	`{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: istiod, namespace: NS}, spec: {minAvailable: 1, selector: {matchLabels: {app: istiod}}}}`,
	`{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: istiod, namespace: NS}, spec: {maxReplicas: 5, minReplicas: 1, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: istiod}, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}]}, status: {observedGeneration: 0, replicas: 0, desiredReplicas: 0}}`,
	`{apiVersion: v1, kind: Service, metadata: {name: istiod, namespace: NS}, spec: {ports: [{port: 15010, name: grpc-xds, protocol: TCP}, {port: 443, name: https-webhook, targetPort: 15017, protocol: TCP}], selector: {app: istiod}}}`,
	`{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: cni, namespace: NS}, spec: {selector: {matchLabels: {app: cni}}, template: {metadata: {labels: {app: cni}, annotations: {}}, spec: {containers: [{name: a, image: a:1, env: [{name: X, value: "1"}, {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}], resources: {requests: {cpu: 1000m, memory: 2048Mi}}, ports: [{containerPort: 8080}, {containerPort: 8080, protocol: UDP}], volumeMounts: [{name: v, mountPath: /v}], securityContext: {capabilities: {drop: [ALL]}}}], volumes: [{name: v, emptyDir: {}}], tolerations: [{operator: Exists}]}}}}`,
	`{apiVersion: apps/v1, kind: Deployment, metadata: {name: istiod, namespace: NS, labels: {app: istiod, istio.io/rev: default}}, spec: {selector: {matchLabels: {app: istiod}}, template: {metadata: {labels: {app: istiod}}, spec: {serviceAccountName: istiod, containers: [{name: discovery, image: "hub.test/pilot:1.31.1", env: [{name: CLUSTER_ID, value: THIS}]}]}}}}`,
	`{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: istiod-NS}, webhooks: [{name: rev.validation.istio.io, sideEffects: None, admissionReviewVersions: [v1], failurePolicy: Ignore, clientConfig: {service: {name: istiod, namespace: NS, path: /validate}}, rules: [{operations: [CREATE], apiGroups: [none.istio.io], apiVersions: ["*"], resources: ["*"]}]}]}`,
}
