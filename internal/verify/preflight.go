package verify

import "slices"

// Ids that other text refers to.
const (
	idAnswers     = "CHK001"
	idCredentials = "CHK002"
	idRights      = "CHK006"
	idClocks      = "CHK008"
	idIstioOurs   = "CHK015"
)

// Needs of most checks: facts are there only where the API server answered and knew the caller. Checks that
// conclude from something missing need the rights too: what may not be read looks like what is not there.
func answered(more ...string) []string { return append([]string{idAnswers, idCredentials}, more...) }

// Preflight is what isthmus check asks, and apply before it writes. Ids are for ever: a new check gets the next
// number, wherever it stands, and one that goes leaves a gap.
var Preflight = slices.Concat(accessChecks, nodeChecks, istioChecks, networkChecks, serviceChecks, servedChecks, trustChecks, credentialChecks)

var accessChecks = []Check{
	{
		ID: idAnswers, Severity: Error, Run: apiAnswers,
		Question: "Does every API server answer?",
		Why:      "Nothing can be read from or written to a cluster whose API server is out of reach, and the other clusters' istiods will not reach it either.",
		Fix:      "Look whether the API server is up and whether a firewall, VPN or old address is in between: kubectl --context CONTEXT get --raw /readyz. If the context is wrong, mend spec.clusters[].access.context.",
	},
	{
		ID: idCredentials, Severity: Error, Needs: []string{idAnswers}, Run: credentialsAccepted,
		Question: "Does every API server accept the caller's credentials?",
		Why:      "An answer of 401 means that the token or certificate in the kubeconfig has ended or is of another cluster.",
		Fix:      "Log in again with the vendor's tool, or fetch the kubeconfig again, and try: kubectl --context CONTEXT auth whoami.",
	},
	{
		ID: "CHK003", Severity: Warning, Needs: answered(), Run: apiQuick,
		Question: "Does every API server answer within 300 ms?",
		Why:      "A plan reads about a hundred objects of a cluster. Where one request takes 300 ms, that is half a minute; and other clusters' istiods watch the same API server.",
		Fix:      "Run isthmus nearer to the cluster, or find out what loads the API server.",
	},
	{
		ID: "CHK004", Severity: Warning, Needs: answered(), Run: serverVerified,
		Question: "Is every API server's certificate verified?",
		Why:      "With insecure-skip-tls-verify anybody in between can read the credentials and the intermediate key that apply writes. Without certificate-authority-data other clusters' istiods trust only the public authorities in their image.",
		Fix:      "Put the cluster's certificate-authority-data into the kubeconfig.",
	},
	{
		ID: "CHK005", Severity: Error, Needs: answered(), Run: versionSupported,
		Question: "Does Istio support every cluster's Kubernetes version?",
		Why:      "Istio 1.31 needs Kubernetes 1.32 or newer (its own precheck says so) and is tested up to 1.36. On older ones CRDs and webhooks may be refused.",
		Fix:      "Upgrade the cluster, or set spec.istio.version to an Istio that supports it.",
	},
	{
		ID: idRights, Severity: Error, Needs: answered(), Run: callerMay,
		Question: "May the caller do what apply will do?",
		Why:      "An apply that is refused half way leaves a mesh half made. Every right is asked for before (SelfSubjectAccessReview).",
		Fix:      "Use a context whose user is cluster-admin, or have the missing rights bound to a role of yours; kubectl auth can-i --list shows what you have.",
	},
	{
		ID: "CHK007", Severity: Error, Needs: answered(), Run: distinctClusters,
		Question: "Is every cluster of the document another cluster?",
		Why:      "Two contexts may lead to one cluster; both would be installed over each other. The UID of namespace kube-system tells.",
		Fix:      "Take one of the two out of spec.clusters, or mend its access.context.",
	},
	{
		ID: idClocks, Severity: Error, Needs: answered(), Run: clocksAgree,
		Question: "Do the clusters' clocks agree?",
		Why:      "Istio's certificates begin 2 minutes before they are made, and tokens are refused from 1 minute on: clocks further apart make valid certificates and tokens invalid in the other cluster. From 2 s on (the least that can be seen: the API server tells whole seconds) it is a warning, for clocks that agree less than that are not synchronised; from 60 s on an error.",
		Fix:      "See to time synchronisation (chrony, systemd-timesyncd) on the nodes of the control planes.",
	},
	{
		ID: "CHK009", Severity: Warning, Needs: answered(), Run: serverCertificateLasts,
		Question: "Does every API server's own certificate last for another 30 days?",
		Why:      "When it ends, nobody reaches the cluster any more: not isthmus, not the nodes, not other clusters' istiods. kubeadm makes it for one year.",
		Fix:      "Renew it; with kubeadm: kubeadm certs renew apiserver, then restart the API server.",
	},
	{
		ID: "CHK010", Severity: Error, Needs: answered(), Run: serverReachable,
		Question: "Can other clusters use every API server's address?",
		Why:      "Each istiod reads the other clusters' services from their API servers, at the address that the remote secret names. 127.0.0.1 there is istiod's own pod: discovery fails without a word to the callers.",
		Fix:      "Set spec.clusters[].server to an address that pods of the other clusters reach; for kind that is the control plane container's address.",
	},
}

var nodeChecks = []Check{
	{
		ID: "CHK011", Severity: Error, Needs: answered(idRights), Run: nodesReady,
		Question: "Are the nodes Ready?",
		Why:      "istiod and the gateways run on them. With none Ready, apply would wait until its time is over.",
		Fix:      "kubectl describe node NAME: its conditions say what is missing (often the network plugin).",
	},
	{
		ID: "CHK012", Severity: Error, Needs: answered(), Run: archSupported,
		Question: "Are the nodes of an architecture that Istio has images for?",
		Why:      "Istio publishes images for amd64 and arm64. On other nodes its pods end with \"exec format error\".",
		Fix:      "Keep meshed workloads off such nodes, or set spec.istio.hub to images that you have built for them.",
	},
	{
		ID: "CHK013", Severity: Note, Needs: answered(), Run: regionsKnown,
		Question: "Do the nodes say which region they are in?",
		Why:      "Istio prefers near endpoints, and fails over from one region to the next, by the nodes' label topology.kubernetes.io/region. Without it every cluster is equally near.",
		Fix:      "Label the nodes with topology.kubernetes.io/region and topology.kubernetes.io/zone; clouds do so by themselves.",
	},
	{
		ID: "CHK014", Severity: Warning, Needs: answered("CHK011"), Run: roomForIstiod,
		Question: "Is there a node with room for istiod?",
		Why:      "istiod asks for 500 m of CPU and 2 GiB of memory unless told otherwise. Where no node has that free it stays Pending. An autoscaler may still make room, so this is no error.",
		Fix:      "Lower spec.istio.values.pilot.resources.requests, or add a node.",
	},
}

var istioChecks = []Check{
	{
		ID: idIstioOurs, Severity: Error, Needs: answered(), Run: istioIsOurs,
		Question: "Is every Istio that is there isthmus's own?",
		Why:      "Two tools that install one Istio undo each other's work. Isthmus takes over what it did not install only when it is told to.",
		Fix:      "Take it over: isthmus init --adopt writes a document that fits what runs, isthmus plan --adopt shows what would change and what stands in the way. Or remove it with the tool that installed it, or leave the cluster out of the document.",
	},
	{
		ID: "CHK016", Severity: Error, Needs: answered(), Run: meshIsOurs,
		Question: "Does no cluster belong to another mesh already?",
		Why:      "A cluster has one root of trust and one control plane; two documents would take them from each other.",
		Fix:      "If the document was renamed, give metadata.name its old value. Else take the cluster out of the other mesh first: isthmus uninstall.",
	},
	{
		ID: "CHK017", Severity: Warning, Needs: answered(idIstioOurs), Run: crdsHaveOneOwner,
		Question: "Does nobody else keep Istio's CustomResourceDefinitions?",
		Why:      "They are one per cluster. A tool that applies an older version of them takes fields away that the newer istiod needs.",
		Fix:      "A mesh works beside them as long as they serve what it needs. See that no other tool (a Helm release of istio/base, a GitOps repository) applies an older version of them, or take them over with --adopt.",
	},
	{
		ID: "CHK018", Severity: Error, Needs: answered(idRights, idIstioOurs), Run: webhooksAgree,
		Question: "Does every webhook call a control plane that is there, and one only?",
		Why:      "A webhook left behind by an Istio that is gone refuses every pod that wants a sidecar, the gateways among them. Two for one revision inject twice, or the wrong one.",
		Fix:      "Delete the webhook configuration that is left over; istioctl tag list shows those of revision tags.",
	},
	{
		ID: "CHK019", Severity: Warning, Needs: answered(idIstioOurs), Run: versionsNear,
		Question: "Is the document's Istio at most one minor ahead of what runs?",
		Why:      "Istio supports upgrades from one minor to the next, and no way back over a minor. A jump may meet settings that were removed in between.",
		Fix:      "Go one minor at a time with spec.istio.version, and verify in between.",
	},
	{
		ID: "CHK020", Severity: Warning, Needs: answered(), Run: istiodReady,
		Question: "Is every istiod ready?",
		Why:      "Without it pods start without certificates, and proxies get no news of endpoints.",
		Fix:      "kubectl -n istio-system describe pods -l app=istiod, and its logs. Apply waits for it.",
	},
	{
		ID: "CHK021", Severity: Warning, Needs: answered(idRights), Run: revisionsExist,
		Question: "Does every namespace's revision have an istiod?",
		Why:      "A namespace that asks for a revision which nobody serves gets pods without sidecars; with strict mutual TLS their calls are refused.",
		Fix:      "Change the label istio.io/rev to a revision that is there; istioctl tag list and kubectl get mutatingwebhookconfigurations show them.",
	},
	{
		ID: "CHK022", Severity: Error, Needs: answered(), Run: namespacesStay,
		Question: "Is no namespace that isthmus needs being deleted?",
		Why:      "Nothing can be created in a namespace that is going away, and what is there goes with it.",
		Fix:      "Wait until it is gone. If it stays, kubectl get namespace NAME -o yaml shows which finalizer or API service holds it.",
	},
	{
		ID: "CHK023", Severity: Warning, Needs: answered(), Run: podSecurityAllows,
		Question: "Does pod security let injected pods start?",
		Why:      "Without Istio's CNI plugin an init container with NET_ADMIN redirects each pod's traffic. The levels baseline and restricted refuse it, and so every pod of the namespace.",
		Fix:      "Install the CNI plugin: spec.istio.set: [components.cni.enabled=true].",
	},
	{
		ID: "CHK050", Severity: Error, Needs: answered(idRights), Run: pullSecretsAreThere,
		Question: "Are the image pull secrets there, in istio-system?",
		Why:      "Kubernetes starts pods whose pull secret is missing, asks the registry as nobody, and tries for ever. The mesh would be left half made.",
		Fix:      "Make the Secret before apply: kubectl create namespace istio-system, then kubectl -n istio-system create secret docker-registry NAME. Namespaces with injected pods need it too: Kubernetes looks for it beside the pod.",
	},
}

var networkChecks = []Check{
	{
		ID: "CHK024", Severity: Warning, Needs: answered(idIstioOurs), Run: networkAgrees,
		Question: "Is every cluster in the network that its Istio says?",
		Why:      "The label topology.istio.io/network decides whether a call goes to the pod or through a gateway. A wrong one sends calls to addresses that cannot be reached.",
		Fix:      "Give spec.clusters[].network the value that is there; or let apply change it when it may.",
	},
	{
		ID: "CHK025", Severity: Error, Needs: answered(), Run: podRangesApart,
		Question: "Do pods in one network have addresses of their own?",
		Why:      "In one network pods call each other's addresses. An address that exists in both clusters leads to the wrong pod, or to none.",
		Fix:      "Give the clusters networks of their own, so that calls go through gateways; or another pod range to one of them.",
	},
	{
		ID: "CHK026", Severity: Note, Needs: answered(), Run: podRangesAcross,
		Question: "Have pods of different networks addresses of their own, too?",
		Why:      "They may: calls between networks go through gateways and name no pod's address. It only stands in the way of joining the networks later.",
		Fix:      "Nothing, as long as the networks stay apart.",
	},
	{
		ID: "CHK027", Severity: Error, Needs: answered(), Run: serviceRangesApart,
		Question: "Are pods of one network outside of the others' Service ranges?",
		Why:      "kube-proxy takes calls to a Service range for itself. A pod of another cluster with such an address cannot be reached.",
		Fix:      "Give the clusters networks of their own, or another Service range to one of them.",
	},
	{
		ID: "CHK028", Severity: Error, Needs: answered(), Run: familiesMeet,
		Question: "Do pods in one network share an IP family?",
		Why:      "A pod with an IPv4 address alone cannot call one with an IPv6 address alone.",
		Fix:      "Give the clusters networks of their own, or make one of them dual stack.",
	},
	{
		ID: "CHK029", Severity: Error, Needs: answered(idRights), Run: gatewayWillHaveAddress,
		Question: "Will the east-west gateway get an address?",
		Why:      "Other networks reach a cluster only by the address of its gateway. Without a load balancer the Service stays pending, and istiod leaves every endpoint behind it out (istio#49045).",
		Fix:      "Install a load balancer (MetalLB, the cloud's controller), or set spec.gateways.eastWest.serviceType: NodePort with the annotation traffic.istio.io/nodeSelector.",
	},
	{
		ID: "CHK030", Severity: Warning, Needs: answered(), Run: gatewayHasAddress,
		Question: "Has every east-west gateway an address?",
		Why:      "As long as it has none, the other clusters leave out all endpoints behind it (istio#49045).",
		Fix:      "kubectl describe service: its events say what the load balancer waits for.",
	},
	{
		ID: "CHK031", Severity: Note, Needs: answered(), Run: gatewayAddressIsIP,
		Question: "Are the gateways' addresses IPs?",
		Why:      "Some load balancers give a host name. Each istiod then resolves it by itself, with its own DNS; where that fails the gateway does not exist for it (istio#29359).",
		Fix:      "See that every cluster's DNS resolves the name. Fixed IPs (on AWS: a network load balancer with elastic IPs) are steadier.",
	},
	{
		ID: "CHK032", Severity: Warning, Needs: answered(), Run: gatewayReady,
		Question: "Is every east-west gateway ready?",
		Why:      "Calls from other networks end there. With no ready pod they fail with \"connection refused\" or wait.",
		Fix:      "kubectl describe pods -l istio=eastwestgateway; isthmus apply brings back what was changed.",
	},
}

var trustChecks = []Check{
	{
		ID: "CHK033", Severity: Error, Needs: answered(idIstioOurs), Run: clusterNameFree,
		Question: "Has every cluster a name of its own in Istio?",
		Why:      "istiod calls itself \"Kubernetes\" when it is given no name. A cluster of that name in the mesh is taken for the local one, and ignored (istio#42516). And running proxies keep the name that they started with.",
		Fix:      "Choose another name in spec.clusters[].name; after a change restart the workloads.",
	},
	{
		ID: "CHK034", Severity: Warning, Needs: answered(idIstioOurs), Run: meshIDsAgree,
		Question: "Have all clusters one mesh id?",
		Why:      "Telemetry calls clusters with different ids different meshes, and edges between them end in \"unknown\".",
		Fix:      "Leave values.global.meshID to isthmus, and apply.",
	},
	{
		ID: "CHK035", Severity: Warning, Needs: answered(idIstioOurs), Run: trustDomainsAgree,
		Question: "Has every cluster the document's trust domain?",
		Why:      "It begins every identity (spiffe://DOMAIN/ns/...). Policies and peers that know identities of the old domain refuse those of the new one, from the moment of the change until the last proxy has its new certificate.",
		Fix:      "Keep the old domain in spec.trust.domain, or first list it in spec.istio.meshConfig.trustDomainAliases everywhere.",
	},
	{
		ID: "CHK036", Severity: Error, Needs: answered(), Run: certificatesLast,
		Question: "Are all certificates valid, and for a while yet?",
		Why:      "When an intermediate ends, no workload in its cluster gets a new certificate; when a root ends, every call in the mesh fails. A warning comes 30 days before, or at a third of the lifetime if that is less.",
		Fix:      "isthmus apply renews intermediates that it made. A root or a certificate of others has to be replaced by whoever made it.",
	},
	{
		ID: "CHK037", Severity: Error, Needs: answered(), Run: cacertsWhole,
		Question: "Is every cluster's certificate authority whole?",
		Why:      "istiod does not start, or signs certificates that nobody believes, when cacerts lacks a file, holds the key of another certificate or an intermediate of another root.",
		Fix:      "isthmus apply makes it anew where it made it; else put a whole one in its place.",
	},
	{
		ID: "CHK038", Severity: Error, Needs: answered(), Run: cacertsAreOurs,
		Question: "Has no cluster a certificate authority that others made?",
		Why:      "Isthmus writes an intermediate of the mesh's root as Secret cacerts, and overwrites nobody else's: workloads with certificates of another authority would lose their peers at that moment.",
		Fix:      "If nothing uses it any more, keep a copy and delete it.",
	},
	{
		ID: "CHK039", Severity: Error, Needs: answered(), Run: rootsAgree,
		Question: "Have all clusters one root?",
		Why:      "Mutual TLS between clusters works only if both ends know the root of the other. Different roots give \"certificate signed by unknown authority\" for each call between them, while everything within a cluster works.",
		Fix:      "isthmus apply gives every cluster an intermediate of the mesh's root; take away authorities of others first.",
	},
	{
		ID: "CHK045", Severity: Error, Needs: answered(idRights), Run: rootIsKept,
		Question: "Is the mesh's root where it is kept?",
		Why:      "The root lives in the first cluster of the document, in a Secret of namespace isthmus-system. Without it no cluster can join and no intermediate be renewed; a new one would make new workloads refuse running ones.",
		Fix:      "Put the Secret back from a backup, and keep one. If the order of spec.clusters was changed, put the cluster that keeps the root first again.",
	},
}

var credentialChecks = []Check{
	{
		ID: "CHK040", Severity: Warning, Needs: answered(), Run: tokensLast,
		Question: "Do the credentials for other clusters last for a while yet?",
		Why:      "When one ends, istiod is refused by the other API server: it goes on with the endpoints that it knew, also after they are gone.",
		Fix:      "isthmus apply replaces credentials when a third of their time is left.",
	},
	{
		ID: "CHK041", Severity: Warning, Needs: answered(), Run: tokensEnd,
		Question: "Do all credentials for other clusters end?",
		Why:      "istioctl create-remote-secret makes tokens that never end: whoever gets hold of one reads the other cluster for ever, and nobody can rotate it (istio#56358).",
		Fix:      "Delete such a remote secret and run isthmus apply, which makes one that ends and is renewed.",
	},
	{
		ID: "CHK042", Severity: Warning, Needs: answered(), Run: remotesPointRight,
		Question: "Do remote secrets lead to where the clusters are?",
		Why:      "A cluster that was rebuilt or moved has another address or authority; the old remote secret leads nowhere, or to somebody else.",
		Fix:      "isthmus apply writes them anew.",
	},
	{
		ID: "CHK043", Severity: Warning, Needs: answered(), Run: remotesAreMembers,
		Question: "Is every cluster that an istiod watches in the document?",
		Why:      "A remote secret that is left of a cluster which is gone keeps its endpoints in use (istio#27187, istio#8554), and its istiod slow to start.",
		Fix:      "isthmus apply takes away those that it made; delete others by hand.",
	},
	{
		ID: "CHK044", Severity: Error, Needs: answered(), Run: remotesAreOnce,
		Question: "Is there one credential for each other cluster?",
		Why:      "If two Secrets hold a kubeconfig for one cluster, istiod uses the one that it sees first and ignores the other (\"cluster has already been registered\"); after a restart it may be the other way round.",
		Fix:      "Delete the Secret that isthmus did not make.",
	},
	{
		ID: "CHK046", Severity: Warning, Needs: answered(idRights), Run: remotesAreThere,
		Question: "Has every istiod a credential for every other cluster?",
		Why:      "An istiod without it knows nothing of the services there: calls from its cluster never go to the other one, and nothing says so.",
		Fix:      "isthmus apply makes it.",
	},
}
