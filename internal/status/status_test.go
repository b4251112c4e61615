package status

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"

	"isthmus.dev/isthmus/internal/cluster"
	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func shop() mesh.Mesh {
	istio := mesh.Istio{Version: "1.31.1"}
	return mesh.Mesh{Name: "shop", Clusters: []mesh.Cluster{
		{Name: "east", Context: "east", Network: "east", Istio: istio}, {Name: "west", Context: "west", Network: "west", Istio: istio},
	}}
}

func remoteSecret(about string, end time.Time) *facts.Secret {
	return &facts.Secret{
		Namespace: "istio-system", Name: "istio-remote-secret-" + about, Labels: map[string]string{"istio/multiCluster": "true"},
		Kubeconfigs: map[string]facts.Kubeconfig{about: {NotAfter: end}},
	}
}

func seen() facts.Snapshot {
	s := facts.Snapshot{Taken: noon, Clusters: map[string]*facts.Cluster{}}
	for name, about := range map[string]string{"east": "west", "west": "east"} {
		s.Clusters[name] = &facts.Cluster{
			Name: name, Server: "https://" + name, Latency: 12 * time.Millisecond, Version: "v1.36.3",
			Istiods:  []facts.Istiod{{Namespace: "istio-system", Name: "istiod", Revision: "default", Version: "1.31.1", Owner: "isthmus", Ready: 1, Wanted: 1}},
			Gateways: []facts.Gateway{{Namespace: "istio-system", Name: "istio-eastwestgateway", Network: name, Addresses: []string{"198.18.0.11"}, Ready: 1, Wanted: 1}},
			Secrets: map[string]*facts.Secret{
				cacerts: {Namespace: "istio-system", Name: "cacerts", Certificates: map[string][]facts.Certificate{
					"ca-cert.pem":   {{Subject: "CN=intermediate", Issuer: "CN=root", IsCA: true, NotAfter: noon.AddDate(0, 3, 0)}},
					"root-cert.pem": {{Subject: "CN=root", Issuer: "CN=root", IsCA: true, NotAfter: noon.AddDate(10, 0, 0)}},
				}},
				"istio-system/istio-remote-secret-" + about: remoteSecret(about, noon.AddDate(0, 0, 90)),
			},
		}
	}
	return s
}

// answers are the debug pages of both clusters' istiods, as they are when all is well.
func answers(t *testing.T) map[string]Pages {
	t.Helper()
	out := map[string]Pages{}
	for name, about := range map[string]string{"east": "west", "west": "east"} {
		var p Pages
		parse(t, `[{"cluster_id":"`+name+`","proxy":"echo-1.demo","resources":{
			"type.googleapis.com/envoy.config.cluster.v3.Cluster":{"sent":"n1","acked":"n1"},
			"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret":{}}}]`, &p.Proxies)
		var known []RemoteStatus
		parse(t, `[{"id":"`+name+`","secretName":"","syncStatus":"synced"},
			{"id":"`+about+`","secretName":"istio-system/istio-remote-secret-`+about+`","syncStatus":"synced"}]`, &known)
		p.Clusters = map[string][]RemoteStatus{"istio-system/istiod-1": known}
		out[name] = p
	}
	return out
}

func parse(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatal(err)
	}
}

func TestMake(t *testing.T) {
	type in struct {
		mesh  mesh.Mesh
		seen  facts.Snapshot
		pages map[string]Pages
	}
	for _, tc := range []struct {
		reason  string
		change  func(*in)
		healthy bool
		west    []string // west's problems, or its Err
	}{
		{reason: "all is well", change: func(*in) {}, healthy: true},
		{
			reason: "one does not answer, and the other is still shown",
			change: func(i *in) {
				i.seen.Clusters["west"] = &facts.Cluster{Err: "cluster west: https://west: connection refused", Server: "https://west"}
			},
			west: []string{"https://west: connection refused"},
		},
		{reason: "one was never asked", change: func(i *in) { delete(i.seen.Clusters, "west") }, west: []string{"was not asked"}},
		{
			reason: "nothing is installed yet: no more is said than that",
			change: func(i *in) {
				i.seen.Clusters["west"] = &facts.Cluster{}
				i.pages["west"] = Pages{Err: noneReady}
			},
			west: []string{"no control plane yet: isthmus apply"},
		},
		{
			reason: "istiod is down: that is one problem, not two",
			change: func(i *in) {
				i.seen.Clusters["west"].Istiods[0].Ready = 0
				i.pages["west"] = Pages{Err: noneReady}
			},
			west: []string{"istiod istio-system/istiod: 0 of 1 ready"},
		},
		{
			reason: "istiod may not be asked",
			change: func(i *in) { i.pages["west"] = Pages{Err: "no answer in time"} },
			west:   []string{"istiod cannot be asked about proxies and remote clusters: no answer in time"},
		},
		{
			reason: "a proxy that has not taken what it was sent, one that refused it, and one that is fine",
			change: func(i *in) {
				p := i.pages["west"]
				p.Proxies = append(p.Proxies,
					ProxyStatus{Cluster: "west", Proxy: "stale.demo", Resources: map[string]ResourceStatus{"eds": {Sent: "n2", Acked: "n1"}}},
					ProxyStatus{Cluster: "west", Proxy: "refused.demo", Resources: map[string]ResourceStatus{"lds": {Sent: "n1", Acked: "n1", LastError: "no"}}})
				i.pages["west"] = p
			},
			west: []string{"2 of 3 proxies out of step: refused.demo, stale.demo"},
		},
		{
			reason: "two istiods, one of which still waits for the remote cluster",
			change: func(i *in) {
				i.pages["west"].Clusters["istio-system/istiod-2"] = []RemoteStatus{{ID: "east", SecretName: "s", SyncStatus: "timeout"}}
			},
			west: []string{"istiod waited for east in vain (timeout): is its API server there, and its credential good?"},
		},
		{
			reason: "the remote secret is gone",
			change: func(i *in) {
				i.pages["west"].Clusters["istio-system/istiod-1"] = []RemoteStatus{{ID: "west", SyncStatus: "synced"}}
			},
			west: []string{"istiod knows nothing of east: no remote secret, or not taken yet; isthmus apply"},
		},
		{
			reason: "istiod is reading the other cluster",
			change: func(i *in) { i.pages["west"].Clusters["istio-system/istiod-1"][1].SyncStatus = "syncing" },
			west:   []string{"istiod has east not in step: syncing"},
		},
		{
			reason: "no gateway between networks",
			change: func(i *in) { i.seen.Clusters["west"].Gateways = nil },
			west:   []string{"no east-west gateway: other networks cannot call it; isthmus apply"},
		},
		{
			reason: "no gateway where one network needs none",
			change: func(i *in) {
				i.seen.Clusters["west"].Gateways = nil
				i.mesh.Clusters[0].Network, i.mesh.Clusters[1].Network = "one", "one"
			},
			healthy: true,
		},
		{
			reason: "a gateway scaled to 0, without an address",
			change: func(i *in) {
				g := &i.seen.Clusters["west"].Gateways[0]
				g.Ready, g.Wanted, g.Addresses = 0, 0, nil
			},
			west: []string{"gateway istio-system/istio-eastwestgateway is scaled to 0", "gateway istio-system/istio-eastwestgateway has no address"},
		},
		{
			reason: "a root of its own",
			change: func(i *in) {
				certs := i.seen.Clusters["west"].Secrets[cacerts].Certificates
				certs["root-cert.pem"] = []facts.Certificate{{Subject: "CN=other", Issuer: "CN=other", IsCA: true, SPKI: "other"}}
			},
			west: []string{`its root is "CN=other", another than the mesh's: calls to and from other clusters fail; isthmus apply`},
		},
		{
			reason: "two roots in the middle of a rotation",
			change: func(i *in) {
				certs := i.seen.Clusters["west"].Secrets[cacerts].Certificates
				certs["root-cert.pem"] = append(certs["root-cert.pem"], facts.Certificate{Subject: "CN=new", Issuer: "CN=new", IsCA: true, SPKI: "new"})
			},
			healthy: true,
		},
		{
			reason: "credentials that ended",
			change: func(i *in) {
				i.seen.Clusters["west"].Secrets["istio-system/istio-remote-secret-east"] = remoteSecret("east", noon.Add(-time.Hour))
				i.seen.Clusters["west"].Secrets[cacerts].Certificates["ca-cert.pem"][0].NotAfter = noon
			},
			west: []string{"its intermediate ended on 2026-11-24: isthmus apply", "its credential for another cluster ended on 2026-11-24: isthmus apply"},
		},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			i := in{shop(), seen(), answers(t)}
			tc.change(&i)
			r := Make(i.mesh, i.seen, i.pages)
			if r.Healthy != tc.healthy {
				t.Errorf("healthy = %v, want %v", r.Healthy, tc.healthy)
			}
			if east := r.Clusters[0]; east.Err != "" || len(east.Problems) > 0 || east.Proxies.Synced != 1 || east.Remotes.Synced != 1 {
				t.Errorf("east is well and must be shown so: %+v", east)
			}
			got := r.Clusters[1].Problems
			if r.Clusters[1].Err != "" {
				got = append([]string{r.Clusters[1].Err}, got...)
			}
			if diff := cmp.Diff(tc.west, got); diff != "" {
				t.Errorf("west (-want +got):\n%s", diff)
			}
		})
	}
}

// The pages in testdata were read from an istiod 1.31 of cluster east that watches west, with one gateway connected.
func TestPagesOfARealIstiod(t *testing.T) {
	read := func(name string, into any) {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		parse(t, string(text), into)
	}
	var p Pages
	var known []RemoteStatus
	read("syncz.json", &p.Proxies)
	read("clusterz.json", &known)
	p.Clusters = map[string][]RemoteStatus{"istio-system/istiod-1": known}
	if diff := cmp.Diff(Proxies{Total: 1, Synced: 1}, p.proxies(shop().Clusters[0])); diff != "" {
		t.Errorf("proxies (-want +got):\n%s", diff)
	}
	want := Remotes{Wanted: 1, Synced: 1, Clusters: []Remote{{Name: "west", Status: Synced, Secret: "istio-system/istio-remote-secret-west"}}}
	m := shop()
	if diff := cmp.Diff(want, p.remotes(m, m.Clusters[0], nil)); diff != "" {
		t.Errorf("remotes (-want +got):\n%s", diff)
	}
	for kind, r := range p.Proxies[0].Resources {
		r.Acked = "older"
		p.Proxies[0].Resources[kind] = r
		break
	}
	if got := p.proxies(shop().Clusters[0]); got.Synced != 0 || len(got.Behind) != 1 {
		t.Errorf("a proxy that lags in one kind lags: %+v", got)
	}
}

func TestEnds(t *testing.T) {
	s := seen()
	east := s.Clusters["east"]
	east.Secrets["istio-system/more"] = remoteSecret("north", noon.AddDate(0, 0, 3))
	east.Secrets["istio-system/never"] = remoteSecret("south", time.Time{})
	r := Make(shop(), s, answers(t))
	for _, tc := range []struct {
		reason string
		got    *End
		want   *End
	}{
		{"the root", r.Root, &End{"CN=root", noon.AddDate(10, 0, 0)}},
		{"the intermediate", r.Clusters[0].Intermediate, &End{"CN=intermediate", noon.AddDate(0, 3, 0)}},
		{"the credential that ends first, whatever never ends", r.Clusters[0].Credential, &End{"north", noon.AddDate(0, 0, 3)}},
		{"the only credential", r.Clusters[1].Credential, &End{"east", noon.AddDate(0, 0, 90)}},
	} {
		if diff := cmp.Diff(tc.want, tc.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
		}
	}
}

func TestGatherEndsThoughNobodyAnswers(t *testing.T) {
	silent := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-silent:
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	defer close(silent)
	dial := func(c mesh.Cluster) (*cluster.Conn, error) {
		if c.Name == "west" {
			return nil, errors.New("cluster west: no such context")
		}
		return cluster.New(c.Name, &rest.Config{Host: server.URL}, time.Minute)
	}
	r := Gather(context.Background(), shop(), dial, 200*time.Millisecond, time.Now)
	if r.Answered() != 0 || r.Healthy {
		t.Errorf("nobody answered: %+v", r)
	}
	if r.Clusters[0].Err == "" || r.Clusters[1].Err != "no such context" {
		t.Errorf("each says why: %q, %q", r.Clusters[0].Err, r.Clusters[1].Err)
	}
}
