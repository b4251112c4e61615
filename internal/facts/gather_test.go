package facts_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"isthmus.dev/isthmus/internal/cluster"
	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/facts/apitest"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

const canary = "c4n4ry-do-not-print"

var servers *apitest.Clusters

func TestMain(m *testing.M) {
	var err error
	servers, err = apitest.Start(context.Background(), "east")
	if err != nil && !errors.Is(err, apitest.ErrNoPrograms) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if servers != nil {
		servers.Stop()
	}
	os.Exit(code)
}

func needServers(t *testing.T) {
	t.Helper()
	if servers == nil {
		t.Skip(apitest.ErrNoPrograms)
	}
}

func dialer(cfg *rest.Config) cluster.Dialer {
	return func(c mesh.Cluster) (*cluster.Conn, error) { return cluster.New(c.Name, cfg, 0) }
}

func gather(t *testing.T, cfg *rest.Config, want object.Objects) *facts.Cluster {
	t.Helper()
	m := mesh.Mesh{Name: "shop", Clusters: []mesh.Cluster{{Name: "east"}}}
	return facts.Gather(t.Context(), m, want, dialer(cfg), 30*time.Second, time.Now).Clusters["east"]
}

// there are the objects that a cluster with a mesh in it has, secrets with canaries.
func there(t *testing.T) []string {
	t.Helper()
	secret := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	certPEM, keyPEM := pair(t)
	kubeconfig := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: c, cluster: {server: "https://west:6443", certificate-authority-data: %s}}], users: [{name: c, user: {token: %s}}], contexts: [{name: c, context: {cluster: c, user: c}}]}`,
		secret(certPEM+keyPEM), token(canary))
	return []string{
		`{apiVersion: v1, kind: Namespace, metadata: {name: istio-system, labels: {topology.istio.io/network: n1}}}`,
		`{apiVersion: v1, kind: Namespace, metadata: {name: isthmus-system}}`,
		`{apiVersion: v1, kind: Node, metadata: {name: n1, labels: {topology.kubernetes.io/region: eu, topology.kubernetes.io/zone: eu-1}}, spec: {podCIDR: 100.64.0.0/24, podCIDRs: [100.64.0.0/24], providerID: "aws:///x", taints: [{key: a, effect: NoSchedule}]}, status: {allocatable: {cpu: "4", memory: 8Gi}, nodeInfo: {architecture: amd64}, conditions: [{type: Ready, status: "True"}]}}`,
		`{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: istio-system, labels: {app: istiod}}, spec: {nodeName: n1, initContainers: [{name: i, image: i, resources: {requests: {cpu: 300m}}}], containers: [{name: a, image: a, resources: {requests: {cpu: 250m, memory: 1Gi}}}]}, status: {startTime: "2026-11-24T10:00:00Z"}}`,
		`{apiVersion: apps/v1, kind: Deployment, metadata: {name: istiod-canary, namespace: istio-system, labels: {app: istiod, istio.io/rev: canary, isthmus.dev/mesh: shop}}, spec: {replicas: 2, selector: {matchLabels: {app: istiod}}, template: {metadata: {labels: {app: istiod}}, spec: {containers: [{name: discovery, image: "hub.test:5000/pilot:1.31.1", env: [{name: CLUSTER_ID, value: east}]}]}}}}`,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: istio-canary, namespace: istio-system}, data: {mesh: "defaultConfig: {meshId: shop}\ntrustDomain: td.test\n"}}`,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: istio-sidecar-injector-canary, namespace: istio-system}, data: {values: '{"global": {"network": "n1", "meshID": "shop"}}'}}`,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: istio-ca-root-cert, namespace: istio-system}, data: {root-cert.pem: ` + strconv.Quote(certPEM) + `}}`,
		`{apiVersion: v1, kind: Service, metadata: {name: istio-eastwestgateway, namespace: istio-system, labels: {istio: eastwestgateway, topology.istio.io/network: n1}}, spec: {type: LoadBalancer, externalIPs: [192.0.2.7], selector: {istio: eastwestgateway}, ports: [{port: 15443}]}}`,
		`{apiVersion: apps/v1, kind: Deployment, metadata: {name: istio-eastwestgateway, namespace: istio-system, labels: {istio: eastwestgateway}}, spec: {replicas: 3, selector: {matchLabels: {istio: eastwestgateway}}, template: {metadata: {labels: {istio: eastwestgateway}}, spec: {containers: [{name: a, image: a}]}}}}`,
		`{apiVersion: v1, kind: Service, metadata: {name: istio-ingressgateway, namespace: istio-system, labels: {istio: ingressgateway}}, spec: {externalIPs: [192.0.2.8], selector: {app: istio-ingressgateway}, ports: [{name: http, port: 80}, {name: https, port: 443}]}}`,
		`{apiVersion: apps/v1, kind: Deployment, metadata: {name: istio-ingressgateway, namespace: istio-system, labels: {istio: ingressgateway}}, spec: {selector: {matchLabels: {app: istio-ingressgateway}}, template: {metadata: {labels: {app: istio-ingressgateway}}, spec: {serviceAccountName: ingress, containers: [{name: a, image: a}]}}}}`,
		`{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingWebhookConfiguration, metadata: {name: istio-sidecar-injector, labels: {istio.io/rev: canary}, annotations: {meta.helm.sh/release-name: istiod}}, webhooks: [{name: rev.sidecar-injector.istio.io, sideEffects: None, admissionReviewVersions: [v1], failurePolicy: Ignore, clientConfig: {service: {name: istiod, namespace: istio-system}}}]}`,
		`{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: other}, webhooks: [{name: a.b.example, sideEffects: None, admissionReviewVersions: [v1], clientConfig: {url: "https://127.0.0.1:1"}}]}`,
		`{apiVersion: v1, kind: Secret, metadata: {name: cacerts, namespace: istio-system, annotations: {kubectl.kubernetes.io/last-applied-configuration: ` + canary + `, note: x}}, data: {ca-cert.pem: ` + secret(certPEM) + `, root-cert.pem: ` + secret(certPEM) + `, ca-key.pem: ` + secret(keyPEM) + `, extra: ` + secret(canary) + `}}`,
		`{apiVersion: v1, kind: Secret, metadata: {name: istio-remote-secret-west, namespace: istio-system, labels: {istio/multiCluster: "true"}}, data: {west: ` + secret(kubeconfig) + `}}`,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: isthmus-inventory-shop, namespace: isthmus-system}, data: {objects: '[{"kind": "Secret", "namespace": "istio-system", "name": "cacerts"}, {"group": "gone.istio.io", "kind": "Gone", "name": "x"}]'}}`,
	}
}

func create(t *testing.T, text string) {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		t.Fatal(err)
	}
	conn, err := cluster.New("east", servers.Configs["east"], 0)
	if err != nil {
		t.Fatal(err)
	}
	r, err := conn.Resource(u.GroupVersionKind(), u.GetNamespace())
	if err != nil {
		t.Fatal(err)
	}
	made, err := r.Create(t.Context(), u, metav1.CreateOptions{FieldManager: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if status, ok := u.Object["status"]; ok {
		made.Object["status"] = status
		if _, err := r.UpdateStatus(t.Context(), made, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatIsSeenOfACluster(t *testing.T) {
	needServers(t)
	for _, text := range there(t) {
		create(t, text)
	}
	want := object.Objects{}
	for _, text := range []string{
		`{apiVersion: v1, kind: Secret, metadata: {name: istio-remote-secret-west, namespace: istio-system}}`,
		`{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: a, namespace: istio-system}}`,
	} {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
			t.Fatal(err)
		}
		want.Add("east", object.Object{Body: u})
	}
	c := gather(t, servers.Configs["east"], want)
	if c.Err != "" {
		t.Fatal(c.Err)
	}
	for _, x := range []struct {
		reason    string
		got, want any
	}{
		{"its address", c.Server, servers.Configs["east"].Host},
		{"its version", c.Version != "" && c.Version[0] == 'v', true},
		{"its identity", c.UID != "", true},
		{"the ranges of its Services", c.ServiceCIDRs, []string{"10.96.0.0/16"}},
		{"its clock is ours", c.ClockSkew, time.Duration(0)},
		{"nothing is denied to an admin", len(c.Denied), 0},
		{"when the API server's certificate ends", c.ServerNotAfter.After(time.Now()), true},
		{"nodes", c.Nodes, []facts.Node{{Name: "n1", Arch: "amd64", Ready: true, Region: "eu", Zone: "eu-1", PodCIDRs: []string{"100.64.0.0/24"}, CPUMilli: 4000, Memory: 8 << 30, CPURequested: 300, MemoryRequested: 1 << 30, Unschedulable: true}}},
		{"istiod", c.Istiods, []facts.Istiod{{
			Namespace: "istio-system", Name: "istiod-canary", Revision: "canary", Version: "1.31.1", Owner: "isthmus", Wanted: 2, Network: "n1", ClusterName: "east", MeshID: "shop", TrustDomain: "td.test", Mesh: "shop",
			Roots: []string{c.Secrets["istio-system/cacerts"].Certificates["root-cert.pem"][0].Fingerprint}, Since: time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC),
		}}},
		{"gateways", c.Gateways, []facts.Gateway{{Namespace: "istio-system", Name: "istio-eastwestgateway", Network: "n1", Type: "LoadBalancer", Addresses: []string{"192.0.2.7"}, Wanted: 3}}},
		{"ingress gateways", c.Ingresses, []facts.Ingress{{
			Namespace: "istio-system", Name: "istio-ingressgateway", Type: "ClusterIP", Addresses: []string{"192.0.2.8"}, Ports: []int32{80, 443}, Account: "ingress", Wanted: 1,
		}}},
		{"load balancers", c.LoadBalancer, facts.LoadBalancer{Pending: 1, Provider: "cloud"}},
		{"webhooks that concern Istio", c.Webhooks, []facts.Webhook{{Name: "istio-sidecar-injector", Kind: "MutatingWebhookConfiguration", Revision: "canary", Owner: "helm:istiod", Service: "istio-system/istiod", FailurePolicy: "Ignore"}}},
		{"the inventory", len(c.Inventory), 2},
		{"whose inventories there are", c.Inventories, []string{"shop"}},
		{"a key that belongs to its certificate", c.Secrets["istio-system/cacerts"].KeyMatches, true},
		{"who signed", c.Secrets["istio-system/cacerts"].Certificates["ca-cert.pem"][0].IssuedBy, c.Secrets["istio-system/cacerts"].Certificates["root-cert.pem"][0].Fingerprint},
		{"annotations without copies of the content", c.Secrets["istio-system/cacerts"].Annotations, map[string]string(nil)},
		{"where a remote secret leads", c.Secrets["istio-system/istio-remote-secret-west"].Kubeconfigs["west"].Server, "https://west:6443"},
		{"for whom", c.Secrets["istio-system/istio-remote-secret-west"].Kubeconfigs["west"].Subject, "system:serviceaccount:a:b"},
		{"until when", c.Secrets["istio-system/istio-remote-secret-west"].Kubeconfigs["west"].NotAfter, time.Unix(1900000000, 0).UTC()},
	} {
		if d := cmp.Diff(x.want, x.got); d != "" {
			t.Errorf("%s (-want +got):\n%s", x.reason, d)
		}
	}
	var live []string
	for r := range c.Live {
		live = append(live, r.String())
	}
	slices.Sort(live)
	if d := cmp.Diff([]string{"ConfigMap isthmus-system/isthmus-inventory-shop", "Namespace isthmus-system", "Secret istio-system/cacerts", "Secret istio-system/istio-remote-secret-west"}, live); d != "" {
		t.Errorf("live objects (-want +got):\n%s", d)
	}
	noSecrets(t, c)
}

// noSecrets looks for the canary and for private keys in everything that was gathered, as a program and a person
// would print it.
func noSecrets(t *testing.T, c *facts.Cluster) {
	t.Helper()
	raw, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{string(raw), fmt.Sprintf("%+v", c)}
	for _, u := range c.Live {
		raw, err := u.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(raw))
	}
	for _, text := range texts {
		for _, secret := range []string{canary, base64.StdEncoding.EncodeToString([]byte(canary)), "PRIVATE KEY", base64.StdEncoding.EncodeToString([]byte("-----BEGIN EC"))[:16], token(canary)} {
			if at := strings.Index(text, secret); at >= 0 {
				t.Errorf("a secret is in: %s", text[max(0, at-300):min(len(text), at+60)])
			}
		}
	}
}

func TestWhoMayDoNothing(t *testing.T) {
	needServers(t)
	want := object.Objects{}
	for _, text := range []string{
		`{apiVersion: v1, kind: Secret, metadata: {name: cacerts, namespace: istio-system}}`,
		`{apiVersion: v1, kind: ServiceAccount, metadata: {name: reader, namespace: isthmus-system}}`,
	} {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
			t.Fatal(err)
		}
		want.Add("east", object.Object{Part: object.PartDiscovery, Body: u})
	}
	c := gather(t, servers.Nobody("east"), want)
	if c.Err != "" {
		t.Fatalf("a cluster that answers is said not to: %s", c.Err)
	}
	var denied []string
	for _, r := range c.Denied {
		denied = append(denied, r.String())
	}
	for _, r := range []string{
		"list nodes", "create secrets in namespace istio-system", "patch secrets in namespace istio-system",
		"delete configmaps in namespace isthmus-system", "create serviceaccounts/token in namespace isthmus-system", "create namespaces",
	} {
		if !slices.Contains(denied, r) {
			t.Errorf("%q is not among what is denied: %q", r, denied)
		}
	}
	if c.Unread[object.Ref{Kind: "Secret", Namespace: "istio-system", Name: "cacerts"}] == "" {
		t.Error("an object that may not be read is taken for one that is not there")
	}
}

func TestWhyAClusterDoesNotAnswer(t *testing.T) {
	needServers(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "https://" + listener.Addr().String()
	_ = listener.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	good := servers.Configs["east"]
	with := func(change func(*rest.Config)) *rest.Config {
		cfg := rest.CopyConfig(good)
		change(cfg)
		return cfg
	}
	cases := []struct {
		reason string
		cfg    *rest.Config
		cause  facts.Cause
		want   string
	}{
		{"nobody listens", with(func(c *rest.Config) { c.Host = closed }), facts.CauseUnreachable, "connection refused"},
		{"it says nothing", with(func(c *rest.Config) { c.Host = "https://" + silent.Addr().String() }), facts.CauseUnreachable, "no answer in time"},
		{"another authority", with(func(c *rest.Config) { c.CAData = []byte(otherCA(t)) }), facts.CauseTLS, "certificate"},
		{"an unknown token", with(func(c *rest.Config) { c.BearerToken = canary }), facts.CauseCredentials, "does not know the caller"},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			m := mesh.Mesh{Name: "shop", Clusters: []mesh.Cluster{{Name: "east"}}}
			got := facts.Gather(t.Context(), m, nil, dialer(c.cfg), 2*time.Second, time.Now).Clusters["east"]
			if got.Cause != c.cause || !strings.Contains(got.Err, c.want) || !strings.Contains(got.Err, c.cfg.Host) || strings.Contains(got.Err, canary) {
				t.Errorf("%s: %q; want %s with %q and the address", got.Cause, got.Err, c.cause, c.want)
			}
		})
	}
	t.Run("no context", func(t *testing.T) {
		m := mesh.Mesh{Name: "shop", Clusters: []mesh.Cluster{{Name: "east", Context: "nowhere"}}}
		got := facts.Gather(t.Context(), m, nil, cluster.Options{Kubeconfig: servers.Kubeconfig}.Dial, 0, time.Now).Clusters["east"]
		if got.Cause != facts.CauseContext || !strings.Contains(got.Err, "there are: east") {
			t.Errorf("%s: %q", got.Cause, got.Err)
		}
	})
}

// TestHalfOfTheFactsIsNone: an API server that fails half way through is a cluster that did not answer.
func TestHalfOfTheFactsIsNone(t *testing.T) {
	needServers(t)
	cfg := rest.CopyConfig(servers.Configs["east"])
	cfg.Wrap(func(rt http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			if strings.Contains(req.URL.Path, "/secrets") {
				return nil, errors.New("connection reset by peer")
			}
			return rt.RoundTrip(req)
		})
	})
	c := gather(t, cfg, nil)
	if !strings.Contains(c.Err, "connection reset by peer") || len(c.Namespaces) > 0 {
		t.Errorf("err %q, %d namespaces", c.Err, len(c.Namespaces))
	}
}

// TestAListThatOnlyCountsIsUnknownAlone: whose pods a change disturbs is not worth more than that number.
func TestAListThatOnlyCountsIsUnknownAlone(t *testing.T) {
	needServers(t)
	for _, c := range []struct {
		reason string
		code   int
		status string
		once   bool // it fails once, in the middle
		want   string
	}{
		{"it expires in the middle, once", http.StatusGone, "Expired", true, ""},
		{"it expires in the middle, every time", http.StatusGone, "Expired", false, "took too long"},
		{"the caller may not", http.StatusForbidden, "Forbidden", false, "may not"},
		{"the API server is broken", http.StatusInternalServerError, "InternalError", false, "broken"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			cfg, failed := rest.CopyConfig(servers.Configs["east"]), false
			cfg.Wrap(func(rt http.RoundTripper) http.RoundTripper {
				return roundTripper(func(req *http.Request) (*http.Response, error) {
					if !strings.HasSuffix(req.URL.Path, "/pods") || !strings.Contains(req.URL.RawQuery, "tlsMode") || c.once && failed {
						return rt.RoundTrip(req)
					}
					failed = true
					said := fmt.Sprintf(`{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": %q, "code": %d, "message": %q}`, c.status, c.code, c.want)
					return &http.Response{StatusCode: c.code, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(said)), Request: req}, nil
				})
			})
			got := gather(t, cfg, nil)
			if got.Err != "" || !strings.Contains(got.MeshedErr, c.want) || (got.MeshedErr == "") != (c.want == "") || !failed {
				t.Errorf("err %q, meshed %q", got.Err, got.MeshedErr)
			}
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
