package explain

// A Cause is something that breaks a call. Its id and its code are for ever.
type Cause struct {
	ID   string `json:"id"`   // "EXP030"
	Code string `json:"code"` // "remote-secret-missing"
	// Link is the hop that it breaks.
	Link string `json:"link"`
	// Title is the cause in a few words.
	Title string `json:"title"`
	// Why is what happens then, and how one sees it; Do what to do about it.
	Why string `json:"why"`
	Do  string `json:"do"`
	// Symptom marks what other causes bring about: it gives way to them.
	Symptom bool `json:"symptom,omitempty"`
}

// Causes is the catalogue, in the order of a call.
var Causes = []Cause{
	{
		ID: "EXP001", Code: "cluster-away", Link: "any",
		Title: "A cluster's API server does not answer",
		Why:   "Nothing can be read of that cluster. What runs in it may serve all the same, and other clusters' proxies keep the endpoints that they knew.",
		Do:    "Bring its API server back, or correct the context that the document names.",
	},
	{
		ID: "EXP002", Code: "caller-missing", Link: "proxy",
		Title: "There is no such caller",
		Why:   "No pod of that name, Deployment, or label app runs in the namespace of that cluster.",
		Do:    "Write the caller as namespace/workload@cluster.",
	},
	{
		ID: "EXP003", Code: "caller-no-proxy", Link: "proxy",
		Title: "The caller has no proxy, and what it calls needs one",
		Why:   "Without a sidecar a pod has no identity of the mesh, sends plain text, and knows no other cluster's endpoints: STRICT callees refuse it, and other clusters are out of its reach.",
		Do:    "Label the caller's namespace for injection and restart the workload.",
	},
	{
		ID: "EXP004", Code: "control-plane-not-ready", Link: "proxy",
		Title: "The control plane has no ready pod",
		Why:   "Proxies keep what they know, and learn nothing new: no new pod gets a certificate, no endpoint appears or goes.",
		Do:    "Look at istiod's pods; isthmus apply puts back what somebody changed.",
	},
	{
		ID: "EXP005", Code: "proxy-rejects", Link: "proxy",
		Title: "A proxy rejects its configuration",
		Why:   "The control plane sent something that the proxy refuses, so it goes on with what it had before; a new pod's proxy, which had nothing, never gets ready. Usually an EnvoyFilter, a RequestAuthentication with a key set that has no key, or a filter that this Envoy does not have.",
		Do:    "Correct the object that the rejected part comes from; the proxy's own words name the field.",
	},
	{
		ID: "EXP010", Code: "no-local-name", Link: "name",
		Title: "The name does not resolve where the call starts",
		Why:   "A caller asks its own cluster's DNS, which has only the Services of that cluster: NXDOMAIN, and the call never begins, though the proxies know the service.",
		Do:    "Create the namespace and the Service there too (without pods), or let proxies answer DNS: meshConfig.defaultConfig.proxyMetadata.ISTIO_META_DNS_CAPTURE.",
	},
	{
		ID: "EXP011", Code: "port-missing", Link: "name",
		Title: "The Service does not have that port",
		Why:   "A call to a port that the Service does not have goes nowhere.",
		Do:    "Call one of its ports, or add the port.",
	},
	{
		ID: "EXP020", Code: "sidecar-hides-host", Link: "route",
		Title: "A Sidecar leaves the host out",
		Why:   "The caller's proxy is told only of the hosts in spec.egress[].hosts. A call to another one passes round the mesh, without mutual TLS and without other clusters, or is refused (REGISTRY_ONLY).",
		Do:    "Add the host to the Sidecar's egress hosts.",
	},
	{
		ID: "EXP021", Code: "export-hides-host", Link: "route",
		Title: "The Service is not exported to the caller's namespace",
		Why:   "The annotation networking.istio.io/exportTo narrows which namespaces' proxies know the service. Others call it as if it were not of the mesh.",
		Do:    "Add the caller's namespace to exportTo.",
	},
	{
		ID: "EXP022", Code: "route-host-missing", Link: "route",
		Title: "A VirtualService leads to a host that does not exist",
		Why:   "The route's cluster does not exist in the proxy: 503 and the flag NC. A short name is completed with the VirtualService's own namespace.",
		Do:    "Correct the destination's host.",
	},
	{
		ID: "EXP023", Code: "subset-missing", Link: "route",
		Title: "A route leads to a subset that no DestinationRule defines",
		Why:   "The route's cluster does not exist in the proxy: 503 and the flag NC. Only DestinationRules of the caller's own control plane count.",
		Do:    "Define the subset, or correct its name in the route.",
	},
	{
		ID: "EXP024", Code: "route-port-missing", Link: "route",
		Title: "A route leads to a port that the host does not have",
		Why:   "The route's cluster does not exist in the proxy: 503 and the flag NC.",
		Do:    "Write one of the Service's ports into the route's destination.",
	},
	{
		ID: "EXP025", Code: "no-route", Link: "route",
		Title: "No route of the VirtualService takes the call",
		Why:   "The host has a VirtualService whose matches leave this path, method or header out: 404 and the flag NR.",
		Do:    "Add a route without a match as the last one, or widen a match.",
	},
	{
		ID: "EXP026", Code: "fault-injected", Link: "route",
		Title: "The route answers with a fault on purpose",
		Why:   "fault.abort of a VirtualService answers in the callee's place, with the flag FI.",
		Do:    "Take the fault out of the route.",
	},
	{
		ID: "EXP027", Code: "proxy-unaware", Link: "route",
		Title: "The caller's proxy does not know the host",
		Why:   "Neither a Sidecar nor exportTo hides it, and still the proxy has no route to it: its control plane does not know the service, or has not told the proxy yet.",
		Do:    "See whether istiod and the proxy are in step: isthmus status.",
	},
	{
		ID: "EXP049", Code: "cluster-drained", Link: "endpoints",
		Title: "The callee's cluster is drained",
		Why:   "Somebody keeps calls away from that cluster (isthmus drain): the other clusters' control planes do not know it for now.",
		Do:    "isthmus undrain, once the work there is done",
	},
	{
		ID: "EXP030", Code: "remote-secret-missing", Link: "endpoints",
		Title: "The caller's control plane does not know the callee's cluster",
		Why:   "Without a remote secret istiod does not watch the other API server, and no proxy of its cluster learns of endpoints there.",
		Do:    "isthmus apply",
	},
	{
		ID: "EXP031", Code: "remote-credential-ended", Link: "endpoints",
		Title: "The credential for the callee's API server has ended",
		Why:   "istiod's watch ends with its token. Endpoints that are known stay as they were, and after a restart there are none.",
		Do:    "isthmus apply",
	},
	{
		ID: "EXP032", Code: "remote-not-synced", Link: "endpoints",
		Title: "The caller's control plane cannot read the callee's cluster",
		Why:   "There is a remote secret, and istiod cannot use it: the token is refused, the address or its certificate authority is wrong, or the network is closed.",
		Do:    "isthmus apply makes the secret anew; istiod's log has the API server's own words.",
	},
	{
		ID: "EXP033", Code: "callee-missing", Link: "endpoints",
		Title: "The Service has no pod in the callee's cluster",
		Why:   "No pod bears the labels that the Service's selector asks for.",
		Do:    "Scale the workload up, or make selector and labels agree.",
	},
	{
		ID: "EXP034", Code: "callee-not-ready", Link: "endpoints",
		Title: "No pod of the Service is ready",
		Why:   "Only ready pods become endpoints.",
		Do:    "Look at the pod's events and its readiness probe.",
	},
	{
		ID: "EXP035", Code: "callee-no-proxy", Link: "endpoints",
		Title: "The callee's pods have no proxy",
		Why:   "Through a gateway only endpoints with mutual TLS can be reached, so istiod leaves pods without a sidecar out.",
		Do:    "Label the callee's namespace for injection in its cluster and restart the workload.",
	},
	{
		ID: "EXP036", Code: "ports-differ", Link: "endpoints",
		Title: "The Service's port is not the same in both clusters",
		Why:   "The mesh takes Services of one name for one service, and finds endpoints by the name of the port: where the names or numbers differ, endpoints of the other cluster do not count.",
		Do:    "Give both Services the same ports, with the same names.",
	},
	{
		ID: "EXP037", Code: "network-label-wrong", Link: "endpoints",
		Title: "The network labels do not lead to the callee's gateway",
		Why:   "Endpoints are of the network that their cluster's istio-system says (topology.istio.io/network), and a gateway is of the network that its Service says. Where the two differ, istiod finds no gateway and gives proxies the pods' own addresses, which nobody can reach from elsewhere.",
		Do:    "isthmus apply writes the document's network on both.",
	},
	{
		ID: "EXP038", Code: "subset-empty", Link: "endpoints",
		Title: "The subset chooses no endpoint",
		Why:   "The route leads to a subset whose labels no pod of the host has: 503 and the flag UH.",
		Do:    "Correct the subset's labels in the DestinationRule.",
	},
	{
		ID: "EXP039", Code: "endpoint-ejected", Link: "endpoints", Symptom: true,
		Title: "The proxy has ejected the endpoint",
		Why:   "Outlier detection takes an endpoint out after failures in a row: 503 and the flag UH until it is let in again. Where nothing else is wrong with the way there, the callee itself answered with errors.",
		Do:    "Look at what the callee answered; the DestinationRule's outlierDetection says when it comes back.",
	},
	{
		ID: "EXP040", Code: "no-endpoint", Link: "endpoints", Symptom: true,
		Title: "The proxy has no endpoint there",
		Why:   "Pods are ready, the cluster is known, and still the caller's proxy has no endpoint of it.",
		Do:    "See whether istiod and the proxy are in step: isthmus status.",
	},
	{
		ID: "EXP041", Code: "gateway-no-address", Link: "endpoints",
		Title: "The callee's gateway has no address",
		Why:   "Without an address on its Service, istiod cannot tell proxies of other networks where to go.",
		Do:    "See why the load balancer gives none: the Service's events.",
	},
	{
		ID: "EXP050", Code: "plaintext-against-strict", Link: "identity",
		Title: "The caller sends plain text, and the callee takes only mutual TLS",
		Why:   "A DestinationRule with tls.mode DISABLE or SIMPLE, or a caller without a proxy, against PeerAuthentication STRICT: the connection is reset. A gateway cannot tell plain text where to go at all.",
		Do:    "Take tls out of the DestinationRule (proxies then use mutual TLS by themselves), or set ISTIO_MUTUAL.",
	},
	{
		ID: "EXP051", Code: "mtls-off", Link: "identity",
		Title: "The callee takes no mutual TLS",
		Why:   "PeerAuthentication DISABLE: callers that use mutual TLS are not understood, and through a gateway it cannot be reached at all.",
		Do:    "Set the mode to STRICT or PERMISSIVE.",
	},
	{
		ID: "EXP052", Code: "other-root", Link: "identity",
		Title: "Caller and callee trust different roots",
		Why:   "Each end's certificate must chain to a root that the other trusts: TLS error, certificate verify failed.",
		Do:    "Give every cluster an intermediate of the one root (isthmus apply), restart its istiod and then its workloads.",
	},
	{
		ID: "EXP053", Code: "certificate-ended", Link: "identity",
		Title: "A certificate has ended",
		Why:   "A workload's certificate, or the intermediate that signed it, is past its end: the other side refuses it.",
		Do:    "isthmus apply renews intermediates; restart a workload whose agent no longer reaches its istiod.",
	},
	{
		ID: "EXP054", Code: "no-certificate", Link: "identity",
		Title: "The proxy has no certificate",
		Why:   "Its agent got none from istiod, so it can neither call nor be called with mutual TLS.",
		Do:    "Look at the agent's log: kubectl logs POD -c istio-proxy.",
	},
	{
		ID: "EXP055", Code: "identity-unexpected", Link: "identity",
		Title: "The callee's identity is not one that the caller expects",
		Why:   "The caller's proxy takes only identities that its control plane knows for the service. Another trust domain or service account is refused.",
		Do:    "Give both clusters one trust domain; take subjectAltNames out of the DestinationRule.",
	},
	{
		ID: "EXP060", Code: "gateway-missing", Link: "gateway",
		Title: "The callee's cluster has no east-west gateway",
		Why:   "From another network there is no other way in.",
		Do:    "isthmus apply",
	},
	{
		ID: "EXP061", Code: "gateway-not-ready", Link: "gateway",
		Title: "The east-west gateway has no ready pod",
		Why:   "Its address still stands in every proxy, and connections to it are refused.",
		Do:    "isthmus apply puts back a number of replicas that somebody changed; else look at its pods.",
	},
	{
		ID: "EXP062", Code: "gateway-port-closed", Link: "gateway",
		Title: "The gateway's Service does not have the port that proxies call",
		Why:   "Proxies of other networks call port 15443 of the gateway's address. If the Service has no such port, connections are refused or hang.",
		Do:    "isthmus apply puts the port back.",
	},
	{
		ID: "EXP063", Code: "gateway-not-listening", Link: "gateway",
		Title: "The gateway does not listen on its port",
		Why:   "Its proxy has no listener there: the Gateway object with a server for port 15443 in mode AUTO_PASSTHROUGH is missing or chooses another proxy.",
		Do:    "isthmus apply puts the Gateway back.",
	},
	{
		ID: "EXP064", Code: "gateway-not-offering", Link: "gateway",
		Title: "The gateway does not offer the service",
		Why:   "It passes calls on by the name that they ask for (SNI), and has none for this service, port and subset: the connection is reset. The Gateway's hosts leave it out, its control plane does not know the Service, or the DestinationRule with the subset exists only in the caller's cluster.",
		Do:    "Widen the Gateway's hosts, or apply the Service or DestinationRule in that cluster too.",
	},
	{
		ID: "EXP065", Code: "gateway-no-endpoint", Link: "gateway",
		Title: "The gateway knows no endpoint of the service",
		Why:   "The name is there and nobody behind it, so the connection is reset.",
		Do:    "See whether the callee's pods are ready, and of the network that the gateway serves.",
	},
	{
		ID: "EXP070", Code: "app-not-listening", Link: "callee",
		Title: "The callee's program does not listen on the port",
		Why:   "Its proxy takes the call and cannot hand it on: 503 and the flag UF. Usually the Service's targetPort is another than the container's.",
		Do:    "Correct the Service's targetPort.",
	},
	{
		ID: "EXP071", Code: "policy-denies", Link: "policy",
		Title: "An AuthorizationPolicy denies the call",
		Why:   "A rule of a policy with action DENY fits the caller and the call: 403, RBAC: access denied.",
		Do:    "Narrow the rule, or call from elsewhere.",
	},
	{
		ID: "EXP072", Code: "policy-allows-others", Link: "policy",
		Title: "AuthorizationPolicies allow others, and not this call",
		Why:   "As soon as one policy with action ALLOW chooses a workload, what no rule allows is refused: 403, RBAC: access denied.",
		Do:    "Add a rule for the caller, method, path or token.",
	},
	{
		ID: "EXP073", Code: "principal-no-identity", Link: "policy",
		Title: "An AuthorizationPolicy allows a principal that no caller can have",
		Why:   "Principals are compared with the identity in the caller's certificate, TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT. A host name or an address never matches: the policy refuses everyone.",
		Do:    "Write the caller's identity.",
	},
	{
		ID: "EXP074", Code: "token-refused", Link: "policy",
		Title: "The token is not one that the callee takes",
		Why:   "A RequestAuthentication names issuers and audiences: a token of another issuer, for another audience, or one that has ended is answered with 401. A call without a token passes it, and fails only at a policy that asks for one.",
		Do:    "Call with a token of an issuer and audience that it names.",
	},
}
