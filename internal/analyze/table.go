package analyze

import "slices"

// Analysers is the table. An id is for ever: what it asks may become sharper, but never another question.
var Analysers = slices.Concat(aboutText, aboutReferences, aboutTrust, aboutTraffic, aboutClusters, istios)

var aboutText = []Analyser{
	{
		ID: "ANA001", Severity: Error, Run: missingSeparator,
		Question: "Does every document begin with a separator?",
		Why:      `Without "---" two objects are one map in which every key is written twice. kubectl takes the last of each and applies the second object; the first is gone, and nobody says so.`,
		Do:       `Write "---" on a line of its own between them.`,
		Fixes:    "writes the separator",
	},
	{
		ID: "ANA002", Severity: Error, Run: commentedList,
		Question: "Has every list its items, or are they commented out?",
		Why:      "A key whose items are all comments has the value null. An API server refuses it in Istio's kinds; other tools take it for an empty list, and a Gateway without hosts serves nobody.",
		Do:       "Uncomment the items that belong there, or take the key out.",
		Fixes:    "uncomments the item, if there is one alone",
	},
	{
		ID: "ANA003", Severity: Error, Run: noYAML,
		Question: "Is it YAML?",
		Why:      "A document that cannot be read takes no part in anything; kubectl stops at it.",
		Do:       "Correct the line. The other documents of the file are analysed all the same. A template is a warning, once for each file: render it first.",
	},
	{
		ID: "ANA004", Severity: Error, Run: keyTwice,
		Question: "Is every key written once?",
		Why:      "Of a key that is written twice in one map, kubectl takes the last and drops the other without a word.",
		Do:       "Keep one; if both are meant, one of them belongs further in or out.",
	},
	{
		ID: "ANA005", Severity: Error, Run: unknownField,
		Question: "Is every field one that the kind has?",
		Why:      "An API server drops a field that the schema does not know, or refuses the object, as it was asked to. What the field was to do does not happen.",
		Do:       "Write the field's right name; the schema is that of Istio's own CRDs.",
		Fixes:    "with --guess: writes the nearest name",
	},
	{
		ID: "ANA006", Severity: Error, Run: notAllowed,
		Question: "Is every value one that an API server takes?",
		Why:      "The schemas and rules of Istio's CRDs are run over the object, as an API server would. It refuses the whole object.",
		Do:       "Write a value of the right type, within the bounds, that the rule named allows.",
		Fixes:    "quotes a text, unquotes a number, corrects the case of a value; with --guess: writes the nearest value",
	},
	{
		ID: "ANA007", Severity: Warning, Run: oldVersion,
		Question: "Is the API version the one that is kept?",
		Why:      "Old versions are served still, and one day are not: then the object can be neither applied nor read. v1 has the same fields.",
		Do:       "Write the newest version.",
		Fixes:    "writes the newest version",
	},
	{
		ID: "ANA008", Severity: Error, Run: unknownKind,
		Question: "Is the kind one that its API group has?",
		Why:      "An API server refuses it.",
		Do:       "Write the right kind, or the right group.",
		Fixes:    "writes the nearest kind",
	},
}

var aboutReferences = []Analyser{
	{
		ID: "ANA010", Severity: Error, Run: missingHost,
		Question: "Does every host that is called exist in some cluster?",
		Why:      "A route to a host that no Service and no ServiceEntry has is answered with 503. Services of all clusters count: what one has, all can call. Where no Service of the namespace was read, a host is only doubted if the same configuration uses nearly the same name elsewhere.",
		Do:       "Correct the name, or create the Service or ServiceEntry. Istio completes only names without a dot. A warning where no name that was read is near.",
		Fixes:    "writes the nearest host, if one alone is near and known, or used elsewhere twice; with --guess also on less",
	},
	{
		ID: "ANA011", Severity: Error, Run: missingSubset,
		Question: "Is every subset defined by a DestinationRule of the same cluster?",
		Why:      "A route to a subset that is not defined is answered with 503. A DestinationRule in another cluster does not help: each control plane reads its own.",
		Do:       "Define the subset, or take it out of the route. A warning where neither a DestinationRule nor a Service of the host was read.",
		Fixes:    "corrects the name, or adds a DestinationRule if the workloads that were read have that version; with --guess also if none was read",
	},
	{
		ID: "ANA012", Severity: Error, Run: missingGateway,
		Question: "Does every VirtualService name Gateways that exist?",
		Why:      "Routes that are bound to a Gateway which is not there apply nowhere.",
		Do:       "Correct the name (NAMESPACE/NAME for another namespace), or create the Gateway. A warning where no name that was read is near.",
		Fixes:    "writes the nearest name, or the namespace of the only Gateway of that name",
	},
	{
		ID: "ANA013", Severity: Error, Run: lonelySelector,
		Question: "Does every selector choose a workload in some cluster?",
		Why:      "A policy that chooses nobody protects nobody and says nothing about it; a Service has no endpoint.",
		Do:       "Correct the labels. A warning where the right labels are not known.",
		Fixes:    "writes the label's nearest value, if all others fit",
	},
	{
		ID: "ANA014", Severity: Error, Run: noGateway,
		Question: "Is there a gateway with a Gateway's labels in every cluster that has the Gateway?",
		Why:      "A Gateway configures the proxies that its selector chooses. In a cluster without such a proxy nothing listens, and calls that a global load balancer sends there fail.",
		Do:       "Install a gateway in that cluster, or keep the Gateway out of it.",
		Fixes:    "writes the label's nearest value, if a gateway has it; with --guess: that of Istio's own gateways",
	},
	{
		ID: "ANA015", Severity: Error, Run: wrongPort,
		Question: "Does every route end at a port that the service has?",
		Why:      "A route to a port that the service does not have is answered with 503; so is a gateway's route that names no port where the service has several. Settings and matches for such a port apply to nothing.",
		Do:       "Write one of the service's ports.",
		Fixes:    "with --guess: writes the port, if the service has one alone",
	},
	{
		ID: "ANA016", Severity: Error, Run: wrongProtocol,
		Question: "Do routes and ports speak the same protocol?",
		Why:      "Istio applies http routes to ports that speak HTTP, tls routes to TLS that it passes on, tcp routes to the rest; the port's name or appProtocol, and the Gateway's server, say which. Routes for another protocol are ignored without a word.",
		Do:       "Name the port after what it speaks, or write the routes under the protocol that the port has.",
	},
	{
		ID: "ANA017", Severity: Error, Run: emptySubset,
		Question: "Does every subset choose a workload of its host?",
		Why:      "A subset without endpoints answers every call with 503.",
		Do:       "Correct the subset's labels.",
		Fixes:    "writes the label's nearest value, if all others fit",
	},
}

var aboutTrust = []Analyser{
	{
		ID: "ANA020", Severity: Error, Run: notIdentity,
		Question: "Is every principal an identity that a workload of the mesh can have?",
		Why:      "Principals are compared with the identity in the caller's certificate: TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT. A host name, a user name or an address never matches: an ALLOW policy then refuses everyone, a DENY policy nobody.",
		Do:       "Write the caller's identity. cluster.local always means the mesh's own trust domain.",
		Fixes:    "writes the identity, if the text says it in other words or the caller's workload was read; with --guess: the likely one",
	},
	{
		ID: "ANA021", Severity: Warning, Run: nobodysIdentity,
		Question: "Does some workload run as every identity that a policy names?",
		Why:      "A principal of the right form that nobody has is as good as none.",
		Do:       "Name a service account that workloads of that namespace run as.",
		Fixes:    "with --guess: writes the nearest service account",
	},
	{
		ID: "ANA022", Severity: Error, Run: tlsContradiction,
		Question: "Do callers speak what the callee takes?",
		Why:      "A DestinationRule that turns mutual TLS off for a host whose PeerAuthentication is STRICT makes every call fail, and so the other way round. The two often live in different clusters.",
		Do:       "Take the tls settings out: callers use mutual TLS by themselves wherever the callee can.",
		Fixes:    "writes ISTIO_MUTUAL, if the callee's workloads were read; with --guess also if not",
	},
}

var aboutTraffic = []Analyser{
	{
		ID: "ANA030", Severity: Warning, Run: silentFailover,
		Question: "Has every failover the outlier detection that it needs?",
		Why:      "Without outlierDetection Istio knows no endpoint as bad: failover, failoverPriority and locality preference are accepted and silently ignored.",
		Do:       "Add outlierDetection to the same trafficPolicy.",
	},
	{
		ID: "ANA031", Severity: Error, Run: hiddenHost,
		Question: "Can every caller see the hosts that it calls?",
		Why:      "exportTo and Sidecar narrow what proxies are told. A route in a namespace that a host is not exported to fails; a call to a host that a Sidecar leaves out goes round the mesh, without mutual TLS, or nowhere. That somebody calls is read from routes, from addresses in workloads' settings and from policies that let them in.",
		Do:       "Export the host to the caller's namespace, or add it to the Sidecar's hosts.",
	},
	{
		ID: "ANA032", Severity: Warning, Run: replacedFailover,
		Question: "Does every DestinationRule keep the failover that the mesh document asks for?",
		Why:      "Istio takes one DestinationRule for a host, the whole of it. A rule of somebody's own stands in the place of the mesh's (isthmus-failover, host *.local in istio-system), and without outlierDetection calls of that host do not leave endpoints that stop answering, a dead cluster's among them. Asked only where a mesh document is given and has failover. Settings for a port stand in the place of the rule's.",
		Do:       "Add outlierDetection and connectTimeout to its trafficPolicy. Of a rule with subsets and no trafficPolicy, which takes the mesh's place too, it is a note: it was not written to say how calls are made.",
	},
}

var aboutClusters = []Analyser{
	{
		ID: "ANA040", Severity: Warning, Run: differs,
		Question: "Is the same configuration the same in every cluster?",
		Why:      "Each primary reads its own. If an object of one name says different things, what happens to a call depends on the cluster that it starts in.",
		Do:       "Keep one file for all clusters. If the difference is meant, suppress the finding on the object.",
	},
	{
		ID: "ANA041", Severity: Error, Run: serviceDiffers,
		Question: "Are Services of one name the same in every cluster?",
		Why:      "To the mesh, Services of one name and namespace are one service with endpoints in many clusters. If their ports differ, or one is headless, calls fail by chance.",
		Do:       "Make them the same, or give them different names. Different selectors are a warning.",
	},
	{
		ID: "ANA042", Severity: Warning, Run: injectionDiffers,
		Question: "Is a namespace in the mesh in every cluster that has it?",
		Why:      "Pods without a proxy have no identity and take plain text alone: from cluster to cluster nothing reaches them, and policies do not hold for them.",
		Do:       "Give the namespace the same injection label everywhere.",
	},
	{
		ID: "ANA043", Severity: Warning, Run: noLocalName,
		Question: "Can every cluster's DNS resolve the services that are called from it?",
		Why:      "Proxies know the services of all clusters, but a caller first asks its own cluster's DNS, which has only the cluster's own Services: NXDOMAIN, and the call never begins. Judged where a service is exported (ServiceExport) or a workload's settings name it.",
		Do:       "Create the namespace and the Service (without pods) in that cluster too, or let proxies answer DNS questions.",
	},
	{
		ID: "ANA044", Severity: Warning, Run: policyMissing,
		Question: "Are workloads that a policy protects in one cluster protected in every cluster?",
		Why:      "A policy holds in the clusters whose control plane reads it. Calls that reach the same workload in another cluster are not checked.",
		Do:       "Apply the policy in every cluster that runs the workload.",
	},
	{
		ID: "ANA045", Severity: Warning, Run: unreadClusters,
		Question: "Could every cluster be read?",
		Why:      "With --live, a cluster that does not answer is an error, and kinds that the caller may not list are a warning: nothing is called missing where not everything was read.",
		Do:       "Bring the cluster's API server back, or let the caller list those kinds.",
	},
}

var istios = []Analyser{
	{
		ID: "IST", Severity: Warning, Run: istioOwn,
		Question: "What do Istio's own analysers say?",
		Why:      "All of istioctl analyze's analysers run over each cluster, with Istio's own codes (IST0101 and so on), except where one of the above sees more: see " + istioDocs + ". An analyser that judges by Pods, Services or other objects of Kubernetes' runs only if the input has some.",
		Do:       "See the page of the code.",
	},
}
