package verify

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"isthmus.dev/isthmus/api/v1alpha1"
	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// A checkCase changes a healthy mesh and says what the check then finds: "severity cluster/other: seen".
type checkCase struct {
	id     string
	reason string
	change func(*Input)
	want   []string
}

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

const gib = int64(1) << 30

// fresh is two empty clusters that are fit to be joined.
func fresh() Input {
	in := Input{
		Mesh: mesh.Mesh{
			Name: "shop", CredentialTTL: 90 * 24 * time.Hour, MTLS: "STRICT",
			Trust: mesh.Trust{Domain: "cluster.local"}, EastWest: v1alpha1.EastWestGateway{ServiceType: "LoadBalancer"},
			Verify: v1alpha1.Verify{Namespace: "isthmus-verify"},
		},
		Now: facts.Snapshot{Taken: noon, Clusters: map[string]*facts.Cluster{}},
	}
	for i, name := range []string{"east", "west"} {
		in.Mesh.Clusters = append(in.Mesh.Clusters, mesh.Cluster{
			Name: name, Context: name, Network: name, Istio: mesh.Istio{Version: "1.31.1", Profile: "minimal"},
		})
		in.Now.Clusters[name] = &facts.Cluster{
			Name: name, Server: fmt.Sprintf("https://198.18.0.1%d:6443", i+1), CABundle: "CA " + name, Latency: 40 * time.Millisecond,
			UID: "uid-" + name, Version: "v1.36.3", ServerNotAfter: noon.AddDate(1, 0, 0),
			Nodes: []facts.Node{{
				Name: name + "-1", Arch: "amd64", Ready: true, Region: "eu-" + name, PodCIDRs: []string{fmt.Sprintf("100.64.%d.0/24", i)},
				CPUMilli: 4000, Memory: 8 * gib,
			}},
			ServiceCIDRs: []string{fmt.Sprintf("10.%d.0.0/16", 96+i)},
			Namespaces:   []facts.Namespace{{Name: "shop", Labels: map[string]string{}}},
			LoadBalancer: facts.LoadBalancer{Seen: true, Provider: "metallb"},
			Secrets:      map[string]*facts.Secret{},
		}
	}
	return in
}

// joined is the same two clusters with the mesh on them, all well.
func joined() Input {
	in := fresh()
	other := map[string]string{"east": "west", "west": "east"}
	label := func() map[string]string { return map[string]string{object.LabelMesh: "shop"} }
	for _, c := range in.Mesh.Clusters {
		f := in.Now.Clusters[c.Name]
		f.Namespaces = append(f.Namespaces, facts.Namespace{Name: istioNamespace, Labels: map[string]string{networkLabel: c.Name}})
		f.CRDs = []facts.CRD{{Name: "gateways.networking.istio.io", Owner: "isthmus"}}
		f.Webhooks = []facts.Webhook{
			{Name: "istio-sidecar-injector", Kind: "MutatingWebhookConfiguration", Revision: "default", Owner: "isthmus", Service: "istio-system/istiod", FailurePolicy: "Fail"},
			{Name: "istio-validator-istio-system", Kind: "ValidatingWebhookConfiguration", Revision: "default", Owner: "isthmus", Service: "istio-system/istiod", FailurePolicy: "Fail"},
		}
		f.Istiods = []facts.Istiod{{
			Namespace: istioNamespace, Name: "istiod", Version: "1.31.1", Owner: "isthmus", Mesh: "shop", Ready: 1, Wanted: 1,
			Network: c.Name, ClusterName: c.Name, MeshID: "shop", TrustDomain: "cluster.local",
		}}
		f.Gateways = []facts.Gateway{{
			Namespace: istioNamespace, Name: "istio-eastwestgateway", Network: c.Name, Type: "LoadBalancer", Addresses: []string{"198.18.1.1"}, Ready: 1, Wanted: 1,
		}}
		root := certificate("root", "root", noon.AddDate(-1, 0, 0), noon.AddDate(9, 0, 0))
		ca := certificate("intermediate "+c.Name, "root", noon.AddDate(0, -1, 0), noon.AddDate(1, 0, 0))
		ca.IssuedBy = root.Fingerprint
		f.Secrets[cacerts] = &facts.Secret{
			Namespace: istioNamespace, Name: "cacerts", Labels: label(), KeyMatches: true,
			Keys:         []string{"ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem"},
			Certificates: map[string][]facts.Certificate{"ca-cert.pem": {ca}, "cert-chain.pem": {ca, root}, "root-cert.pem": {root}},
		}
		if c.Name == "east" {
			f.Secrets[rootSecret] = &facts.Secret{
				Namespace: object.SystemNamespace, Name: "isthmus-root", Labels: label(), KeyMatches: true,
				Certificates: map[string][]facts.Certificate{"root-cert.pem": {root}},
			}
		}
		about := other[c.Name]
		labels := label()
		labels[object.LabelRemoteSecret] = "true"
		f.Secrets[istioNamespace+"/istio-remote-secret-"+about] = &facts.Secret{
			Namespace: istioNamespace, Name: "istio-remote-secret-" + about, Labels: labels, Keys: []string{about},
			Kubeconfigs: map[string]facts.Kubeconfig{about: {
				Server: in.Now.Clusters[about].Server, CABundle: "CA " + about, NotAfter: noon.AddDate(0, 2, 0),
			}},
		}
	}
	return in
}

func certificate(subject, issuer string, from, to time.Time) facts.Certificate {
	return facts.Certificate{
		Subject: "CN=" + subject, Issuer: "CN=" + issuer, NotBefore: from, NotAfter: to, IsCA: true,
		Fingerprint: "fp-of-" + subject, SPKI: "spki-of-" + subject,
	}
}

func west(in *Input) *facts.Cluster { return in.Now.Clusters["west"] }

func westIstiod(in *Input) *facts.Istiod { return &west(in).Istiods[0] }

func westRemote(in *Input) *facts.Secret {
	return west(in).Secrets[istioNamespace+"/istio-remote-secret-east"]
}

// oneNetwork puts both clusters into one network.
func oneNetwork(in *Input) {
	for i := range in.Mesh.Clusters {
		in.Mesh.Clusters[i].Network = "one"
	}
}

func TestEveryCheck(t *testing.T) {
	cases := slices.Concat(accessCases, nodeCases, istioCases, networkCases, serviceCases, servedCases, trustCases, rootCases, credentialCases)
	finds, passes := map[string]bool{}, map[string]bool{}
	for _, tc := range cases {
		t.Run(tc.id+" "+tc.reason, func(t *testing.T) {
			c, ok := Lookup(tc.id)
			if !ok {
				t.Fatalf("no check %s", tc.id)
			}
			in := joined()
			if tc.change != nil {
				tc.change(&in)
			}
			var got []string
			for _, f := range Run([]Check{{ID: c.ID, Severity: c.Severity, Run: c.Run}}, in)[0].Findings {
				got = append(got, show(f))
				if f.Do == "" {
					t.Errorf("finding says not what to do: %+v", f)
				}
				if f.Severity.rank() > c.Severity.rank() {
					t.Errorf("a finding is worse (%s) than its check says (%s)", f.Severity, c.Severity)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
			finds[tc.id] = finds[tc.id] || len(got) > 0
			passes[tc.id] = passes[tc.id] || len(got) == 0
		})
	}
	for _, c := range Preflight {
		if !finds[c.ID] || !passes[c.ID] {
			t.Errorf("%s (%s): cases that find something: %v, that find nothing: %v; both are needed", c.ID, c.Question, finds[c.ID], passes[c.ID])
		}
	}
}

func show(f Finding) string {
	who := f.Cluster
	if f.Other != "" {
		who += "/" + f.Other
	}
	return fmt.Sprintf("%s %s: %s", f.Severity, who, f.Seen)
}

func TestNothingIsFoundWhereAllIsWell(t *testing.T) {
	for reason, in := range map[string]Input{"two clusters that are empty": fresh(), "two clusters that are joined": joined()} {
		t.Run(reason, func(t *testing.T) {
			for _, r := range Run(Preflight, in) {
				if len(r.Findings) > 0 || r.Skipped != "" || len(r.SkippedOn) > 0 {
					t.Errorf("%+v", r)
				}
			}
		})
	}
}

var accessCases = []checkCase{
	{id: "CHK001", reason: "both answer", want: nil},
	{
		id: "CHK001", reason: "one refuses the connection",
		change: func(in *Input) {
			west(in).Err, west(in).Cause = "cluster west: connection refused", facts.CauseUnreachable
		},
		want: []string{"error west: does not answer: connection refused"},
	},
	{
		id: "CHK001", reason: "a cluster that nobody asked", change: func(in *Input) { delete(in.Now.Clusters, "west") },
		want: []string{"error west: was not asked"},
	},
	{
		id: "CHK001", reason: "a context that is not there",
		change: func(in *Input) {
			west(in).Err, west(in).Cause = `cluster west: no context "west" in the kubeconfig; there are: east`, facts.CauseContext
		},
		want: []string{`error west: cannot be asked: no context "west" in the kubeconfig; there are: east`},
	},
	{
		id: "CHK001", reason: "a 401 is an answer; CHK002 is about it",
		change: func(in *Input) { west(in).Err, west(in).Cause = "Unauthorized", facts.CauseCredentials },
	},
	{
		id: "CHK002", reason: "a token that has ended",
		change: func(in *Input) {
			west(in).Err, west(in).Cause = "https://198.18.0.12:6443 (1 try in 0s): it does not know the caller (401)", facts.CauseCredentials
		},
		want: []string{"error west: answers, but does not accept the kubeconfig's credentials: does not know the caller (401)"},
	},
	{id: "CHK002", reason: "both accept", want: nil},
	{id: "CHK003", reason: "exactly 300 ms is quick enough", change: func(in *Input) { west(in).Latency = 300 * time.Millisecond }},
	{
		id: "CHK003", reason: "a slow one", change: func(in *Input) { west(in).Latency = 301 * time.Millisecond },
		want: []string{"warning west: a small request takes 301 ms (over 300 ms)"},
	},
	{
		id: "CHK004", reason: "nobody checks who answers", change: func(in *Input) { west(in).Insecure = true },
		want: []string{"warning west: the kubeconfig has insecure-skip-tls-verify: anybody in between can be the API server"},
	},
	{
		id: "CHK004", reason: "a public authority here may not be one in istiod's image", change: func(in *Input) { west(in).CABundle = "" },
		want: []string{"note west: the kubeconfig has no certificate-authority-data, so other clusters' istiods trust the public authorities in their image"},
	},
	{id: "CHK004", reason: "authority given", want: nil},
	{id: "CHK005", reason: "the oldest that is supported", change: func(in *Input) { west(in).Version = "v1.32.0" }},
	{id: "CHK005", reason: "a vendor's version", change: func(in *Input) { west(in).Version = "v1.33.4-gke.1036000" }},
	{
		id: "CHK005", reason: "too old", change: func(in *Input) { west(in).Version = "v1.31.9" },
		want: []string{"error west: Kubernetes v1.31.9 is older than Istio 1.31 supports (1.32 to 1.36)"},
	},
	{
		id: "CHK005", reason: "newer than anybody has tried", change: func(in *Input) { west(in).Version = "v1.37+" },
		want: []string{"warning west: Kubernetes v1.37+ is newer than Istio 1.31 was tested with (1.32 to 1.36)"},
	},
	{
		id: "CHK005", reason: "a version that is none", change: func(in *Input) { west(in).Version = "?" },
		want: []string{`warning west: its version "?" cannot be read`},
	},
	{
		id: "CHK005", reason: "another Istio than the embedded one", change: func(in *Input) { in.Mesh.Clusters[1].Istio.Version = "1.30.2" },
		want: []string{"note west: this isthmus does not know which Kubernetes Istio 1.30.2 supports; this is v1.36.3"},
	},
	{id: "CHK006", reason: "cluster-admin", want: nil},
	{
		id: "CHK006", reason: "a caller who may little; the first four resources are named",
		change: func(in *Input) {
			west(in).Denied = []facts.Right{
				{Verb: "create", Group: "rbac.authorization.k8s.io", Resource: "clusterroles"},
				{Verb: "patch", Group: "rbac.authorization.k8s.io", Resource: "clusterroles"},
				{Verb: "patch", Resource: "secrets", Namespace: "istio-system"},
				{Verb: "create", Resource: "namespaces"},
				{Verb: "create", Group: "apps", Resource: "deployments", Namespace: "istio-system"},
				{Verb: "delete", Resource: "services", Namespace: "istio-system"},
			}
		},
		want: []string{"error west: the caller may not create/patch clusterroles.rbac.authorization.k8s.io, patch secrets in istio-system, create namespaces, " +
			"create deployments.apps in istio-system and 1 more"},
	},
	{id: "CHK007", reason: "two clusters", want: nil},
	{
		id: "CHK007", reason: "two contexts of one cluster", change: func(in *Input) { west(in).UID = "uid-east" },
		want: []string{`error west/east: is the same cluster as east: contexts "west" and "east" lead to one kube-system (uid-east)`},
	},
	{
		id: "CHK007", reason: "UIDs that nobody could read are not the same", change: func(in *Input) {
			west(in).UID, in.Now.Clusters["east"].UID = "", ""
		},
	},
	{id: "CHK008", reason: "1.4 s may be the header's rounding", change: func(in *Input) { west(in).ClockSkew = 1400 * time.Millisecond }},
	{
		id: "CHK008", reason: "not synchronised", change: func(in *Input) { west(in).ClockSkew = -3 * time.Second },
		want: []string{"warning east/west: its clock is 3s ahead of west's"},
	},
	{
		id: "CHK008", reason: "certificates and tokens begin to fail", change: func(in *Input) { west(in).ClockSkew = time.Minute },
		want: []string{"error west/east: its clock is 1m0s ahead of east's"},
	},
	{
		id: "CHK008", reason: "both agree, and this machine does not", change: func(in *Input) {
			west(in).ClockSkew, in.Now.Clusters["east"].ClockSkew = 90*time.Second, 90*time.Second
		},
		want: []string{"error : this machine's clock is 1m30s behind the clusters'"},
	},
	{
		id: "CHK009", reason: "a kubeadm cluster after 11 months", change: func(in *Input) { west(in).ServerNotAfter = noon.Add(29 * 24 * time.Hour) },
		want: []string{"warning west: the API server's own certificate ends in 29 d (2026-12-23)"},
	},
	{id: "CHK009", reason: "not known is not ended", change: func(in *Input) { west(in).ServerNotAfter = time.Time{} }},
	{
		id: "CHK010", reason: "kind's kubeconfig", change: func(in *Input) { west(in).Server = "https://127.0.0.1:41234" },
		want: []string{"error west: other clusters' istiods would be sent to https://127.0.0.1:41234, which is an address of this machine only"},
	},
	{
		id: "CHK010", reason: "the document gives a better address", change: func(in *Input) {
			west(in).Server = "https://127.0.0.1:41234"
			in.Mesh.Clusters[1].Server = "https://172.18.0.3:6443"
		},
	},
	{
		id: "CHK010", reason: "a name for this machine", change: func(in *Input) { west(in).Server = "https://kubernetes.docker.internal:6443" },
		want: []string{"error west: other clusters' istiods would be sent to https://kubernetes.docker.internal:6443, which is a name for this machine only"},
	},
	{
		id: "CHK010", reason: "a management proxy", change: func(in *Input) { west(in).Server = "https://rancher.example.com/k8s/clusters/c-m-1" },
		want: []string{"warning west: other clusters' istiods would be sent to https://rancher.example.com/k8s/clusters/c-m-1, which goes through a proxy that may know no service account's token"},
	},
	{
		id: "CHK010", reason: "not even a URL", change: func(in *Input) { west(in).Server = "west" },
		want: []string{"error west: other clusters' istiods would be sent to west, which is no URL"},
	},
	{
		id: "CHK010", reason: "one cluster is sent nowhere", change: func(in *Input) {
			in.Mesh.Clusters = in.Mesh.Clusters[1:]
			west(in).Server = "https://127.0.0.1:41234"
		},
	},
}

var nodeCases = []checkCase{
	{id: "CHK011", reason: "all ready", want: nil},
	{
		id: "CHK011", reason: "a cluster without nodes", change: func(in *Input) { west(in).Nodes = nil },
		want: []string{"error west: has no node: istiod would have nowhere to run"},
	},
	{
		id: "CHK011", reason: "no network plugin yet", change: func(in *Input) { west(in).Nodes[0].Ready = false },
		want: []string{"error west: none of its 1 node is Ready"},
	},
	{
		id: "CHK011", reason: "one of two is down", change: func(in *Input) {
			west(in).Nodes = append(west(in).Nodes, facts.Node{Name: "west-2", Arch: "amd64"})
		},
		want: []string{"warning west: 1 of 2 nodes not Ready: west-2"},
	},
	{id: "CHK012", reason: "Arm has images", change: func(in *Input) { west(in).Nodes[0].Arch = "arm64" }},
	{
		id: "CHK012", reason: "no image runs", change: func(in *Input) { west(in).Nodes[0].Arch = "s390x" },
		want: []string{"error west: 1 of 1 node on s390x; Istio's images are for amd64 and arm64"},
	},
	{
		id: "CHK012", reason: "some nodes are of no use", change: func(in *Input) {
			west(in).Nodes = append(west(in).Nodes, facts.Node{Name: "west-2", Arch: "ppc64le"})
		},
		want: []string{"warning west: 1 of 2 nodes on ppc64le; Istio's images are for amd64 and arm64"},
	},
	{
		id: "CHK013", reason: "bare metal", change: func(in *Input) { west(in).Nodes[0].Region = "" },
		want: []string{"note west: 1 of 1 node without a region label: calls cannot prefer what is near"},
	},
	{id: "CHK013", reason: "labelled", want: nil},
	{
		id: "CHK013", reason: "one cluster has nothing nearer", change: func(in *Input) {
			in.Mesh.Clusters = in.Mesh.Clusters[1:]
			west(in).Nodes[0].Region = ""
		},
	},
	{
		id: "CHK014", reason: "other pods have asked for most of it", change: func(in *Input) {
			west(in).Istiods = nil
			west(in).Nodes[0].MemoryRequested = 8*gib - 512<<20
		},
		want: []string{"warning west: istiod asks for 2 GiB of memory and 500 m of CPU; of 1 node that could run it the emptiest has 512 MiB and 4000 m free"},
	},
	{
		id: "CHK014", reason: "the node with room is cordoned", change: func(in *Input) {
			west(in).Istiods = nil
			west(in).Nodes[0].Unschedulable = true
		},
		want: []string{"warning west: istiod asks for 2 GiB of memory and 500 m of CPU; of 0 nodes that could run it the emptiest has 0 MiB and 0 m free"},
	},
	{
		id: "CHK014", reason: "the document asks for less", change: func(in *Input) {
			west(in).Istiods = nil
			west(in).Nodes[0].Memory = gib / 2
			in.Mesh.Clusters[1].Istio.Values = map[string]any{"pilot": map[string]any{"resources": map[string]any{"requests": map[string]any{"memory": "128Mi"}}}}
		},
	},
	{
		id: "CHK014", reason: "--set asks for more than the values", change: func(in *Input) {
			west(in).Istiods = nil
			in.Mesh.Clusters[1].Istio.Profile = "demo"
			in.Mesh.Clusters[1].Istio.Set = []string{"values.pilot.resources.requests.memory=16Gi", "components.pilot.k8s.resources.requests.cpu=1"}
		},
		want: []string{"warning west: istiod asks for 16 GiB of memory and 1000 m of CPU; of 1 node that could run it the emptiest has 8 GiB and 4000 m free"},
	},
	{id: "CHK014", reason: "istiod has found its room", change: func(in *Input) { west(in).Nodes[0].Memory = gib }},
}
